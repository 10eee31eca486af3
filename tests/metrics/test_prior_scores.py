"""How well a prior finds the reference emotions, against figures worked out by hand."""

from collections.abc import Sequence

import numpy as np
import pytest

from pipeline.emotion.taxonomy import Taxonomy
from pipeline.metrics.emotion_prior import compare_with_constant, label_videos, score_prior
from pipeline.metrics.emotions import tabulate_categories
from pipeline.metrics.protocols import prepare_evc_set

TAXONOMY = Taxonomy.load("evc-179")


def category(name: str) -> int:
    return TAXONOMY.categories.index(name)


def mark_categories(categories: Sequence[set[str]]) -> np.ndarray:
    return np.array([[name in own for name in TAXONOMY.categories] for own in categories])


def test_scores_by_hand() -> None:
    priors = np.zeros((3, len(TAXONOMY.categories)), np.float32)
    priors[0, category("joy")] = 1
    priors[1, category("joy")], priors[1, category("sadness")] = 1, 0.5
    targets = mark_categories([{"joy"}, {"sadness"}, set()])
    # of the videos, joy finds one of two at once, sadness the only one
    assert score_prior(priors, targets) == {"videos": 2, "hit1": 0.5, "hit3": 1.0, "mean_ap": pytest.approx(0.75),
                                            "category_ap": pytest.approx((1 / 2 + 1) / 2)}
    assert score_prior(priors[:1], mark_categories([set()]))["hit1"] is None


def test_the_videos_of_a_split_are_labelled_with_all_their_categories() -> None:
    captions_of = {"a": ["a Sad man!", "he is worried"], "b": ["a man"], "c": ["a happy man"]}
    videos = label_videos(["c", "a", "b"], ["a", "b"], captions_of, TAXONOMY)
    assert videos.positions.tolist() == [1, 2]
    assert set(np.flatnonzero(videos.targets[0])) == {category("sadness"), category("worry"), category("annoyance")}
    assert not videos.targets[1].any()
    assert [TAXONOMY.words[n] for n in np.flatnonzero(videos.words[0])] == ["sad", "worried"]
    assert not videos.words[1].any()
    assert label_videos(["c"], [], captions_of, TAXONOMY).targets.shape == (0, 34)


def test_the_reference_emotions_are_those_of_the_metrics() -> None:
    captions_of = {"long": ["a man " * 8 + "is happy"], "hyphen": ["a happy-go-lucky man"], "upper": ["A SAD, man."],
                   "apostrophe": ["an angry' dog"]}
    videos = label_videos(list(captions_of), list(captions_of), captions_of, TAXONOMY)
    # after the fifteenth word nothing counts, and a deleted hyphen leaves one word
    assert not videos.targets[:2].any()
    assert set(np.flatnonzero(videos.targets[2])) == {category("sadness")}
    table = tabulate_categories(*prepare_evc_set(dict.fromkeys(captions_of, ""), captions_of), TAXONOMY)
    assert {row.category: row.videos for row in table} == {
        name: count for name, count in zip(TAXONOMY.categories, videos.targets.sum(0), strict=True) if count}


def test_a_prior_is_measured_by_the_constant() -> None:
    constant = {"log_loss": 0.2, "hit1": 0.4}

    def verdict(log_loss: float, hit1: float | None) -> tuple[str, bool]:
        prior = {"log_loss": log_loss, "hit1": hit1}
        return compare_with_constant({"candidates": {"log_loss": 9.0, "hit1": 0.0}, "candidates + audio": prior,
                                      "constant": constant})

    sentence, is_better = verdict(0.1, 0.5)
    assert is_better and sentence == (
        "the emotional prior (candidates + audio) is better than a constant on validation: log-loss 0.100, a constant "
        "0.200; hit@1 0.500, a constant 0.400")
    assert verdict(0.3, 0.5) == (sentence.replace("is better", "is in part no better").replace("0.100", "0.300"), False)
    assert verdict(0.2, 0.4)[0].startswith("the emotional prior (candidates + audio) is no better than a constant")
    assert not verdict(0.2, None)[1] and verdict(0.1, None)[1]
    assert compare_with_constant({"candidates": {"log_loss": None, "hit1": None}})[1]
