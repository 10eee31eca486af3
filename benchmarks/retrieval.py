"""Candidate search, leak guard and all, against the bare FAISS search that it does.

    python -m benchmarks.retrieval                       # 1 M captions x 512, 256 videos; two minutes on two cores
    python -m benchmarks.retrieval --captions 100000

Both search in turn, the median is taken, and time is the processor's, of all threads. Memory is all that the process
holds at the peak of a search, libraries and texts included, without the vectors themselves, which lie in a mapped file.
The first search finds that file on the disk alone: what it reads, and how long it takes by the clock, is noted, too.
Writes reports/bench/retrieval.json: `retrieval_over_faiss`, `mb_above_vectors`, `cold_seconds`, `cold_read_mb`.
"""

import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from benchmarks.memory import forget_peak, peak_mb
from benchmarks.timing import in_turn, machine, medians
from pipeline.common.files import write_json
from pipeline.retrieval import index
from pipeline.retrieval.faiss_loading import import_faiss
from pipeline.retrieval.leak_guard import barred_rows
from pipeline.retrieval.sentences import Sentence

DIM, TOP, OWN = 512, 100, 20        # captions found a video, and its own, which it must not find
_PART = 50_000


def make(folder: Path, captions: int) -> index.CaptionIndex:
    """An index of random vectors."""
    rng = np.random.default_rng(0)
    sentences = [Sentence(f"sentence {i}", (f"v{i // OWN}",)) for i in range(captions)]
    parts = (rng.standard_normal((min(_PART, captions - first), DIM), np.float32)
             for first in range(0, captions, _PART))
    index.build_index(sentences, parts, "benchmark", folder)
    return index.open_index(folder, "benchmark")


def searching(folder: Path, captions: int, queries: int, rounds: int, device: str = "cpu",
              clock: Callable[[], float] = time.process_time) -> dict[str, float]:
    """Seconds to find TOP candidates of so many videos, those of the bare search by the processor, and MB."""
    opened = make(folder, captions)
    videos = index.unit_vectors(np.random.default_rng(1).standard_normal((queries, DIM), np.float32), "queries")
    own = barred_rows([f"v{i}" for i in range(queries)], opened)
    with (folder / index.VECTORS_FILE).open() as file:      # the system forgets what it knows of the file
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    forget_peak()               # which was that of making the index
    read, started = _read_mb(), time.perf_counter()
    opened.search(videos, own, TOP, device=device)
    cold, read = time.perf_counter() - started, _read_mb() - read
    megabytes = opened.embeddings.nbytes / 2**20
    above = peak_mb() - megabytes
    bare = import_faiss().IndexFlatIP(DIM)
    bare.add(opened.embeddings)
    ours, theirs = medians(in_turn(rounds, lambda: opened.search(videos, own, TOP, device=device),
                                   lambda: bare.search(videos, TOP + OWN), clock=clock))
    return {"captions": captions, "queries": queries, "search_seconds": ours, "faiss_seconds": theirs,
            "retrieval_over_faiss": ours / theirs, "vectors_mb": megabytes,
            "mb_above_vectors": above, "cold_seconds": cold, "cold_read_mb": read}


def _read_mb() -> float:
    """What this process has had read from disks. Linux."""
    return int(Path("/proc/self/io").read_text().split("read_bytes: ")[1].split()[0]) / 2**20


def main(captions: Annotated[int, typer.Option(min=TOP + 2 * OWN)] = 1_000_000,
         queries: Annotated[int, typer.Option(min=1, help="videos")] = 256,
         rounds: Annotated[int, typer.Option(min=1)] = 3, out: Path = Path("reports/bench/retrieval.json")) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        found = {key: round(value, 4) for key, value in searching(Path(temporary), captions, queries, rounds).items()}
    write_json(out, {**found, "machine": machine()})
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    typer.run(main)
