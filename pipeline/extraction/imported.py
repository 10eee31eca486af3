"""The store of features that somebody else has encoded: `encoders.<modality>.features`, in place of videos."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline import params
from pipeline.common.files import read_json
from pipeline.encoders.imported import checked_metadata, model_recipe
from pipeline.encoders.open_clip_model import METADATA_FILE
from pipeline.store.exchange import ImportOptions, import_features


def import_modality(modality: str, settings: params.Params, encoder_folder: Path, folder: Path,
                    id_of: Mapping[str, str]) -> dict[str, Any]:
    """Makes the store of `modality` (appearance, audio, motion) in `folder`; returns counts.

    encoder_folder: which the encoder stage made. id_of: of `Manifest.id_of`, by which keys become ids. Videos that lack
    features are listed in the store; of frames no more than extraction.allowed_failures may lack, of sound and motion
    all but one: published files have no features of a clip without a sound track.
    """
    encoders, extraction = settings.encoders, settings.extraction
    if modality == "appearance":
        section = encoders.appearance
        metadata = (checked_metadata(section, encoder_folder) if section.weights == "imported"
                    else read_json(encoder_folder / METADATA_FILE))
        features, about = section.features, {**model_recipe(metadata), "untrained": metadata["untrained"]}
    else:
        other = encoders.audio if modality == "audio" else encoders.motion
        features, about = other.features, {"model": other.model or "unknown", "untrained": False}
    return import_features(Path(features), folder, ImportOptions(
        about, id_of, modality, num_shards=extraction.num_shards,
        allowed_missing=extraction.allowed_failures if modality == "appearance" else 1.0))
