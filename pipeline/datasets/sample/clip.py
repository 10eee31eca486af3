"""A scene as an mp4 file, H.264 and AAC: byte for byte the same for the same seed and ffmpeg."""

import errno
import os
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import ffmpeg
import numpy as np

from pipeline.common import programs
from pipeline.common.errors import SpectrumError
from pipeline.common.files import atomic_write
from pipeline.datasets.sample.grammar import Scene
from pipeline.datasets.sample.scene import FPS, frames
from pipeline.datasets.sample.sound import synthesise

_TIMEOUT = 120.0  # seconds


@dataclass(frozen=True)
class Clip:
    """What to render, and where to."""

    scene: Scene
    path: Path
    seed: tuple[int, ...]
    seconds: float
    size: int


def render(clip: Clip) -> None:
    """Raises SpectrumError with ffmpeg's own words where it fails."""
    rng = np.random.default_rng(clip.seed)
    sound = synthesise([mood.sound for mood in clip.scene.moods], clip.seconds, rng)
    pictures = b"".join(frame.tobytes() for frame in frames(clip.scene, clip.seconds, clip.size, rng))
    # A file without a name: a killed process leaves nothing of it.
    with atomic_write(clip.path) as temporary, tempfile.TemporaryFile() as wav:
        wav.write(sound)
        wav.seek(0)
        _run(_arguments(wav.fileno(), temporary, clip.size), pictures, clip.path, wav.fileno())


def _arguments(wav: int, out: Path, size: int) -> list[str]:
    """ffmpeg's arguments: frames from standard input and the sound of the open file `wav` into the mp4 `out`."""
    pictures = ffmpeg.input("pipe:0", format="rawvideo", pixel_format="rgb24", video_size=(size, size),
                            framerate=FPS)
    # One thread, no time stamps and no program versions: nothing that differs between two runs.
    stream = ffmpeg.output(
        pictures.video, ffmpeg.input(f"file:/dev/fd/{wav}", format="wav").audio, f"file:{out}", format="mp4",
        vcodec="libx264", preset="ultrafast", crf=18, pix_fmt="yuv420p", acodec="aac", audio_bitrate="64k",
        threads=1, map_metadata=-1, fflags="+bitexact", **{"flags:v": "+bitexact", "flags:a": "+bitexact"},
    )
    stream = stream.global_args("-hide_banner", "-loglevel", "error").overwrite_output()
    return [str(argument) for argument in stream.get_args()]


def _run(arguments: list[str], frames: bytes, path: Path, wav: int) -> None:
    program = programs.ffmpeg()
    try:
        done = subprocess.run([program, *arguments], input=frames, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, timeout=_TIMEOUT, check=False, pass_fds=(wav,))
    except subprocess.TimeoutExpired:
        raise SpectrumError(f"{path}: {program} did not end within {_TIMEOUT:.0f} s") from None
    if done.returncode:
        _raise_where_there_is_no_room(done)
        words = " | ".join(done.stderr.decode(errors="replace").strip().splitlines()[:3])     # the cause comes first
        raise SpectrumError(f"{path}: {program} ended with status {done.returncode}: {words}; "
                            "expected an ffmpeg with the encoders libx264 and aac")


def _raise_where_there_is_no_room(done: "subprocess.CompletedProcess[bytes]") -> None:
    """The OSError that ended ffmpeg, if it was one of writing, for `atomic_write` to tell."""
    words = done.stderr.decode(errors="replace")
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        if os.strerror(number) in words or (number == errno.EFBIG and done.returncode == -signal.SIGXFSZ):
            raise OSError(number, os.strerror(number))
