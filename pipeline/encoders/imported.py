"""Frames and captions that somebody else has encoded: `encoders.appearance.features` and `.texts`.

`features` is any layout that store/feature_files.py reads, one entry a video; it replaces the videos. With
`encoders.appearance.weights: imported` captions come from a file, too: such a data set needs neither videos nor a
model. `texts` is an HDF5 file with `embedding` [N, D] and `text` [N], a caption each, in the space of the frames.
"""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from pipeline.common.commands import rerun
from pipeline.common.errors import SpectrumError
from pipeline.common.file_digests import file_digest
from pipeline.common.files import read_json, write_json
from pipeline.encoders.base import Recipe
from pipeline.encoders.open_clip_model import METADATA_FILE
from pipeline.params import AppearanceEncoder
from pipeline.store.feature_files import FlatFile, features_sha256, open_features
from pipeline.store.shard import DAMAGE


def prepare(section: AppearanceEncoder, folder: Path) -> dict[str, Any]:
    """Makes the encoder's folder for `weights: imported`; returns the content of encoder.json.

    Raises SpectrumError where a file is missing, or frames and texts have other widths.
    """
    features, texts = Path(section.features), Path(section.texts)
    dim = read_texts(texts)[0].shape[1]
    with open_features(features) as source:
        if not source.keys:
            raise SpectrumError(f"{features}: it has no features")
        shape, _ = source.shape(source.keys[0])
        if not shape or shape[-1] != dim:
            raise SpectrumError(f"{features}: features of {source.keys[0]!r} are {list(shape)}, but the texts in "
                                f"{texts} are {dim} wide; frames and captions have to come from one model")
    digest = file_digest(texts)
    metadata = {"model": section.model, "weights": "imported", "untrained": False, "dim": dim, "sha256": digest,
                "features": {"name": features.name, "sha256": features_sha256(features)},
                "texts": {"name": texts.name, "sha256": digest}}
    write_json(folder / METADATA_FILE, metadata)
    return metadata


def checked_metadata(section: AppearanceEncoder, folder: Path) -> dict[str, Any]:
    """encoder.json, after a check that it is of the files that the parameters name."""
    path = folder / METADATA_FILE
    metadata: dict[str, Any] = read_json(path)
    if (metadata["model"], metadata["weights"]) != (section.model, "imported"):
        raise SpectrumError(f"{path}: it is of {metadata['model']} with weights {metadata['weights']}, but the "
                            f"parameters ask for {section.model} with imported ones; {rerun('encoder')}")
    for key, file in (("features", Path(section.features)), ("texts", Path(section.texts))):
        if not file.exists() or features_sha256(file) != metadata[key]["sha256"]:
            raise SpectrumError(f"{file}: missing, or not the file that the encoder's folder was made with; "
                                f"{rerun('encoder')}")
    return metadata


def model_recipe(metadata: dict[str, Any]) -> Recipe:
    """What frames and texts of one model have in common."""
    return {"kind": "imported", "model": metadata["model"], "weights": metadata["sha256"]}


def read_texts(path: Path) -> tuple[NDArray[np.float32], list[str]]:
    """Embeddings [N, D], scaled to length 1, and their texts. Raises SpectrumError where one is zero or not finite."""
    embeddings, texts = _read_texts(path)
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)                     # [N, 1]
    bad = np.flatnonzero(~np.isfinite(lengths[:, 0]) | (lengths[:, 0] == 0))
    if len(bad):
        raise SpectrumError(f"{path}: {len(bad)} embeddings, the first of them row {bad[0]}, are zero or not finite")
    return embeddings / lengths, texts


def _read_texts(path: Path) -> tuple[NDArray[np.float32], list[str]]:
    with open_features(path) as source:
        if not isinstance(source, FlatFile) or not {"embedding", "text"} <= set(source.keys):
            raise SpectrumError(f"{path}: expected an HDF5 file with the data sets `embedding` [N, D] and `text` [N]")
        embeddings = source.read("embedding").astype(np.float32)
        texts = source.dataset("text")
        try:
            if texts.shape != (len(embeddings),) or h5py.check_string_dtype(texts.dtype) is None:
                raise SpectrumError(f"{path}: `text` is {texts.dtype} {list(texts.shape)}, expected as many strings as "
                                    f"there are embeddings ({len(embeddings)})")
            return embeddings, list(texts.asstr()[:])
        except DAMAGE as error:
            raise source.error("text", f"not readable, damaged ({error})") from None
