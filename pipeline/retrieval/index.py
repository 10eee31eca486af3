"""The caption index: every distinct caption of the retrieval corpus once, as a unit vector, for exact FAISS search."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.common.commands import rerun
from pipeline.common.errors import SpectrumError
from pipeline.common.files import atomic_write, fingerprint, read_json, sha256, write_json
from pipeline.common.hdf5 import TEXTS, Layout, read_arrays, write_arrays
from pipeline.retrieval.exact_search import nearest
from pipeline.retrieval.sentences import Sentence, corpus_digest

SCHEMA = 5
VECTORS_FILE, TEXTS_FILE, DESCRIPTION = "captions.npy", "captions.h5", "index.json"
_REBUILD = rerun("index")
_ROUNDING = 1e-6        # of the length of a vector that was divided by it


@dataclass(frozen=True)
class CaptionIndex:
    """Distinct captions, row by row: `texts` [M], their `owners` [M] (videos), unit `embeddings` [M, D].

    The embeddings lie in the file, which is mapped into memory: what is not read of them takes none.
    """

    texts: tuple[str, ...]
    owners: tuple[tuple[str, ...], ...]
    embeddings: NDArray[np.float32]
    recipe_id: str          # of the text encoder
    digest: str             # stands for this index: numbers of rows mean nothing without it
    corpus: str             # `corpus_digest` of the captions that it was made from

    def search(self, queries: NDArray[np.float32], barred: Sequence[Sequence[int]], top: int,
               batch: int = 1024, device: str = "cpu") -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rows and cosines of the `top` captions of each query, best first: two arrays [Q, top].

        queries: [Q, D], any length but zero. barred: for each query the rows it must not retrieve. device: "cuda"
        searches on all GPUs where faiss has any; neither it nor `batch` changes a result.
        Raises SpectrumError when the corpus is too small to fill `top` after the leak guard.
        """
        depth = self.search_depth(barred, top)
        return self.choose(*nearest(unit_vectors(queries, "queries"), self.embeddings, depth, batch, device), barred,
                           top)

    def check_seen(self, digest: str, folder: Path) -> None:
        """SpectrumError where a worker, which opened `folder`, found an index of another digest."""
        if digest != self.digest:
            raise SpectrumError(f"{folder}: a worker finds another caption index there; all machines need the same "
                                "file system at this path")

    def search_depth(self, barred: Sequence[Sequence[int]], top: int) -> int:
        """How many captions have to be found so that `top` are left without those that are barred."""
        return min(top + max((len(own) for own in barred), default=0), len(self.texts))

    def choose(self, hits: NDArray[np.int64], cosines: NDArray[np.float32], barred: Sequence[Sequence[int]],
               top: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """What `search` returns, of the captions that were found, best first: rows and cosines [Q, depth]."""
        rows = np.empty((len(hits), top), np.int64)
        scores = np.empty((len(hits), top), np.float32)
        for i, (own_hits, own_cosines) in enumerate(zip(hits, cosines, strict=True)):
            kept = np.flatnonzero(np.isin(own_hits, barred[i], invert=True))[:top]
            if len(kept) < top:
                raise SpectrumError(
                    f"only {len(kept)} of {top} candidates are left in a corpus of {len(self.texts)} distinct "
                    "captions once a video's own are excluded; lower retrieval.stored or enlarge data.corpus")
            rows[i], scores[i] = own_hits[kept], own_cosines[kept]
        return rows, scores


def unit_vectors(vectors: NDArray[np.floating[Any]], what: str) -> NDArray[np.float32]:
    """Rows of length 1. A zero or non-finite row has no direction and is refused.

    A row that is of length 1 but for rounding stays as it is: to do this twice changes no bit.
    """
    vectors = np.ascontiguousarray(vectors, np.float32)
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    if not np.isfinite(lengths).all() or (lengths == 0).any():
        bad = np.flatnonzero(~np.isfinite(lengths[:, 0]) | (lengths[:, 0] == 0))
        raise SpectrumError(f"{what}: rows {bad[:5].tolist()} are zero or not finite and cannot be compared")
    return np.asarray(vectors / np.where(np.abs(lengths - 1) < _ROUNDING, 1, lengths), np.float32)


def build_index(sentences: Sequence[Sentence], embeddings: Iterable[NDArray[np.float32]], recipe_id: str,
                folder: Path, precision: str = "float32") -> None:
    """Writes the index of `distinct_sentences` and their embeddings, which come in parts [n, D].

    recipe_id: the text encoder's. precision: what it computed in.
    """
    dim = _write_vectors(folder / VECTORS_FILE, embeddings, len(sentences))
    counts = [len(sentence.owners) for sentence in sentences]
    write_arrays(folder / TEXTS_FILE, {
        "text": [sentence.text for sentence in sentences],
        "owner": [owner for sentence in sentences for owner in sentence.owners],
        "owner_offsets": np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)}, {})
    write_json(folder / DESCRIPTION, {
        "schema": SCHEMA,
        "kind": "exact cosine over unit vectors",
        "captions": len(sentences),
        "dim": dim,
        "recipe_id": recipe_id,
        "precision": precision,
        "corpus": corpus_digest(sentences),
        "sha256": {name: sha256(folder / name) for name in (VECTORS_FILE, TEXTS_FILE)},
    })


def _write_vectors(path: Path, embeddings: Iterable[NDArray[np.float32]], count: int) -> int:
    """Publishes them as unit vectors [count, D], part by part, and returns D."""
    written = dim = 0
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        for part in embeddings:
            vectors = unit_vectors(part, "captions")
            if not written:
                dim = int(vectors.shape[1])
                header = {"descr": vectors.dtype.str, "fortran_order": False, "shape": (count, dim)}
                np.lib.format.write_array_header_1_0(file, header)
            file.write(vectors.data)
            written += len(vectors)
        if written != count or not count:
            raise SpectrumError(f"{path.parent}: {count} captions but {written} embeddings to index")
    return dim


def open_index(folder: Path, recipe_id: str) -> CaptionIndex:
    """The index in `folder`. Refused when a file is not the one that was built, or of another text encoder."""
    description = read_description(folder)
    if description["recipe_id"] != recipe_id:
        raise SpectrumError(f"{folder}: made by text encoder {description['recipe_id']}, but the pictures are encoded "
                            f"by {recipe_id}; {_REBUILD}")
    for name, digest in description["sha256"].items():
        if not (folder / name).is_file() or sha256(folder / name) != digest:
            raise SpectrumError(f"{folder / name}: missing or damaged (SHA-256 differs); {_REBUILD}")
    arrays, _ = read_arrays(folder / TEXTS_FILE, {
        "text": TEXTS, "owner": TEXTS, "owner_offsets": Layout("int64", rank=1),
    }, [])
    offsets = arrays["owner_offsets"]
    embeddings = map_vectors(folder)
    if (not len(embeddings) == len(arrays["text"]) == len(offsets) - 1
            or offsets[0] != 0 or offsets[-1] != len(arrays["owner"]) or (np.diff(offsets) < 1).any()):
        raise SpectrumError(f"{folder / TEXTS_FILE}: its data sets do not fit together; {_REBUILD}")
    owners = tuple(arrays["owner"][first:last] for first, last in pairwise(offsets.tolist()))
    return CaptionIndex(arrays["text"], owners, embeddings, recipe_id, fingerprint(description), description["corpus"])


def index_digest(folder: Path) -> str:
    """The digest that the index in `folder` has when it is opened, without a look at its other files."""
    return fingerprint(read_description(folder))


def map_vectors(folder: Path) -> NDArray[np.float32]:
    """The vectors [M, D] of the index in `folder`, read when they are looked at."""
    path = folder / VECTORS_FILE
    try:
        vectors: NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise SpectrumError(f"{path}: not readable as vectors ({error}); {_REBUILD}") from None
    if vectors.ndim != 2 or vectors.dtype != np.float32:
        raise SpectrumError(f"{path}: {vectors.dtype} {list(vectors.shape)}, expected float32 vectors; {_REBUILD}")
    return vectors.view(np.ndarray)


def read_description(folder: Path) -> dict[str, Any]:
    """index.json, its fields checked. Raises SpectrumError."""
    path = folder / DESCRIPTION
    description: Any = read_json(path)
    schema = description.get("schema") if isinstance(description, dict) else None
    if schema != SCHEMA:
        raise SpectrumError(f"{path}: schema {schema!r:.20}, expected {SCHEMA}; {_REBUILD}")
    digests = description.get("sha256")
    if not (isinstance(digests, dict) and digests.keys() == {VECTORS_FILE, TEXTS_FILE}
            and all(isinstance(description.get(key), str) for key in ("recipe_id", "precision", "corpus"))):
        raise SpectrumError(f"{path}: not a whole description of a caption index; {_REBUILD}")
    return dict(description)


def model_id(recipe: Mapping[str, Any]) -> str:
    """What the two towers share: pictures and captions can be compared when both were encoded by one model."""
    return fingerprint({key: recipe[key] for key in ("kind", "model", "weights")})
