"""Files that were once read wrong: the right frames, times, share and sound, with both back ends."""

from pathlib import Path

import av
import numpy as np
import pytest
from media_factory import clip
from media_factory import ffmpeg as program
from media_reading import frames, shown, sound

from pipeline.media import BACKENDS, Backend, Tally, Unreadable, probe, probing, pyav
from pipeline.media.sampling import Uniform

FILES = Path(__file__).parent / "reported"


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    found: Backend = request.param
    return found


def all_frames(path: Path) -> list[tuple[float | None, int, int]]:
    """(Time stamp, height, width) of every frame that comes when the file is decoded in order."""
    with av.open(str(path)) as container:
        return [(frame.time, frame.height, frame.width) for frame in container.decode(video=0)]


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_what_comes_before_the_first_key_frame_is_missing(suffix: str, backend: Backend) -> None:
    path, tally = FILES / f"begins_mid_gop.{suffix}", Tally()
    times = [time for time, _ in frames(path, 150, backend, tally)]
    decoded = [time for time, _, _ in all_frames(path)]
    assert len(decoded) == 150
    assert times == pytest.approx(decoded, abs=1e-4)
    assert tally.share == pytest.approx(1 - 1.24 / 7.24, abs=0.04 / 7.24)
    assert "begins in the middle of a group of pictures: its first 1.24 s" in tally.reason


def test_frames_of_a_seek_that_fails_are_decoded_from_the_start(tmp_path: Path,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    path = clip(tmp_path / "a.mkv", 60)

    class Unseekable:
        def __init__(self, container: av.container.InputContainer) -> None:
            self._container = container

        def __getattr__(self, name: str) -> object:
            return getattr(self._container, name)

        def seek(self, *_: object, **__: object) -> None:
            raise av.error.PermissionError(1, "Operation not permitted", str(path))

    opened = probing.opened

    class Opened:
        def __init__(self, path: str) -> None:
            self._opened = opened(path)

        def __enter__(self) -> Unseekable:
            return Unseekable(self._opened.__enter__())

        def __exit__(self, *error: object) -> bool | None:
            return self._opened.__exit__(*error)        # type: ignore[arg-type]

    monkeypatch.setattr(pyav, "opened", Opened)
    assert shown(path, 3, "pyav") == [10, 30, 50]


def test_a_failure_while_reading_is_no_missing_permission(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mkv", 3)
    with pytest.raises(Unreadable, match="FFmpeg refuses it"), probing.opened(str(path)):
        raise av.error.PermissionError(1, "Operation not permitted", str(path))


@pytest.mark.parametrize("name", ["mirrored_base", "mirrored_hflip", "mirrored_rot90_hflip"])
def test_mirrored_clips_stand_as_ffmpeg_shows_them(name: str, backend: Backend) -> None:
    path = FILES / f"{name}.mp4"
    found = probe(str(path))
    raw = program("-i", path, "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    wanted = np.frombuffer(raw, np.uint8).reshape(found.height, found.width, 3)
    assert np.abs(frames(path, 40, backend)[0][1].astype(int) - wanted).mean() < 1


@pytest.mark.parametrize("flips", [[], ["-display_hflip"], ["-display_vflip"]])
@pytest.mark.parametrize("turn", ["0", "90", "180", "270"])
def test_the_eight_orientations(tmp_path: Path, turn: str, flips: list[str], backend: Backend) -> None:
    path = tmp_path / "turned.mp4"
    program("-display_rotation", turn, *flips, "-i", clip(tmp_path / "a.mp4", 2), "-c", "copy", path)
    found = probe(str(path))
    raw = program("-i", path, "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    wanted = np.frombuffer(raw, np.uint8).reshape(found.height, found.width, 3)
    assert np.abs(frames(path, 2, backend)[0][1].astype(int) - wanted).mean() < 3


def test_an_angle_that_is_no_quarter_turn_is_refused(tmp_path: Path, backend: Backend) -> None:
    path = tmp_path / "turned.mp4"
    program("-display_rotation", "30", "-i", clip(tmp_path / "a.mp4", 2), "-c", "copy", path)
    with pytest.raises(Unreadable, match="no quarter turn"):
        frames(path, 2, backend)


@pytest.mark.parametrize("name", ["cut_with_start_offset.mkv", "cut_without_offset.mkv"])
def test_an_offset_of_the_clock_hides_no_cut(name: str, backend: Backend) -> None:
    tally = Tally()
    frames(FILES / name, 4, backend, tally)
    assert tally.share == pytest.approx(0.5, abs=0.025)
    assert "promises 4.00 s, 2.00 s are there" in tally.reason


def test_a_clock_that_starts_again_goes_on(backend: Backend) -> None:
    """Two seconds twice: the frames of both halves, at times that go on."""
    assert [time for time, _ in frames(FILES / "clock_restarts.ts", 40, backend)] == pytest.approx(
        [1.6 + i / 10 for i in range(40)])


def test_a_size_that_changes_midway(backend: Backend) -> None:
    path = FILES / "size_changes.ts"
    found = [image.shape[:2] for _, image in frames(path, Uniform(8), backend)]
    assert found == [(120, 160)] * 4 + [(180, 320)] * 4
    pairs = zip(frames(path, 8, "pyav"), frames(path, 8, backend), strict=True)
    assert all(time == other and np.abs(left.astype(int) - right).mean() < 1 for (time, left), (other, right) in pairs)


def test_channels_that_change_midway(backend: Backend) -> None:
    windows = sound(FILES / "sound_changes_channels.ts", 8, 0.25, backend)
    assert all(np.abs(window).max() > 0.09 for _, window in windows)
    assert all(peak(window) == pytest.approx(peak(windows[0][1]), abs=8) or i >= 4 for i, (_, window)
               in enumerate(windows))
    others = sound(FILES / "sound_changes_channels.ts", 8, 0.25, "pyav")
    assert all(np.abs(left - right).max() < 1e-3 for (_, left), (_, right) in zip(windows, others, strict=True))


def test_a_hole_in_the_sound_is_a_hole(backend: Backend) -> None:
    """300 Hz, silence from 3.60 s to 5.40 s, then 3000 Hz."""
    windows = sound(FILES / "sound_with_gap.mkv", 12, 0.1, backend)
    for time, window in windows:
        if 3.66 < time < 5.32:
            assert not window.any()
        elif not 3.5 < time < 5.5:
            assert peak(window) == pytest.approx(300 if time < 3.6 else 3000, abs=10)
            assert np.abs(window).max() > 0.1
    [(_, whole)] = sound(FILES / "sound_with_gap.mkv", 1, 5.8, backend)
    audible = np.flatnonzero(np.abs(whole) > 0.01)
    widest = np.argmax(np.diff(audible))
    start = 1.579 + (7.405 - 1.579) / 2 - 2.9
    assert start + audible[widest] / 16_000 == pytest.approx(3.605, abs=0.01)
    assert start + audible[widest + 1] / 16_000 == pytest.approx(5.4, abs=0.01)


@pytest.mark.parametrize("codec", ["aac", "libmp3lame", "libopus"])
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize(("late", "raw"), [(0.3, False), (0.021, False), (0.021, True)])
def test_sound_that_begins_late_ends_late(tmp_path: Path, suffix: str, codec: str, late: float, raw: bool) -> None:
    """`raw`: what the encoder put around the sound is not declared. Programs of version 9 cut off too much where it
    begins late by less than a packet."""
    rate = 48_000 if codec == "libopus" else 44_100
    source = tmp_path / {"aac": "a.aac" if raw else "a.m4a", "libmp3lame": "a.mp3", "libopus": "a.opus"}[codec]
    program("-f", "lavfi", "-i", f"sine=f=500:r={rate}:d=2", "-c:a", codec,
            *(["-write_xing", "0"] if raw and codec == "libmp3lame" else []), source)
    path = tmp_path / f"late.{suffix}"
    program("-i", clip(tmp_path / "v.mp4", 25), "-itsoffset", str(late), "-i", source, "-c", "copy", "-map", "0:v",
            "-map", "1:a", path)
    track = probing.scan_sound(str(path))
    assert (track.start, track.end) == pytest.approx((late, late + 2), abs=0.045 if raw else 0.026)
    assert track.end >= late + 2 - 0.013
    for count, seconds in ((8, 0.25), (1, 4.0)):
        windows = [sound(path, count, seconds, backend) for backend in BACKENDS]
        for (time, left), (other, right) in zip(*windows, strict=True):
            assert time == other
            assert np.abs(left - right).max() < 1e-3


@pytest.mark.parametrize(("channel", "weight"), [("FL", 0.7071), ("FC", 1.0), ("LFE", 0.0), ("SL", 0.5)])
def test_channels_are_mixed_by_the_same_weights_whatever_the_file_names(tmp_path: Path, channel: str, weight: float,
                                                                       backend: Backend) -> None:
    """ITU-R BS.775 without the effects' channel; AC-3 names levels of its own."""
    path = tmp_path / "a.ac3"
    program("-f", "lavfi", "-i", "sine=f=100:r=48000:d=1,volume=4", "-af", f"pan=5.1(side)|{channel}=c0", "-c:a", "ac3",
            "-center_mixlev", "0.5", "-surround_mixlev", "0.707", path.with_suffix(".mka"))
    [(_, whole)] = sound(path.with_suffix(".mka"), 1, 0.5, backend)
    assert np.abs(whole).max() == pytest.approx(0.5 * weight, abs=0.02)


def peak(window: np.ndarray) -> float:
    """The strongest frequency in Hz."""
    return float(np.argmax(np.abs(np.fft.rfft(window * np.hanning(len(window))))) * 16_000 / len(window))


@pytest.mark.parametrize("kind", ["interlaced", "10 bit"])
def test_colours_of_both_back_ends_are_the_same(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.mp4"
    program("-f", "lavfi", "-i", "testsrc2=s=160x120:r=25:d=1", "-c:v", "libx264", *{
        "interlaced": ["-vf", "tinterlace=interleave_top,fieldorder=tff", "-flags", "+ildct+ilme", "-x264-params",
                       "tff=1", "-pix_fmt", "yuv420p"], "10 bit": ["-pix_fmt", "yuv420p10le"]}[kind], path)
    for (time, left), (other, right) in zip(frames(path, 4, "pyav"), frames(path, 4, "ffmpeg"), strict=True):
        assert time == other
        assert np.abs(left.astype(int) - right).mean() <= 1


def test_ten_bits_become_the_colours_of_bt601(tmp_path: Path, backend: Backend) -> None:
    """Against the formula: flat areas alone, where nothing depends on how colour is spread."""
    path = tmp_path / "a.mp4"
    program("-f", "lavfi", "-i", "color=0x3366cc:s=64x48:r=10:d=1", "-vf", "format=yuv420p10le", "-c:v", "libx264",
            "-qp", "1", path)
    [(_, image)] = frames(path, 1, backend)
    assert np.abs(image.astype(int) - (0x33, 0x66, 0xCC)).max() <= 2


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "aac"), ("a.mkv", "aac"), ("a.mkv", "libopus"),
                                             ("a.webm", "libopus")])
def test_what_an_encoder_puts_around_the_sound_is_no_part_of_it(tmp_path: Path, name: str, codec: str,
                                                                backend: Backend) -> None:
    path = tmp_path / name
    program("-f", "lavfi", "-i", "sine=f=500:r=48000:d=2", "-c:a", codec, path)
    [(time, whole)] = sound(path, 1, 3.0, backend)
    assert time == pytest.approx(1.0, abs=0.012)
    audible = np.flatnonzero(np.abs(whole) > 0.05)
    assert time - 1.5 + audible[0] / 16_000 == pytest.approx(0.0, abs=0.01)
