"""Emotion probabilities of captions, and the prior of a video."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pipeline.emotion import probabilities
from pipeline.emotion.prior import Emotions, hit_rates, prior, reference_categories
from pipeline.emotion.taxonomy import Taxonomy
from pipeline.errors import SpectrumError
from pipeline.params import Emotion

TAXONOMY = Taxonomy.load("evc-179")


def column(word: str) -> int:
    return TAXONOMY.words.index(word)


def category(name: str) -> int:
    return TAXONOMY.categories.index(name)


def test_the_lexicon_is_certain_of_whole_words() -> None:
    found = probabilities.lexicon(["A HAPPY man is happily worried.", "unhappy people", ""], TAXONOMY)
    assert set(np.flatnonzero(found[0])) == {column("happy"), column("happily"), column("worried")}
    assert not found[1:].any()


def test_a_category_is_the_noisy_or_of_its_words() -> None:
    words = np.zeros((1, len(TAXONOMY.words)), np.float32)
    words[0, column("happy")], words[0, column("glad")], words[0, column("worried")] = 0.5, 0.2, 1.0
    found = probabilities.categories(words, TAXONOMY)[0]
    assert found[category("joy")] == pytest.approx(1 - 0.5 * 0.8, abs=1e-5)
    assert found[category("worry")] == found[category("annoyance")] == pytest.approx(1.0, abs=1e-5)
    assert found[category("sadness")] == 0


def test_clip_finds_the_near_word_and_stays_neutral_where_nothing_is_near() -> None:
    rng = np.random.default_rng(0)
    of_word = {word: rng.standard_normal(64).astype(np.float32) for word in TAXONOMY.words}

    def encode(prompts: Sequence[str]) -> np.ndarray:
        return np.stack([next(v for w, v in of_word.items() if prompt.split()[-1] == w) for prompt in prompts])

    captions = np.stack([of_word["sad"], np.zeros(64, np.float32)])
    captions[0] /= np.linalg.norm(captions[0])
    found = probabilities.clip(captions, np.zeros((3, 64), np.float32), TAXONOMY, encode, temperature=0.02)
    assert found[0].argmax() == column("sad")
    assert found[0].max() > 0.9
    # at the corpus' mean every word and the neutral choice are equally likely
    assert found[1] == pytest.approx(np.full(len(TAXONOMY.words), 1 / (len(TAXONOMY.words) + 1)), abs=1e-4)
    assert (found.sum(1) <= 1 + 1e-5).all()


def test_back_ends_without_weight_are_not_run_and_the_mixture_is_their_mean() -> None:
    def never(prompts: Sequence[str]) -> np.ndarray:
        raise AssertionError

    none = np.zeros((2, 4), np.float32)
    found = probabilities.backends(["sad", "x"], none, none, Emotion(lexicon=1, clip=0), TAXONOMY, never)
    assert set(found) == {"lexicon"}
    mixed = probabilities.mixture({"lexicon": np.ones((1, 2), np.float32), "clip": np.zeros((1, 2), np.float32)},
                                  Emotion(lexicon=0.6, clip=0.2))
    assert mixed == pytest.approx(np.full((1, 2), 0.75))


def test_the_prior_weighs_candidates_by_their_similarity() -> None:
    p = np.array([[[1.0, 0.0], [0.0, 1.0]]], np.float32)
    assert prior(p, np.array([[0.5, 0.5]], np.float32), 0.1) == pytest.approx(np.array([[0.5, 0.5]]))
    assert prior(p, np.array([[0.9, 0.1]], np.float32), 0.05)[0, 0] > 0.999
    ratio = prior(p, np.array([[0.1, 0.0]], np.float32), 0.1)[0]
    assert ratio[0] / ratio[1] == pytest.approx(np.e, rel=1e-5)


def test_hit_rates_by_hand() -> None:
    priors = np.zeros((3, len(TAXONOMY.categories)), np.float32)
    priors[0, category("joy")] = 1
    priors[1, category("joy")], priors[1, category("sadness")] = 1, 0.5
    found = hit_rates(priors, [{"joy"}, {"sadness"}, set()], TAXONOMY)
    assert found == {"videos": 2, "hit1": 0.5, "hit3": 1.0, "mean_ap": pytest.approx(0.75)}
    assert hit_rates(priors[:1], [set()], TAXONOMY)["hit1"] is None
    assert reference_categories(["a Sad man", "he is worried"], TAXONOMY) == {"sadness", "worry", "annoyance"}


def test_emotions_come_back_from_disk(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    c, w = len(TAXONOMY.categories), len(TAXONOMY.words)
    made = Emotions("evc-179", "abc", np.array([3, 8]), rng.random((2, w), np.float32), rng.random((2, c), np.float32),
                    ("a", "é"), rng.random((2, w), np.float32), rng.random((2, c), np.float32))
    made.write(tmp_path / "e.h5")
    read = Emotions.read(tmp_path / "e.h5")
    categories, words = read.select(["é"])
    assert (read.taxonomy, read.recipe_id, read.ids) == ("evc-179", "abc", ("a", "é"))
    assert np.array_equal(categories, made.categories[1:]) and np.array_equal(words, made.words[1:])
    with pytest.raises(SpectrumError, match="no emotional prior for video 'z'"):
        read.select(["z"])
    with pytest.raises(SpectrumError, match=r"stages\.emotion"):
        Emotions.read(tmp_path / "none.h5")
