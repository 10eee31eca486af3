import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from media_factory import clip, ffmpeg, number_of, picture, sound_only

from pipeline import media
from pipeline.media import Unreadable


def shown(path: Path, n: int) -> list[int]:
    return [number_of(image) for _, image in media.frames(str(path), n)]


def test_uniform_times_are_the_centres_of_equal_parts() -> None:
    assert media.uniform_times(1.0, 3.0, 4) == [1.25, 1.75, 2.25, 2.75]
    assert media.uniform_times(0.0, 5.0, 1) == [2.5]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
def test_frames_are_those_shown_at_the_times(tmp_path: Path, name: str) -> None:
    codec = "mpeg4" if name.endswith("avi") else "libx264"
    path = clip(tmp_path / name, 30, codec=codec)
    found = list(media.frames(str(path), 5))            # at 0.3, 0.9, 1.5, 2.1, 2.7 s
    assert [number_of(image) for _, image in found] == [3, 9, 15, 21, 27]
    assert [time for time, _ in found] == pytest.approx([0.3, 0.9, 1.5, 2.1, 2.7], abs=0.001)
    assert found[0][1].shape == (96, 128, 3)
    assert found[0][1].dtype == np.uint8
    assert np.abs(found[1][1].astype(int) - picture(9)).mean() < 6


def test_all_frames_come_in_the_order_shown_despite_b_frames(tmp_path: Path) -> None:
    assert shown(clip(tmp_path / "a.mp4", 40), 40) == list(range(40))


def test_variable_frame_rate(tmp_path: Path) -> None:
    times = [0, 40, 80, 500, 540, 580, 1900, 1950, 2000]
    path = clip(tmp_path / "a.mkv", times)
    found = list(media.frames(str(path), 8))
    end = media.probe(str(path)).duration
    wanted = [max(i for i, time in enumerate(times) if time / 1000 <= t + 1e-6)
              for t in media.uniform_times(0.0, end, 8)]
    assert [number_of(image) for _, image in found] == wanted
    assert [time for time, _ in found] == pytest.approx([times[i] / 1000 for i in wanted])


def test_a_clip_of_fewer_frames_repeats_some(tmp_path: Path) -> None:
    assert shown(clip(tmp_path / "a.mp4", 3), 7) == [0, 0, 1, 1, 1, 2, 2]


def test_a_clip_of_one_frame(tmp_path: Path) -> None:
    assert shown(clip(tmp_path / "a.mp4", 1), 3) == [0, 0, 0]


def test_a_file_that_does_not_start_at_zero(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mkv", [5000 + 100 * i for i in range(20)])
    found = list(media.frames(str(path), 4))
    assert [number_of(image) for _, image in found] == [2, 7, 12, 17]
    assert [time for time, _ in found] == pytest.approx([5.2, 5.7, 6.2, 6.7])


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_rotation_is_applied_as_ffmpeg_does(tmp_path: Path, turn: int) -> None:
    path = tmp_path / "turned.mp4"
    ffmpeg("-display_rotation", str(turn), "-i", clip(tmp_path / "a.mp4", 4), "-c", "copy", path)
    found = media.probe(str(path))
    assert (found.width, found.height) == ((128, 96) if turn == 180 else (96, 128))
    raw = ffmpeg("-i", path, "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    wanted = np.frombuffer(raw, np.uint8).reshape(found.height, found.width, 3)
    _, image = next(media.frames(str(path), 4))
    assert np.abs(image.astype(int) - wanted).mean() < 3


def test_probe(tmp_path: Path) -> None:
    found = media.probe(str(clip(tmp_path / "a.mp4", 30, sound=440.0)))
    assert (found.width, found.height, found.rotation, found.has_sound) == (128, 96, 0, True)
    assert found.duration == pytest.approx(3.0, abs=0.05)
    assert found.fps == pytest.approx(10, abs=0.1)
    assert not media.probe(str(clip(tmp_path / "b.mp4", 5))).has_sound


def test_sound_comes_in_windows_around_uniform_times(tmp_path: Path) -> None:
    windows = list(media.sound(str(clip(tmp_path / "a.mp4", 30, sound=440.0)), 3, 0.5))
    assert [time for time, _ in windows] == pytest.approx([0.5, 1.5, 2.5], abs=0.05)
    for _, window in windows:
        assert window.shape == (8000,)
        assert window.dtype == np.float32
        spectrum = np.abs(np.fft.rfft(window))
        assert np.argmax(spectrum) * 2 == pytest.approx(440, abs=4)     # 2 Hz a bin
        assert np.abs(window).max() == pytest.approx(0.5, abs=0.05)


def test_a_window_beyond_the_sound_is_filled_with_zeros(tmp_path: Path) -> None:
    [(time, window)] = media.sound(str(clip(tmp_path / "a.mp4", 10, sound=440.0)), 1, 3.0)
    assert time == pytest.approx(0.5, abs=0.05)
    assert not window[:14_000].any()
    assert not window[-14_000:].any()
    assert np.abs(window[20_000:28_000]).max() > 0.4


def test_no_sound_track_is_no_window(tmp_path: Path) -> None:
    assert list(media.sound(str(clip(tmp_path / "a.mp4", 5)), 4, 0.5)) == []


def test_a_sound_track_with_nothing_in_it_is_no_window(tmp_path: Path) -> None:
    path = tmp_path / "empty.mkv"
    ffmpeg("-i", clip(tmp_path / "a.mp4", 5, sound=440.0), "-c", "copy", "-bsf:a", "noise=drop=1", path)
    assert media.probe(str(path)).has_sound
    assert list(media.sound(str(path), 4, 0.5)) == []


def test_the_best_picture_stream_is_taken(tmp_path: Path) -> None:
    small, large = clip(tmp_path / "s.mp4", 10), clip(tmp_path / "l.mp4", 10, size=(256, 192), first=100)
    both = tmp_path / "both.mkv"
    ffmpeg("-i", small, "-i", large, "-map", "0", "-map", "1", "-c", "copy", "-disposition", "0", both)
    assert shown(both, 2) == [102, 107]


def test_a_cover_picture_is_no_video(tmp_path: Path) -> None:
    cover, path = tmp_path / "cover.png", tmp_path / "song.m4a"
    ffmpeg("-i", clip(tmp_path / "a.mp4", 1), cover)
    ffmpeg("-i", sound_only(tmp_path / "plain.m4a"), "-i", cover, "-map", "0", "-map", "1", "-c", "copy",
           "-disposition:v", "attached_pic", path)
    with pytest.raises(Unreadable, match="no video stream"):
        shown(path, 2)
    assert len(list(media.sound(str(path), 2, 0.5))) == 2


@pytest.mark.parametrize("name", ["a.mkv", "a.avi", "a.mp4"])
def test_a_file_cut_in_half_is_refused(tmp_path: Path, name: str) -> None:
    codec, options = ("mpeg4", {}) if name.endswith("avi") else ("libx264", {"movflags": "faststart"})
    path = clip(tmp_path / name, 60, codec=codec, options=options if name.endswith("mp4") else {})
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(Unreadable, match="cut off"):
        shown(path, 4)


def test_a_file_without_its_index_is_refused(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mp4", 60)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(Unreadable, match="damaged"):
        shown(path, 4)


def test_damaged_pictures_are_refused(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mkv", 60)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    for i in range(middle, middle + 3000):
        data[i] ^= 0x5A
    path.write_bytes(data)
    with pytest.raises(Unreadable):
        shown(path, 60)


def test_no_duration_in_the_header(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mkv", 20, options={"live": "1"})
    assert shown(path, 4) == [2, 7, 12, 17]


@pytest.mark.parametrize("text", [
    "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nsecret.mp4\n#EXT-X-ENDLIST\n",
    "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nhttp://127.0.0.1:9/secret.ts\n#EXT-X-ENDLIST\n",
    "ffconcat version 1.0\nfile secret.mp4\n",
    "<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011' type='static'></MPD>",
    "just words\n",
    "",
])
@pytest.mark.parametrize("suffix", ["mp4", "m3u8", "ffconcat"])
def test_a_file_that_names_others_is_refused(tmp_path: Path, text: str, suffix: str) -> None:
    clip(tmp_path / "secret.mp4", 10)
    path = tmp_path / f"list.{suffix}"
    path.write_text(text)
    with pytest.raises(Unreadable):
        shown(path, 2)


def test_a_format_out_of_the_list_is_refused(tmp_path: Path) -> None:
    """A single picture is readable to FFmpeg, but it is no video here."""
    path = tmp_path / "picture.png"
    ffmpeg("-i", clip(tmp_path / "a.mp4", 1), path)
    with pytest.raises(Unreadable, match="FFmpeg refuses it"):
        shown(path, 1)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    for name, reason in (("pipe.mp4", "no ordinary file"), (".", "no ordinary file"), ("x.mp4", "no such file")):
        with pytest.raises(Unreadable, match=reason):
            shown(tmp_path / name, 1)


def test_giant_frames_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = clip(tmp_path / "a.mp4", 3)
    monkeypatch.setattr(media, "MAX_SIDE", 100)
    with pytest.raises(Unreadable, match="128x96 pixels are larger"):
        shown(path, 1)


@pytest.mark.parametrize("name", ["-i.mp4", "a b 'c' \"d\".mp4", "%03d.mp4", "ünïcode 视频 🎬.mp4", "http:x.mp4"])
def test_any_file_name(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.move(clip(tmp_path / "plain.mp4", 4), tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert [number_of(image) for _, image in media.frames(name, 2)] == [1, 3]


def answer(job: dict[str, object]) -> list[tuple[dict[str, Any], bytes]]:
    """The messages that a decoder process gives to a job."""
    out = io.BytesIO()
    media._answer(out, job)
    out.seek(0)
    messages = []
    while start := out.read(media.HEADER.size):
        header = json.loads(out.read(media.HEADER.unpack(start)[0]))
        messages.append((header, out.read(header["bytes"])))
    return messages


def test_answers_to_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(clip(tmp_path / "a.mp4", 4, sound=440.0))
    [(header, _)] = answer({"do": "probe", "path": path})
    assert header["probe"]["width"] == 128
    *items, (end, _) = answer({"do": "frames", "path": path, "n": 3})
    assert [(header["is"], header["shape"], len(body)) for header, body in items] == [
        ("item", [96, 128, 3], 96 * 128 * 3)] * 3
    assert end["is"] == "end"
    assert len(answer({"do": "sound", "path": path, "n": 2, "window": 0.1, "rate": 16_000})) == 3
    [(header, _)] = answer({"do": "frames", "path": path + "x", "n": 3})
    assert (header["is"], header["reason"]) == ("error", "no such file")

    def too_large(*_: object) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(media, "_rgb", too_large)
    [(header, _)] = answer({"do": "frames", "path": path, "n": 3})
    assert header["reason"] == "MemoryError: no room"


def test_real_clips(real_data: Path) -> None:
    clips = sorted(path for path in (real_data / "clips").iterdir() if path.suffix != ".json")
    assert len(clips) >= 15
    for path in clips:
        found = media.probe(str(path))
        times = [time for time, _ in media.frames(str(path), 4)]
        assert len(times) == 4
        assert times == sorted(times)
        assert times[-1] - times[0] == pytest.approx(0.75 * found.duration, abs=0.2)


@pytest.mark.parametrize(("name", "reason"), [
    ("decord_corrupted.mp4", "damaged"), ("moviepy_example.txt", "no video file"),
    ("moviepy_result.webm", "no video file"), ("moviepy_with-attached-pic.mp3", "no video stream"),
])
def test_real_odd_files_that_fail(real_data: Path, name: str, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        list(media.frames(str(real_data / "odd" / name), 8))


@pytest.mark.parametrize(("name", "shape"), [
    ("decord_unordered.mov", (50, 50)), ("decord_video_90.mov", (568, 320)), ("moviepy_bitmap.mp4", (1, 1)),
    ("moviepy_no_duration.webm", (720, 1280)), ("torchcodec_h265_10bits.mp4", (200, 200)),
])
def test_real_odd_files_that_work(real_data: Path, name: str, shape: tuple[int, int]) -> None:
    found = list(media.frames(str(real_data / "odd" / name), 8))
    assert [image.shape[:2] for _, image in found] == [shape] * 8
