"""Index the retrieval corpus: every distinct caption, encoded by the text tower, for exact FAISS search.

    python -m stages.index

Makes indexes/<dataset>/<encoder>/{captions.npy,captions.h5,index.json}. A caption that the index of an earlier run has
is not encoded again.
"""

import time

from pipeline.params import Params
from pipeline.params.paths import Paths
from stages.command import Summary, stage

BATCH = 2048     # captions between two steps of the bar


def run(params: Params, paths: Paths) -> Summary:
    from collections.abc import Iterator

    import numpy as np

    from pipeline.common.device import torch_device
    from pipeline.common.progress import Bar
    from pipeline.datasets.manifest import Manifest
    from pipeline.encoders.text_encoder import text_encoder
    from pipeline.retrieval.index import build_index, model_id
    from pipeline.retrieval.known_vectors import KnownVectors
    from pipeline.retrieval.sentences import distinct_sentences

    manifest = Manifest.load(paths.data)
    sentences = distinct_sentences(manifest.corpus)
    encoder = text_encoder(params.encoders.appearance, paths.encoder, str(torch_device(params.machine.device)))
    recipe_id = model_id(encoder.recipe)
    known = KnownVectors(paths.index, recipe_id, encoder.precision)
    texts = [sentence.text for sentence in sentences]
    missing = known.missing(texts)
    started = encoded = time.monotonic()

    def encode() -> Iterator[np.ndarray]:
        nonlocal encoded
        for first in range(0, len(missing), BATCH):
            batch = missing[first : first + BATCH]
            yield encoder.encode_texts(batch)
            bar.advance(len(batch))
        encoded = time.monotonic()

    with Bar("encode", len(missing), "captions") as bar:
        build_index(sentences, known.filled(texts, encode()), recipe_id, paths.index, encoder.precision)
    return {
        "captions": len(manifest.corpus), "distinct": len(sentences), "encoded": len(missing),
        "seconds": {"encode": round(encoded - started, 2), "write": round(time.monotonic() - encoded, 2)},
    }


def describe(summary: Summary) -> str:
    return (f"indexed {summary['distinct']:,} distinct captions of {summary['captions']:,}; "
            f"{summary['encoded']:,} were not there yet and were encoded")


if __name__ == "__main__":
    stage(run, "index", __doc__, describe)
