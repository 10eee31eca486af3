"""Candidate search, leak guard and all, against the bare FAISS search that it does.

    python -m benchmarks.retrieval

Writes reports/bench/retrieval.json: `retrieval_over_faiss`, the ratio of the medians.
"""

import json
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.timing import in_turn, machine, medians
from pipeline.common.files import write_json
from pipeline.retrieval import index
from pipeline.retrieval.faiss_loading import import_faiss
from pipeline.retrieval.leak_guard import barred_rows
from pipeline.retrieval.sentences import Sentence

ROUNDS = 5
CAPTIONS, DIM, QUERIES, TOP = 100_000, 512, 500, 100


def searching(folder: Path) -> dict[str, float]:
    """Seconds to find TOP candidates of QUERIES videos among CAPTIONS, and of the bare search."""
    rng = np.random.default_rng(0)
    sentences = [Sentence(f"sentence {i}", (f"v{i // 20}",)) for i in range(CAPTIONS)]
    index.build_index(sentences, [rng.standard_normal((CAPTIONS, DIM), np.float32)], "benchmark", folder)
    opened = index.open_index(folder, "benchmark")
    queries = index.unit_vectors(rng.standard_normal((QUERIES, DIM), np.float32), "queries")
    own = barred_rows([f"v{i}" for i in range(QUERIES)], opened)
    faiss_index = import_faiss().IndexFlatIP(DIM)
    faiss_index.add(opened.embeddings)
    ours, bare = medians(in_turn(ROUNDS, lambda: opened.search(queries, own, TOP),
                                 lambda: faiss_index.search(queries, TOP + 20)))
    return {"search_seconds": ours, "faiss_seconds": bare, "retrieval_over_faiss": ours / bare}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        found = {key: round(value, 4) for key, value in searching(Path(temporary)).items()}
    write_json(Path("reports/bench/retrieval.json"), {**found, "machine": machine()})
    print(json.dumps(found, indent=2))
