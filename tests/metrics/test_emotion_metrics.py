"""Emotion metrics against the published code's outputs and against cases worked out by hand."""

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from pipeline.common.errors import SpectrumError
from pipeline.emotion.taxonomy import Taxonomy
from pipeline.metrics.emotions import CategoryRow, compute_bfs, compute_cfs, score_emotions, tabulate_categories

EVC = Taxonomy.load("evc-179")


def scores(captions: list[str], references: list[list[str]]) -> tuple[float, float]:
    result = score_emotions({str(n): caption for n, caption in enumerate(captions)},
                           {str(n): own for n, own in enumerate(references)}, EVC)
    return result.acc_sw, result.acc_c


GLAD, SAD = ["a glad man", "a man"], ["a sad man"]


@pytest.mark.parametrize(("captions", "references", "acc_sw", "acc_c"), [
    # one right of one; exp(0) · 1/1
    (["a happy dog"], [GLAD], 1, 1),
    # right, wrong and silent: 1 / (1 + 1 + 1); one of three captions is right
    (["a happy dog", "a happy dog", "a dog"], [GLAD, SAD, GLAD], 1 / 3, 1 / 3),
    # two categories of joy's words count once
    (["a happy cheerful joyful dog", "a dog"], [GLAD, SAD], 1 / 2, 1 / 2),
    # mixed: N_h = 1, N_1 = 3, so exp(1 / (-2 + 1e-4)) · 3/3; right 3, wrong 1
    (["a happy sad dog", "a happy dog", "a glad dog"], [GLAD] * 3, 3 / 4, math.exp(1 / (-2 + 1e-4))),
    # every right caption is mixed: the exponent overflows, the limit is 0
    (["a happy sad dog", "a dog"], [GLAD, GLAD], 1 / 3, 0),
    # nothing right
    (["a dog", "an angry dog"], [GLAD, GLAD], 0, 0),
    # `worried` counts for annoyance in a caption, for annoyance and worry in a reference
    (["a worried dog"], [["an anxious man"]], 0, 0),
    (["a worried dog"], [["a worried man"]], 1, 1),
    (["a concerned dog"], [["a worried man"]], 1, 1),
    # whole and exact tokens
    (["a Happy dog happy."], [GLAD], 0, 0),
    # an empty caption is a silent one; references without emotion make any emotion wrong
    (["", "a happy dog"], [GLAD, ["a man"]], 0, 0),
])
def test_by_hand(captions: list[str], references: list[list[str]], acc_sw: float, acc_c: float) -> None:
    assert scores(captions, references) == (pytest.approx(acc_sw), pytest.approx(acc_c))


def test_tokens_may_come_as_lists() -> None:
    assert score_emotions({"a": ["happy"]}, {"a": [["a", "glad", "man"]]}, EVC).acc_sw == 1


def test_the_shorter_list_knows_fewer_words() -> None:
    captions, references = {"a": "they hate it"}, {"a": ["a hateful man"]}
    assert score_emotions(captions, references, EVC).acc_sw == 1
    assert score_emotions(captions, references, Taxonomy.load("ft-161")).acc_sw == 0


def gold() -> list[Any]:
    folder = os.environ.get("SPECTRUM_REAL_DATA")
    if not folder:
        return [pytest.param({}, marks=pytest.mark.skip("SPECTRUM_REAL_DATA is unset"))]
    cases = json.loads((Path(folder) / "emotion_metric_gold.json").read_text())
    return [pytest.param(case, id=case["name"]) for case in cases]


@pytest.mark.parametrize("case", gold())
def test_as_published(case: dict[str, Any]) -> None:
    result = score_emotions(case["hyp"], case["ref"], EVC)
    if isinstance(case["acc_sw_acc_c"], str):
        assert "OverflowError" in case["acc_sw_acc_c"]
        assert result.acc_c == 0
    else:
        assert [result.acc_sw, result.acc_c] == pytest.approx(case["acc_sw_acc_c"], abs=5e-7)


def test_balanced_accuracy_is_not_won_by_a_constant() -> None:
    references = {str(n): ["a glad man"] for n in range(8)} | {"8": ["a sad man"], "9": ["a quiet, calm man"]}
    constant = score_emotions(dict.fromkeys(references, "happily"), references, EVC)
    assert constant.acc_sw == pytest.approx(0.8)
    assert constant.balanced_accuracy == pytest.approx(1 / 3)           # joy 8 of 8, sadness 0, calm 0
    predictions = dict.fromkeys(references, "a man") | {"0": "a happy man", "8": "a sad man", "9": "calmly"}
    assert score_emotions(predictions, references, EVC).balanced_accuracy == pytest.approx((1 / 8 + 1 + 1) / 3)


def test_balanced_accuracy_needs_an_emotion_in_some_reference() -> None:
    assert score_emotions({"a": "a happy man"}, {"a": ["a man"]}, EVC).balanced_accuracy is None


def test_table_of_categories() -> None:
    references = {"a": ["a glad man"], "b": ["a glad man", "a sad man"], "c": ["a man"]}
    captions = {"a": "a happy man", "b": "an angry man", "c": "a happy man"}
    assert tabulate_categories(captions, references, EVC) == [
        CategoryRow("joy", videos=2, hits=1, predicted=2), CategoryRow("sadness", videos=1, hits=0, predicted=0),
        CategoryRow("anger", videos=0, hits=0, predicted=1)]


def test_combined_scores_of_the_papers_table() -> None:
    # SPECTRUM on EmVidCap prints CIDEr 47.8, Acc_sw 79.6, Acc_c 78.7 and CFS 54.1.
    assert compute_cfs(0.478, 0.796, 0.787) == pytest.approx(0.541, abs=5e-4)
    assert compute_bfs([0.8, 0.6, 0.4, 0.3], 0.5, 0.4) == pytest.approx(0.8 * (0.08 + 0.12 + 0.12 + 0.12) + 0.09)
    assert compute_bfs([0.8, None, 0.4, 0.3], 0.5, 0.4) is None
    assert compute_cfs(None, 0.5, 0.4) is None
    with pytest.raises(SpectrumError, match="BLEU-1 to BLEU-4"):
        compute_bfs([0.8], 0.5, 0.4)


@pytest.mark.parametrize(("captions", "references"), [({}, {}), ({"a": "x"}, {"a": ["x"], "b": ["y"]})])
def test_both_sides_must_have_the_same_videos(
        captions: dict[str, str], references: dict[str, list[str]]) -> None:
    with pytest.raises(SpectrumError, match="same videos"):
        score_emotions(captions, references, EVC)
