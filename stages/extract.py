"""Extract features: decode every video, encode its frames, its sound and its motion, write the feature stores.

    python -m stages.extract                            # all stores
    python -m stages.extract --only audio               # one of them
    python -m stages.extract cluster.scheduler=local    # by one worker a GPU, or one a core

Makes features/<dataset>/<encoder>/shard-*.h5 and store.json. What is whole and of the same recipe is kept;
a changed or new video is encoded again; a video that fails is listed in store.json, and more failures than
extraction.allowed_failures end the stage with status 1. A run that was killed goes on where it was. With
encoders.<part>.features the rows come from a file in place of videos.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from pipeline import extraction
from pipeline.datasets.manifest import Manifest
from pipeline.encoders import audio, imported, motion
from pipeline.encoders.base import Encoder, on_device
from pipeline.params import Params
from pipeline.params.paths import Paths
from stages.command import Summary, stage_of_parts

PARTS = ("appearance", "audio", "motion")


def run(params: Params, paths: Paths, part: str) -> Summary:
    manifest, encoders = Manifest.load(paths.data), params.encoders
    folder = {"appearance": paths.appearance, "audio": paths.audio, "motion": paths.motion}[part]
    if features := getattr(encoders, part).features:
        if not Path(features).absolute().is_relative_to(Path(params.data.videos).absolute()):
            print(f"{features} is not below data.videos ({params.data.videos}), so DVC does not notice when it is "
                  f"replaced; link it there, or then run `dvc repro -f encoder extract@{part}`")
        return imported.import_part(part, encoders, paths.encoder, manifest.id_of, folder, params.extraction)
    # A modality that is left out reads no file: a data set of imported features may have none.
    left_out = part != "appearance" and getattr(encoders, part).kind == "none"
    videos = [] if left_out else [(video.id, video.path) for video in manifest.videos]
    return extraction.extract(videos, _build(part, params, paths), folder, params.extraction, params.cluster)


def _build(part: str, params: Params, paths: Paths) -> Callable[[], Encoder]:
    """Makes the encoder. The device is found where that is done, which may be another machine."""
    if part == "audio":
        return partial(on_device, audio.load, params.machine.device, params.encoders.audio)
    if part == "motion":
        return partial(on_device, motion.load, params.machine.device, params.encoders.motion)
    from pipeline.encoders import appearance  # open_clip, which takes seconds to import

    return partial(on_device, appearance.load, params.machine.device, params.encoders.appearance, paths.encoder.resolve())


if __name__ == "__main__":
    stage_of_parts(run, "extract", __doc__, PARTS)
