"""DecodeStream clips with a back end, for tests."""

from pathlib import Path

import numpy as np
from media_factory import number_of
from numpy.typing import NDArray

from pipeline import media
from pipeline.media import Backend, Tally
from pipeline.media.sampling import Sampling, Uniform

Pictures = list[tuple[float, NDArray[np.uint8]]]
Sounds = list[tuple[float, NDArray[np.float32]]]


def frames(path: Path | str, sampling: int | Sampling, backend: Backend, tally: Tally | None = None) -> Pictures:
    """Of a whole file, unless the test looks at the tally itself."""
    tally, whole = tally or Tally(), tally is None
    sampling = Uniform(sampling) if isinstance(sampling, int) else sampling
    found = list(media.frames(str(path), sampling, backend, tally))
    assert not whole or (tally.share, tally.reason) == (1.0, "")
    return found


def sound(path: Path, n: int, window: float, backend: Backend, tally: Tally | None = None) -> Sounds:
    tally, whole = tally or Tally(), tally is None
    found = list(media.sound(str(path), n, window, 16_000, backend, tally))
    assert not whole or (tally.share, tally.reason) == (1.0, "")
    return found


def shown(path: Path | str, n: int, backend: Backend, tally: Tally | None = None) -> list[int]:
    return [number_of(image) for _, image in frames(path, n, backend, tally)]
