"""The caption index (FAISS) and candidate retrieval.

The index holds every distinct caption of the retrieval corpus once, as a unit vector. A query is a video's
mean frame vector; its candidates are the captions of greatest cosine. The leak guard: a video never
retrieves a caption of its own, nor the same sentence written for another video.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from pipeline.common.errors import SpectrumError
from pipeline.common.files import atomic_write, fingerprint, read_json, sha256, write_json
from pipeline.common.text import words
from pipeline.datasets.manifest import Caption
from pipeline.store.feature_store import FeatureStore

SCHEMA = 1
_TEXT = h5py.string_dtype()


def sentence_key(text: str) -> str:
    """Two captions are the same sentence when their keys are equal: case and punctuation do not count."""
    return " ".join(words(text))


@dataclass(frozen=True)
class CaptionIndex:
    """Distinct captions, row by row: `texts` [M], `video_ids` [M] (first owner), unit `embeddings` [M, D]."""

    texts: tuple[str, ...]
    video_ids: tuple[str, ...]
    embeddings: NDArray[np.float32]
    recipe_id: str
    faiss_index: Any

    @cached_property
    def _row_of(self) -> dict[str, int]:
        """Row by sentence key: the captions of an index are distinct sentences."""
        return {sentence_key(text): row for row, text in enumerate(self.texts)}

    def search(self, queries: NDArray[np.float32], own: Sequence[set[str]], top: int,
               batch: int = 1024) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rows and cosines of the `top` captions of each query, best first: two arrays [Q, top].

        queries: [Q, D], any length but zero. own: for each query the sentence keys it must not retrieve.
        Raises SpectrumError when the corpus is too small to fill `top` after the leak guard.
        """
        queries = unit(queries, "queries")
        deepest = top + max((len(keys) for keys in own), default=0)
        depth = min(deepest, len(self.texts))
        barred = [[self._row_of[key] for key in keys if key in self._row_of] for keys in own]
        rows = np.empty((len(queries), top), np.int64)
        scores = np.empty((len(queries), top), np.float32)
        for start in range(0, len(queries), batch):
            found_scores, found = self.faiss_index.search(queries[start : start + batch], depth)
            for i, (hits, cosines) in enumerate(zip(found, found_scores, strict=True), start=start):
                kept = np.flatnonzero((hits >= 0) & np.isin(hits, barred[i], invert=True))[:top]
                if len(kept) < top:
                    raise SpectrumError(
                        f"only {len(kept)} of {top} candidates are left in a corpus of {len(self.texts)} distinct "
                        "captions once a video's own are excluded; lower retrieval.stored or enlarge data.corpus")
                rows[i], scores[i] = hits[kept], cosines[kept]
        return rows, scores


def unit(vectors: NDArray[np.floating[Any]], what: str) -> NDArray[np.float32]:
    """Rows of length 1. A zero or non-finite row has no direction and is refused."""
    vectors = np.ascontiguousarray(vectors, np.float32)
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    if not np.isfinite(lengths).all() or (lengths == 0).any():
        bad = np.flatnonzero(~np.isfinite(lengths[:, 0]) | (lengths[:, 0] == 0))
        raise SpectrumError(f"{what}: rows {bad[:5].tolist()} are zero or not finite and cannot be compared")
    return np.asarray(vectors / lengths, np.float32)


def distinct(corpus: Sequence[Caption]) -> list[Caption]:
    """The first caption of every distinct sentence, in the corpus' order."""
    first: dict[str, Caption] = {}
    for caption in corpus:
        first.setdefault(sentence_key(caption.text), caption)
    first.pop("", None)  # nothing but punctuation
    return list(first.values())


def build(captions: Sequence[Caption], embeddings: NDArray[np.float32], recipe_id: str, folder: Path) -> None:
    """Writes the index of `distinct` captions and their embeddings [M, D]; recipe_id: the text encoder's."""
    if len(captions) != len(embeddings) or not len(captions):
        raise SpectrumError(f"{folder}: {len(captions)} captions but {len(embeddings)} embeddings to index")
    vectors = unit(embeddings, "captions")
    faiss = load_faiss()
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    with atomic_write(folder / "captions.faiss") as temporary:
        faiss.write_index(index, str(temporary))
    with atomic_write(folder / "captions.h5") as temporary, h5py.File(temporary, "w") as file:
        file.create_dataset("embedding", data=vectors, fletcher32=True, track_times=False)
        file.create_dataset("text", data=[c.text for c in captions], dtype=_TEXT, track_times=False)
        file.create_dataset("video_id", data=[c.video_id for c in captions], dtype=_TEXT, track_times=False)
    write_json(folder / "index.json", {
        "schema": SCHEMA,
        "kind": "IndexFlatIP: exact cosine over unit vectors",
        "captions": len(captions),
        "dim": int(vectors.shape[1]),
        "recipe_id": recipe_id,
        "sha256": {name: sha256(folder / name) for name in ("captions.faiss", "captions.h5")},
    })


def open_index(folder: Path, recipe_id: str) -> CaptionIndex:
    """The index in `folder`. Refused when a file is not the one that was built, or of another text encoder."""
    about = read_json(folder / "index.json")
    if about.get("schema") != SCHEMA:
        raise SpectrumError(f"{folder}: schema {about.get('schema')}, expected {SCHEMA}; run python -m stages.index")
    if about["recipe_id"] != recipe_id:
        raise SpectrumError(f"{folder}: made by text encoder {about['recipe_id']}, but the pictures are encoded by "
                            f"{recipe_id}; run python -m stages.index")
    for name, digest in about["sha256"].items():
        if not (folder / name).is_file() or sha256(folder / name) != digest:
            raise SpectrumError(f"{folder / name}: missing or damaged (SHA-256 differs); run python -m stages.index")
    with h5py.File(folder / "captions.h5") as file:
        texts = tuple(file["text"].asstr()[:])
        video_ids = tuple(file["video_id"].asstr()[:])
        embeddings = file["embedding"][:]
    index = load_faiss().read_index(str(folder / "captions.faiss"))
    return CaptionIndex(texts, video_ids, embeddings, recipe_id, index)


@dataclass(frozen=True)
class Candidates:
    """The top captions of every video: `rows` [V, N] of the index, cosine `scores` [V, N], best first."""

    ids: tuple[str, ...]
    rows: NDArray[np.int64]
    scores: NDArray[np.float32]
    recipe_id: str

    def write(self, path: Path) -> None:
        with atomic_write(path) as temporary, h5py.File(temporary, "w") as file:
            file.attrs["recipe_id"] = self.recipe_id
            file.create_dataset("ids", data=list(self.ids), dtype=_TEXT, track_times=False)
            file.create_dataset("rows", data=self.rows, fletcher32=True, track_times=False)
            file.create_dataset("scores", data=self.scores, fletcher32=True, track_times=False)

    @classmethod
    def read(cls, path: Path) -> "Candidates":
        if not path.is_file():
            raise SpectrumError(f"{path}: no such file; run python -m stages.retrieve")
        with h5py.File(path) as file:
            return cls(tuple(file["ids"].asstr()[:]), file["rows"][:], file["scores"][:],
                       str(file.attrs["recipe_id"]))

    def select(self, ids: Sequence[str]) -> "Candidates":
        """The candidates of `ids`, in that order; a missing id is an error."""
        place = {video: i for i, video in enumerate(self.ids)}
        missing = [video for video in ids if video not in place]
        if missing:
            raise SpectrumError(f"no candidates for video {missing[0]!r} ({len(missing)} such); "
                                "run python -m stages.retrieve")
        take = [place[video] for video in ids]
        return Candidates(tuple(ids), self.rows[take], self.scores[take], self.recipe_id)


def model_id(recipe: Mapping[str, Any]) -> str:
    """What the two towers share: pictures and captions can be compared when both were encoded by one model."""
    return fingerprint({key: recipe[key] for key in ("kind", "model", "weights")})


def queries(store: FeatureStore, ids: Sequence[str]) -> NDArray[np.float32]:
    """[V, D]: each video's frame vectors' mean, of length 1."""
    rows, offsets = store.load(ids)
    counts = np.diff(offsets)
    empty = [video for video, count in zip(ids, counts, strict=True) if not count]
    if empty:
        raise SpectrumError(f"video {empty[0]!r} has no frames in {store.folder} ({len(empty)} such)")
    return unit(np.add.reduceat(rows.astype(np.float32), offsets[:-1], axis=0) / counts[:, None], "videos")


def own_sentences(ids: Sequence[str], captions_of: Mapping[str, Sequence[str]]) -> list[set[str]]:
    """For each video the keys of its own captions: what the leak guard keeps from it."""
    return [{sentence_key(text) for text in captions_of.get(video, ())} for video in ids]


def load_faiss() -> Any:
    """The faiss module, told which BLAS kernels this processor has.

    OpenBLAS inside faiss-cpu takes newer processors for old ones and then runs at a quarter of the speed;
    its choice can only be set before the first import, and only to what the processor really has.
    """
    if "OPENBLAS_CORETYPE" not in os.environ:
        flags = _processor_flags()
        if {"avx512f", "avx512bw", "avx512vl", "avx512dq"} <= flags:
            os.environ["OPENBLAS_CORETYPE"] = "SkylakeX"
        elif {"avx2", "fma"} <= flags:
            os.environ["OPENBLAS_CORETYPE"] = "Haswell"
    import faiss

    return faiss


def _processor_flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return set()
    return next((set(line.partition(":")[2].split()) for line in lines if line.startswith("flags")), set())
