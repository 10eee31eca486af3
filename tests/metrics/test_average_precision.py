"""Mean average precision of attributes, against figures worked out by hand."""

import numpy as np
import pytest

from pipeline.metrics.average_precision import compute_mean_average_precision


def test_one_attribute_by_hand() -> None:
    # Ranked: hit, miss, hit, miss. Precision at the hits: 1/1 and 2/3.
    scores, targets = [[0.9], [0.8], [0.7], [0.1]], [[1], [0], [1], [0]]
    assert compute_mean_average_precision(scores, targets) == pytest.approx((1 + 2 / 3) / 2)


def test_the_mean_is_over_attributes_that_some_video_has() -> None:
    scores = [[0.9, 0.2, 0.5], [0.1, 0.8, 0.5]]
    # First: ranked first. Second: ranked last of two. Third: no video has it.
    assert compute_mean_average_precision(scores, [[1, 1, 0], [0, 0, 0]]) == pytest.approx((1 + 1 / 2) / 2)


def test_equal_scores_do_not_depend_on_the_order_of_videos() -> None:
    targets = np.array([[1], [0], [0], [1]])
    result = {compute_mean_average_precision(np.zeros((4, 1)), targets[order])
             for order in ([0, 1, 2, 3], [3, 2, 1, 0], [1, 2, 0, 3])}
    assert result == {0.5}


def test_chance_is_the_share_of_videos_and_perfection_is_one() -> None:
    rng = np.random.default_rng(0)
    targets = rng.random((4000, 3)) < 0.2
    assert compute_mean_average_precision(targets, targets) == 1.0
    assert compute_mean_average_precision(rng.random((4000, 3)), targets) == pytest.approx(0.2, abs=0.03)


def test_no_attribute_at_all() -> None:
    assert compute_mean_average_precision(np.zeros((2, 3)), np.zeros((2, 3))) is None
