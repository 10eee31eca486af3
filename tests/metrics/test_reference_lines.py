"""Reference lines, the evaluation that puts them beside a model, diversity and retrieval."""

import json
import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from pipeline.common import programs
from pipeline.common.errors import SpectrumError
from pipeline.emotion.taxonomy import Taxonomy
from pipeline.metrics import reference_lines as lines
from pipeline.metrics.diversity import measure_diversity
from pipeline.metrics.evaluation import EMOTION_METRICS, CaptionedSplit, evaluate
from pipeline.metrics.protocols import METRICS, prepare_evc_set
from pipeline.metrics.retrieval_scores import score_retrieval

EVC = Taxonomy.load("evc-179")
TRAINING = {
    "t1": ["a man sings happily", "a happy man sings"], "t2": ["a joyful dog runs", "a dog runs happily"],
    "t3": ["a sad woman cries", "a woman cries sadly"], "t4": ["a man is glad", "a man smiles"],
}
REFERENCES = {
    "v1": ["a man sings happily", "a joyful man is singing", "a man sings a song"],
    "v2": ["a sad boy cries", "a boy is crying sadly"],
    "v3": ["a dog runs happily", "the happy dog is running", "a dog runs on the grass"],
    "v4": ["a woman cooks soup"],
}
PREDICTIONS = {"v1": "a happy man sings", "v2": "a sad boy cries",
               "v3": "an angry dog runs", "v4": "a woman cooks"}
NEAREST = {"v1": "a man sings happily", "v2": "a sad woman cries",
           "v3": "a joyful dog runs", "v4": "a man smiles"}


# The constant word ----------------------------------------------------------------------------------------

def test_best_constant_word_is_the_most_used_of_the_best_category() -> None:
    assert lines.choose_constant_word(TRAINING, EVC) == "happily"     # joy in 3 of 4; happily twice, happy once


def test_best_constant_word_among_equals_is_the_first() -> None:
    assert lines.choose_constant_word({"t": ["gladly cheerfully"]}, EVC) == "cheerfully"
    assert lines.choose_constant_word({"t": ["a man"]}, EVC) == EVC.words[0]


def test_a_word_of_two_categories_counts_for_its_first() -> None:
    # Both videos hold worry; the one with `worried` holds annoyance too. A caption of `worried` counts for
    # annoyance, which is right for one of them; a caption of `anxious` counts for worry, right for both.
    assert lines.choose_constant_word({"a": ["worried"], "b": ["anxious"]}, EVC) == "anxious"


def test_best_constant_word_needs_training_captions() -> None:
    with pytest.raises(SpectrumError, match="training captions"):
        lines.choose_constant_word({}, EVC)


def test_constant_word_is_said_of_every_video() -> None:
    captions, references = lines.caption_with_word("happily", REFERENCES)
    assert captions == dict.fromkeys(REFERENCES, "happily") and references is REFERENCES


# The human line -------------------------------------------------------------------------------------------

def test_human_leaves_one_caption_out() -> None:
    line = lines.leave_one_out(REFERENCES, seed=3)
    assert set(line.captions) == set(line.references) == {"v1", "v2", "v3"} and line.left_out == 1
    for id, caption in line.captions.items():
        assert sorted([caption, *line.references[id]]) == sorted(REFERENCES[id])
    assert {id: len(own) for id, own in REFERENCES.items()} == {"v1": 3, "v2": 2, "v3": 3, "v4": 1}


def test_human_depends_on_seed_and_video_alone() -> None:
    ids = list(REFERENCES)
    random.Random(1).shuffle(ids)
    shuffled = {id: REFERENCES[id] for id in ids}
    assert lines.leave_one_out(shuffled, 3).captions == lines.leave_one_out(REFERENCES, 3).captions
    chosen = {tuple(sorted(lines.leave_one_out(REFERENCES, seed).captions.items())) for seed in range(20)}
    assert len(chosen) > 3


def test_human_passes_over_references_without_words() -> None:
    line = lines.leave_one_out({"a": ["...", "a man", "a dog"], "b": ["a cat", "!"]}, seed=0)
    assert set(line.captions) == {"a"} and line.left_out == 1
    assert "..." not in [line.captions["a"], *line.references["a"]]


# The whole evaluation -------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def evaluation() -> dict[str, Any]:
    return evaluate(split_of(others={"baseline": NEAREST}), EVC, seed=0, timeout=120).metrics


def split_of(references: Mapping[str, Sequence[str]] = REFERENCES, nearest: Mapping[str, str] = NEAREST,
             **more: Any) -> CaptionedSplit:
    return CaptionedSplit(PREDICTIONS, references, {"nearest_caption": nearest}, TRAINING, **more)


def test_evaluation_holds_the_model_and_every_line(evaluation: dict[str, Any]) -> None:
    assert list(evaluation) == ["coco", "evc", "emotion", "baseline", "diversity", "emotion_table", "reference_lines",
                           "ahead_of", "videos", "protocols", "warnings"]
    assert evaluation["baseline"] == evaluation["reference_lines"]["nearest_caption"]     # the same captions
    assert list(evaluation["reference_lines"]) == ["constant_word", "nearest_caption", "human"]
    for block in (evaluation, *evaluation["reference_lines"].values()):
        assert tuple(block["coco"]) == tuple(block["evc"]) == METRICS
        assert tuple(block["emotion"]) == EMOTION_METRICS
        assert all(isinstance(value, float) for part in ("coco", "evc", "emotion")
                   for value in block[part].values())
    assert set(evaluation["ahead_of"]) == {"baseline", "constant_word", "nearest_caption"}
    assert set(evaluation["ahead_of"]["baseline"]) == {"cider", "cfs"}
    assert evaluation["videos"] == 4 and evaluation["warnings"] == []
    assert json.loads(json.dumps(evaluation, allow_nan=False)) == evaluation


def test_evaluations_emotion_block(evaluation: dict[str, Any]) -> None:
    emotion, evc = evaluation["emotion"], evaluation["evc"]
    assert emotion["acc_sw"] == emotion["acc_c"] == pytest.approx(2 / 4)    # joy, sadness | anger | silent
    assert emotion["balanced_accuracy"] == pytest.approx((1 / 2 + 1) / 2)   # joy 1 of 2, sadness 1 of 1
    assert emotion["macro_f1"] == pytest.approx((2 / 3 + 1) / 2)            # joy is said once, of two videos
    assert emotion["cfs"] == pytest.approx(0.8 * evc["CIDEr"] + 0.1)
    weighted = sum(n / 10 * evc[f"Bleu_{n}"] for n in range(1, 5))
    assert emotion["bfs"] == pytest.approx(0.8 * weighted + 0.1)


def test_evaluations_lines(evaluation: dict[str, Any]) -> None:
    constant, nearest, human = evaluation["reference_lines"].values()
    assert constant["word"] == "happily"
    assert constant["emotion"]["acc_sw"] == pytest.approx(2 / 4)
    assert constant["emotion"]["balanced_accuracy"] == pytest.approx(1 / 2)
    assert nearest["emotion"]["acc_sw"] == pytest.approx(3 / 4)
    assert (human["videos"], human["left_out"], human["choices"]) == (3, 1, 3)
    assert human["coco"]["CIDEr"] > 0 and 0 <= human["emotion"]["acc_sw"] <= 1


def test_evaluation_without_java(evaluation: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "java", lambda: None)
    without = evaluate(split_of(), EVC, seed=0, timeout=120).metrics
    assert without["emotion"] == evaluation["emotion"]
    for block, whole in zip((without, *without["reference_lines"].values()),
                            (evaluation, *evaluation["reference_lines"].values()), strict=True):
        assert block["coco"] == dict.fromkeys(METRICS)
        assert block["evc"] == {**whole["evc"], "METEOR": None}
    assert len(without["warnings"]) == 2


def test_evaluation_where_nobody_can_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "java", lambda: None)
    single = {id: own[:1] for id, own in REFERENCES.items()}
    evaluation = evaluate(split_of(single), EVC, seed=0, timeout=120).metrics
    human = evaluation["reference_lines"]["human"]
    assert "human: every video has a single caption, so none can be left out" in evaluation["warnings"]
    assert human["evc"] == dict.fromkeys(METRICS) and human["emotion"] == dict.fromkeys(EMOTION_METRICS)
    assert (human["videos"], human["left_out"]) == (0, 4)


def test_a_score_that_nothing_can_have_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "java", lambda: None)
    plain = {id: ["a man walks", "two dogs"] for id in REFERENCES}
    evaluation = evaluate(split_of(plain), EVC, seed=0, timeout=120).metrics
    assert evaluation["emotion"]["balanced_accuracy"] is evaluation["emotion"]["macro_f1"] is None
    assert "balanced_accuracy and macro_f1 are absent: no reference holds an emotion word" in evaluation["warnings"]


def test_evaluation_names_the_set_whose_videos_differ() -> None:
    with pytest.raises(SpectrumError, match="nearest_caption: 1 videos have no captions: v4"):
        nearest = {id: NEAREST[id] for id in ("v1", "v2", "v3")}
        evaluate(split_of(nearest=nearest), EVC, seed=0, timeout=120)


def test_evc_set_prepares_both_sides() -> None:
    assert prepare_evc_set({"a": "A Dog!"}, {"a": ["Two dogs, " + "x " * 20]}) == (
        {"a": "a dog"}, {"a": ["two dogs" + " x" * 13]})


# Diversity and retrieval ----------------------------------------------------------------------------------

def test_diversity() -> None:
    captions = {"a": "A man sings happily.", "b": "a man sings happily", "c": "two dogs", "d": ""}
    assert measure_diversity(captions, TRAINING) == {
        "distinct_captions": 3, "distinct_words": 6, "words": 10 / 4, "novel_captions": 2 / 4}
    assert measure_diversity({}, {})["novel_captions"] == 0


def test_retrieval_scores() -> None:
    similarity = np.zeros((4, 12), np.float32)
    similarity[0, 3] = 1                                    # rank 1
    similarity[1] = np.linspace(1, 0, 12)                   # column 4: rank 5
    similarity[2] = np.linspace(1, 0, 12)                   # column 9: rank 10
    similarity[3] = np.linspace(1, 0, 12)                   # column 11: rank 12
    assert score_retrieval(similarity, np.array([3, 4, 9, 11])) == {
        "r1": 0.25, "r5": 0.5, "r10": 0.75, "median_rank": 7.5}


def test_ties_win_nothing_in_retrieval() -> None:
    assert score_retrieval(np.ones((3, 20)), np.array([0, 1, 2])) == {
        "r1": 0.0, "r5": 0.0, "r10": 0.0, "median_rank": 20.0}


@pytest.mark.parametrize(("similarity", "targets", "message"), [
    (np.zeros((2, 3)), np.array([0]), "one target a text"),
    (np.zeros((0, 3)), np.zeros(0, int), "one target a text"),
    (np.zeros((2, 3)), np.array([0, 3]), "there are 3 videos"),
    (np.full((2, 3), np.nan), np.array([0, 1]), "finite"),
])
def test_retrieval_refuses(similarity: np.ndarray, targets: np.ndarray, message: str) -> None:
    with pytest.raises(SpectrumError, match=message):
        score_retrieval(similarity, targets)
