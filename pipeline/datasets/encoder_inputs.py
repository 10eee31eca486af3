"""What the encoder stage reads of a data set, in a file of its own: `encoder-inputs.json` beside the manifest.

With weights that exist the encoder depends on no video, and a new one must not make it stale; an encoder that is
trained here depends on the videos of `pretrain` and their captions (of `train` where the data set has none of
`pretrain`), imported features on their files.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.common.commands import rerun
from pipeline.common.errors import SpectrumError
from pipeline.common.files import read_json, write_json
from pipeline.datasets.manifest import Manifest
from pipeline.params import AppearanceEncoder
from pipeline.store.feature_files import features_sha256

NAME = "encoder-inputs.json"


@dataclass(frozen=True)
class TrainingVideo:
    path: Path
    captions: tuple[str, ...]


def write_encoder_inputs(folder: Path, manifest: Manifest, section: AppearanceEncoder) -> None:
    """Puts the file beside the manifest in `folder`. Raises SpectrumError for a file that cannot be read."""
    write_json(folder / NAME, {"videos": _videos(manifest) if section.weights == "train" else [],
                               "files": {name: _digest(Path(path)) for name, path in
                                         (("features", section.features), ("texts", section.texts)) if path}})


def read_training_videos(folder: Path) -> list[TrainingVideo]:
    """The videos that an encoder learns from. Raises SpectrumError for one that is not what `prepare` found."""
    inputs: Any = read_json(folder / NAME)
    try:
        videos = [(TrainingVideo(Path(video["path"]), tuple(video["captions"])), video["sha256"])
                  for video in inputs["videos"]]
    except (KeyError, TypeError) as error:
        raise SpectrumError(f"{folder / NAME}: not the inputs of an encoder ({type(error).__name__}: {error}); "
                            f"{rerun('prepare')}") from None
    for video, digest in videos:
        if _digest(video.path) != digest:
            raise SpectrumError(f"{video.path}: it was changed or damaged after `prepare` read it; {rerun('prepare')}")
    return [video for video, _ in videos]


def _videos(manifest: Manifest) -> list[dict[str, Any]]:
    """Those that were set apart for the encoder; of a data set without any, the captioner's own training videos."""
    split = "pretrain" if manifest.ids("pretrain") else "train"
    return [{"id": video.id, "path": video.path, "sha256": _digest(Path(video.path)),
             "captions": manifest.captions_of[video.id]} for video in manifest.videos if video.split == split]


def _digest(path: Path) -> str:
    try:
        return features_sha256(path)
    except OSError as error:
        raise SpectrumError(f"{path}: it cannot be read ({error.strerror}); mend the path or its permissions") from None
