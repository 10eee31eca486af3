"""For tests of stages that train: a synthetic world in place of the manifest and the stores, and tiny parameters."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from project import ROOT

from pipeline.captioner.inputs import Inputs
from pipeline.params import override, read

RECIPES = {"appearance": "a1", "audio": "b2", "candidates": "c3", "emotion": "d4"}
_PARAMS = ROOT / "params.yaml"


class _Candidates:
    def select(self, ids: Sequence[str]) -> SimpleNamespace:
        return SimpleNamespace(rows=np.zeros((len(ids), 3), np.int64))


def stand_in(monkeypatch: pytest.MonkeyPatch, stage: ModuleType, splits: Mapping[str, Inputs],
             captions: Mapping[str, Sequence[str]]) -> None:
    """`stage` reads `splits` and `captions`."""
    by_ids = {inputs.ids: inputs for inputs in splits.values()}
    manifest = SimpleNamespace(captions_of=captions, ids=lambda split: splits[split].ids)
    sources = SimpleNamespace(
        present=lambda ids: ids, inputs=lambda ids, modalities, used: by_ids[ids], candidates=_Candidates(),
        index=SimpleNamespace(texts=["a man runs"]), recipes=RECIPES, left_out={},
        appearance=SimpleNamespace(recipe={"untrained": False}), agreed=lambda captions, weight: captions)
    monkeypatch.setattr(stage.Manifest, "load", lambda path: manifest)
    monkeypatch.setattr(stage.Sources, "open", lambda paths: sources)


def params_file(folder: Path, monkeypatch: pytest.MonkeyPatch, *changes: str) -> None:
    """Tiny parameters as params.yaml of `folder`, which becomes the current one."""
    tree = override(read(_PARAMS), [
        "machine.device=cpu", "captioner.hidden_size=16", "captioner.num_heads=2", "captioner.feedforward_size=32",
        "captioner.embedded_attributes=4", "captioner.universal_words=20", *changes])
    monkeypatch.chdir(folder)
    (folder / "params.yaml").write_text(json.dumps(tree))
