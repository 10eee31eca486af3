"""Motion: windows of frames through a video model of the transformers library, or none.

    encoder = load(section, device)     # section.model: VideoMAE, X-CLIP or TimeSformer, by hub id or folder

A window has as many frames as the model takes, spread over `window_seconds`.
"""

from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.encoders import transformers_model as transformer
from pipeline.encoders.base import Encoder, Future, Recipe, imported_encoder_error
from pipeline.encoders.null import NullEncoder
from pipeline.encoders.transformers_model import LoadedModel, ModelFamily
from pipeline.media.decoder import DecodeStream, Item, Outcome, VideoDecoder, decoder_recipe
from pipeline.media.sampling import Windows
from pipeline.params import MotionEncoder

if TYPE_CHECKING:
    import torch

_KEY = "encoders.motion.model"


def _videomae(model: Any, pixels: "torch.Tensor") -> "torch.Tensor":
    """As its classifier pools: the mean of the tokens, or the first one."""
    tokens: torch.Tensor = model(pixel_values=pixels).last_hidden_state         # [B, S, D]
    return tokens.mean(1) if model.config.use_mean_pooling else tokens[:, 0]


def _timesformer(model: Any, pixels: "torch.Tensor") -> "torch.Tensor":
    tokens: torch.Tensor = model(pixel_values=pixels).last_hidden_state         # [B, 1 + S, D]
    return tokens[:, 0]


def _xclip(model: Any, pixels: "torch.Tensor") -> "torch.Tensor":
    rows: torch.Tensor = model.get_video_features(pixel_values=pixels).pooler_output
    return rows


_FAMILIES = {
    "videomae": ModelFamily("VideoMAEModel", "tokens as its classifier pools them", lambda c: int(c.hidden_size),
                            _videomae),
    "timesformer": ModelFamily("TimesformerModel", "class token", lambda c: int(c.hidden_size), _timesformer),
    "xclip": ModelFamily("XCLIPModel", "get_video_features", lambda c: int(c.projection_dim), _xclip),
}


def load(section: MotionEncoder, device: str) -> Encoder:
    """Raises SpectrumError where the model cannot be had."""
    if section.kind == "none":
        return NullEncoder(section.name, "motion")
    if section.kind == "imported":
        raise imported_encoder_error("motion")
    return MotionModelEncoder(section, transformer.load(section.model, _KEY, _FAMILIES, "AutoImageProcessor", device))


class MotionModelEncoder:
    """A row a window of frames, as the model's library pools it."""

    modality = "motion"

    def __init__(self, section: MotionEncoder, loaded: LoadedModel) -> None:
        self.name, self.batch_size, self.dim = section.name, section.batch_size, loaded.dim
        self._loaded, self.device = loaded, loaded.device
        config = loaded.model.config
        frames = int(getattr(config, "vision_config", config).num_frames)
        self._sampling = Windows(section.num_windows, frames, section.window_seconds)
        self.recipe: Recipe = {**loaded.recipe, "sampling": self._sampling.recipe, "decoder": decoder_recipe(),
                               "dtype": "float16"}

    def read(self, decoder: VideoDecoder, path: Path) -> DecodeStream:
        """Windows: (time of the centre, uint8 [F, H, W, 3])."""
        return DecodeStream(windows(decoder.frames(path, self._sampling), self._sampling.frames))

    def prepare(self, item: NDArray[Any]) -> NDArray[np.float32]:
        """A window, RGB [F, H, W, 3] → [F, 3, S, S], by the model's own image processor."""
        prepared = self._loaded.preprocess(list(item), input_data_format="channels_last", return_tensors="np")
        pixels = np.asarray(prepared["pixel_values"], np.float32)
        return pixels.reshape(len(item), *pixels.shape[-3:])

    def submit(self, batch: NDArray[np.float32]) -> Future:
        return self._loaded.submit(batch)                                      # [B, F, 3, S, S] → [B, D]


def windows(frames: DecodeStream, count: int) -> Generator[Item, None, Outcome]:
    """`count` frames after another as one item at the middle of their times.

    Where a damaged file ends within a window, its last frame fills it, as the last frame of a short clip does.
    """
    times: list[float] = []
    pictures: list[NDArray[Any]] = []
    with closing(frames):
        for time, picture in frames:
            times.append(time)
            pictures.append(picture)
            if len(pictures) == count:
                yield (times[0] + times[-1]) / 2, np.stack(pictures)
                times, pictures = [], []
        if pictures:
            pictures += [pictures[-1]] * (count - len(pictures))
            yield (times[0] + times[-1]) / 2, np.stack(pictures)
    return frames.share, frames.reason
