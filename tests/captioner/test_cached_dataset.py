"""The cached tensors of a data set: real stores, an index and candidates in, tensors of the videos out."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from captioner_world import TAXONOMY
from project import ROOT

from pipeline.captioner.cached_dataset import CachedDataset
from pipeline.captioner.generation.captions import Caption, Hypothesis
from pipeline.captioner.inputs import word_key
from pipeline.common.errors import SpectrumError
from pipeline.common.files import fingerprint
from pipeline.datasets.manifest import Caption as WrittenCaption
from pipeline.datasets.manifest import Manifest, Video
from pipeline.emotion.calibration import Calibration
from pipeline.emotion.emotion_file import Emotions
from pipeline.emotion.prior import Prior
from pipeline.emotion.row_reader import RowReader
from pipeline.params import load
from pipeline.params.paths import Paths
from pipeline.retrieval import index
from pipeline.retrieval.candidates import Candidates
from pipeline.retrieval.sentences import distinct_sentences
from pipeline.store.shard import Shard, shard_name, write_shard
from pipeline.store.store_file import write_store_file

IDS = ("a", "b", "c", "d")
RECIPE = {"kind": "test", "model": "m", "weights": "w"}
CAPTIONS = [WrittenCaption("a", "a dog runs"), WrittenCaption("b", "the dog sits"), WrittenCaption("c", "rain")]


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
    monkeypatch.chdir(tmp_path)
    paths = Paths.of(load([], ROOT / "params.yaml"))
    store(paths.appearance, "appearance", {"a": 2, "b": 3, "c": 1}, 4, failed=("d",))
    store(paths.audio, "audio", {"a": 1, "b": 0}, 2, failed=("c", "d"))
    model = index.model_id(RECIPE)
    index.build_index(distinct_sentences(CAPTIONS), [np.eye(3, 4, dtype=np.float32)], model, paths.index)
    candidates = Candidates(IDS, np.array([[1, 2], [0, 2], [0, 1], [0, 1]]), np.zeros((4, 2), np.float32), model,
                            index.open_index(paths.index, model).digest)
    candidates.write(paths.candidates)
    words, categories = len(TAXONOMY.words), len(TAXONOMY.categories)
    # Sound says joy of `a`; b, c and d have none.
    joy = np.arange(categories) == TAXONOMY.categories.index("joy")
    reader = RowReader(np.zeros(2), np.ones(2), np.zeros((2, categories)))
    deaf, hearing = (Calibration(slopes, np.full(categories, -2.0)) for slopes in (np.zeros(3), np.array([0, 0, 1.0])))
    prior = Prior(1.0, {"lexicon": 1.0}, np.full(categories, 0.1), np.full(words, 0.02),
                  {"mixture": reader, "audio": reader}, (deaf, hearing),
                  Calibration(np.array([1.0, 0.0]), np.full(words, -4.0)), TAXONOMY.membership())
    present = np.array([[True], [False], [False], [False]])
    Emotions(taxonomy=TAXONOMY.name, recipe_id="emotion", candidates_digest=candidates.digest,
             row_recipes={"audio": fingerprint(RECIPE)}, prior=prior, rows=np.arange(3),
             caption_categories=np.zeros((3, categories), np.float32), ids=IDS,
             word_shares=np.zeros((4, words), np.float32), counts=np.full(4, 2, np.float32),
             evidence=(5 * present[..., None] * np.stack([0 * joy, 0 * joy, joy])).astype(np.float32),
             present=present).write(paths.emotion)
    return paths


MODALITIES = ("appearance", "audio", "motion", "text")


def test_a_data_set_without_motion(paths: Paths) -> None:
    dataset = CachedDataset.open(paths)
    assert set(dataset.recipes) == {"appearance", "audio", "index", "candidates", "emotion"}
    videos = dataset.present(IDS)
    assert videos == ["a", "b", "c"]
    inputs = dataset.inputs(videos, MODALITIES, 2).select(range(3))
    assert set(inputs.modalities) == {"appearance", "audio", "text"}
    assert inputs.modalities["appearance"].mask.sum(1).tolist() == [2, 3, 1]
    assert inputs.modalities["appearance"].rows[2, 0].tolist() == [3.0] * 4
    assert inputs.modalities["audio"].mask.tolist() == [[True], [False], [False]]    # b is silent, c's sound failed
    assert dataset.left_out == {"without_frames": 1, "without_sound": 2, "without_motion": 0}


def test_motion_is_read_where_it_was_extracted(paths: Paths) -> None:
    store(paths.motion, "motion", {"a": 2, "b": 1, "c": 0}, 5, failed=("d",))
    dataset = CachedDataset.open(paths)
    inputs = dataset.inputs(["c", "b"], MODALITIES, 2).select(range(2))
    assert inputs.modalities["motion"].dim == 5
    assert inputs.modalities["motion"].mask.tolist() == [[False], [True]]
    assert dataset.recipes["motion"] == fingerprint(RECIPE) and dataset.left_out["without_motion"] == 1


def test_a_store_of_nothing_is_no_modality(paths: Paths) -> None:
    store(paths.motion, "motion", {"a": 0, "b": 0, "c": 0}, 1, recipe={"kind": "none"})
    assert set(CachedDataset.open(paths).inputs(["a"], MODALITIES, 1).modalities) == {"appearance", "audio", "text"}


def test_candidates_come_with_their_words(paths: Paths) -> None:
    dataset = CachedDataset.open(paths)
    text = dataset.inputs(["a"], ["appearance", "text"], 2).select([0]).modalities["text"]
    assert torch.equal(text.rows, torch.eye(3, 4)[None, 1:]) and text.mask.all() and text.words is not None
    assert set(text.words[0, 0].tolist()) == {word_key("the"), word_key("dog"), word_key("sits")}
    assert text.words[0, 1].tolist() == [word_key("rain"), 0, 0]


def test_a_captioner_that_reads_no_sound_does_not_hear_it_through_the_prior(paths: Paths) -> None:
    dataset = CachedDataset.open(paths)
    joy = TAXONOMY.categories.index("joy")
    with_sound = dataset.inputs(["a", "b"], ("appearance", "audio", "text"), 2)
    without = dataset.inputs(["a", "b"], ("appearance", "text"), 2)
    assert with_sound.prior_categories[0, joy] > 0.9 > 0.2 > with_sound.prior_categories[1, joy]
    assert torch.equal(without.prior_categories[0], without.prior_categories[1])
    assert with_sound.prior_words[0, TAXONOMY.words.index("happy")] > without.prior_words[0].max()


def test_what_a_source_lacks_is_an_error(paths: Paths) -> None:
    dataset = CachedDataset.open(paths)
    with pytest.raises(SpectrumError, match="z"):
        dataset.inputs(["z"], MODALITIES, 2)


def test_what_was_derived_from_something_else_is_refused(paths: Paths) -> None:
    candidates = Candidates.read(paths.candidates)
    replace(candidates, scores=candidates.scores + 0.5).write(paths.candidates)
    with pytest.raises(SpectrumError, match="estimated from other candidates"):
        CachedDataset.open(paths)
    candidates.write(paths.candidates)
    store(paths.audio, "audio", {"a": 1, "b": 0}, 2, failed=("c", "d"), recipe={**RECIPE, "weights": "others"})
    with pytest.raises(SpectrumError, match="estimated from other audio features"):
        CachedDataset.open(paths)
    index.build_index(distinct_sentences(CAPTIONS[::-1]), [np.eye(3, 4, dtype=np.float32)], candidates.recipe_id,
                      paths.index)
    with pytest.raises(SpectrumError, match="made with caption index"):
        CachedDataset.open(paths)


def test_the_candidates_choose_among_the_beams(paths: Paths) -> None:
    dataset = CachedDataset.open(paths)
    beams = (Hypothesis("a dog", -0.1), Hypothesis("rain", -0.2))
    captions = [Caption(video, "a dog", -0.1, beams, (), (), "a dog") for video in ("a", "c")]
    assert dataset.candidate_texts(["c"]) == [["a dog runs", "the dog sits"]]
    candidates = dataset.candidate_texts(["a", "c"])
    assert dataset.consensus.rerank(captions, candidates, 0.0) == captions
    assert [caption.text for caption in dataset.consensus.rerank(captions, candidates, 1.0)] == ["rain", "a dog"]


def test_a_split_has_the_captions_of_the_videos_whose_frames_are_there(paths: Paths) -> None:
    videos = tuple(Video(video, f"{video}.mp4", split) for video, split in zip(
        IDS, ("train", "validation", "train", "train"), strict=True))
    written = (*CAPTIONS, WrittenCaption("c", "!!"), WrittenCaption("d", "a cat"))
    dataset = CachedDataset.open(paths)
    split = dataset.split(Manifest(videos, written, written), "train", ("appearance", "text"), 1)
    assert split.inputs.ids == ("a", "c") and split.captions == (("a dog runs",), ("rain",))
    assert set(split.inputs.dims) == {"appearance", "text"} and split.inputs.slots["text"] == 1
    assert dataset.left_out["without_frames"] == 1
