"""Attribute matching by word forms and by meaning."""

from collections.abc import Sequence

import numpy as np
import pytest
from captioner_world import TAXONOMY
from numpy.typing import NDArray

from pipeline import params
from pipeline.captioner.attributes import AttributeList
from pipeline.captioner.training.attribute_matching import attribute_matching
from pipeline.common.errors import SpectrumError
from pipeline.retrieval.index import CaptionIndex

# A text encoder that knows synonyms: the direction of a text is the sum of its words' concepts.
CONCEPTS = {"dog": 0, "puppy": 0, "runs": 1, "sprints": 1, "happily": 2, "gladly": 2, "cat": 3}
CAPTIONS = [["a puppy sprints"], ["the cat runs", "a cat happily waits"]]
# The third caption is not in the index.
TEXTS = ("A puppy sprints.", "the cat runs", "a man gladly waits", "a tree", "some bird", "rain")
OWNERS = tuple((video,) for video in "abcdef")


class Encoder:
    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.seen += texts
        vectors = np.full((len(texts), 6), 1.0, np.float32)      # all texts share one large direction
        for row, text in enumerate(texts):
            for word in text.lower().strip(".").split():
                if word in CONCEPTS:
                    vectors[row, CONCEPTS[word]] += 2.0
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def matched_words(kind: str, encoder: Encoder) -> list[set[str]]:
    """Of every video of CAPTIONS the attributes that it has."""
    attributes = AttributeList.build(["dog runs happily", "cat runs", "dog"], TAXONOMY, 3)
    assert set(attributes.words) == {"dog", "runs", "cat", "happily"}
    section = params.Captioner.model_validate({"matching": kind, "matching_threshold": 0.3})
    index = CaptionIndex(TEXTS, OWNERS, Encoder()(TEXTS), "recipe", "digest", "corpus")
    targets = attribute_matching(section, index, lambda: encoder)(attributes, CAPTIONS)
    assert targets.shape == (2, 4)
    return [{word for word, present in zip(attributes.words, row, strict=True) if present} for row in targets.tolist()]


@pytest.mark.parametrize(("kind", "expected"), [
    ("lexical", [set(), {"cat", "runs", "happily"}]),
    ("semantic", [{"dog", "runs"}, {"cat", "runs", "happily"}]),
    ("both", [{"dog", "runs"}, {"cat", "runs", "happily"}]),
])
def test_a_synonym_matches_by_meaning(kind: str, expected: list[set[str]]) -> None:
    assert matched_words(kind, Encoder()) == expected


def test_both_is_either_one() -> None:
    encoder = Encoder()
    CONCEPTS.pop("cat")         # the encoder does not know the word any more, the caption still holds it
    try:
        assert "cat" not in matched_words("semantic", encoder)[1]
        assert "cat" in matched_words("both", encoder)[1]
    finally:
        CONCEPTS["cat"] = 3


def test_only_what_the_index_lacks_is_encoded_and_nothing_for_word_forms() -> None:
    encoder = Encoder()
    matched_words("semantic", encoder)
    assert "a cat happily waits" in encoder.seen and not {"the cat runs", "a puppy sprints"} & set(encoder.seen)
    unused = Encoder()
    matched_words("lexical", unused)
    assert unused.seen == []


def test_an_encoder_without_single_words_is_refused() -> None:
    def captions_alone(texts: Sequence[str]) -> NDArray[np.float32]:
        if "dog" in texts:
            raise SpectrumError("texts.hdf5: no embedding of the text 'dog'")
        return Encoder()(texts)

    attributes = AttributeList.build(["dog runs happily"], TAXONOMY, 3)
    index = CaptionIndex(TEXTS, OWNERS, Encoder()(TEXTS), "recipe", "digest", "corpus")
    match = attribute_matching(params.Captioner(matching="both"), index, lambda: captions_alone)
    with pytest.raises(SpectrumError, match="use captioner.matching=lexical"):
        match(attributes, CAPTIONS)
