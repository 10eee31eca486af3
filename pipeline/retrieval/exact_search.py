"""Exact search for the vectors of greatest cosine: on the processor, or on all GPUs that faiss sees, with one result.

faiss compares in float32, where the last digits depend on the processor, on the size of a batch and on where a row
lies. So it is asked for some more rows than are wanted, their cosines are computed again in double precision, and of
equal ones the lower row comes first. Where a row that faiss left out might still belong to those wanted, by the
greatest error that rounding can make, it is asked for twice as many. Parts of the vectors that are searched one by one
and merged by (cosine, row) give what one search of all gives.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.retrieval.faiss_loading import import_faiss

Rows = NDArray[np.int64]
Vectors = NDArray[np.float32]

_SPARE = 16                 # more rows than are wanted: few enough queries have to be asked again
_RESULTS = 1 << 25          # rows found that are held at once: 400 MB
_GPU_DEEPEST = 2048         # rows of a query that faiss finds on a GPU
_GPU_SHARE = 0.75           # of a GPU's free memory that vectors may take: faiss needs some to compare


class _Find(Protocol):
    def __call__(self, queries: Vectors, depth: int) -> tuple[Vectors, Rows]:
        """Cosines and rows [Q, depth], best first."""
        ...


def nearest(queries: Vectors, vectors: Vectors, depth: int, batch: int, device: str = "cpu") -> tuple[Rows, Vectors]:
    """Rows of `vectors` [M, D] and their cosines, best first, for each of `queries` [Q, D]: two arrays [Q, depth].

    All are of length 1, and there are at least `depth` vectors. batch: queries that are compared at once; it changes no
    result. device: "cuda" searches on all GPUs where faiss has any, "cuda:1" on that one; every call puts the vectors
    there anew, so that all queries belong into one.
    """
    rows = np.empty((len(queries), depth), np.int64)
    cosines = np.empty((len(queries), depth), np.float32)
    error = 2.0 * vectors.shape[1] * 2.0**-24       # of a sum of so many products in float32, and of the one kept
    wanted, unsettled = depth + _SPARE, np.arange(len(queries))
    while len(unsettled):
        wanted = min(wanted, len(vectors))
        missed = []
        for part in _parts(unsettled, max(1, _RESULTS // wanted)):
            found = _find(queries[part], vectors, wanted, max(1, min(batch, _RESULTS // wanted)), device)
            for query, near, hits in zip(part.tolist(), *found, strict=True):
                exact = np.einsum("kd,d->k", vectors[hits], queries[query], dtype=np.float64).astype(np.float32)
                best = np.lexsort((hits, -exact))[:depth]
                if wanted < len(vectors) and exact[best[-1]] <= near[-1] + error:
                    missed.append(query)
                else:
                    rows[query], cosines[query] = hits[best], exact[best]
        unsettled, wanted = np.array(missed, np.int64), 2 * wanted
    return rows, cosines


def merge(found: Sequence[tuple[Rows, Vectors]], depth: int) -> tuple[Rows, Vectors]:
    """What `nearest` finds among all vectors, of what it found in each part of them, with the rows of the whole."""
    if len(found) == 1:
        return found[0]
    rows, cosines = (np.concatenate(parts, axis=1) for parts in zip(*found, strict=True))
    best = np.lexsort((rows, -cosines), axis=1)[:, :depth]
    return np.take_along_axis(rows, best, 1), np.take_along_axis(cosines, best, 1)


def _parts(values: Rows, size: int) -> Iterator[Rows]:
    for first in range(0, len(values), size):
        yield values[first:first + size]


def _find(queries: Vectors, vectors: Vectors, depth: int, batch: int, device: str) -> tuple[Vectors, Rows]:
    """Cosines and rows [Q, depth] as faiss finds them, best first."""
    faiss = import_faiss()
    cards = _cards(faiss, device) if depth <= _GPU_DEEPEST else []
    size = _rows_on_gpus(cards, vectors.shape[1]) if cards else len(vectors)
    cosines, rows = np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
    for first in range(0, len(vectors), size):      # once, unless the GPUs cannot hold all
        block = vectors[first:first + size]
        find = _on_gpus(faiss, block, cards) if cards else _on_cpu(faiss, block)
        parts = [find(queries[start:start + batch], min(depth, len(block))) for start in range(0, len(queries), batch)]
        near, hits = (np.concatenate(found) for found in zip(*parts, strict=True))
        cosines = np.concatenate([cosines, near], axis=1)
        rows = np.concatenate([rows, np.where(hits < 0, -1, hits + first)], axis=1)
        if first:
            best = np.argsort(-cosines, axis=1, kind="stable")[:, :depth]
            cosines, rows = np.take_along_axis(cosines, best, 1), np.take_along_axis(rows, best, 1)
    return cosines, rows


def _on_cpu(faiss: Any, vectors: Vectors) -> _Find:
    """The vectors are read where they lie: of a mapped file a batch of queries reads each page once."""
    def find(queries: Vectors, depth: int) -> tuple[Vectors, Rows]:
        near, hits = faiss.knn(queries, vectors, depth, metric=faiss.METRIC_INNER_PRODUCT)
        return near, hits

    return find


def _cards(faiss: Any, device: str) -> list[int]:
    """The GPUs that `device` (cpu, cuda, cuda:1) means, of those that faiss sees."""
    kind, _, number = device.partition(":")
    cards = range(faiss.get_num_gpus() if kind == "cuda" else 0)
    return [card for card in cards if not number or card == int(number)]


def _on_gpus(faiss: Any, vectors: Vectors, cards: list[int]) -> _Find:
    """A part of the vectors on each card."""
    shards = faiss.IndexShards(vectors.shape[1], True, True)        # in threads; rows are numbered on from card to card
    for card, part in zip(cards, np.array_split(vectors, len(cards)), strict=True):
        settings = faiss.GpuIndexFlatConfig()
        settings.device, settings.use_cuvs = card, False            # faiss' own kernels keep all of float32
        flat = faiss.GpuIndexFlatIP(faiss.StandardGpuResources(), vectors.shape[1], settings)
        flat.add(part)
        shards.add_shard(flat)

    def find(queries: Vectors, depth: int) -> tuple[Vectors, Rows]:
        near, hits = shards.search(queries, depth)
        return near, hits

    return find


def _rows_on_gpus(cards: list[int], dim: int) -> int:
    """How many vectors the cards can hold, at least one each."""
    import torch

    free = min(torch.cuda.mem_get_info(card)[0] for card in cards)
    return len(cards) * max(1, int(free * _GPU_SHARE) // (4 * dim))
