"""Index the captions to retrieve from: each distinct one is encoded as a vector, for exact search with FAISS.

    python -m stages.index

Makes indexes/<dataset>/<encoder>/{captions.npy,captions.h5,index.json}. A caption that the index of an earlier run has
is not encoded again.
"""

import time

from pipeline.params import Params
from pipeline.params.paths import Paths
from stages.command import Summary, stage


def run(params: Params, paths: Paths) -> Summary:
    from collections.abc import Iterator

    import numpy as np

    from pipeline.common.progress import Bar
    from pipeline.datasets.manifest import Manifest
    from pipeline.encoders.text_parts import TextEncoding, encode_by_parts
    from pipeline.retrieval.index import build_index, model_id
    from pipeline.retrieval.known_vectors import KnownVectors
    from pipeline.retrieval.sentences import distinct_sentences
    from pipeline.workers.engine import open_engine
    from pipeline.workers.saved_parts import SavedTask, parts_folder

    manifest = Manifest.load(paths.data)
    sentences = distinct_sentences(manifest.corpus)
    texts = [sentence.text for sentence in sentences]
    encoding = TextEncoding(params.encoders.appearance, paths.encoder, params.machine.device)
    with parts_folder(paths.parts / "index") as parts, open_engine(params.cluster) as engine:
        task = SavedTask(engine, encoding, parts)
        recipe_id, precision = model_id(task.facts["recipe"]), task.facts["precision"]
        known = KnownVectors(paths.index, recipe_id, precision)
        missing = known.missing(texts)
        started = encoded = time.monotonic()

        def encode() -> Iterator[np.ndarray]:
            nonlocal encoded
            for vectors in encode_by_parts(task, missing):
                bar.advance(len(vectors))
                encoded = time.monotonic()
                yield vectors

        with Bar("encode", len(missing), "captions") as bar:
            build_index(sentences, known.filled(texts, encode()), recipe_id, paths.index, precision)
    return {
        "captions": len(manifest.corpus), "distinct": len(sentences), "encoded": len(missing),
        "seconds": {"encode": round(encoded - started, 2), "write": round(time.monotonic() - encoded, 2)},
    }


def describe(summary: Summary) -> str:
    return (f"indexed {summary['distinct']:,} distinct captions of {summary['captions']:,}; "
            f"{summary['encoded']:,} were not there yet and were encoded")


if __name__ == "__main__":
    stage(run, "index", __doc__, describe)
