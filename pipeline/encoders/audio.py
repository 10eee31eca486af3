"""Sound without a model: statistics of log-mel spectra, which tell loudness, timbre and how both move."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.decoder import Decoder, backend
from pipeline.encoders.base import Encoder, Recipe
from pipeline.params import AudioEncoder

RATE = 16_000               # samples a second
FRAME, HOP, FFT = 400, 160, 512     # samples: 25 ms windows every 10 ms
BANDS, LOW, HIGH = 64, 50.0, 8_000.0
FLOOR = 1e-6                # of a band's power: about the noise of 16-bit sound


def load(section: AudioEncoder) -> Encoder:
    return LogMel(section) if section.kind == "logmel" else NoSound(section)


class LogMel:
    """A row a window of sound: mean and standard deviation over time of 64 log-mel bands, [128]."""

    modality = "audio"
    dim = 2 * BANDS
    batch = 256

    def __init__(self, section: AudioEncoder) -> None:
        self.name = section.name
        self._windows, self._seconds = section.windows, section.window_seconds
        self._filters = mel_filters()
        self.recipe: Recipe = {
            "kind": "logmel", "rate": RATE, "frame": FRAME, "hop": HOP, "fft": FFT, "bands": BANDS,
            "low": LOW, "high": HIGH, "floor": FLOOR, "pooled": "mean, std",
            "scaled": "(mean + 5) / 5, std / 2",
            "sampling": {"times": "uniform", "windows": self._windows, "window_seconds": self._seconds},
            "decoder": backend(), "dtype": "float16",
        }

    def read(self, decoder: Decoder, path: Path) -> Iterator[tuple[float, NDArray[Any]]]:
        return decoder.sound(path, self._windows, self._seconds, RATE)

    def prepare(self, item: NDArray[Any]) -> NDArray[np.float32]:
        """Samples [S] in -1 … 1 → [128]."""
        samples = np.pad(item, (0, max(0, FRAME - len(item))))
        frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME)[::HOP]        # [T, 400]
        power = np.abs(np.fft.rfft(frames * np.hanning(FRAME), FFT)) ** 2 / FRAME       # [T, 257]
        # Not `@`: so small a product, done by many reader threads at once, spends its time in waiting BLAS threads.
        mel = np.einsum("tf,bf->tb", power, self._filters)
        bands = np.log(np.maximum(mel, FLOOR))                                          # [T, 64]
        row = np.concatenate([(bands.mean(0) + 5) / 5, bands.std(0) / 2])
        return row.astype(np.float32)

    def encode(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        return batch


class NoSound:
    """Sound left out: no video has a row."""

    modality = "audio"
    dim = 1
    batch = 1

    def __init__(self, section: AudioEncoder) -> None:
        self.name = section.name
        self.recipe: Recipe = {"kind": "none"}

    def read(self, decoder: Decoder, path: Path) -> Iterator[tuple[float, NDArray[Any]]]:  # noqa: ARG002
        return iter(())

    def prepare(self, item: NDArray[Any]) -> NDArray[np.float32]:
        return item.astype(np.float32)

    def encode(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        return batch


def mel_filters() -> NDArray[np.float64]:
    """Triangles, evenly spaced on the mel scale 2595 log10(1 + f / 700): [64, 257]."""
    low, high = (2595 * np.log10(1 + frequency / 700) for frequency in (LOW, HIGH))
    corners = 700 * (10 ** (np.linspace(low, high, BANDS + 2) / 2595) - 1)              # [66] Hz
    frequencies = np.linspace(0, RATE / 2, FFT // 2 + 1)                                # [257] Hz
    left, centre, right = (corners[i:i + BANDS, None] for i in range(3))                # [64, 1]
    rising, falling = (frequencies - left) / (centre - left), (right - frequencies) / (right - centre)
    filters: NDArray[np.float64] = np.maximum(0.0, np.minimum(rising, falling))
    return filters
