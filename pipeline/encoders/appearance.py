"""Frames through an open_clip model.

    encoder = load(section, folder, device)     # the folder that the encoder stage made

open_clip_model.py creates and loads the model, image_transform.py resizes and normalises, text_encoder.py has the
texts that the frames are compared with.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.encoders import open_clip_model
from pipeline.encoders.base import Future, Recipe
from pipeline.encoders.open_clip_model import OpenClipModel
from pipeline.encoders.precision import autocast, precision
from pipeline.encoders.text_encoder import OpenClipTextEncoder
from pipeline.media.decoder import DecodeStream, VideoDecoder, decoder_recipe
from pipeline.media.sampling import Rate, Sampling, Uniform
from pipeline.params import AppearanceEncoder

if TYPE_CHECKING:
    import torch


def load(section: AppearanceEncoder, folder: Path, device: str) -> "OpenClipEncoder":
    """Raises SpectrumError where the weights are missing, have changed, or are not those of the parameters."""
    return OpenClipEncoder(section, open_clip_model.load(section, folder), device)


class OpenClipEncoder:
    """Rows of frames as the model's `encode_image` gives them, not normalised.

    On a GPU the model computes in bfloat16 where PyTorch's autocast does; on a CPU in float32.
    """

    modality = "appearance"

    def __init__(self, section: AppearanceEncoder, loaded: OpenClipModel, device: str) -> None:
        from open_clip.transformer import QuickGELU  # imported already: `loaded` is of it

        from pipeline.encoders.device_transfer import Transfers
        from pipeline.encoders.image_transform import ImageTransform

        self.name, self.batch_size, self.device = section.name, section.batch_size, device
        self._text_encoder = OpenClipTextEncoder(loaded, device)
        self.model = model = loaded.model.to(device)
        self.dim: int = loaded.metadata["dim"]
        self._sampling: Sampling = Rate(section.fps) if section.fps else Uniform(section.num_frames)
        self._transform = ImageTransform(open_clip_model.preprocessing(model), device)
        self._transfers = Transfers(device)
        self.recipe: Recipe = {
            "kind": "open_clip", "model": section.model, "weights": loaded.metadata["sha256"],
            "quick_gelu": any(isinstance(part, QuickGELU) for part in model.modules()),
            "untrained": loaded.metadata["untrained"], "preprocess": loaded.metadata["preprocess"],
            "normalised": False, "resized": "torchvision uint8", "sampling": self._sampling.recipe,
            "precision": precision(device), "decoder": decoder_recipe(), "dtype": "float16",
        }

    def read(self, decoder: VideoDecoder, path: Path) -> DecodeStream:
        return decoder.frames(path, self._sampling)

    def prepare(self, item: NDArray[Any]) -> NDArray[Any]:
        """A frame, RGB uint8 [H, W, 3] → uint8 [3, S, S], resized and cropped as open_clip does."""
        return self._transform.resize(item)

    def submit(self, batch: NDArray[Any]) -> Future:
        import torch

        with torch.inference_mode():
            return self._transfers.submit(batch, self._rows)

    def _rows(self, batch: "torch.Tensor") -> "torch.Tensor":
        images = self._transform.normalise(batch)                                   # [B, 3, S, S]
        with autocast(self.device):
            rows: torch.Tensor = self.model.encode_image(images)                    # [B, D]
        return rows

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """[n, D], each of length 1, by the text tower of the same model."""
        return self._text_encoder.encode_texts(texts)
