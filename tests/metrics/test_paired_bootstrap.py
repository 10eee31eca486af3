"""The paired bootstrap, against scores computed over again and against known answers."""

import numpy as np
import pytest

from pipeline.common.errors import SpectrumError
from pipeline.emotion.taxonomy import Taxonomy
from pipeline.metrics.emotions import compare_categories, compute_cfs, score_emotions
from pipeline.metrics.paired_bootstrap import VideoScores, compare, describe

RNG = np.random.default_rng(0)
EVC = Taxonomy.load("evc-179")


def system(ahead: float = 0.0, videos: int = 300, noise: float = 0.3, shared: int = 1) -> VideoScores:
    """CIDEr of a video: how hard it is, which all systems share, and chance."""
    hard = np.random.default_rng(shared).normal(1.0, 0.8, videos)
    cider = hard + ahead + RNG.normal(0, noise, videos)
    return VideoScores({"coco": cider, "evc": cider}, RNG.integers(2, size=videos).astype(float), np.zeros(videos))


def test_the_scores_of_a_choice_of_videos_are_those_of_the_metrics() -> None:
    captions = {"a": "a man runs happily", "b": "a sad dog happily sleeps", "c": "a cat", "d": "he sadly goes"}
    references = {"a": ["a joyful man"], "b": ["a happy dog", "it is angry"], "c": ["a cat is calm"],
                  "d": ["a sad man"]}
    comparisons = compare_categories(captions, references, EVC)
    own = VideoScores.of({"evc": [1.0, 0.2, 0.4, 0.8]}, comparisons)
    emotion = score_emotions(captions, references, EVC)
    once = own.scores(np.ones((1, 4)))
    assert once["cfs"][0] == pytest.approx(compute_cfs(0.6, emotion.acc_sw, emotion.acc_c), abs=1e-12)
    assert "cider" not in once                          # without Java there is no coco protocol
    twice_a = {"a": captions["a"], "a again": captions["a"], "c": captions["c"], "d": captions["d"]}
    again = score_emotions(twice_a, {key: references[key[0]] for key in twice_a}, EVC)
    chosen = own.scores(np.array([[2.0, 0.0, 1.0, 1.0]]))
    assert chosen["cfs"][0] == pytest.approx(compute_cfs((2 + 0.4 + 0.8) / 4, again.acc_sw, again.acc_c), abs=1e-12)


def test_captions_that_all_mix_right_and_wrong_have_the_published_limit() -> None:
    mixed = VideoScores({"evc": np.zeros(3)}, np.ones(3), np.ones(3))
    assert mixed.scores(np.ones((1, 3)))["cfs"][0] == pytest.approx(0.1 * 0.5)


def test_a_small_gain_shows_because_hard_videos_are_hard_for_both() -> None:
    """Unpaired, its standard error would be 0.8 · √2 / √300 = 0.065."""
    found = compare([system(0.1)], [system(0.0)], seed=0)["cider"]
    assert not found["tie"] and 0 < found["low"] < 0.1 < found["high"] < 0.2
    assert found["high"] - found["low"] == pytest.approx(4 * 0.3 * 2 ** 0.5 / 300 ** 0.5, rel=0.2)
    assert compare([system(0.1, shared=1)], [system(0.0, shared=2)], seed=0)["cider"]["tie"]


def test_equal_systems_are_tied_nineteen_times_of_twenty() -> None:
    ties = sum(compare([system()], [system()], seed)["cider"]["tie"] for seed in range(40))
    assert ties >= 34


def test_trainings_that_differ_widen_the_interval() -> None:
    lucky, plain, unlucky = (system(gain, noise=0.01) for gain in (0.5, 0.0, -0.4))
    many = compare([lucky, plain, unlucky], [system(noise=0.01)] * 3, seed=0)["cider"]
    assert many["tie"] and many["difference"] == pytest.approx(0.1 / 3, abs=0.01)
    assert many["high"] - many["low"] > 0.5
    assert not compare([lucky], [system(noise=0.01)], seed=0)["cider"]["tie"]
    against_one = compare([lucky, plain, unlucky], [system(noise=0.01)], seed=0)["cider"]
    assert against_one["tie"] and against_one["high"] - against_one["low"] > 0.5


def test_the_same_seed_gives_the_same_interval_and_other_videos_are_refused() -> None:
    one, other = system(), system()
    assert compare([one], [other], seed=3) == compare([one], [other], seed=3)
    with pytest.raises(SpectrumError, match=r"these have \[200, 300\] videos"):
        compare([one], [system(videos=200)], seed=0)


def test_an_interval_in_words() -> None:
    assert describe({"difference": 0.0214, "low": 0.008, "high": 0.0351, "tie": False}) == "+2.1 (+0.8 to +3.5)"
    assert describe({"difference": -0.001, "low": -0.02, "high": 0.018, "tie": True}) == "-0.1 (-2.0 to +1.8), tie"
