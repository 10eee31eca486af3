import io
import json
import os
import shutil
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from media_factory import clip, number_of, picture, sound_only
from media_factory import ffmpeg as program
from media_reading import frames, shown, sound

from pipeline import media
from pipeline.media import BACKENDS, Backend, Tally, Unreadable, probing, pyav
from pipeline.media import server as serving
from pipeline.media.sampling import Uniform, Windows


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Every test that asks for it runs with both."""
    found: Backend = request.param
    return found


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
def test_frames_are_those_shown_at_the_times(tmp_path: Path, name: str, backend: Backend) -> None:
    codec = "mpeg4" if name.endswith("avi") else "libx264"
    path = clip(tmp_path / name, 30, codec=codec)
    found = frames(path, 5, backend)            # at 0.3, 0.9, 1.5, 2.1, 2.7 s
    assert [number_of(image) for _, image in found] == [3, 9, 15, 21, 27]
    assert [time for time, _ in found] == pytest.approx([0.3, 0.9, 1.5, 2.1, 2.7], abs=0.001)
    assert found[0][1].shape == (96, 128, 3)
    assert found[0][1].dtype == np.uint8
    assert np.abs(found[1][1].astype(int) - picture(9)).mean() < 6


def test_all_frames_come_in_the_order_shown_despite_b_frames(tmp_path: Path, backend: Backend) -> None:
    assert shown(clip(tmp_path / "a.mp4", 40), 40, backend) == list(range(40))


def test_variable_frame_rate(tmp_path: Path, backend: Backend) -> None:
    times = [0, 40, 80, 500, 540, 580, 1900, 1950, 2000]
    path = clip(tmp_path / "a.mkv", times)
    found = frames(path, 8, backend)
    end = media.probe(str(path)).duration
    wanted = [max(i for i, time in enumerate(times) if time / 1000 <= t + 1e-6)
              for t in Uniform(8).times(0.0, end)]
    assert [number_of(image) for _, image in found] == wanted
    assert [time for time, _ in found] == pytest.approx([times[i] / 1000 for i in wanted])


def test_a_clip_of_fewer_frames_repeats_some(tmp_path: Path, backend: Backend) -> None:
    assert shown(clip(tmp_path / "a.mp4", 3), 7, backend) == [0, 0, 1, 1, 1, 2, 2]


def test_a_clip_of_one_frame(tmp_path: Path, backend: Backend) -> None:
    assert shown(clip(tmp_path / "a.mp4", 1), 3, backend) == [0, 0, 0]


def test_a_file_that_does_not_start_at_zero(tmp_path: Path, backend: Backend) -> None:
    path = clip(tmp_path / "a.mkv", [5000 + 100 * i for i in range(20)])
    found = frames(path, 4, backend)
    assert [number_of(image) for _, image in found] == [2, 7, 12, 17]
    assert [time for time, _ in found] == pytest.approx([5.2, 5.7, 6.2, 6.7])


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_rotation_is_applied_as_ffmpeg_does(tmp_path: Path, turn: int, backend: Backend) -> None:
    path = tmp_path / "turned.mp4"
    program("-display_rotation", str(turn), "-i", clip(tmp_path / "a.mp4", 4), "-c", "copy", path)
    found = media.probe(str(path))
    assert (found.width, found.height) == ((128, 96) if turn == 180 else (96, 128))
    raw = program("-i", path, "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    wanted = np.frombuffer(raw, np.uint8).reshape(found.height, found.width, 3)
    _, image = frames(path, 4, backend)[0]
    assert np.abs(image.astype(int) - wanted).mean() < 3


def test_probe(tmp_path: Path) -> None:
    found = media.probe(str(clip(tmp_path / "a.mp4", 30, sound=440.0)))
    assert (found.width, found.height, found.rotation, found.has_sound) == (128, 96, 0, True)
    assert found.duration == pytest.approx(3.0, abs=0.05)
    assert found.fps == pytest.approx(10, abs=0.1)
    assert not media.probe(str(clip(tmp_path / "b.mp4", 5))).has_sound


def test_sound_comes_in_windows_around_uniform_times(tmp_path: Path, backend: Backend) -> None:
    windows = sound(clip(tmp_path / "a.mp4", 30, sound=440.0), 3, 0.5, backend)
    assert [time for time, _ in windows] == pytest.approx([0.5, 1.5, 2.5], abs=0.05)
    for _, window in windows:
        assert window.shape == (8000,)
        assert window.dtype == np.float32
        spectrum = np.abs(np.fft.rfft(window))
        assert np.argmax(spectrum) * 2 == pytest.approx(440, abs=4)     # 2 Hz a bin
        assert np.abs(window).max() == pytest.approx(0.5, abs=0.05)


def test_a_window_beyond_the_sound_is_filled_with_zeros(tmp_path: Path, backend: Backend) -> None:
    [(time, window)] = sound(clip(tmp_path / "a.mp4", 10, sound=440.0), 1, 3.0, backend)
    assert time == pytest.approx(0.5, abs=0.05)
    assert not window[:14_000].any()
    assert not window[-14_000:].any()
    assert np.abs(window[20_000:28_000]).max() > 0.4


def test_no_sound_track_is_no_window(tmp_path: Path, backend: Backend) -> None:
    assert sound(clip(tmp_path / "a.mp4", 5), 4, 0.5, backend) == []


def test_a_sound_track_with_nothing_in_it_is_no_window(tmp_path: Path, backend: Backend) -> None:
    path = tmp_path / "empty.mkv"
    program("-i", clip(tmp_path / "a.mp4", 5, sound=440.0), "-c", "copy", "-bsf:a", "noise=drop=1", path)
    assert media.probe(str(path)).has_sound
    assert sound(path, 4, 0.5, backend) == []


def test_the_best_picture_stream_is_taken(tmp_path: Path, backend: Backend) -> None:
    small, large = clip(tmp_path / "s.mp4", 10), clip(tmp_path / "l.mp4", 10, size=(256, 192), first=100)
    both = tmp_path / "both.mkv"
    program("-i", small, "-i", large, "-map", "0", "-map", "1", "-c", "copy", "-disposition", "0", both)
    assert shown(both, 2, backend) == [102, 107]


def test_a_cover_picture_is_no_video(tmp_path: Path, backend: Backend) -> None:
    cover, path = tmp_path / "cover.png", tmp_path / "song.m4a"
    program("-i", clip(tmp_path / "a.mp4", 1), cover)
    program("-i", sound_only(tmp_path / "plain.m4a"), "-i", cover, "-map", "0", "-map", "1", "-c", "copy",
           "-disposition:v", "attached_pic", path)
    with pytest.raises(Unreadable, match="no video stream"):
        shown(path, 2, backend)
    assert len(sound(path, 2, 0.5, backend)) == 2


@pytest.mark.parametrize("name", ["a.mkv", "a.avi", "a.mp4"])
def test_a_file_cut_in_half_gives_what_is_there(tmp_path: Path, name: str, backend: Backend) -> None:
    codec, options = ("mpeg4", {}) if name.endswith("avi") else ("libx264", {"movflags": "faststart"})
    path = clip(tmp_path / name, 60, codec=codec, options=options if name.endswith("mp4") else {})
    os.truncate(path, path.stat().st_size // 2)
    tally = Tally()
    found = shown(path, 4, backend, tally)
    assert "cut off: its header promises 6.00 s" in tally.reason
    assert 0.2 < tally.share < 0.8
    there = 60 * tally.share
    assert found == pytest.approx([there * (2 * i + 1) / 8 for i in range(4)], abs=2)


def test_a_file_without_its_index_is_refused(tmp_path: Path, backend: Backend) -> None:
    path = clip(tmp_path / "a.mp4", 60)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(Unreadable, match="damaged"):
        shown(path, 4, backend)


def flipped(path: Path, begin: float, length: int) -> Path:
    """Damages `length` bytes from the share `begin` of the file on."""
    data = bytearray(path.read_bytes())
    for i in range(round(begin * len(data)), round(begin * len(data)) + length):
        data[i] ^= 0x5A
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
def test_damaged_pictures_are_passed_over(tmp_path: Path, name: str, backend: Backend) -> None:
    path = flipped(clip(tmp_path / name, 60, options={"movflags": "faststart"}), 0.5, 200)
    tally = Tally()
    found = shown(path, 60, backend, tally)
    assert 0.5 < tally.share < 1
    assert "do not decode whole" in tally.reason
    assert found[:20] == list(range(20))
    assert found[-10:] == list(range(50, 60))       # after the next keyframe all is well again


def test_both_back_ends_see_the_same_damage(tmp_path: Path) -> None:
    path = flipped(clip(tmp_path / "a.mkv", 60), 0.5, 200)
    found = {}
    for name in BACKENDS:
        tally = Tally()
        found[name] = [time for time, _ in frames(path, 8, name, tally)], tally.share
    assert found["pyav"] == found["ffmpeg"]


def test_space_that_was_never_written_is_not_there(tmp_path: Path, backend: Backend) -> None:
    """As a download leaves it that reserves the room first."""
    path = clip(tmp_path / "a.mp4", 60, options={"movflags": "faststart"})
    size = path.stat().st_size
    os.truncate(path, 2 * size // 3)
    os.truncate(path, size)
    tally = Tally()
    found = shown(path, 4, backend, tally)
    assert "cut off" in tally.reason
    assert 0.2 < tally.share < 0.9
    assert len(set(found)) == 4


def test_decoding_that_ends_without_an_error_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = pyav._Decoded.__iter__
    monkeypatch.setattr(pyav._Decoded, "__iter__", lambda self: islice(everything(self), 20))
    tally = Tally()
    assert shown(clip(tmp_path / "a.avi", 60, codec="mpeg4"), 4, "pyav", tally) == [7, 19, 19, 19]
    assert tally.share == pytest.approx(19 / 59)
    assert "decoding ends at 1.90 s, its packets go on to 5.90 s" in tally.reason


def test_where_nothing_decodes_the_reason_is_reported(tmp_path: Path, backend: Backend) -> None:
    path = clip(tmp_path / "a.mkv", 12)
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux() if packet.size]
    for position, size in packets:
        data[position + 8:position + size] = b"\xa5" * (size - 8)
    path.write_bytes(data)
    with pytest.raises(Unreadable, match="do not decode whole"):
        frames(path, 2, backend, Tally())


def test_broken_sound_leaves_the_frames_whole(tmp_path: Path, backend: Backend) -> None:
    path = clip(tmp_path / "a.mkv", 40, sound=440.0)
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size, packet.pts) for packet in container.demux(audio=0) if packet.size]
    for position, size, _ in packets[len(packets) // 2:]:
        data[position + 10:position + size] = bytes(i * 37 % 251 for i in range(size - 10))
    path.write_bytes(data)
    assert shown(path, 4, backend) == [5, 15, 25, 35]
    tally = Tally()
    assert len(sound(path, 3, 0.5, backend, tally)) == 3
    assert tally.share < 0.9
    assert tally.reason


def test_no_duration_in_the_header(tmp_path: Path, backend: Backend) -> None:
    path = clip(tmp_path / "a.mkv", 20, options={"live": "1"})
    assert shown(path, 4, backend) == [2, 7, 12, 17]


@pytest.mark.parametrize("text", [
    "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nsecret.mp4\n#EXT-X-ENDLIST\n",
    "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nhttp://127.0.0.1:9/secret.ts\n#EXT-X-ENDLIST\n",
    "ffconcat version 1.0\nfile secret.mp4\n",
    "<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011' type='static'></MPD>",
    "just words\n",
    "",
])
@pytest.mark.parametrize("suffix", ["mp4", "m3u8", "ffconcat"])
def test_a_file_that_names_others_is_refused(tmp_path: Path, text: str, suffix: str, backend: Backend) -> None:
    clip(tmp_path / "secret.mp4", 10)
    path = tmp_path / f"list.{suffix}"
    path.write_text(text)
    with pytest.raises(Unreadable):
        shown(path, 2, backend)


def test_a_format_out_of_the_list_is_refused(tmp_path: Path, backend: Backend) -> None:
    """A single picture is readable to FFmpeg, but it is no video here."""
    path = tmp_path / "picture.png"
    program("-i", clip(tmp_path / "a.mp4", 1), path)
    with pytest.raises(Unreadable, match="no still picture"):
        shown(path, 1, backend)


def test_what_is_no_file_is_refused(tmp_path: Path, backend: Backend) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    for name, reason in (("pipe.mp4", "no ordinary file"), (".", "no ordinary file"), ("x.mp4", "no such file")):
        with pytest.raises(Unreadable, match=reason):
            shown(tmp_path / name, 1, backend)


def test_giant_frames_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: Backend) -> None:
    path = clip(tmp_path / "a.mp4", 3)
    monkeypatch.setattr(probing, "MAX_SIDE", 100)
    with pytest.raises(Unreadable, match="128x96 pixels are larger"):
        shown(path, 1, backend)


@pytest.mark.parametrize("name", ["-i.mp4", "a b 'c' \"d\".mp4", "%03d.mp4", "ünïcode 视频 🎬.mp4", "http:x.mp4"])
def test_any_file_name(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch, backend: Backend) -> None:
    shutil.move(clip(tmp_path / "plain.mp4", 4), tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert [number_of(image) for _, image in frames(name, 2, backend)] == [1, 3]


def test_overlapping_windows_keep_their_order(tmp_path: Path, backend: Backend) -> None:
    path = clip(tmp_path / "a.mp4", 40)
    found = frames(path, Windows(3, 4, 2.0), backend)       # centres 0.67, 2, 3.33 s; 0.5 s between times
    assert [number_of(image) for _, image in found] == [0, 4, 9, 14, 12, 17, 22, 27, 25, 30, 35, 39]
    found = frames(path, Windows(2, 4, 3.0), backend)       # centres 1 and 3 s: the second begins before the first ends
    assert [number_of(image) for _, image in found] == [0, 6, 13, 21, 18, 26, 33, 39]


def answer(job: dict[str, object]) -> list[tuple[dict[str, Any], bytes]]:
    """The messages that a decoder process gives to a job."""
    out = io.BytesIO()
    serving.answer(out, job)
    out.seek(0)
    messages = []
    while start := out.read(serving.HEADER.size):
        header = json.loads(out.read(serving.HEADER.unpack(start)[0]))
        messages.append((header, out.read(header["bytes"])))
    return messages


def test_answers_to_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(clip(tmp_path / "a.mp4", 4, sound=440.0))
    [(header, _)] = answer({"do": "probe", "path": path})
    assert header["probe"]["width"] == 128
    *items, (end, _) = answer({"do": "frames", "path": path, "sampling": Uniform(3).recipe, "backend": "pyav"})
    assert [(header["is"], header["shape"], len(body)) for header, body in items] == [
        ("item", [96, 128, 3], 96 * 128 * 3)] * 3
    assert (end["is"], end["share"], end["reason"]) == ("end", 1.0, "")
    assert len(answer({"do": "sound", "path": path, "n": 2, "window": 0.1, "rate": 16_000,
                   "backend": "pyav"})) == 3
    [(header, _)] = answer({"do": "frames", "path": path + "x", "sampling": Uniform(3).recipe, "backend": "pyav"})
    assert (header["is"], header["reason"]) == ("error", "no such file")

    def too_large(*_: object) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(pyav, "_rgb", too_large)
    [(header, _)] = answer({"do": "frames", "path": path, "sampling": Uniform(3).recipe, "backend": "pyav"})
    assert header["reason"] == "MemoryError: no room"


def test_real_clips(real_data: Path, backend: Backend) -> None:
    clips = sorted(path for path in (real_data / "clips").iterdir() if path.suffix != ".json")
    assert len(clips) >= 15
    for path in clips:
        found = media.probe(str(path))
        times = [time for time, _ in frames(path, 4, backend)]
        assert len(times) == 4
        assert times == sorted(times)
        assert times[-1] - times[0] == pytest.approx(0.75 * found.duration, abs=0.2)
