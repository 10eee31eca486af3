"""What the progress of long work tells where there is no terminal."""

import pytest

from pipeline.common import progress
from pipeline.common.progress import Bar
from stages.extract import describe


def test_parts_of_a_unit_sum_up_and_earlier_work_is_no_part_of_the_rate(
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    with Bar("train", 10, "epochs") as bar:
        bar.advance(4, fresh=False)
        for _ in range(3):
            bar.advance(1 / 3, inner=1)
        bar.advance(0, note="CFS 0.5")
        now += 20
        bar.advance(0.5)
    *lines, last = capsys.readouterr().err.splitlines()
    assert lines == [last] == ["train: 5.5/10 epochs, 0.075 epochs/s, 60 s left, CFS 0.5"]


def test_nothing_done_yet_says_nothing_of_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    with Bar("extract", 3, "videos", "frames") as bar:
        bar.advance(3, fresh=False)
    assert capsys.readouterr().err == "extract: 3/3 videos, 0 videos/s, 0 frames/s\n"


def test_work_of_which_there_is_none_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Bar("extract", 0, "videos"):
        pass
    assert capsys.readouterr().err == ""


def test_a_modality_that_is_left_out_is_said_to_be() -> None:
    assert describe({"frames": 0, "rows": 0, "videos": 0}).startswith("nothing to extract")
    assert describe({"frames": 9, "rows": 9, "videos": 3, "reused": 0, "resumed": 1, "kept": 0, "failed": 0}) == (
        "9 rows of 3 videos, 1 kept as they were")
