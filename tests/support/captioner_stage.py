"""For tests of stages that train: a synthetic world in place of the manifest and the stores, and tiny parameters."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from project import ROOT
from torch import Tensor

from pipeline.captioner.cached_dataset import Budget, CachedDataset
from pipeline.captioner.generation.consensus import Consensus
from pipeline.captioner.inputs import Inputs
from pipeline.captioner.splits import Split
from pipeline.datasets.manifest import Manifest
from pipeline.params import override, read

RECIPES = {"appearance": "a1", "audio": "b2", "candidates": "c3", "emotion": "d4"}
_PARAMS = ROOT / "params.yaml"


class WorldStore:
    """The frames of splits in memory, as a FeatureStore gives them."""

    recipe: ClassVar[dict[str, Any]] = {"untrained": False}

    def __init__(self, splits: Mapping[str, Inputs]) -> None:
        self._rows = {video: part.rows[i][part.mask[i]].numpy() for inputs in splits.values()
                      for part in [inputs.modalities["appearance"]] for i, video in enumerate(inputs.ids)}
        self.dim = next(iter(self._rows.values())).shape[1]

    def load(self, ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        rows = [self._rows[video] for video in ids]
        return np.concatenate(rows), np.cumsum([0, *map(len, rows)])


class WorldDataset:
    """What stages ask of a CachedDataset, of splits in memory."""

    recipes = RECIPES
    index = None
    consensus = Consensus([["a man runs"], ["a dog sleeps"]])
    budget = Budget(1)

    def __init__(self, splits: Mapping[str, Inputs]) -> None:
        self.inputs_of = {inputs.ids: inputs for inputs in splits.values()}
        self.appearance = WorldStore(splits)
        self.left_out: dict[str, int] = {}

    def present(self, ids: Sequence[str]) -> Sequence[str]:
        return ids

    def inputs(self, ids: Sequence[str], modalities: Sequence[str], used: int) -> Inputs:
        return self.inputs_of[tuple(ids)]

    def split(self, manifest: Manifest, name: str, modalities: Sequence[str], used: int) -> Split:
        ids = manifest.ids(name)        # type: ignore[arg-type]
        return Split.of(name, self.inputs(ids, modalities, used), manifest.captions_of, self.candidate_texts(ids))

    def priors(self, ids: Sequence[str], modalities: Sequence[str]) -> tuple[Tensor, Tensor]:
        inputs = self.inputs(ids, modalities, 0)
        return inputs.prior_categories, inputs.prior_words

    def candidate_texts(self, ids: Sequence[str]) -> list[list[str]]:
        return [["a man runs"] * 3 for _ in ids]

    def reference_captions(self, ids: Sequence[str]) -> dict[str, dict[str, str]]:
        return {"nearest_caption": dict.fromkeys(ids, "a man runs")}


def use_world(monkeypatch: pytest.MonkeyPatch, splits: Mapping[str, Inputs],
              captions: Mapping[str, Sequence[str]]) -> None:
    """Stages read `splits` and `captions`."""
    manifest = SimpleNamespace(captions_of=captions, ids=lambda split: splits[split].ids)
    monkeypatch.setattr(Manifest, "load", lambda folder: manifest)
    monkeypatch.setattr(CachedDataset, "open", lambda paths, resident_megabytes: WorldDataset(splits))


def params_file(folder: Path, monkeypatch: pytest.MonkeyPatch, *changes: str) -> None:
    """Tiny parameters as params.yaml of `folder`, which becomes the current one."""
    tree = override(read(_PARAMS), [
        "machine.device=cpu", "captioner.hidden_size=16", "captioner.num_heads=2", "captioner.feedforward_size=32",
        "captioner.embedded_attributes=4", "captioner.universal_words=20", *changes])
    monkeypatch.chdir(folder)
    (folder / "params.yaml").write_text(json.dumps(tree))
