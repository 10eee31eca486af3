"""The caption index: exact search, the leak guard, and what it refuses."""

from pathlib import Path

import faiss
import h5py
import numpy as np
import pytest

from pipeline.captioner.candidate_scores import score_candidates
from pipeline.captioner.generation.consensus import Consensus
from pipeline.common.errors import SpectrumError
from pipeline.common.files import fingerprint
from pipeline.datasets.manifest import Caption, Manifest, Video
from pipeline.retrieval import index
from pipeline.retrieval.candidates import Candidates, retrieve_candidates
from pipeline.retrieval.leak_guard import barred_rows
from pipeline.retrieval.sentences import Sentence, distinct_sentences
from pipeline.store.feature_store import FeatureStore
from pipeline.store.shard import Shard, shard_name, write_shard
from pipeline.store.store_file import write_store_file

RNG = np.random.default_rng(0)
FRAMES = {"kind": "test", "dtype": "float32"}
RECIPE = {"kind": "open_clip", "model": "m", "weights": "w", "decoder": "d"}


def corpus(n: int) -> list[Caption]:
    return [Caption(f"v{i // 2}", f"sentence number {i}") for i in range(n)]


@pytest.fixture
def built(tmp_path: Path) -> Path:
    index.build_index(distinct_sentences(corpus(40)), [RNG.standard_normal((40, 16)).astype(np.float32)], "abc",
                      tmp_path / "i")
    return tmp_path / "i"


def test_search_is_exact(built: Path) -> None:
    opened = index.open_index(built, "abc")
    queries = RNG.standard_normal((7, 16)).astype(np.float32)
    rows, scores = opened.search(queries, [()] * 7, top=5, batch=3)
    cosines = index.unit_vectors(queries, "q") @ opened.embeddings.T
    assert np.array_equal(rows, np.argsort(-cosines, axis=1)[:, :5])
    assert scores == pytest.approx(np.sort(cosines, axis=1)[:, ::-1][:, :5], abs=1e-6)
    bare = faiss.IndexFlatIP(16)
    bare.add(opened.embeddings)
    assert np.array_equal(rows, bare.search(index.unit_vectors(queries, "q"), 5)[1])


def test_a_video_never_gets_what_only_its_own_people_wrote(tmp_path: Path) -> None:
    captions = [*corpus(6), Caption("v2", "Sentence, NUMBER 1!")]        # written for v0, and again for v2
    index.build_index(distinct_sentences(captions), [RNG.standard_normal((6, 16)).astype(np.float32)], "abc", tmp_path)
    opened = index.open_index(tmp_path, "abc")
    assert opened.owners[1] == ("v0", "v2")
    own = barred_rows(["v0", "v1", "v2", "elsewhere"], opened)
    assert own == [[0], [2, 3], [4, 5], []]
    rows, _ = opened.search(np.stack([opened.embeddings[0]] * 4), own, top=4)
    assert all(not set(found) & set(barred) for found, barred in zip(rows.tolist(), own, strict=True))
    near, _ = opened.search(opened.embeddings[1:2], own[:1], top=1)
    assert near.tolist() == [[1]]                                         # its own words, but v2's people's, too


def test_repeated_sentences_count_once() -> None:
    captions = [Caption("a", "A dog."), Caption("b", "a dog"), Caption("b", "a  cat"), Caption("c", "?!"),
                Caption("a", "a dog")]
    assert distinct_sentences(captions) == [Sentence("A dog.", ("a", "b")), Sentence("a  cat", ("b",))]


def test_a_corpus_that_is_too_small_is_named(built: Path) -> None:
    with pytest.raises(SpectrumError, match="only 40 of 41 candidates"):
        index.open_index(built, "abc").search(np.ones((1, 16), np.float32), [()], top=41)


def test_queries_without_direction_are_refused(built: Path) -> None:
    opened = index.open_index(built, "abc")
    for bad in (0.0, np.nan):
        with pytest.raises(SpectrumError, match=r"rows \[1\]"):
            opened.search(np.array([[1.0] * 16, [bad] * 16], np.float32), [()] * 2, top=1)


def test_another_text_encoder_is_refused(built: Path) -> None:
    with pytest.raises(SpectrumError, match="made by text encoder abc, but the pictures are encoded by xyz"):
        index.open_index(built, "xyz")


@pytest.mark.parametrize("name", ["captions.npy", "captions.h5"])
def test_damage_is_found_when_opening(built: Path, name: str) -> None:
    data = bytearray((built / name).read_bytes())
    data[len(data) // 2] ^= 1
    (built / name).write_bytes(data)
    with pytest.raises(SpectrumError, match=f"{name}: missing or damaged"):
        index.open_index(built, "abc")


def test_building_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    vectors = RNG.standard_normal((6, 8)).astype(np.float32)
    for folder, parts in (("a", [vectors]), ("b", [vectors[:4], vectors[4:]])):
        index.build_index(distinct_sentences(corpus(6)), parts, "abc", tmp_path / folder)
    for name in ("captions.npy", "captions.h5", "index.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_vectors_stay_in_the_file_until_they_are_read(built: Path) -> None:
    embeddings = index.open_index(built, "abc").embeddings
    assert isinstance(embeddings.base, np.memmap) and not embeddings.flags.writeable
    with h5py.File(built / "captions.h5") as file:      # they are there once
        assert set(file) == {"text", "owner", "owner_offsets"}


def test_counts_that_differ_and_unknown_schemas_are_refused(built: Path) -> None:
    with pytest.raises(SpectrumError, match="3 captions but 2 embeddings"):
        index.build_index(distinct_sentences(corpus(3)), [np.ones((2, 4), np.float32)], "abc", built)
    (built / "index.json").write_text('{"schema": 99}')
    with pytest.raises(SpectrumError, match="schema 99"):
        index.open_index(built, "abc")


def test_candidates_come_back_and_missing_ones_are_named(tmp_path: Path) -> None:
    made = Candidates(("a", "b"), np.array([[1, 2], [3, 4]]), np.ones((2, 2), np.float32), "abc", "of the index")
    made.write(tmp_path / "c.h5")
    read = Candidates.read(tmp_path / "c.h5")
    assert read.select(["b"]).rows.tolist() == [[3, 4]]
    assert (read.ids, read.recipe_id) == (("a", "b"), "abc")
    with pytest.raises(SpectrumError, match=r"no candidates for video 'z' \(1 such\)"):
        read.select(["a", "z"])
    with pytest.raises(SpectrumError, match=r"none\.h5: no such file"):
        Candidates.read(tmp_path / "none.h5")
    with h5py.File(tmp_path / "c.h5") as file:
        assert set(file) == {"ids", "rows", "scores"}


def test_the_model_id_is_the_models_alone() -> None:
    assert index.model_id(RECIPE) == index.model_id({**RECIPE, "decoder": "another"})
    assert index.model_id(RECIPE) != index.model_id({**RECIPE, "weights": "x"})


def test_candidates_of_another_index_are_refused(built: Path, tmp_path: Path) -> None:
    opened = index.open_index(built, "abc")
    rows = np.array([[1, 2]])
    Candidates(("a",), rows, np.ones((1, 2), np.float32), "abc", opened.digest).check_index(opened)
    index.build_index(distinct_sentences(corpus(41)[1:]), [RNG.standard_normal((40, 16)).astype(np.float32)], "abc",
                      tmp_path / "other")
    other = index.open_index(tmp_path / "other", "abc")
    assert other.digest != opened.digest
    with pytest.raises(SpectrumError, match=r"made with caption index .*, but now there is"):
        Candidates(("a",), rows, np.ones((1, 2), np.float32), "abc", opened.digest).check_index(other)
    with pytest.raises(SpectrumError, match="another caption index, which was larger"):
        Candidates(("a",), rows + 39, np.ones((1, 2), np.float32), "abc", opened.digest).check_index(opened)


@pytest.mark.parametrize("content", ["[]", "{}", '{"schema": 2, "recipe_id": 3}', "[" * 100_000, '{"schema": 2}'])
def test_a_description_that_is_something_else_is_a_sentence(built: Path, content: str) -> None:
    (built / "index.json").write_text(content)
    with pytest.raises(SpectrumError, match=r"index\.json"):
        index.open_index(built, "abc")


def test_a_small_corpus_gives_what_it_has(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    videos = tuple(Video(f"v{number}", "", "train" if number < 20 else "test") for number in range(21))
    captions = (*corpus(40), Caption("v20", "a new one"))
    manifest = Manifest(videos, captions, tuple(corpus(40)))
    folder = tmp_path / "store"
    rows = RNG.standard_normal((21, 16)).astype(np.float32)
    ids = sorted(video.id for video in videos)
    write_shard(folder / shard_name(0), Shard(tuple(ids), np.arange(22), rows, np.zeros(21), ("0" * 64,) * 21,
                                              np.ones(21, np.float32)), fingerprint(FRAMES))
    write_store_file(folder, "appearance", FRAMES, 16, {0: (21, 21)}, 1, [])
    opened = index.open_index(built, "abc")
    candidates = retrieve_candidates(manifest, FeatureStore.open(folder), opened, top=100)
    assert candidates.rows.shape == (21, 38)        # 40, but for a training video's own two
    monkeypatch.setattr("pipeline.retrieval.candidates._VIDEOS", 4)     # frames are read in parts
    assert retrieve_candidates(manifest, FeatureStore.open(folder), opened, top=100).digest == candidates.digest
    assert candidates.ids == tuple(video.id for video in videos)
    for name, size in (("_QUERIES", 8), ("_CAPTIONS", 7)):              # and searched for in parts
        monkeypatch.setattr(f"pipeline.retrieval.candidates.{name}", size)
        assert retrieve_candidates(manifest, FeatureStore.open(folder), opened, top=100).digest == candidates.digest
    other = Manifest(videos, captions, tuple(corpus(39)))
    with pytest.raises(SpectrumError, match="made from another corpus"):
        retrieve_candidates(other, FeatureStore.open(folder), opened, top=10)


def test_candidates_of_training_videos_are_as_good_as_those_of_test_videos(tmp_path: Path) -> None:
    """Two videos show each thing, and everybody says the same of it: barred by sentence, those of training would have
    nothing left that is right."""
    videos = tuple(Video(f"v{n}", "", "train" if n < 20 else "test") for n in range(30))
    captions = tuple(Caption(video.id, f"a man does thing {n % 10}") for n, video in enumerate(videos))
    manifest = Manifest(videos, captions, captions[:20])
    ids = sorted(video.id for video in videos)
    things = np.eye(10, dtype=np.float32)
    folder = tmp_path / "store"
    shown = np.stack([things[int(video[1:]) % 10] for video in ids])
    write_shard(folder / shard_name(0), Shard(tuple(ids), np.arange(31), shown, np.zeros(30), ("0" * 64,) * 30,
                                              np.ones(30, np.float32)), fingerprint(FRAMES))
    write_store_file(folder, "appearance", FRAMES, 10, {0: (30, 30)}, 1, [])
    index.build_index(distinct_sentences(manifest.corpus), [things], "abc", tmp_path / "i")
    opened = index.open_index(tmp_path / "i", "abc")
    candidates = retrieve_candidates(manifest, FeatureStore.open(folder), opened, top=3)
    scores = {}
    for split in ("train", "test"):
        own = manifest.ids(split)
        scores[split] = score_candidates(
            [[opened.texts[row] for row in rows] for rows in candidates.select(own).rows],
            [manifest.captions_of[video] for video in own], Consensus.of(opened), used=1)
    assert scores["train"]["equal_to_reference"] == scores["test"]["equal_to_reference"] == 1.0
    assert scores["train"]["nearest_cider"] == pytest.approx(10.0) == scores["test"]["nearest_cider"]
