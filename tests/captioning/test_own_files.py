"""The videos that a command line names, their windows, and the subtitles made of them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from media_factory import clip

from pipeline.captioner.training_domain import TrainedOn
from pipeline.captioning.files import check_videos, find_videos
from pipeline.captioning.subtitles import to_srt, to_vtt
from pipeline.captioning.windows import LONGEST, SHORTEST, Window, divide, find_windows
from pipeline.media.decoder import VideoDecoder


def test_files_folders_patterns_and_lists_are_found_once_and_in_order(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("b.mp4", "a=1.mp4", "@c.mp4", "in/d.mkv", "in/.e.mp4", "in/notes.txt", "in/deep/f.MP4"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"")
    Path("list.txt").write_text("\ufeff# some\nb.mp4\r\n\nin/*.mkv\n")
    found, problems = find_videos(["b.mp4", "a=1.mp4", "@c.mp4", "in", "**/*.mp4"], [Path("list.txt")])
    assert [str(path) for path in found] == ["b.mp4", "a=1.mp4", "@c.mp4", "in/d.mkv", "in/deep/f.MP4"]
    assert problems == []
    Path("empty").mkdir()
    Path("other.txt").write_text("@list.txt\n")
    found, problems = find_videos(["no.mp4", "no*.mp4", "empty", "@none.txt", "b.mp4", "@other.txt"])
    assert [str(path) for path in found] == ["b.mp4"]
    assert [str(problem).partition(":")[0] for problem in problems] == \
        ["no.mp4", "no*.mp4", "empty", "none.txt", "other.txt"]


def test_what_is_no_video_is_told_of_and_the_others_are_kept(tmp_path: Path) -> None:
    whole, text = clip(tmp_path / "a.mp4", 6), tmp_path / "b.mp4"
    text.write_text("no video")
    with VideoDecoder(30) as decoder:
        decoder.start()
        videos, problems = check_videos([text, whole, tmp_path], decoder, lambda: None)
    assert [video.path for video in videos] == [whole] and videos[0].probe.duration == pytest.approx(0.6)
    assert [str(problem).partition(":")[0] for problem in problems] == [str(text), str(tmp_path)]


def test_windows_follow_the_cuts(tmp_path: Path) -> None:
    film = clip(tmp_path / "film.mp4", 150, hold=30)        # a cut every 3 seconds
    looked: list[float] = []
    with VideoDecoder(30) as decoder:
        assert decoder.cuts(film, 0, 15) == pytest.approx([3, 6, 9, 12])
        assert decoder.cuts(film, 5, 9.5) == pytest.approx([6, 9])
        assert decoder.cuts(film, 6, 9) == pytest.approx([6])
        assert decoder.cuts(film, 6.5, 9) == []
        windows = find_windows(decoder, film, 15.0, looked.append)
    assert [window.start for window in windows] == pytest.approx([0, 3, 6, 9, 12]) and sum(looked) == 15


def test_scenes_too_short_are_joined_and_too_long_are_divided() -> None:
    assert divide(1.0, []) == [Window(0.0, 1.0)]
    assert divide(9.0, [0.5, 4.0, 5.0, 8.5]) == [Window(0.0, 4.0), Window(4.0, 9.0)]
    windows = divide(47.0, [10.5, 11.0])
    assert [window.start for window in windows[1:]] == [window.end for window in windows[:-1]]
    assert windows[-1].end == 47.0 and windows[2].start == 10.5
    assert all(SHORTEST <= window.end - window.start <= LONGEST for window in windows)


def captioned(text: str, start: float, end: float, far: bool) -> Any:
    return SimpleNamespace(text=text, window=Window(start, end), is_far=far, trained_on=TrainedOn("<b>", 2, 1000))


def test_subtitles_say_what_they_come_of_and_hold_any_text() -> None:
    clips = [captioned("a man\n\nruns <i>", 0.0, 3.9999, False), captioned("x --> y", 3725.5, 3729.0, True)]
    assert to_srt(clips) == (
        "1\n00:00:00,000 --> 00:00:04,000\na man runs <i>\n"
        "[captions by a model trained on 2 videos with 1,000 captions of data set '<b>']\n\n"
        "2\n01:02:05,500 --> 01:02:09,000\nx → y\n(unlike the training clips)\n")
    assert to_vtt(clips) == (
        "WEBVTT\n\nNOTE captions by a model trained on 2 videos with 1,000 captions of data set '&lt;b&gt;'\n\n"
        "00:00:00.000 --> 00:00:04.000\na man runs &lt;i&gt;\n\n"
        "01:02:05.500 --> 01:02:09.000\nx → y\n(unlike the training clips)\n")
