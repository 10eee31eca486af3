"""The numbers beside their reference lines."""

from pathlib import Path

from pipeline.report import tables


def test_the_sentence_on_the_constant_word_says_only_what_is_known() -> None:
    lines = {"constant_word": {"word": "happily", "emotion": {"acc_sw": 0.5}}}
    assert tables.explain_constant_word({"emotion": {"acc_sw": 0.5}, "reference_lines": lines}) == (
        "Here “happily”, said of every video, reaches Acc sw 50.0, level with the model's 50.0.")
    assert tables.explain_constant_word({"emotion": {"acc_sw": 0.5}}) == ""


def test_best_that_is_not_human_is_marked_and_a_tie_marks_both() -> None:
    metrics = {"coco": {"CIDEr": 0.50004}, "baseline": {"coco": {"CIDEr": 0.50001}},
               "reference_lines": {"nearest_caption": {"coco": {"CIDEr": 0.4}},
                                   "human": {"coco": {"CIDEr": 0.9}}}}
    rows = tables.build_rows(metrics, (tables.DRAWN[0],))
    assert [(row.name, row.cells[0].text, row.cells[0].best) for row in rows] == [
        ("Model", "50.0", True), ("Baseline", "50.0", True), ("Nearest caption", "40.0", False),
        ("Human", "90.0", False)]


def test_a_lone_score_is_not_called_the_best() -> None:
    assert not tables.build_rows({"coco": {"CIDEr": 0.5}}, (tables.DRAWN[0],))[0].cells[0].best


def test_a_lost_balanced_accuracy_is_said() -> None:
    lines = {"constant_word": {"word": "happily", "emotion": {"acc_sw": 0.5, "balanced_accuracy": 0.3}}}
    for own, verdict in ((0.2, True), (0.3, True), (0.4, False)):
        text = tables.explain_constant_word({"emotion": {"acc_sw": 0.6, "balanced_accuracy": own},
                                             "reference_lines": lines})
        assert ("no better than a single word" in text) == verdict


def test_how_far_the_model_is_ahead_stands_beside_each_line() -> None:
    metrics = {"coco": {"CIDEr": 0.5}, "baseline": {"coco": {"CIDEr": 0.4}},
               "ahead_of": {"baseline": {"cfs": {"difference": 0.021, "low": -0.008, "high": 0.035, "tie": True}}}}
    model, baseline = tables.build_rows(metrics, (tables.DRAWN[0],))
    assert baseline.ahead == (tables.Ahead(), tables.Ahead("+2.1", "−0.8 to +3.5", True))
    assert model.ahead == (tables.Ahead(), tables.Ahead())
    assert tables.build_rows({"coco": {"CIDEr": 0.5}}, (tables.DRAWN[0],))[0].ahead == ()


def test_candidates_by_split() -> None:
    retrieval = {"candidates": {"train": {"videos": 2000, "equal_to_reference": 0.5, "nearest_cider": None}},
                 "references_in_corpus": {"train": 12345}}
    assert tables.build_candidate_rows(retrieval) == [("train", ["2,000", "50.0", "–", "–", "12,345"])]


def test_every_line_has_a_note_and_a_mark_of_its_own() -> None:
    block = {"coco": {"CIDEr": 0.5}}
    names = ("without_rerankers", "without_candidates", "baseline")
    lines = ("constant_word", "nearest_caption", "consensus_caption", "human")
    metrics = block | dict.fromkeys(names, block) | {"reference_lines": dict.fromkeys(lines, block)}
    rows = tables.build_rows(metrics, (tables.DRAWN[0],))
    assert len(rows) == 8 and all(row.note for row in rows)
    style = Path(tables.__file__).with_name("style.css").read_text()
    marks = [row.name.lower().replace(" ", "-") for row in rows]
    assert [mark for mark in marks if f".dot.{mark} " not in style] == ["baseline"]      # it has the plain dot
