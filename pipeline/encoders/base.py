"""What extraction needs of an encoder: it reads items from a video, prepares each and encodes batches."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.common.errors import SpectrumError

if TYPE_CHECKING:
    from pipeline.media.decoder import DecodeStream, VideoDecoder

Recipe = dict[str, Any]


@dataclass(frozen=True)
class Future:
    """Rows [B, dim] that are being computed: `result()` waits for them, `done()` is whether it need not wait."""

    result: Callable[[], NDArray[np.float32]]
    done: Callable[[], bool]


class Encoder(Protocol):
    """`read` and `prepare` run in many threads at the same time, `submit` in one.

    `recipe` holds everything that decides the features' values but the video itself: two stores of one
    recipe may be mixed. Batch size and device change no more than rounding and are no part of it; the precision that
    a device computes in is.
    """

    name: str           # of the folder of its store
    modality: str       # appearance | audio | motion
    dim: int
    batch_size: int     # items a batch
    recipe: Recipe

    def read(self, decoder: "VideoDecoder", path: Path) -> "DecodeStream":
        """The video's items with their times in seconds, none where it lacks the modality.

        Raises MediaError.
        """
        ...

    def prepare(self, item: NDArray[Any]) -> NDArray[Any]:
        """One item as a batch holds it, of the same shape and type for each."""
        ...

    def submit(self, batch: NDArray[Any]) -> Future:
        """Starts to make rows [B, dim] of prepared items [B, …], which may be overwritten once this returns.

        An encoder on a GPU need not be finished then: it computes while the next batch is collected. A row depends on
        its item alone: in a batch of the same shape, on no other item, position or number of threads.
        """
        ...


def completed(rows: NDArray[np.float32]) -> Future:
    """Rows that are there already."""
    return Future(lambda: rows, lambda: True)


def encode(encoder: Encoder, batch: NDArray[Any]) -> NDArray[np.float32]:
    """Prepared items [B, …] → rows [B, dim]."""
    return encoder.submit(batch).result()


def imported_encoder_error(modality: str) -> SpectrumError:
    """What to raise where files are to be encoded, but the rows of `modality` are imported."""
    return SpectrumError(f"encoders.{modality}: its features are imported, so there is no model to encode files with; "
                         "own clips need the model that made the features")


def on_device(load: Callable[..., Encoder], device: str, *arguments: Any) -> Encoder:
    """`load(*arguments, device)` with the device that `device` (auto, cpu, cuda) means in this process."""
    from pipeline.common.device import torch_device

    return load(*arguments, str(torch_device(device)))
