"""The benchmarks of search measure what they say."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import approximate, retrieval
from pipeline.retrieval.index import unit_vectors


def test_search_is_measured_beside_faiss(tmp_path: Path) -> None:
    found = retrieval.searching(tmp_path, 2000, 8, 1)
    assert found["retrieval_over_faiss"] == pytest.approx(found["search_seconds"] / found["faiss_seconds"])
    assert found["vectors_mb"] == pytest.approx(2000 * 512 * 4 / 2**20) and found["mb_above_vectors"] > 0


def test_an_inverted_file_finds_all_only_where_it_searches_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approximate, "SHARES", (0.05, 1.0))
    rng = np.random.default_rng(0)
    captions = approximate.grown(unit_vectors(rng.standard_normal((200, 16)), "made"), 600)
    assert captions.shape == (600, 16) and np.allclose(np.linalg.norm(captions, axis=1), 1, atol=1e-5)
    videos = unit_vectors(captions[::60] + rng.standard_normal(16), "videos")
    few, every = approximate.compare(videos, captions[::60], captions)
    assert few["recall"] < every["recall"] == every["recall_of_captions"] == 1
    assert few["mb_a_query"] < every["mb_a_query"] == pytest.approx(600 * 16 * 4 / 1e6)
