"""The captioner's sources: real stores, an index and candidates in, tensors of the videos out."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from captioner_world import TAXONOMY
from project import ROOT

from pipeline.captioner.cached_dataset import Sources, candidate_rows
from pipeline.captioner.generation.beam_search import Caption, Hypothesis
from pipeline.captioner.inputs import word_key
from pipeline.common.errors import SpectrumError
from pipeline.common.files import fingerprint
from pipeline.datasets.manifest import Caption as Written
from pipeline.emotion.prior import Emotions
from pipeline.params import load
from pipeline.params.paths import Paths
from pipeline.retrieval import index
from pipeline.retrieval.index import Candidates
from pipeline.store.shard import Shard, shard_name, write_shard
from pipeline.store.store_file import write_store_file

IDS = ("a", "b", "c", "d")
RECIPE = {"kind": "test", "model": "m", "weights": "w"}
CAPTIONS = [Written("a", "a dog runs"), Written("b", "the dog sits"), Written("c", "rain")]


def store(folder: Path, modality: str, rows: dict[str, int], dim: int, failed: tuple[str, ...] = (),
          recipe: dict[str, Any] = RECIPE) -> None:
    """A store of one shard: `rows` a video."""
    ids = sorted(rows)
    packed = np.concatenate([np.full((rows[video], dim), IDS.index(video) + 1, np.float16) for video in ids])
    offsets = np.cumsum([0, *(rows[video] for video in ids)])
    write_shard(folder / shard_name(0), Shard(tuple(ids), offsets, packed, np.arange(len(packed)) / 10,
                                              ("0" * 64,) * len(ids), np.ones(len(ids), np.float32)),
                fingerprint(recipe))
    write_store_file(folder, modality, recipe, dim, {0: (len(ids), len(packed))}, 1,
                [{"id": video, "path": video, "reason": "broken"} for video in failed])


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    root = ROOT
    monkeypatch.chdir(tmp_path)
    paths = Paths.of(load([], root / "params.yaml"))
    store(paths.appearance, "appearance", {"a": 2, "b": 3, "c": 1}, 4, failed=("d",))
    store(paths.audio, "audio", {"a": 1, "b": 0}, 2, failed=("c", "d"))
    model = index.model_id(RECIPE)
    index.build(CAPTIONS, np.eye(3, 4, dtype=np.float32), model, paths.index)
    Candidates(IDS, np.array([[1, 2], [0, 2], [0, 1], [0, 1]]), np.zeros((4, 2), np.float32), model).write(
        paths.candidates)
    words, categories = len(TAXONOMY.words), len(TAXONOMY.categories)
    Emotions(taxonomy=TAXONOMY.name, recipe_id="emotion", temperatures={}, rows=np.arange(3),
             caption_words=np.zeros((3, words), np.float32),
             caption_categories=np.zeros((3, categories), np.float32), ids=IDS,
             words=np.zeros((4, words), np.float32),
             categories=np.full((4, categories), 0.5, np.float32)).write(paths.emotion)
    return paths


MODALITIES = ("appearance", "audio", "motion", "text")


def test_a_data_set_without_motion(paths: Paths) -> None:
    sources = Sources.open(paths)
    assert set(sources.recipes) == {"appearance", "audio", "candidates", "emotion"}
    videos = sources.present(IDS)
    assert videos == ["a", "b", "c"]
    inputs = sources.inputs(videos, MODALITIES, 2)
    assert set(inputs.modalities) == {"appearance", "audio", "text"}
    assert inputs.modalities["appearance"].mask.sum(1).tolist() == [2, 3, 1]
    assert inputs.modalities["appearance"].rows[2, 0].tolist() == [3.0] * 4
    assert inputs.modalities["audio"].mask.tolist() == [[True], [False], [False]]    # b is silent, c's sound failed
    assert sources.left_out == {"without_frames": 1, "without_sound": 2, "without_motion": 0}


def test_motion_is_read_where_it_was_extracted(paths: Paths) -> None:
    store(paths.motion, "motion", {"a": 2, "b": 1, "c": 0}, 5, failed=("d",))
    sources = Sources.open(paths)
    inputs = sources.inputs(["c", "b"], MODALITIES, 2)
    assert inputs.modalities["motion"].dim == 5
    assert inputs.modalities["motion"].mask.tolist() == [[False], [True]]
    assert sources.recipes["motion"] == fingerprint(RECIPE) and sources.left_out["without_motion"] == 1


def test_a_store_of_nothing_is_no_modality(paths: Paths) -> None:
    store(paths.motion, "motion", {"a": 0, "b": 0, "c": 0}, 1, recipe={"kind": "none"})
    assert set(Sources.open(paths).inputs(["a"], MODALITIES, 1).modalities) == {"appearance", "audio", "text"}


def test_candidates_come_with_their_words(paths: Paths) -> None:
    sources = Sources.open(paths)
    text = sources.inputs(["a"], ["appearance", "text"], 2).modalities["text"]
    assert torch.equal(text.rows, torch.eye(3, 4)[None, 1:]) and text.mask.all() and text.words is not None
    assert set(text.words[0, 0].tolist()) == {word_key("the"), word_key("dog"), word_key("sits")}
    assert text.words[0, 1].tolist() == [word_key("rain"), 0, 0]


def test_what_a_source_lacks_is_an_error(paths: Paths) -> None:
    sources = Sources.open(paths)
    with pytest.raises(SpectrumError, match="z"):
        sources.inputs(["z"], MODALITIES, 2)
    with pytest.raises(SpectrumError, match="past the caption index"):
        candidate_rows(replace(sources.index, embeddings=sources.index.embeddings[:1]), np.array([[0, 1]]))


def test_the_candidates_choose_among_the_beams(paths: Paths) -> None:
    sources = Sources.open(paths)
    beams = (Hypothesis("a dog", -0.1), Hypothesis("rain", -0.2))
    found = [Caption(video, "a dog", -0.1, beams, (), ()) for video in ("a", "c")]
    assert sources.agreed(found, 0.0) == found
    assert sources.candidate_texts(["c"]) == [["a dog runs", "the dog sits"]]
    assert [caption.text for caption in sources.agreed(found, 1.0)] == ["rain", "a dog"]
