"""Exact search gives the same rows and cosines on the processor and on GPUs, in whatever parts."""

from types import SimpleNamespace
from typing import Any

import faiss
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pipeline.retrieval import exact_search
from pipeline.retrieval.exact_search import nearest
from pipeline.retrieval.index import unit_vectors

Vectors = NDArray[np.float32]


def draw(seed: int, *shape: int) -> Vectors:
    return unit_vectors(np.random.default_rng(seed).standard_normal(shape), "drawn")


def plain(queries: Vectors, vectors: Vectors, depth: int) -> tuple[Any, Any]:
    """All cosines in double precision, sorted; of equal ones the lower row first."""
    cosines = (queries.astype(np.float64) @ vectors.astype(np.float64).T).astype(np.float32)
    best = np.argsort(-cosines, axis=1, kind="stable")[:, :depth]
    return best, np.take_along_axis(cosines, best, 1)


@pytest.fixture
def repeated() -> Vectors:
    """600 vectors, of which 500 are one of 20 that recur anywhere: many ties, more than faiss is first asked for."""
    vectors = draw(0, 600, 32)
    places = np.random.default_rng(1).permutation(600)[:500]
    vectors[places] = vectors[np.sort(places)[:20]][np.arange(500) % 20]
    return vectors


@pytest.fixture
def three_cards(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """faiss' calls for GPUs, answered by its flat index of the processor; (card, vectors) of each part that was put on
    one."""
    placed: list[tuple[int, int]] = []

    def flat(resources: object, dim: int, settings: SimpleNamespace) -> faiss.IndexFlatIP:
        assert isinstance(resources, Resources) and not settings.use_cuvs
        made = faiss.IndexFlatIP(dim)
        add = made.add

        def place(vectors: Vectors) -> None:
            placed.append((settings.device, len(vectors)))
            add(vectors)

        object.__setattr__(made, "add", place)
        return made

    class Resources:
        pass

    for name, value in (("get_num_gpus", lambda: 3), ("GpuIndexFlatConfig", SimpleNamespace),
                        ("StandardGpuResources", Resources), ("GpuIndexFlatIP", flat)):
        monkeypatch.setattr(faiss, name, value, raising=False)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda card: (10**9, 10**9))
    return placed


def both(found: tuple[Any, Any], wanted: tuple[Any, Any]) -> bool:
    return np.array_equal(found[0], wanted[0]) and np.array_equal(found[1], wanted[1])


def test_ties_go_to_the_lower_row_whatever_the_batch(repeated: Vectors) -> None:
    queries = np.concatenate([draw(2, 40, 32), repeated[:3]])
    wanted = plain(queries, repeated, 7)
    assert len(np.unique(wanted[1][0])) < 7         # there are ties, and they end at the last place
    for batch in (1, 16, 1000):
        assert both(nearest(queries, repeated, 7, batch), wanted)


def test_parts_of_the_vectors_merge_to_the_same(repeated: Vectors) -> None:
    queries = draw(3, 30, 32)
    wanted = nearest(queries, repeated, 12, 8)
    parts = [(rows + first, cosines) for first in (0, 211, 422)
             for rows, cosines in [nearest(queries, repeated[first:first + 211], 12, 8)]]
    rows, cosines = (np.concatenate(found, axis=1) for found in zip(*parts, strict=True))
    best = np.lexsort((rows, -cosines), axis=1)[:, :12]
    assert both((np.take_along_axis(rows, best, 1), np.take_along_axis(cosines, best, 1)), wanted)


def test_all_cards_share_the_vectors_and_find_the_same(repeated: Vectors, three_cards: list[tuple[int, int]]) -> None:
    queries = draw(6, 25, 32)
    wanted = nearest(queries, repeated, 9, 10)
    assert not three_cards                                          # "cpu" asks no GPU
    assert both(nearest(queries, repeated, 9, 10, "cuda"), wanted)
    assert three_cards[:3] == [(0, 200), (1, 200), (2, 200)]        # once for all batches
    three_cards.clear()
    assert both(nearest(queries, repeated, 9, 10, "cuda:2"), wanted) and three_cards[0] == (2, 600)


def test_vectors_that_the_cards_cannot_hold_are_searched_in_parts(
        repeated: Vectors, three_cards: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    free = {0: 10**9, 1: 2 * 60 * 4 * 32, 2: 10**9}
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda card: (free[card], 10**9))
    queries = draw(7, 25, 32)
    wanted = nearest(queries, repeated, 9, 10)
    assert both(nearest(queries, repeated, 9, 10, "cuda"), wanted)
    assert three_cards[:9] == [(0, 90), (1, 90), (2, 90)] * 2 + [(0, 20), (1, 20), (2, 20)]


def test_what_is_too_deep_for_a_card_is_searched_by_the_processor(
        repeated: Vectors, three_cards: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact_search, "_GPU_DEEPEST", 20)
    found = nearest(draw(8, 5, 32), repeated, 10, 10, "cuda")
    assert both(found, nearest(draw(8, 5, 32), repeated, 10, 10)) and not three_cards


@pytest.mark.gpu
@pytest.mark.skipif(not (torch.cuda.is_available() and faiss.get_num_gpus()),
                    reason="there is no GPU that faiss sees: `make test FAISS=gpu` on a machine with one")
def test_a_gpu_and_the_processor_give_the_same_candidates(repeated: Vectors) -> None:
    large = draw(9, 50_000, 512)
    large[::7] = large[3]
    for vectors, queries in ((repeated, draw(10, 60, 32)), (large, draw(11, 300, 512))):
        assert both(nearest(queries, vectors, 100, 64, "cuda"), nearest(queries, vectors, 100, 64))
