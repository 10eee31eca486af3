"""Extract features: decode every video, encode its frames, its sound and its motion, write the feature stores.

    python -m stages.extract                            # all stores
    python -m stages.extract --only audio               # one of them
    python -m stages.extract cluster.scheduler=local    # by one worker a GPU, or one a core

Makes features/<dataset>/<encoder>/shard-*.h5 and store.json. What is whole and of the same recipe is kept; a changed
or new video is encoded, a file with another name is not; a video that fails is listed in store.json and in failed.txt
beside it, and more failures than extraction.allowed_failures end the stage with status 1. A video that cannot be read
now keeps its rows. A run that was killed goes on where it was. With encoders.<modality>.features the rows come from a
file in place of videos.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from pipeline.common.commands import repro
from pipeline.common.terminal import say
from pipeline.datasets.manifest import Manifest
from pipeline.encoders.base import Encoder, on_device
from pipeline.params import Params
from pipeline.params.paths import Paths
from stages.command import Summary, stage_of_parts

MODALITIES = ("appearance", "audio", "motion")


def run(params: Params, paths: Paths, part: str) -> Summary:
    manifest, section = Manifest.load(paths.data), getattr(params.encoders, part)
    folder = {"appearance": paths.appearance, "audio": paths.audio, "motion": paths.motion}[part]
    if section.features:
        return _import(params, paths, part, folder, manifest)
    from pipeline.extraction.run import extract

    # A modality that is left out reads no file: a data set of imported features may have none.
    left_out = part != "appearance" and section.kind == "none"
    videos = [] if left_out else [(video.id, video.path) for video in manifest.extracted]
    return extract(videos, _build(part, params, paths), folder, params.extraction, params.machine, params.cluster)


def _import(params: Params, paths: Paths, modality: str, folder: Path, manifest: Manifest) -> Summary:
    from pipeline.extraction.imported import import_modality

    features = Path(getattr(params.encoders, modality).features)
    if not features.absolute().is_relative_to(Path(params.data.videos).absolute()):
        say(f"{features} is not below data.videos ({params.data.videos}), so DVC does not notice when it "
            f"is replaced; link it there, or then run `{repro('extract', modality)} encoder --force`")
    id_of = {name: video for name, video in manifest.id_of.items() if manifest.split_of[video] != "pretrain"}
    return import_modality(modality, params, paths.encoder, folder, id_of)


def _build(modality: str, params: Params, paths: Paths) -> Callable[[], Encoder]:
    """What makes the encoder. The device is chosen where that is called, which may be another machine."""
    from pipeline.encoders import appearance, audio, motion

    device, encoders = params.machine.device, params.encoders
    if modality == "audio":
        return partial(on_device, audio.load, device, encoders.audio)
    if modality == "motion":
        return partial(on_device, motion.load, device, encoders.motion)
    return partial(on_device, appearance.load, device, encoders.appearance, paths.encoder.resolve())


def describe(summary: Summary) -> str:
    if "frames" not in summary:     # imported
        return f"took over {summary['rows']:,} rows of {summary['videos']:,} videos"
    if not summary["videos"]:
        return "nothing to extract: this modality's kind is none, or the data set has no videos"
    left = {"kept as they were": summary["reused"] + summary["resumed"] + summary["kept"], "failed": summary["failed"]}
    return f"{summary['rows']:,} rows of {summary['videos']:,} videos" + "".join(
        f", {count:,} {what}" for what, count in left.items() if count)


if __name__ == "__main__":
    stage_of_parts(run, "extract", __doc__, describe, MODALITIES)
