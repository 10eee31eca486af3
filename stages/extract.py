"""Extract features: decode every video, encode its frames and its sound, write the feature stores.

    python -m stages.extract                     # both stores
    python -m stages.extract --only audio        # one of them

Makes features/<dataset>/<encoder>/shard-*.h5 and store.json. What is whole and of the same recipe is kept;
a changed or new video is encoded again; a video that fails is listed in store.json, and more failures than
extraction.allowed_failures end the stage with status 1.
"""

from pipeline import extraction
from pipeline.device import device
from pipeline.encoders import appearance, audio
from pipeline.manifest import Manifest
from pipeline.params import Params
from pipeline.paths import Paths
from stages.command import Summary, stage_of_parts

PARTS = ("appearance", "audio")


def run(params: Params, paths: Paths, part: str) -> Summary:
    videos = [(video.id, video.path) for video in Manifest.load(paths.data).videos]
    if part == "appearance":
        encoder = appearance.load(params.encoders.appearance, paths.encoder, str(device(params.device)))
        return extraction.extract(videos, encoder, paths.appearance, params.extraction)
    return extraction.extract(videos, audio.load(params.encoders.audio), paths.audio, params.extraction)


if __name__ == "__main__":
    stage_of_parts(run, "extract", __doc__, PARTS)
