"""open_clip's own preprocessing in two halves: resizing and cropping a frame, and normalising a batch.

The first half runs where the model is: on a CPU with PyTorch's uint8 kernels, which are two to five times faster
than PIL's and differ by a grey level here and there; on a GPU on a CUDA stream of the reader's, whence the small
picture comes back to the host, so that pictures which wait for a batch take no device memory. The second half is
part of encoding.
"""

import threading
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.encoders.open_clip_import import import_open_clip

import_open_clip()

import torch  # noqa: E402
from open_clip.transform import PreprocessCfg, image_transform_v2  # noqa: E402
from PIL import Image  # noqa: E402
from torchvision.transforms import CenterCrop, Normalize, Resize  # noqa: E402
from torchvision.transforms.v2 import functional as transforms  # noqa: E402


class ImageTransform:
    """`parameters` are those of open_clip's transform: size, mode, interpolation, mean, std."""

    def __init__(self, parameters: dict[str, Any], device: str) -> None:
        self._device = torch.device(device)
        *self._steps, _, _, normalise = image_transform_v2(PreprocessCfg(**parameters), is_train=False).transforms
        assert isinstance(normalise, Normalize)
        self._mean, self._std = (torch.tensor(values, device=device)[:, None, None]
                                 for values in (normalise.mean, normalise.std))          # [3, 1, 1]
        self._tensors = all(isinstance(step, Resize | CenterCrop) for step in self._steps)
        self._local = threading.local()

    @torch.inference_mode()
    def resize(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """RGB [H, W, 3] → [3, S, S], resized and cropped."""
        if not self._tensors:       # a few models pad to keep the ratio: open_clip does that with PIL alone
            image = Image.fromarray(frame)
            for step in self._steps:
                image = step(image)
            return np.asarray(image).transpose(2, 0, 1)
        with self._stream():
            picture = self._to_device(frame).permute(2, 0, 1)
            for step in self._steps:
                if isinstance(step, Resize):
                    size = [step.size] if isinstance(step.size, int) else list(step.size)
                    picture = transforms.resize(picture, size, step.interpolation, antialias=True)
                else:
                    picture = transforms.center_crop(picture, list(step.size))
            resized: NDArray[np.uint8] = picture.cpu().numpy()
        return resized

    def normalise(self, batch: torch.Tensor) -> torch.Tensor:
        """uint8 [B, 3, S, S] on the model's device → the same as the model takes it."""
        return batch.float().div_(255).sub_(self._mean).div_(self._std)

    def _to_device(self, array: NDArray[np.uint8]) -> torch.Tensor:
        tensor = torch.from_numpy(array)
        if self._device.type == "cuda":     # from pinned memory the copy does not hold up other streams
            tensor = tensor.pin_memory().to(self._device, non_blocking=True)
        return tensor

    def _stream(self) -> AbstractContextManager[Any]:
        """Each reader's thread has its own, so that its copies overlap the encoder."""
        if self._device.type != "cuda":
            return nullcontext()
        if not hasattr(self._local, "stream"):
            self._local.stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        return torch.cuda.stream(self._local.stream)
