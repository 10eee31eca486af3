"""How well a prior finds the reference emotions, against figures worked out by hand."""

import numpy as np
import pytest

from pipeline.emotion.taxonomy import Taxonomy
from pipeline.metrics.emotion_prior import label_videos, mark_categories, score_prior
from pipeline.metrics.emotions import tabulate_categories
from pipeline.metrics.protocols import prepare_evc_set

TAXONOMY = Taxonomy.load("evc-179")


def category(name: str) -> int:
    return TAXONOMY.categories.index(name)


def test_scores_by_hand() -> None:
    priors = np.zeros((3, len(TAXONOMY.categories)), np.float32)
    priors[0, category("joy")] = 1
    priors[1, category("joy")], priors[1, category("sadness")] = 1, 0.5
    targets = mark_categories([frozenset({"joy"}), frozenset({"sadness"}), frozenset()], TAXONOMY)
    # of the videos, joy finds one of two at once, sadness the only one
    assert score_prior(priors, targets) == {"videos": 2, "hit1": 0.5, "hit3": 1.0, "mean_ap": pytest.approx(0.75),
                                            "category_ap": pytest.approx((1 / 2 + 1) / 2)}
    assert score_prior(priors[:1], mark_categories([frozenset()], TAXONOMY))["hit1"] is None
    assert mark_categories([], TAXONOMY).shape == (0, 34)


def test_the_videos_of_a_split_are_labelled_with_all_their_categories() -> None:
    captions_of = {"a": ["a Sad man!", "he is worried"], "b": ["a man"], "c": ["a happy man"]}
    videos = label_videos(["c", "a", "b"], ["a", "b"], captions_of, TAXONOMY)
    assert videos.positions.tolist() == [1, 2]
    assert set(np.flatnonzero(videos.targets[0])) == {category("sadness"), category("worry"), category("annoyance")}
    assert not videos.targets[1].any()
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
