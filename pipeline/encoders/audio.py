"""Sound: windows of it through an audio model of the transformers library, as statistics of log-mel spectra, or none.

    encoder = load(section, device)

The statistics need no model: they describe loudness, timbre and how both move. With `kind: transformers`
section.model is a CLAP or an AST, by hub id or folder.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.common.errors import SpectrumError
from pipeline.encoders import transformers_model as transformer
from pipeline.encoders.base import Encoder, Future, Recipe, completed, imported_encoder_error
from pipeline.encoders.null import NullEncoder
from pipeline.encoders.transformers_model import LoadedModel, ModelFamily
from pipeline.media.decoder import DecodeStream, VideoDecoder, decoder_recipe
from pipeline.params import AudioEncoder

if TYPE_CHECKING:
    import torch

RATE = 16_000               # samples a second
FRAME, HOP, FFT = 400, 160, 512     # samples: 25 ms windows every 10 ms
BANDS, LOW, HIGH = 64, 50.0, 8_000.0
FLOOR = 1e-6                # of a band's power: about the noise of 16-bit sound


_KEY = "encoders.audio.model"


def _clap(model: Any, mel: "torch.Tensor") -> "torch.Tensor":
    """mel: [B, 1, T, bands], or [B, 4, T, bands] for a model that fuses.

    A model that fuses is given a flag for windows that are longer than its input. Its library sets the flag of one
    window in each batch, drawn by chance, even where none is longer, and always where a window is alone. Here it is
    always set: a row depends on its window alone.
    """
    import torch

    longer = torch.ones(len(mel), 1, dtype=torch.bool, device=mel.device)
    rows: torch.Tensor = model.get_audio_features(input_features=mel, is_longer=longer).pooler_output
    return rows


def _ast(model: Any, mel: "torch.Tensor") -> "torch.Tensor":
    rows: torch.Tensor = model(input_values=mel).pooler_output
    return rows


_FAMILIES = {
    "clap": ModelFamily("ClapModel", "get_audio_features", lambda c: int(c.projection_dim), _clap),
    "audio-spectrogram-transformer": ModelFamily("ASTModel", "pooler_output", lambda c: int(c.hidden_size), _ast),
}


def load(section: AudioEncoder, device: str) -> Encoder:
    """Raises SpectrumError where a model cannot be had or takes less than a window."""
    if section.kind == "none":
        return NullEncoder(section.name, "audio")
    if section.kind == "imported":
        raise imported_encoder_error("audio")
    if section.kind == "logmel":
        return LogMelEncoder(section)
    return AudioModelEncoder(section, transformer.load(section.model, _KEY, _FAMILIES, "AutoFeatureExtractor", device))


class LogMelEncoder:
    """A row a window of sound: mean and standard deviation over time of 64 log-mel bands, [128]."""

    modality = "audio"
    dim = 2 * BANDS

    def __init__(self, section: AudioEncoder) -> None:
        self.name, self.batch_size = section.name, section.batch_size
        self._windows, self._seconds = section.num_windows, section.window_seconds
        self._filters = mel_filters()
        self.recipe: Recipe = {
            "kind": "logmel", "rate": RATE, "frame": FRAME, "hop": HOP, "fft": FFT, "bands": BANDS,
            "low": LOW, "high": HIGH, "floor": FLOOR, "pooled": "mean, std",
            "scaled": "(mean + 5) / 5, std / 2",
            "sampling": {"times": "uniform", "windows": self._windows, "window_seconds": self._seconds},
            "decoder": decoder_recipe(), "dtype": "float16",
        }

    def read(self, decoder: VideoDecoder, path: Path) -> DecodeStream:
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

    def submit(self, batch: NDArray[np.float32]) -> Future:
        return completed(batch.copy())


class AudioModelEncoder:
    """A row a window of sound, as the model's library pools it."""

    modality = "audio"

    def __init__(self, section: AudioEncoder, loaded: LoadedModel) -> None:
        self.name, self.batch_size, self.dim = section.name, section.batch_size, loaded.dim
        self._loaded, self.device = loaded, loaded.device
        self._windows, self._seconds = section.num_windows, section.window_seconds
        self._rate = int(loaded.preprocess.sampling_rate)
        longest = _input_seconds(loaded.preprocess)
        if section.window_seconds > longest:    # the library would cut it, CLAP's at a random position
            raise SpectrumError(f"encoders.audio.window_seconds: {section.window_seconds:g}, but {section.model} takes "
                                f"{longest:g} s at a time; lower it, and raise encoders.audio.num_windows instead")
        self.recipe: Recipe = {
            **loaded.recipe, "rate": self._rate, "decoder": decoder_recipe(), "dtype": "float16",
            "sampling": {"times": "uniform", "windows": self._windows, "window_seconds": self._seconds},
        }

    def read(self, decoder: VideoDecoder, path: Path) -> DecodeStream:
        return decoder.sound(path, self._windows, self._seconds, self._rate)

    def prepare(self, item: NDArray[Any]) -> NDArray[np.float32]:
        """Samples [S] in -1 … 1 → the model's input, [T, bands] or [1 or 4, T, bands], by its feature extractor."""
        prepared = self._loaded.preprocess(item, sampling_rate=self._rate, return_tensors="np")
        return np.asarray(prepared[self._loaded.preprocess.model_input_names[0]][0], np.float32)

    def submit(self, batch: NDArray[np.float32]) -> Future:
        return self._loaded.submit(batch)


def _input_seconds(extractor: Any) -> float:
    """Seconds that the feature extractor takes without cutting: CLAP's by samples, AST's by frames of 10 ms."""
    if hasattr(extractor, "nb_max_samples"):
        return float(extractor.nb_max_samples / extractor.sampling_rate)
    return float(extractor.max_length / 100)


def mel_filters() -> NDArray[np.float64]:
    """Triangles, evenly spaced on the mel scale 2595 log10(1 + f / 700): [64, 257]."""
    low, high = (2595 * np.log10(1 + frequency / 700) for frequency in (LOW, HIGH))
    corners = 700 * (10 ** (np.linspace(low, high, BANDS + 2) / 2595) - 1)              # [66] Hz
    frequencies = np.linspace(0, RATE / 2, FFT // 2 + 1)                                # [257] Hz
    left, centre, right = (corners[i:i + BANDS, None] for i in range(3))                # [64, 1]
    rising, falling = (frequencies - left) / (centre - left), (right - frequencies) / (right - centre)
    filters: NDArray[np.float64] = np.maximum(0.0, np.minimum(rising, falling))
    return filters
