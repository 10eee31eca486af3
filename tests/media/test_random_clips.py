"""Random clips, each with both back ends against decoding everything in order.

SPECTRUM_RANDOM_CLIPS says how many (25 where it is not set); each has a seed of its own, by which it can be made again.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest
from media_factory import clip
from media_factory import ffmpeg as program
from media_reading import frames, sound

from pipeline.media import BACKENDS, Tally
from pipeline.media.orientation import upright
from pipeline.media.probing import display_matrix

COUNT = int(os.environ.get("SPECTRUM_RANDOM_CLIPS", "25"))
SAME_TIME, SAME_SOUND, LEVEL = 0.002, 0.010, 0.05      # seconds, seconds, of 1


@dataclass(frozen=True)
class Recipe:
    """What a random clip is made of."""

    suffix: str
    frames: int
    group: int
    between: int            # B-frames in a row
    offset: float           # seconds at which the clock begins
    first_packet: int       # packets left out at the beginning
    last_packet: int        # and those after this one
    turn: int
    mirrored: bool
    rate: int               # of the sound, Hz
    hole: tuple[float, float]       # of the sound, seconds

    @classmethod
    def of(cls, seed: int) -> "Recipe":
        rng = np.random.default_rng(seed)
        suffix = str(rng.choice(["mp4", "mkv", "ts"]))
        count = int(rng.integers(30, 80))
        hole = float(rng.uniform(0.8, 2.0))
        return cls(
            suffix, count, int(rng.choice([5, 12, 30])), int(rng.choice([0, 2, 3])),
            float(rng.choice([0, 0, 1.5, 3600.0])), int(rng.choice([0, 0, rng.integers(1, 25)])),
            int(rng.choice([count, count, rng.integers(25, count)])),
            int(rng.choice([0, 0, 90, 180, 270])), bool(rng.random() < 0.3),
            int(rng.choice([16_000, 22_050, 44_100, 48_000])),
            (hole, hole + float(rng.choice([0.0, 0.4, 1.0]))))


def make(folder: Path, recipe: Recipe) -> Path:
    """Pictures and a tone by the recipe, 10 frames a second, the tone as long as the pictures."""
    source = clip(folder / "source.mkv", recipe.frames)
    seconds = recipe.frames / 10
    full = folder / f"full.{recipe.suffix}"
    matrix = ["-display_rotation", str(recipe.turn), *(["-display_hflip"] if recipe.mirrored else [])]
    program("-i", source, "-f", "lavfi", "-i", f"sine=f=500:r={recipe.rate}:d={seconds}", "-c:v", "libx264", "-g",
            str(recipe.group), "-bf", str(recipe.between), "-sc_threshold", "0", "-c:a", "aac", "-ac", "1",
            "-output_ts_offset", str(recipe.offset), full)
    path = folder / f"clip.{recipe.suffix}"
    first, last = recipe.hole
    noise = f"drop='between(pts*tb,{recipe.offset + first},{recipe.offset + last - 1e-3})'"
    program(*(matrix if recipe.suffix == "mp4" else []), "-copyts", "-i", full, "-c", "copy", "-copyts",
            "-bsf:v", f"noise=drop='lt(n,{recipe.first_packet})+gt(n,{recipe.last_packet})'",
            *(["-bsf:a", f"noise={noise}"] if last > first else []), path)
    return path


def decoded_pictures(path: Path) -> list[tuple[float, np.ndarray]]:
    with av.open(str(path)) as container:
        return [(float(frame.pts * frame.time_base), upright(frame.to_ndarray(format="rgb24"), display_matrix(frame)))
                for frame in container.decode(video=0)]


def decoded_sound(path: Path) -> tuple[float, np.ndarray]:
    """When the first sample sounds, and all samples at 16 kHz where their stamps put them."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=16_000)
    with av.open(str(path)) as container:
        parts = [(float(part.pts * part.time_base), part.to_ndarray()[0])
                 for frame in [*container.decode(audio=0), None] for part in resampler.resample(frame)
                 if part is not None]
    start = parts[0][0]
    length = max(round((time - start) * 16_000) + len(samples) for time, samples in parts)
    whole = np.zeros(length, np.float32)
    for time, samples in parts:
        begin = round((time - start) * 16_000)
        whole[begin:begin + len(samples)] = samples
    return start, whole


def promised_pictures(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(packet.size > 0 for packet in container.demux(video=0))


def loud(samples: np.ndarray) -> np.ndarray:
    """Whether there is sound around each of the samples: a tone crosses zero, a hole does not."""
    return np.convolve(np.abs(samples) > LEVEL, np.ones(33), "same") > 0


@pytest.mark.parametrize("seed", range(COUNT))
def test_a_random_clip(tmp_path: Path, seed: int) -> None:
    recipe = Recipe.of(seed)
    path = make(tmp_path, recipe)
    pictures, promised = decoded_pictures(path), promised_pictures(path)
    tallies = {backend: Tally() for backend in BACKENDS}
    for backend in BACKENDS:
        found = frames(path, 2 * len(pictures), backend, tallies[backend])
        times = [time for time, _ in pictures]
        for time, image in found:
            nearest = int(np.argmin(np.abs(np.array(times) - time)))
            assert abs(times[nearest] - time) < SAME_TIME, (backend, recipe)
            assert np.abs(image.astype(int) - pictures[nearest][1]).mean() < 1, (backend, recipe)
        assert {round(time, 3) for time, _ in found} == {round(time, 3) for time in times}, (backend, recipe)
        assert abs(tallies[backend].share - len(pictures) / promised) <= 1.01 / promised, (backend, recipe)
        check_sound(path, backend, recipe)
    assert tallies["pyav"].share == tallies["ffmpeg"].share


def check_sound(path: Path, backend: str, recipe: Recipe) -> None:
    start, whole = decoded_sound(path)
    for time, window in sound(path, 5, 0.3, backend, Tally()):       # type: ignore[arg-type]
        centre = round((time - start) * 16_000)
        begin = centre - len(window) // 2
        wanted = np.zeros(len(window), np.float32)
        first, last = max(begin, 0), min(begin + len(window), len(whole))
        wanted[first - begin:last - begin] = whole[first:last]
        slack = round(SAME_SOUND * 16_000)
        ours, theirs = loud(window), loud(wanted)
        wider = np.convolve(theirs, np.ones(2 * slack + 1), "same") > 0
        narrower = np.convolve(~theirs, np.ones(2 * slack + 1), "same") == 0
        assert not (ours & ~wider).any() and not (narrower & ~ours).any(), (backend, recipe)
