"""Make the picture-and-text encoder ready: train it on the training split, or check that its weights load.

    python -m stages.encoder                                         # weights: train
    python -m stages.encoder encoders.appearance.model=ViT-B-32 encoders.appearance.weights=openai

Makes models/<dataset>/encoder: encoder.json (which weights, with their hash), and model.safetensors where they
were trained here.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline import params as parameters
from pipeline.common.errors import SpectrumError
from pipeline.common.progress import Bar
from pipeline.datasets.manifest import Manifest
from pipeline.encoders import imported
from pipeline.encoders import pretrained_tags as tags
from pipeline.media.decoder import VideoDecoder
from pipeline.media.sampling import Uniform
from pipeline.params import Params
from pipeline.params.paths import Paths
from stages.command import Summary, stage


def run(params: Params, paths: Paths) -> Summary:
    section = params.encoders.appearance
    if section.weights == "imported":
        return _told(imported.prepare(section, paths.encoder))
    tags.check(section)     # before torch and open_clip are imported, which takes seconds
    from pipeline.common.device import torch_device
    from pipeline.encoders import appearance
    from pipeline.encoders import contrastive_training as contrastive

    if section.weights != "train":
        return _told(appearance.prepare(section, paths.encoder, params.seed))
    manifest = Manifest.load(paths.data)
    videos = [video for video in manifest.videos if video.split == "train"]
    model, tokenizer, size = appearance.create(section.model, params.seed)
    started = time.monotonic()
    frames, partial = pictures([Path(video.path) for video in videos], section.frames, size, params.extraction)
    decoded = time.monotonic()
    losses = contrastive.train(model, frames, [manifest.captions_of[video.id] for video in videos], tokenizer,
                               params.encoder, params.seed, torch_device(params.machine.device))
    appearance.save_trained(section.model, model, paths.encoder,
                            {"dataset": params.dataset, "seed": params.seed, **params.encoder.model_dump()})
    return {"model": section.model, "weights": "train", "videos": len(videos), "partial": partial,
            "loss": round(losses[-1], 4),
            "seconds": {"decode": round(decoded - started, 2), "train": round(time.monotonic() - decoded, 2)}}


def _told(facts: dict[str, Any]) -> Summary:
    return {key: facts[key] for key in ("model", "weights", "untrained")}


def pictures(videos: Sequence[Path], frames: int, size: int,
             section: parameters.Extraction) -> tuple[NDArray[np.uint8], int]:
    """`frames` of every video, squeezed to the model's size [V, F, S, S, 3], and how many videos are not whole.

    A video that fails, or of which less than extraction.min_decoded_share decodes, ends the training.
    """
    found, partial = np.empty((len(videos), frames, size, size, 3), np.uint8), 0
    with VideoDecoder(section.timeout, section.backend) as decoder, Bar("decode", len(videos), "videos") as bar:
        for row, video in zip(found, videos, strict=True):
            reading = decoder.frames(video, Uniform(frames))
            for place, (_, frame) in zip(row, reading, strict=True):
                place[:] = np.asarray(Image.fromarray(frame).resize((size, size), Image.Resampling.BICUBIC))
            if reading.share < section.least_share:
                raise SpectrumError(f"{video}: only {reading.share:.2f} of it can be decoded: {reading.reason}; "
                                    "replace it or leave it out of the training split")
            partial += reading.share < 1
            bar.advance()
    return found, partial


if __name__ == "__main__":
    stage(run, "encoder", __doc__)
