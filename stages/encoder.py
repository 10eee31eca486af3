"""Make the encoder of frames and captions ready: train it, or check that its weights load.

    python -m stages.encoder                                         # as params.yaml says
    python -m stages.encoder encoders.appearance.model=ViT-B-32 encoders.appearance.weights=openai

With encoders.appearance.weights=train it is trained on the videos of the split pretrain, or of train if there is no
pretrain. Makes models/<dataset>/encoder: encoder.json (which weights, with their hash), and model.safetensors if they
were trained here.
"""

import time
from typing import Any

from pipeline.datasets.encoder_inputs import read_training_videos
from pipeline.encoders import imported, open_clip_model
from pipeline.encoders import pretrained_tags as tags
from pipeline.params import Params
from pipeline.params.paths import Paths
from stages.command import Summary, stage


def run(params: Params, paths: Paths) -> Summary:
    section = params.encoders.appearance
    if section.weights == "imported":
        return _summary(imported.prepare(section, paths.encoder))
    tags.check(section)     # before torch and open_clip are imported, which takes seconds
    if section.weights != "train":
        return _summary(open_clip_model.prepare(section, paths.encoder, params.seed))
    return _train(params, paths)


def _train(params: Params, paths: Paths) -> Summary:
    from pipeline.common.device import torch_device
    from pipeline.encoders import contrastive_training as contrastive
    from pipeline.encoders.training_frames import decode_frames

    section, videos = params.encoders.appearance, read_training_videos(paths.data)
    model, tokenizer, size = open_clip_model.create(section.model, params.seed)
    started = time.monotonic()
    frames, partial = decode_frames([video.path for video in videos], section.num_frames, size,
                                    params.extraction, params.machine)
    decoded = time.monotonic()
    losses = contrastive.train(model, frames, [video.captions for video in videos], tokenizer,
                               params.encoder, params.seed, torch_device(params.machine.device))
    open_clip_model.save_trained(section.model, model, paths.encoder,
                                 {"dataset": params.dataset, "seed": params.seed, **params.encoder.model_dump()})
    return {"model": section.model, "weights": "train", "videos": len(videos), "partial": partial,
            "loss": round(losses[-1], 4),
            "seconds": {"decode": round(decoded - started, 2), "train": round(time.monotonic() - decoded, 2)}}


def _summary(metadata: dict[str, Any]) -> Summary:
    return {key: metadata[key] for key in ("model", "weights", "untrained")}


def describe(summary: Summary) -> str:
    if "loss" in summary:
        return f"trained {summary['model']} on {summary['videos']:,} videos, to a loss of {summary['loss']:.3f}"
    return f"{summary['model']} with weights {summary['weights']} is ready"


if __name__ == "__main__":
    stage(run, "encoder", __doc__, describe)
