"""Emotion probabilities of captions: word lists, expressions, the choice of words, and how they are joined."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from project import ROOT
from pydantic import ValidationError

from pipeline.emotion import probabilities
from pipeline.emotion.estimators import Estimators
from pipeline.emotion.taxonomy import NAMES, Taxonomy
from pipeline.emotion.word_choice import WordChoice, encode_words, fit_choice
from pipeline.params import Emotion

TAXONOMY = Taxonomy.load("evc-179")
NONE = np.zeros((1, 4), np.float32)


def column(word: str) -> int:
    return TAXONOMY.words.index(word)


def category(name: str) -> int:
    return TAXONOMY.categories.index(name)


def test_the_lexicon_is_certain_of_whole_words() -> None:
    result = probabilities.match_words(["A HAPPY man is happily worried.", "unhappy people", ""], TAXONOMY)
    assert set(np.flatnonzero(result[0])) == {column("happy"), column("happily"), column("worried")}
    assert not result[1:].any()


@pytest.mark.parametrize(("caption", "expected"), [
    ("A man cries!", "sadness"), ("a face in tears", "sadness"), ("a woman screams in terror", "fear"),
    ("the happier dog", "joy"), ("two people are laughing", "joy"), ("they are kissing", "love"),
])
def test_what_the_lists_do_not_name_is_heard(caption: str, expected: str) -> None:
    assert not probabilities.match_words([caption], TAXONOMY).any()
    heard = probabilities.match_expressions([caption], TAXONOMY)[0]
    assert heard.argmax() == category(expected) and 0.4 < heard.max() < 1
    assert not probabilities.match_expressions(["a man plays a guitar"], TAXONOMY).any()


def test_expressions_are_joined_by_noisy_or() -> None:
    one, other, both = probabilities.match_expressions(["cries", "tears", "tears and cries"], TAXONOMY)
    sadness = category("sadness")
    assert both[sadness] == pytest.approx(1 - (1 - one[sadness]) * (1 - other[sadness]))


def test_the_table_of_expressions_is_sound() -> None:
    """Never a word of the metrics' lists, which would count twice; every share of a category that there is."""
    table = json.loads((ROOT / "pipeline/emotion/expressions.json").read_text())["words"]
    words = [word for entry in table for word in entry.split()]
    assert len(words) == len(set(words)) > 400
    assert not set(words) & set(TAXONOMY.words)
    for shares in table.values():
        assert set(shares) <= set(TAXONOMY.categories) and all(0 < share < 1 for share in shares.values())


def test_a_category_is_the_noisy_or_of_its_words() -> None:
    words = np.zeros((1, len(TAXONOMY.words)), np.float32)
    words[0, column("happy")], words[0, column("glad")], words[0, column("worried")] = 0.5, 0.2, 1.0
    result = probabilities.derive_categories(words, TAXONOMY)[0]
    assert result[category("joy")] == pytest.approx(1 - 0.5 * 0.8, abs=1e-5)
    assert result[category("worry")] == result[category("annoyance")] == pytest.approx(1.0, abs=1e-5)
    assert result[category("sadness")] == 0


@pytest.mark.parametrize("name", NAMES)
def test_spread_words_give_the_categories_back(name: str) -> None:
    taxonomy = Taxonomy.load(name)
    rng = np.random.default_rng(0)
    p = rng.uniform(0, 1, (50, 34)).astype(np.float32)
    p[0], p[1] = 0, 1
    words = probabilities.spread_categories(p, taxonomy, rng.integers(1, 100, len(taxonomy.words)))
    assert (words >= 0).all() and (words <= 1).all() and not words[0].any()
    assert probabilities.derive_categories(words, taxonomy) == pytest.approx(p, abs=1e-4)


def test_the_usual_word_of_a_category_is_the_likely_one_and_a_double_word_needs_both() -> None:
    counts = probabilities.count_words(["Happy dog", "happy, happy cat", "a glad man", "worried"], TAXONOMY)
    assert (counts[column("happy")], counts[column("glad")], counts[column("sad")]) == (2, 1, 0)
    p = np.zeros((3, 34), np.float32)
    p[0, category("joy")] = 0.9
    p[1, category("worry")] = 0.9
    p[2, [category("worry"), category("annoyance")]] = 0.9
    words = probabilities.spread_categories(p, TAXONOMY, counts + 1.0)
    assert words[0].argmax() == column("happy")
    assert words[0, column("happy")] > words[0, column("glad")] > words[0, column("cheerful")] > 0
    assert words[1, column("worried")] == 0 < words[1, column("anxious")]
    assert words[2, column("worried")] > words[2, column("anxious")] > 0


def similarities(count: int, sharpness: float) -> tuple[np.ndarray, np.ndarray]:
    """Of captions of which half have an emotion word, which is nearer than the others by `sharpness` deviations."""
    rng = np.random.default_rng(0)
    near = rng.standard_normal((count, len(TAXONOMY.words))).astype(np.float32) * 0.05
    matches = np.zeros_like(near)
    matches[np.arange(0, count, 2), rng.integers(len(TAXONOMY.words), size=(count + 1) // 2)] = 1
    return near + sharpness * 0.05 * matches, matches


def test_the_choice_of_words_is_neutral_where_no_emotion_word_stands() -> None:
    near, matches = similarities(400, 8)
    choice = fit_choice(near, matches)
    words = choice.choose(near)
    neutral = 1 - words.sum(1)
    assert neutral[1::2].mean() > 0.95 and neutral[::2].mean() < 0.05
    assert (words[::2].argmax(1) == matches[::2].argmax(1)).mean() > 0.98
    unfitted = WordChoice(0.02, 0.0).choose(near)       # sure that there is an emotion in every caption
    assert (1 - unfitted.sum(1))[1::2].max() < 0.1


def test_a_text_tower_that_hears_nothing_says_how_little_it_knows() -> None:
    near, matches = similarities(400, 0)
    words = fit_choice(near, matches).choose(near)
    assert 1 - words.sum(1).mean() == pytest.approx(0.5, abs=0.02)       # half of the captions are neutral
    assert words.max() < 0.1


def test_captions_without_any_emotion_word_teach_to_be_neutral() -> None:
    near, matches = similarities(50, 3)
    assert fit_choice(near, np.zeros_like(matches)).choose(near).sum(1).max() < 1e-4


@dataclass
class Corpus:
    texts: Sequence[str]
    embeddings: np.ndarray
    recipe_id: str = "text-model"


def never(prompts: Sequence[str]) -> np.ndarray:
    raise AssertionError


def encode(texts: Sequence[str]) -> np.ndarray:
    """Unit vectors: the sum of a direction for each word."""
    rows = np.stack([sum(np.random.default_rng(sum(map(ord, word)) + 7 * len(word)).standard_normal(32)
                         for word in text.split()) for text in texts])
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_the_text_tower_hears_the_word_in_a_caption() -> None:
    texts = [f"{word} man" for word in TAXONOMY.words[::4]] + [f"man {n}" for n in range(40)]
    estimators = Estimators(Emotion(estimators=("clip",)), Corpus(texts, encode(texts)), encode, "cpu")
    words = estimators.predict(["sad man", "man 99"], encode(["sad man", "man 99"]), {"clip": 1.0})
    assert words[0].argmax() == column("sad")
    assert words[0].sum() > 2 * words[1].sum()
    assert np.linalg.norm(encode_words(TAXONOMY, encode), axis=1) == pytest.approx(1)


def test_estimators_are_joined_by_noisy_or_at_their_weights() -> None:
    made = Estimators(Emotion(estimators=("lexicon", "expressions")), Corpus(["sad"], NONE), never, "cpu")
    parts = made.predict_each(["a sad man in tears", "tears"], NONE)
    assert list(parts) == ["lexicon", "expressions"]
    tears = probabilities.match_expressions(["tears"], TAXONOMY)[0, category("sadness")]

    def sadness(expressions: float) -> list[float]:
        weights = {"lexicon": 1.0, "expressions": expressions}
        words = made.predict(["a sad man in tears", "tears"], NONE, weights)
        return probabilities.derive_categories(words, TAXONOMY)[:, category("sadness")].tolist()

    assert sadness(1) == pytest.approx([1, tears], abs=1e-4)
    assert sadness(0.5) == pytest.approx([1, 1 - (1 - tears) ** 0.5], abs=1e-4)
    assert sadness(0) == pytest.approx([1, 0], abs=1e-4)


def test_the_recipe_stands_for_the_estimators_and_what_was_fitted() -> None:
    made = Estimators(Emotion(estimators=("lexicon",)), Corpus(["sad"], NONE), never, "cpu")
    other = Estimators(Emotion(estimators=("lexicon", "expressions")), Corpus(["sad"], NONE), never, "cpu")
    assert made.recipe_id("a") == made.recipe_id("a") != made.recipe_id("b")
    assert made.recipe_id("a") != other.recipe_id("a")


@pytest.mark.parametrize(("changes", "message"), [
    ({"estimators": ()}, "estimators is empty"), ({"estimators": ("lexicon", "lexicon")}, "has an entry twice"),
    ({"modalities": ("audio", "audio")}, "has an entry twice"), ({"estimators": ("classifier",)}, "classifier_model"),
])
def test_lists_that_mean_nothing_are_refused(changes: dict[str, tuple[str, ...]], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Emotion.model_validate(changes)
