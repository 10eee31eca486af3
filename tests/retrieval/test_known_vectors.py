"""A corpus that grew by one caption means one caption encoded, and the same bytes as if all had been."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import open_clip
import pytest
from numpy.typing import NDArray

from pipeline.datasets.manifest import Caption, Manifest, Video
from pipeline.encoders import open_clip_model, text_encoder
from pipeline.encoders.text_encoder import OpenClipTextEncoder
from pipeline.params import AppearanceEncoder, Machine, Params
from pipeline.params.paths import Paths
from pipeline.retrieval import index as indexes
from pipeline.retrieval import known_vectors
from pipeline.retrieval.known_vectors import KnownVectors
from pipeline.retrieval.sentences import Sentence
from stages import index

MODEL = "known-vectors-tiny"
FILES = ("captions.npy", "captions.h5", "index.json")


class Counting:
    """A real text tower that notes what it encodes."""

    def __init__(self, encoder: OpenClipTextEncoder) -> None:
        self.encoder, self.recipe, self.precision = encoder, encoder.recipe, encoder.precision
        self.texts: list[str] = []

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.texts += texts
        return self.encoder.encode_texts(texts)


@pytest.fixture
def encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Counting:
    (tmp_path / f"{MODEL}.json").write_text(json.dumps({
        "embed_dim": 32, "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 32, "patch_size": 16},
        "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}}))
    open_clip.add_model_config(tmp_path / f"{MODEL}.json")
    section = AppearanceEncoder(name="tiny", model=MODEL, weights="random")
    open_clip_model.prepare(section, tmp_path / "encoder", seed=3)
    made = Counting(OpenClipTextEncoder(open_clip_model.load(section, tmp_path / "encoder"), "cpu"))
    monkeypatch.setattr(text_encoder, "text_encoder", lambda *arguments: made)
    monkeypatch.setattr("pipeline.encoders.text_parts._CAPTIONS", 16)
    return made


def build(folder: Path, texts: list[str], monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """The stage in a project folder; its files."""
    folder.mkdir(exist_ok=True)
    monkeypatch.chdir(folder)
    params = Params(machine=Machine(device="cpu"))
    paths = Paths.of(params)
    captions = tuple(Caption("v", text) for text in texts)
    Manifest((Video("v", "", "train"),), captions, captions).write(paths.data)
    index.run(params, paths)
    return {name: (paths.index / name).read_bytes() for name in FILES}


def test_a_new_caption_is_the_only_one_that_is_encoded(tmp_path: Path, encoder: Counting,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"a dog {'runs ' * (number % 9)}{number}" for number in range(50)]
    build(tmp_path / "grown", texts, monkeypatch)
    assert encoder.texts == texts
    encoder.texts.clear()
    texts.insert(20, "a new one")
    grown = build(tmp_path / "grown", texts, monkeypatch)
    assert encoder.texts == ["a new one"]
    assert build(tmp_path / "fresh", texts, monkeypatch) == grown
    encoder.texts.clear()
    assert build(tmp_path / "grown", texts[::-1], monkeypatch) == build(tmp_path / "other", texts[::-1], monkeypatch)
    assert encoder.texts == texts[::-1]         # of the fresh one alone


def test_vectors_of_another_encoder_or_precision_are_not_taken(tmp_path: Path) -> None:
    indexes.build_index([Sentence("a", ("v",))], [np.ones((1, 4), np.float32)], "model", tmp_path)
    for recipe, precision, missing in (("model", "float32", []), ("other", "float32", ["a"]),
                                       ("model", "bfloat16", ["a"])):
        known = KnownVectors(tmp_path, recipe, precision)
        assert known.missing(["a"]) == missing
        assert np.array_equal(np.concatenate([*known.filled(["a"], [np.full((len(missing), 4), 2.0, np.float32)])]),
                              np.full((1, 4), 0.5))
    (tmp_path / "captions.npy").write_bytes(b"damaged")
    assert KnownVectors(tmp_path, "model", "float32").missing(["a"]) == ["a"]


def test_new_vectors_come_in_parts_of_any_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.eye(8, dtype=np.float32)
    texts = list("abcdefgh")
    indexes.build_index([Sentence(text, ("v",)) for text in "cdh"], [vectors[[2, 3, 7]]], "model", tmp_path)
    monkeypatch.setattr(known_vectors, "_PART", 3)
    known = KnownVectors(tmp_path, "model", "float32")
    assert known.missing(texts) == list("abefg")
    for cuts in ([1, 4], [5], [2, 2, 1]):
        parts = np.split(vectors[[0, 1, 4, 5, 6]], np.cumsum(cuts)[:-1])
        assert np.array_equal(np.concatenate([*known.filled(texts, parts)]), vectors)


def test_making_a_vector_of_length_1_twice_changes_no_bit() -> None:
    once = indexes.unit_vectors(np.random.default_rng(0).standard_normal((2000, 512)), "drawn")
    assert np.array_equal(indexes.unit_vectors(once, "drawn"), once)
