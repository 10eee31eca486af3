"""Extract features: decode every video, encode its frames, its sound and its motion, write the feature stores.

    python -m stages.extract                            # all stores
    python -m stages.extract --only audio               # one of them
    python -m stages.extract cluster.scheduler=local    # by one worker a GPU, or one a core

Makes features/<dataset>/<encoder>/shard-*.h5 and store.json. What is whole and of the same recipe is kept;
a changed or new video is encoded again; a video that fails is listed in store.json, and more failures than
extraction.allowed_failures end the stage with status 1. A run that was killed goes on where it was. With
encoders.appearance.features the frames come from a file in place of videos.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from pipeline import extraction
from pipeline.encoders import appearance, audio, imported, motion
from pipeline.encoders.base import Encoder, on_device
from pipeline.manifest import Manifest
from pipeline.params import Params
from pipeline.paths import Paths
from stages.command import Summary, stage_of_parts

PARTS = ("appearance", "audio", "motion")


def run(params: Params, paths: Paths, part: str) -> Summary:
    manifest, encoders = Manifest.load(paths.data), params.encoders
    if part == "appearance" and encoders.appearance.features:
        return imported.import_frames(encoders.appearance, paths.encoder, manifest.id_of, paths.appearance,
                                      params.extraction)
    # A modality that is left out reads no file: a data set of imported features may have none.
    left_out = part != "appearance" and getattr(encoders, part).kind == "none"
    videos = [] if left_out else [(video.id, video.path) for video in manifest.videos]
    parts: dict[str, tuple[Path, Callable[..., Encoder], tuple[Any, ...]]] = {
        "appearance": (paths.appearance, appearance.load, (encoders.appearance, paths.encoder.resolve())),
        "audio": (paths.audio, audio.load, (encoders.audio,)),
        "motion": (paths.motion, motion.load, (encoders.motion,)),
    }
    folder, load, arguments = parts[part]
    # The device is found where the encoder is made, which may be another machine.
    build = partial(on_device, load, params.device, *arguments)
    return extraction.extract(videos, build, folder, params.extraction, params.cluster)


if __name__ == "__main__":
    stage_of_parts(run, "extract", __doc__, PARTS)
