"""Emotion probabilities of captions, and the prior of a video."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from pydantic import ValidationError

from pipeline.common import hdf5
from pipeline.common.errors import SpectrumError
from pipeline.emotion import probabilities
from pipeline.emotion.calibration import apply_temperature, compute_log_loss, fit_temperature
from pipeline.emotion.emotion_file import Emotions
from pipeline.emotion.estimators import Estimators
from pipeline.emotion.prior import compute_prior
from pipeline.emotion.taxonomy import NAMES, Taxonomy
from pipeline.params import Emotion

TAXONOMY = Taxonomy.load("evc-179")


def column(word: str) -> int:
    return TAXONOMY.words.index(word)


def category(name: str) -> int:
    return TAXONOMY.categories.index(name)


def test_the_lexicon_is_certain_of_whole_words() -> None:
    result = probabilities.match_words(["A HAPPY man is happily worried.", "unhappy people", ""], TAXONOMY)
    assert set(np.flatnonzero(result[0])) == {column("happy"), column("happily"), column("worried")}
    assert not result[1:].any()


def test_a_category_is_the_noisy_or_of_its_words() -> None:
    words = np.zeros((1, len(TAXONOMY.words)), np.float32)
    words[0, column("happy")], words[0, column("glad")], words[0, column("worried")] = 0.5, 0.2, 1.0
    result = probabilities.derive_categories(words, TAXONOMY)[0]
    assert result[category("joy")] == pytest.approx(1 - 0.5 * 0.8, abs=1e-5)
    assert result[category("worry")] == result[category("annoyance")] == pytest.approx(1.0, abs=1e-5)
    assert result[category("sadness")] == 0


def test_clip_finds_the_near_word_and_stays_neutral_where_nothing_is_near() -> None:
    rng = np.random.default_rng(0)
    of_word = {word: rng.standard_normal(64).astype(np.float32) for word in TAXONOMY.words}

    def encode(prompts: Sequence[str]) -> np.ndarray:
        return np.stack([next(v for w, v in of_word.items() if prompt.split()[-1] == w) for prompt in prompts])

    captions = np.stack([of_word["sad"], np.zeros(64, np.float32)])
    captions[0] /= np.linalg.norm(captions[0])
    corpus = np.zeros((3, 64), np.float32)
    result = probabilities.compare_with_words(captions, corpus, TAXONOMY, encode, temperature=0.02)
    assert result[0].argmax() == column("sad")
    assert result[0].max() > 0.9
    # at the corpus' mean every word and the neutral choice are equally likely
    assert result[1] == pytest.approx(np.full(len(TAXONOMY.words), 1 / (len(TAXONOMY.words) + 1)), abs=1e-4)
    assert (result.sum(1) <= 1 + 1e-5).all()


@dataclass
class Corpus:
    texts: Sequence[str]
    embeddings: np.ndarray
    recipe_id: str = "text-model"


def never(prompts: Sequence[str]) -> np.ndarray:
    raise AssertionError


def test_estimators_without_weight_are_not_run_and_the_mixture_is_their_mean() -> None:
    none = np.zeros((2, 4), np.float32)
    made = Estimators(Emotion(lexicon=1, clip=0), Corpus(["sad", "x"], none), never, "cpu")
    assert set(made.predict_each(["sad", "x"], none)) == {"lexicon"}
    mixed = probabilities.mix({"lexicon": np.ones((1, 2), np.float32), "clip": np.zeros((1, 2), np.float32)},
                                  Emotion(lexicon=0.6, clip=0.2))
    assert mixed == pytest.approx(np.full((1, 2), 0.75))
    with pytest.raises(ValidationError, match="all 0"):
        Emotion(lexicon=0, clip=0)


def test_estimators_calibrated_each_and_together() -> None:
    none = np.zeros((1, 4), np.float32)
    made = Estimators(Emotion(lexicon=1, clip=0), Corpus(["sad"], none), never, "cpu")
    at = made.with_temperatures({"lexicon": 8.0, "mixture": 2.0})
    parts = made.predict_each(["a sad man"], none)
    surest = 1 - 1e-6
    assert made.predict(["a sad man"], none)[0, column("sad")] == pytest.approx(1)
    lines = at.calibrate(parts)
    assert lines["lexicon"][0, column("sad")] == pytest.approx(1 - (1 - surest) ** (1 / 8), abs=1e-3)
    assert lines["mixture"][0, column("sad")] == pytest.approx(1 - (1 - surest) ** (1 / 16), abs=1e-3)
    assert np.array_equal(at.predict(["a sad man"], none), lines["mixture"])
    assert made.recipe_id(20) != at.recipe_id(20) != at.recipe_id(10)
    assert made.recipe_id(20) == made.with_temperatures({}).recipe_id(20)


def test_a_temperature_divides_the_evidence_of_words_and_categories_alike() -> None:
    p = np.random.default_rng(0).uniform(0, 0.9, (5, len(TAXONOMY.words))).astype(np.float32)
    assert apply_temperature(p, 1.0) == pytest.approx(p, abs=1e-6)
    assert apply_temperature(np.array([0.75], np.float32), 2.0) == pytest.approx([0.5])
    assert apply_temperature(np.array([0.5], np.float32), 0.5) == pytest.approx([0.75])
    assert not apply_temperature(np.zeros(3, np.float32), 0.1).any()
    of_words = probabilities.derive_categories(apply_temperature(p, 3.0), TAXONOMY)
    assert of_words == pytest.approx(apply_temperature(probabilities.derive_categories(p, TAXONOMY), 3.0), abs=1e-4)


def test_the_fitted_temperature_is_the_one_that_made_the_truth() -> None:
    rng = np.random.default_rng(0)
    categories = rng.uniform(0.05, 0.95, (400, 34)).astype(np.float32)
    positions, scores = rng.integers(0, 400, (4000, 1)), np.ones((4000, 1), np.float32)
    for truth in (0.5, 1.0, 4.0):
        targets = rng.random((4000, 34)) < apply_temperature(categories, truth)[positions[:, 0]]
        result = fit_temperature(categories, positions, scores, targets, 0.05)
        assert result == pytest.approx(truth, rel=0.1)
        assert fit_temperature(categories, positions, scores, targets, 0.05) == result


def test_nothing_to_learn_from_leaves_the_temperature_at_one() -> None:
    categories, positions, scores = np.full((2, 34), 0.5, np.float32), np.array([[0, 1]]), np.ones((1, 2), np.float32)
    assert fit_temperature(categories, positions, scores, np.zeros((1, 34), bool), 0.05) == 1.0
    assert fit_temperature(categories, positions[:0], scores[:0], np.zeros((0, 34), bool), 0.05) == 1.0


def test_log_loss_by_hand() -> None:
    priors = np.array([[0.8, 0.1], [0.0, 1.0]], np.float32)
    targets = np.array([[True, False], [True, True]])
    by_hand = -np.mean([np.log(0.8), np.log(0.9), np.log(1e-3), np.log(0.999)])
    assert compute_log_loss(priors, targets) == pytest.approx(by_hand, rel=1e-5)
    assert compute_log_loss(priors[:0], targets[:0]) is None


def test_the_prior_weighs_candidates_by_their_similarity() -> None:
    p = np.array([[[1.0, 0.0], [0.0, 1.0]]], np.float32)
    assert compute_prior(p, np.array([[0.5, 0.5]], np.float32), 0.1) == pytest.approx(np.array([[0.5, 0.5]]))
    assert compute_prior(p, np.array([[0.9, 0.1]], np.float32), 0.05)[0, 0] > 0.999
    ratio = compute_prior(p, np.array([[0.1, 0.0]], np.float32), 0.1)[0]
    assert ratio[0] / ratio[1] == pytest.approx(np.e, rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_spread_words_give_the_categories_back(name: str) -> None:
    taxonomy = Taxonomy.load(name)
    rng = np.random.default_rng(0)
    p = rng.uniform(0, 1, (50, 34)).astype(np.float32)
    p[0], p[1] = 0, 1
    counts = rng.integers(0, 100, len(taxonomy.words))
    words = probabilities.spread_categories(p, taxonomy, counts)
    assert (words >= 0).all() and (words <= 1).all() and not words[0].any()
    assert probabilities.derive_categories(words, taxonomy) == pytest.approx(p, abs=1e-4)


def test_the_usual_word_of_a_category_is_the_likely_one_and_a_double_word_needs_both() -> None:
    counts = probabilities.count_words(["Happy dog", "happy, happy cat", "a glad man", "worried"], TAXONOMY)
    assert (counts[column("happy")], counts[column("glad")], counts[column("sad")]) == (2, 1, 0)
    p = np.zeros((3, 34), np.float32)
    p[0, category("joy")] = 0.9
    p[1, category("worry")] = 0.9
    p[2, [category("worry"), category("annoyance")]] = 0.9
    words = probabilities.spread_categories(p, TAXONOMY, counts)
    assert words[0].argmax() == column("happy")
    assert words[0, column("happy")] > words[0, column("glad")] > words[0, column("cheerful")] > 0
    assert words[1, column("worried")] == 0 < words[1, column("anxious")]
    assert words[2, column("worried")] > words[2, column("anxious")] > 0


def emotions() -> Emotions:
    rng = np.random.default_rng(0)
    c, w = len(TAXONOMY.categories), len(TAXONOMY.words)
    return Emotions("evc-179", "abc", "candidates", {"lexicon": 8.0}, np.array([3, 8]), rng.random((2, w), np.float32),
                    rng.random((2, c), np.float32), ("a", "é"), rng.random((2, w), np.float32),
                    rng.random((2, c), np.float32))


def test_emotions_come_back_from_disk(tmp_path: Path) -> None:
    made = emotions()
    made.write(tmp_path / "e.h5")
    read = Emotions.read(tmp_path / "e.h5")
    categories, words = read.select(["é"])
    assert (read.taxonomy, read.recipe_id, read.ids) == ("evc-179", "abc", ("a", "é"))
    assert np.array_equal(categories, made.categories[1:]) and np.array_equal(words, made.words[1:])
    assert read.temperatures == Emotions.read_temperatures(tmp_path / "e.h5") == {"lexicon": 8.0}
    with pytest.raises(SpectrumError, match="no emotional prior for video 'z'"):
        read.select(["z"])
    for read_from in (Emotions.read, Emotions.read_temperatures):
        with pytest.raises(SpectrumError, match=r"none\.h5: no such file; run the stage that makes it"):
            read_from(tmp_path / "none.h5")


def too_large(values: np.ndarray) -> np.ndarray:
    return np.where(np.arange(values.shape[1]) == 3, 1.5, values).astype(np.float32)


@pytest.mark.parametrize(("changes", "message"), [
    ({"taxonomy": "plutchik"}, "its list of emotion words is 'plutchik', expected one of evc-179, ft-161"),
    ({"taxonomy": "ft-161"}, r"its caption_words have the shape \(2, 179\), expected \(2, 161\)"),
    ({"rows": np.array([8, 3])}, "its rows do not rise"),
    ({"rows": np.array([-1, 3])}, "its rows do not rise"),
    ({"rows": np.array([1, 2, 3])}, "its caption_words have the shape"),
    ({"ids": ("a", "a")}, "a video stands in it twice"),
    ({"words": too_large(emotions().words)}, "its words hold a value that is no probability"),
    ({"categories": -emotions().categories}, "its categories hold a value that is no probability"),
    ({"categories": np.full((2, 34), np.nan, np.float32)}, "its categories hold a value that is not a finite number"),
    ({"words": emotions().words.astype(np.float64)}, "its words are of type float64, expected float32"),
    ({"temperatures": {"clip": float("inf")}}, "no positive numbers"),
    ({"temperatures": {"clip": "warm"}}, "no positive numbers"),
    ({"temperatures": {"clip": -1.0}}, "no positive numbers"),
])
def test_a_file_of_anything_else_is_refused_in_a_sentence(
        tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = tmp_path / "emotion.h5"
    replace(emotions(), **changes).write(path)
    with pytest.raises(SpectrumError, match=rf"emotion\.h5: .*{message}"):
        Emotions.read(path)


def test_temperatures_that_are_no_json_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "emotion.h5"
    emotions().write(path)
    with h5py.File(path, "r+") as file:
        file.attrs["temperatures"] = "[" * 100_000
        file.attrs["sha256"] = hdf5._sha256({name: value for name, value in file.attrs.items() if name != "sha256"})
    for read_from in (Emotions.read, Emotions.read_temperatures):
        with pytest.raises(SpectrumError, match=r"emotion\.h5: .*its temperatures are no JSON"):
            read_from(path)
