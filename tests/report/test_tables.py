"""The numbers beside their reference lines."""



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
