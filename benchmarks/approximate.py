"""Why the caption index is exact: what an inverted file (IVF) of FAISS finds and costs, against exact search.

    python -m benchmarks.approximate features/sample/sample-clip indexes/sample/sample-clip
    python -m benchmarks.approximate STORE INDEX --captions 1000000     # the rest are made, like those that there are

An inverted file puts the captions into lists of similar ones and searches those lists alone that are nearest to a
query. A query here is a video, as `retrieve` has it, and for comparison a caption. `lists` is the share of all lists
that are searched; `recall`, the share of the exact 20 nearest that are found; `time`, the processor's time over that of
exact search for the same queries; `mb_a_query`, what has to be read of a file that is not in memory: exact search reads
all of it once for a batch of 1024 queries, an inverted file its lists for each query.

Writes reports/bench/approximate.json.
"""

import json
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from benchmarks.timing import machine
from pipeline.common.files import write_json
from pipeline.retrieval.candidates import video_queries
from pipeline.retrieval.exact_search import nearest
from pipeline.retrieval.faiss_loading import import_faiss
from pipeline.retrieval.index import VECTORS_FILE, unit_vectors
from pipeline.store.feature_store import FeatureStore

TOP, BATCH = 20, 1024
SHARES = (0.01, 0.02, 0.05, 0.1, 0.2)
_JITTER = 0.3       # length of what tells a made caption from the one that it is like

Vectors = NDArray[np.float32]


def grown(vectors: Vectors, count: int) -> Vectors:
    """`count` vectors: these, and others like them."""
    rng, found = np.random.default_rng(0), [np.asarray(vectors[:count])]
    for first in range(len(vectors), count, 50_000):
        like = vectors[rng.integers(0, len(vectors), min(50_000, count - first))]
        noise = unit_vectors(rng.standard_normal(like.shape, np.float32), "noise")
        found.append(unit_vectors(like + _JITTER * noise, "made"))
    return np.concatenate(found)


def compare(videos: Vectors, captions: Vectors, vectors: Vectors) -> list[dict[str, float]]:
    """A row for each share of the lists. videos, captions: queries [Q, D]."""
    faiss = import_faiss()
    dim, lists = vectors.shape[1], max(1, round(4 * len(vectors) ** 0.5))
    quantizer = faiss.IndexFlatIP(dim)
    inverted = faiss.IndexIVFFlat(quantizer, dim, lists, faiss.METRIC_INNER_PRODUCT)
    inverted.cp.max_points_per_centroid, inverted.cp.niter = 64, 10
    inverted.train(vectors)
    inverted.add(vectors)
    sizes = np.array([inverted.invlists.list_size(number) for number in range(lists)])
    started = time.process_time()
    wanted = nearest(videos, vectors, TOP, BATCH)[0]
    exact = time.process_time() - started
    wanted_of_captions = nearest(captions, vectors, TOP, BATCH)[0]
    rows = []
    for share in SHARES:
        inverted.nprobe = max(1, round(share * lists))
        started = time.process_time()
        hits = inverted.search(videos, TOP)[1]
        spent = time.process_time() - started
        read = sizes[quantizer.search(videos, inverted.nprobe)[1]].sum(1).mean() * dim * 4 / 1e6
        rows.append({"lists": inverted.nprobe / lists, "recall": recall(hits, wanted),
                     "recall_of_captions": recall(inverted.search(captions, TOP)[1], wanted_of_captions),
                     "time": spent / exact, "mb_a_query": float(read),
                     "exact_mb_a_query": vectors.nbytes / BATCH / 1e6})
    return rows


def recall(found: NDArray[np.int64], wanted: NDArray[np.int64]) -> float:
    return float(np.mean([np.isin(own, others).mean() for own, others in zip(wanted, found, strict=True)]))


def main(store: Annotated[Path, typer.Argument(help="feature store of the frames")],
         index: Annotated[Path, typer.Argument(help="folder of the caption index")],
         captions: Annotated[int, typer.Option(help="how many are searched; 0: those of the index")] = 0,
         queries: Annotated[int, typer.Option(min=1)] = 1024,
         out: Path = Path("reports/bench/approximate.json")) -> None:
    opened = FeatureStore.open(store)
    rng = np.random.default_rng(1)
    real: Vectors = np.load(index / VECTORS_FILE, mmap_mode="r")
    ids = rng.permutation(opened.ids)[:queries].tolist()
    texts = rng.permutation(len(real))[:queries]
    vectors = grown(real, captions or len(real))
    rows = compare(video_queries(opened, ids), real[texts], vectors)
    write_json(out, {"captions": len(vectors), "queries": len(ids), "rows": rows, "machine": machine()})
    print(f"{len(vectors):,} captions, {len(ids):,} videos")
    for row in rows:
        print(json.dumps({key: round(value, 3) for key, value in row.items()}))


if __name__ == "__main__":
    typer.run(main)
