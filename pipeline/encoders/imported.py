"""Frames, sound, motion and maybe captions that somebody else has encoded: `encoders.<part>.features` and `.texts`.

`features` is any layout that sources.py reads, one entry a video; it stands for the videos of its part.

With `encoders.appearance.weights: imported` captions come from a file, too: such a data set needs neither videos nor a
model. Otherwise they go through the text tower of the model that is named, which has to be the one that made the
frames. `texts` is an HDF5 file with `embedding` [N, D] and `text` [N], a caption each, in the space of the frames.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
from numpy.typing import NDArray

from pipeline.common.errors import SpectrumError
from pipeline.common.files import read_json, sha256, write_json
from pipeline.common.text import clean
from pipeline.encoders.base import Recipe
from pipeline.params import AppearanceEncoder, Encoders, Extraction
from pipeline.store.exchange import import_features
from pipeline.store.feature_files import Flat, digest, open_source
from pipeline.store.shard import DAMAGE

_FACTS = "encoder.json"


class TextEncoder(Protocol):
    """What the stages need of an encoder when no frame is to be encoded."""

    dim: int
    recipe: Recipe

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """[n, dim], each of length 1."""
        ...


class Texts:
    """Captions looked up in a file of embeddings."""

    def __init__(self, path: Path, recipe: Recipe) -> None:
        self.path, self.recipe = path, recipe
        embeddings, texts = _read_texts(path)
        self.dim = embeddings.shape[1]
        lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
        if not np.isfinite(lengths).all() or (lengths == 0).any():
            bad = np.flatnonzero(~np.isfinite(lengths[:, 0]) | (lengths[:, 0] == 0))
            raise SpectrumError(f"{path}: {len(bad)} embeddings, the first of them row {bad[0]}, are zero or not "
                                "finite")
        self._embeddings: NDArray[np.float32] = embeddings / lengths                # [N, D]
        self._row_of: dict[str, int] = {}
        for row, text in enumerate(texts):
            self._row_of.setdefault(clean(text), row)

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """[n, dim], each of length 1. Raises SpectrumError for a text that the file does not have."""
        rows = [self._row_of.get(clean(text)) for text in texts]
        absent = [text for text, row in zip(texts, rows, strict=True) if row is None]
        if absent:
            raise SpectrumError(f"{self.path}: no embedding of the text {absent[0]!r:.200} ({len(absent)} such among "
                                f"{len(texts)}); encoders.appearance.texts has to hold every caption, word for word")
        found: NDArray[np.float32] = self._embeddings[np.array(rows, np.int64)]
        return found


class TextTower:
    """The text tower of the model that made the imported frames."""

    def __init__(self, inner: TextEncoder, recipe: Recipe) -> None:
        self.dim, self.recipe, self.encode_texts = inner.dim, recipe, inner.encode_texts


def text_encoder(section: AppearanceEncoder, folder: Path, device: str) -> TextEncoder:
    """What encodes captions: imported embeddings, or the model of the folder that the encoder stage made."""
    if section.weights == "imported":
        return Texts(Path(section.texts), _shared_recipe(_facts(section, folder)))
    from pipeline.encoders import appearance  # torch, which imported texts do without

    model = appearance.load(section, folder, device)
    return TextTower(model, _shared_recipe(read_json(folder / _FACTS))) if section.features else model


def prepare(section: AppearanceEncoder, folder: Path) -> dict[str, Any]:
    """Makes the encoder's folder for `weights: imported`; returns what encoder.json says.

    Raises SpectrumError where a file is missing, or frames and texts have other widths.
    """
    features, texts = Path(section.features), Path(section.texts)
    dim = Texts(texts, {}).dim
    with open_source(features) as source:
        if not source.keys:
            raise SpectrumError(f"{features}: it has no features")
        shape, _ = source.about(source.keys[0])
        if not shape or shape[-1] != dim:
            raise SpectrumError(f"{features}: features of {source.keys[0]!r} are {list(shape)}, but the texts in "
                                f"{texts} are {dim} wide; frames and captions have to come from one model")
    facts = {"model": section.model, "weights": "imported", "untrained": False, "dim": dim, "sha256": sha256(texts),
             "features": {"name": features.name, "sha256": digest(features)},
             "texts": {"name": texts.name, "sha256": sha256(texts)}}
    write_json(folder / _FACTS, facts)
    return facts


def import_part(part: str, encoders: Encoders, encoder: Path, names: dict[str, str], folder: Path,
                extraction: Extraction) -> dict[str, Any]:
    """Makes the store of `part` (appearance, audio, motion) in `folder` of its `features`, in place of decoding.

    encoder: the folder that the encoder stage made. names: `Manifest.id_of`, by which keys become ids. Returns what
    was done. Videos that lack features are listed in the store; of frames no more than extraction.allowed_failures
    may lack, of sound and motion all but one: published files have nothing of a clip without a sound track.
    """
    if part == "appearance":
        section = encoders.appearance
        facts = _facts(section, encoder) if section.weights == "imported" else read_json(encoder / _FACTS)
        features, about = section.features, {**_shared_recipe(facts), "untrained": facts["untrained"]}
    else:
        other = encoders.audio if part == "audio" else encoders.motion
        features, about = other.features, {"model": other.model or "unknown", "untrained": False}
    return import_features(Path(features), folder, names, about=about, modality=part, shards=extraction.num_shards,
                           allowed_absent=extraction.allowed_failures if part == "appearance" else 1.0)


def _shared_recipe(facts: dict[str, Any]) -> Recipe:
    """What frames and texts have in common: by it an index knows the frames that it can be asked with."""
    return {"kind": "imported", "model": facts["model"], "weights": facts["sha256"]}


def _facts(section: AppearanceEncoder, folder: Path) -> dict[str, Any]:
    """encoder.json, after a check that it is of the files that the parameters name."""
    facts: dict[str, Any] = read_json(folder / _FACTS)
    found = (facts["model"], facts["weights"])
    if found != (section.model, "imported"):
        raise SpectrumError(f"{folder / _FACTS}: it is of {found[0]} with weights {found[1]}, but asked for is "
                            f"{section.model} with imported ones; run the encoder stage again")
    for what, path in (("features", Path(section.features)), ("texts", Path(section.texts))):
        if not path.exists() or digest(path) != facts[what]["sha256"]:
            raise SpectrumError(f"{path}: missing, or not the file that the encoder stage saw; run the encoder stage "
                                "again")
    return facts


def _read_texts(path: Path) -> tuple[NDArray[np.float32], list[str]]:
    with open_source(path) as source:
        if not isinstance(source, Flat) or not {"embedding", "text"} <= set(source.keys):
            raise SpectrumError(f"{path}: expected an HDF5 file with the data sets `embedding` [N, D] and `text` [N]")
        embeddings = source.read("embedding").astype(np.float32)
        texts = source.dataset("text")
        try:
            if texts.shape != (len(embeddings),) or h5py.check_string_dtype(texts.dtype) is None:
                raise SpectrumError(f"{path}: `text` is {texts.dtype} {list(texts.shape)}, expected as many strings as "
                                    f"there are embeddings ({len(embeddings)})")
            return embeddings, list(texts.asstr()[:])
        except DAMAGE as error:
            raise source.wrong("text", f"not readable, damaged ({error})") from None
