"""The frames that an open_clip model is trained on here."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline import params
from pipeline.common.errors import SpectrumError
from pipeline.common.progress import Bar
from pipeline.media.decoder import VideoDecoder
from pipeline.media.sampling import Uniform


def decode_frames(videos: Sequence[Path], num_frames: int, size: int, extraction: params.Extraction,
                  machine: params.Machine) -> tuple[NDArray[np.uint8], int]:
    """`num_frames` of every video, squeezed to the model's size [V, F, size, size, 3]; how many videos are partial.

    Raises SpectrumError for a video of which less than extraction.min_decoded_share can be decoded.
    """
    frames, partial = np.empty((len(videos), num_frames, size, size, 3), np.uint8), 0
    with (VideoDecoder(machine.decoding_timeout, extraction.decoder) as decoder,
          Bar("decode", len(videos), "videos") as bar):
        for of_video, video in zip(frames, videos, strict=True):
            stream = decoder.frames(video, Uniform(num_frames))
            for target, (_, frame) in zip(of_video, stream, strict=True):
                target[:] = np.asarray(Image.fromarray(frame).resize((size, size), Image.Resampling.BICUBIC))
            if stream.share < extraction.min_decoded_share:
                raise SpectrumError(f"{video}: only {stream.share:.2f} of it can be decoded: {stream.reason}; "
                                    "replace it or leave it out of the training split")
            partial += stream.share < 1
            bar.advance()
    return frames, partial
