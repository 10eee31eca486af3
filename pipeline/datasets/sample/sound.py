"""The sound of a clip: bells, drums or a flute, or two of them in turn, never twice the same, over some noise."""

import io
import wave
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

RATE = 16_000  # Hz, mono

_SCALE = np.array([0, 2, 4, 7, 9, 12])  # semitones of a pentatonic scale


def synthesise(kinds: Sequence[str], seconds: float, rng: np.random.Generator) -> bytes:
    """A 16-bit mono WAV file of `kinds` (bells, drums or flute), one after the other, all of the same length."""
    times = np.arange(round(seconds * RATE / len(kinds))) / RATE
    play = {"bells": _bells, "drums": _drums, "flute": _flute}
    parts = [play[kind](times, rng) for kind in kinds]
    signal = np.concatenate([part / max(float(np.abs(part).max()), 1e-6) for part in parts]) * rng.uniform(0.35, 0.6)
    signal += rng.normal(0, rng.uniform(0.01, 0.04), len(signal))
    return _wav(signal)


def _bells(times: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    root, every = rng.uniform(500, 900), rng.uniform(0.18, 0.4)
    signal = np.zeros_like(times)
    for start in np.arange(rng.uniform(0, every), times[-1], every):
        since = np.clip(times - start, 0, None)
        pitch = root * 2 ** (rng.choice(_SCALE) / 12)
        ring = np.sin(2 * np.pi * pitch * since) + 0.5 * np.sin(2 * np.pi * 2.76 * pitch * since)
        signal += ring * np.exp(-since * rng.uniform(4, 8)) * (times >= start)
    return signal


def _drums(times: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    pitch, every = rng.uniform(60, 130), rng.uniform(0.2, 0.45)
    hiss = rng.normal(0, 0.25, len(times))
    signal = np.zeros_like(times)
    for start in np.arange(rng.uniform(0, every), times[-1], every):
        since = np.clip(times - start, 0, None)
        skin = np.sin(2 * np.pi * pitch * (since + 0.02 * (1 - np.exp(-since * 30))))
        beat = skin * np.exp(-since * 12) + hiss * np.exp(-since * 40)
        signal += rng.uniform(0.6, 1) * beat * (times >= start)
    return signal


def _flute(times: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    knots = np.arange(0, times[-1] + 1, rng.uniform(0.5, 0.9))
    pitches = rng.uniform(260, 480) * 2 ** (rng.choice(_SCALE, len(knots)) / 12)
    vibrato = 1 + 0.02 * np.sin(2 * np.pi * rng.uniform(4, 7) * times)
    phase = 2 * np.pi * np.cumsum(np.interp(times, knots, pitches) * vibrato) / RATE
    breath = rng.normal(0, 0.05, len(times))
    swell = 0.7 + 0.3 * np.sin(2 * np.pi * rng.uniform(0.4, 1.2) * times + rng.uniform(0, 6))
    return (np.sin(phase) + 0.3 * np.sin(2 * phase) + 0.1 * np.sin(3 * phase) + breath) * swell


def _wav(signal: NDArray[np.float64]) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes((np.clip(signal, -1, 1) * 32767).astype("<i2").tobytes())
    return file.getvalue()
