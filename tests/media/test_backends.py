"""The two back ends against each other, and the sparing way of PyAV against decoding everything."""

from pathlib import Path

import numpy as np
import pytest
from media_factory import clip, number_of
from media_factory import ffmpeg as program
from media_reading import frames, shown, sound

from pipeline import media
from pipeline.media import BACKENDS, Tally, Unreadable, ffmpeg, probing, pyav
from pipeline.media.sampling import Uniform, Windows

X264 = ["libx264", "-g", "16", "-bf", "3", "-sc_threshold", "0"]
ENCODED = {
    "a.mp4": X264, "a.mkv": X264, "a.ts": X264, "a.avi": X264, "xvid.avi": ["mpeg4", "-g", "16", "-bf", "2"],
    "open.mkv": [*X264, "-x264-params", "open_gop=1"], "open.mp4": [*X264, "-x264-params", "open_gop=1"],
    "refresh.mkv": [*X264, "-x264-params", "intra-refresh=1"], "mpeg4.mp4": ["mpeg4", "-g", "16", "-bf", "2"],
    "hevc.mp4": ["libx265", "-x265-params", "log-level=0:keyint=16:bframes=3"],
    "vp8.webm": ["libvpx", "-deadline", "realtime", "-g", "16"],
    "vp9.webm": ["libvpx-vp9", "-deadline", "realtime", "-g", "16"],
    "variable.mkv": [*X264, "-enc_time_base", "1/1000"], "twins.mkv": X264,     # twins: two frames begin at once
}


@pytest.mark.parametrize("name", ENCODED)
def test_leaving_out_what_is_not_shown_changes_nothing(tmp_path: Path, name: str) -> None:
    """Jumps to keyframes and frames that are not decoded, against decoding everything: the same to the last bit."""
    uneven = [100 * i + 30 * (i % 3) for i in range(120)]
    source = clip(tmp_path / "source.mkv", uneven if name in ("variable.mkv", "twins.mkv") else 120)
    path = tmp_path / name
    program("-i", source, "-fps_mode", "passthrough", "-c:v", *ENCODED[name], path)
    track = probing.scan_pictures(str(path))
    assert track.distinct == (name != "twins.mkv")
    for sampling in (Uniform(5), Windows(3, 4, 0.3)):
        times = sorted(sampling.times(track.start, track.end))
        wanted = list(pyav.thorough(str(path), track, times, Tally()))
        for back_end in BACKENDS:
            found = sorted(frames(path, sampling, back_end), key=lambda item: item[0])
            assert [time for time, _ in found] == [time for time, _ in wanted]
            assert all(np.array_equal(left, right) for (_, left), (_, right) in zip(found, wanted, strict=True))


@pytest.mark.parametrize("name", ["a.mkv", "open.mp4", "hevc.mp4", "mpeg4.mp4"])
def test_the_sparing_way_is_taken(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / name
    program("-i", clip(tmp_path / "source.mkv", 120), "-c:v", *ENCODED[name], path)
    monkeypatch.delattr(pyav, "thorough")
    assert shown(path, 5, "pyav") == [12, 36, 60, 84, 108]


def test_few_frames_of_a_long_clip_decode_little_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = clip(tmp_path / "a.mkv", 240)                    # a keyframe in 12
    decoded = []
    whole = pyav._whole
    monkeypatch.setattr(pyav, "_whole", lambda packet, key: decoded.append(packet) or whole(packet, key))
    assert shown(path, 3, "pyav") == [40, 120, 200]
    assert len(decoded) < 60


@pytest.mark.parametrize("name", ["mp4", "gif", "10 bit", "full range", "bt709", "rotated"])
def test_the_back_ends_agree(tmp_path: Path, name: str) -> None:
    """The same true times; pixels within 1 of 255 on average."""
    source = clip(tmp_path / "source.mp4", 12)
    path = tmp_path / ("a.gif" if name == "gif" else "a.mp4")
    program(*(["-display_rotation", "90"] if name == "rotated" else []), "-i", source, *{
        "mp4": ["-c", "copy"], "gif": [], "10 bit": ["-c:v", "libx265", "-x265-params", "log-level=0", "-pix_fmt",
                                                     "yuv420p10le"],
        "full range": ["-vf", "scale=out_range=pc", "-pix_fmt", "yuvj420p"],
        "bt709": ["-vf", "scale=out_color_matrix=bt709", "-colorspace", "bt709"], "rotated": ["-c", "copy"],
    }[name], path)
    ours, theirs = frames(path, 5, "pyav"), frames(path, 5, "ffmpeg")
    assert [time for time, _ in ours] == [time for time, _ in theirs]
    for (_, left), (_, right) in zip(ours, theirs, strict=True):
        assert np.abs(left.astype(int) - right).mean() <= 1
        if name != "rotated":       # the number stands upright
            assert number_of(left) == number_of(right)


def test_the_back_ends_hear_the_same(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mp4", 20, sound=440.0)
    for (time, left), (other, right) in zip(sound(path, 3, 0.5, "pyav"), sound(path, 3, 0.5, "ffmpeg"), strict=True):
        assert time == other
        assert np.abs(left - right).max() < 1e-3


def test_recipes_name_the_back_end_and_its_version() -> None:
    assert media.recipe("pyav")["libavcodec"].count(".") == 2
    assert "version" in media.recipe("ffmpeg")["ffmpeg"]
    assert media.recipe("ffmpeg")["backend"] == "ffmpeg"


def test_a_file_that_changes_between_two_runs_of_the_program_is_reported(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = clip(tmp_path / "a.mkv", 6)
    monkeypatch.setattr(ffmpeg, "_among", lambda name, values: "0")     # no frame comes of those that were listed
    with pytest.raises(Unreadable, match="other frames each time"):
        frames(path, 3, "ffmpeg")
