"""How fast, how true and how robust the two decoder back ends are, on a folder of clips.

    python -m benchmarks.decoding FOLDER [--odd FOLDER] [--clips 24] [--frames 8] [--seconds 300]

Takes at most `--clips` videos, evenly from the folder. Writes reports/bench/decoding.json.

Everything is measured in this one process on one core, as in a decoder process:
`pyav`, `ffmpeg`, and `every frame`, which is PyAV without jumps to keyframes and without leaving out frames. They take
turns, several times, and medians are told. `long` is a made clip of 640x360 pixels at 25 frames a second with
a keyframe in 250, as long as `--seconds`.
"""

import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from benchmarks.clips import evenly
from benchmarks.timing import machine
from pipeline import media
from pipeline.common import programs
from pipeline.common.files import write_json
from pipeline.media import BACKENDS, Backend, Tally, Unreadable, probing, pyav
from pipeline.media.sampling import Uniform

REPORT = Path("reports/bench/decoding.json")
ROUNDS = 5

Pictures = list[tuple[float, NDArray[np.uint8]]]


def read(path: Path, frames: int, backend: Backend) -> tuple[Pictures, str]:
    """The frames, and what became of the file: whole, partial, or failed."""
    tally = Tally()
    try:
        pictures = list(media.frames(str(path), Uniform(frames), backend, tally))
    except Unreadable:
        return [], "failed"
    return pictures, "whole" if tally.share == 1.0 else "partial"


def every_frame(path: Path, frames: int) -> Pictures:
    track = probing.scan_pictures(str(path))
    return list(pyav.thorough(str(path), track, Uniform(frames).times(track.start, track.end), Tally()))


def speed(path: Path, frames: int, rounds: int = ROUNDS) -> dict[str, float]:
    """Median seconds of each way to read a clip."""
    ways: dict[str, Callable[[], object]] = {
        "pyav": lambda: read(path, frames, "pyav"), "ffmpeg": lambda: read(path, frames, "ffmpeg"),
        "every frame": lambda: every_frame(path, frames)}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(rounds + 1):
        for way, run in ways.items():
            began = time.perf_counter()
            run()
            if turn or rounds == 1:         # the first round warms up
                seconds[way].append(time.perf_counter() - began)
    return {way: statistics.median(found) for way, found in seconds.items()}


def fidelity(paths: list[Path], frames: int) -> dict[str, Any]:
    """Between the back ends: the largest mean difference of a frame, of 255; whether all true times are equal."""
    worst, equal, exact = 0.0, True, True
    for path in paths:
        (ours, _), (theirs, _) = (read(path, frames, backend) for backend in BACKENDS)
        equal &= [begins for begins, _ in ours] == [begins for begins, _ in theirs]
        exact &= all(np.array_equal(left, right) and begins == other for (begins, left), (other, right)
                     in zip(ours, every_frame(path, frames), strict=True))
        for (_, left), (_, right) in zip(ours, theirs, strict=True):
            worst = max(worst, float(np.abs(left.astype(np.int16) - right).mean()))
    return {"clips": len(paths), "mean_difference_at_most": worst, "times_equal": equal,
            "same_as_every_frame": exact}


def robustness(paths: list[Path], frames: int) -> dict[str, dict[str, str]]:
    return {path.name: {backend: read(path, frames, backend)[1] for backend in BACKENDS} for path in paths}


def long_clip(path: Path, seconds: int) -> Path:
    subprocess.run([programs.ffmpeg(), "-v", "error", "-nostdin", "-f", "lavfi", "-i",
                    f"testsrc2=size=640x360:rate=25:duration={seconds}", "-c:v", "libx264", "-preset", "veryfast", "-g",
                    "250", "-pix_fmt", "yuv420p", f"file:{path}"], check=True)
    return path


def measure(clips: list[Path], odd: Path | None, frames: int, seconds: int, rounds: int) -> dict[str, Any]:
    each = {path.name: speed(path, frames, rounds) for path in clips}
    total = {way: sum(clip[way] for clip in each.values()) for way in next(iter(each.values()))}
    kept = frames * len(clips)
    with tempfile.TemporaryDirectory() as temporary:
        long = speed(long_clip(Path(temporary) / "long.mp4", seconds), frames, 1)
    return {
        "machine": machine(),
        "back_ends": {backend: media.recipe(backend) for backend in BACKENDS},
        "frames": frames, "kept_frames_per_second": {way: round(kept / spent, 1) for way, spent in total.items()},
        "pyav_over_ffmpeg": round(total["ffmpeg"] / total["pyav"], 2),
        "pyav_over_every_frame": round(total["every frame"] / total["pyav"], 2),
        "long": {"seconds": seconds, "took": {way: round(spent, 3) for way, spent in long.items()},
                 "pyav_over_every_frame": round(long["every frame"] / long["pyav"], 2)},
        "fidelity": fidelity(clips, frames),
        "robustness": robustness(sorted(path for path in odd.iterdir() if path.is_file()), frames) if odd else {},
        "clips": {name: {way: round(spent, 4) for way, spent in clip.items()} for name, clip in each.items()},
    }


def main(
    folder: Annotated[Path, typer.Argument(help="whole clips, to measure speed and fidelity")],
    odd: Annotated[Path | None, typer.Option(help="odd files, to compare what becomes of them")] = None,
    clips: Annotated[int, typer.Option(min=1, help="how many of the folder's videos are taken, at most")] = 24,
    frames: Annotated[int, typer.Option(help="frames kept of a clip")] = 8,
    seconds: Annotated[int, typer.Option(help="length of the made clip")] = 300,
    rounds: Annotated[int, typer.Option(help="turns that are timed")] = ROUNDS,
) -> None:
    """Measures both decoder back ends and writes reports/bench/decoding.json."""
    found = measure(evenly(folder, clips), odd, frames, seconds, rounds)
    write_json(REPORT, found)
    for key in ("kept_frames_per_second", "pyav_over_ffmpeg", "pyav_over_every_frame", "long", "fidelity"):
        print(key, found[key])


if __name__ == "__main__":
    typer.run(main)
