"""Index the retrieval corpus: every distinct caption, encoded by the text tower, for exact FAISS search.

    python -m stages.index

Makes indexes/<dataset>/<encoder>/{captions.faiss,captions.h5,index.json}.
"""

import time

import numpy as np

from pipeline.common.device import torch_device
from pipeline.common.progress import Bar
from pipeline.datasets.manifest import Manifest
from pipeline.encoders.text_encoder import text_encoder
from pipeline.params import Params
from pipeline.params.paths import Paths
from pipeline.retrieval import index
from stages.command import Summary, stage

PART = 2048     # captions between two steps of the bar


def run(params: Params, paths: Paths) -> Summary:
    manifest = Manifest.load(paths.data)
    captions = index.distinct(manifest.corpus)
    encoder = text_encoder(params.encoders.appearance, paths.encoder, str(torch_device(params.machine.device)))
    started = time.monotonic()
    embeddings = np.empty((len(captions), encoder.dim), np.float32)
    with Bar("encode", len(captions), "captions") as bar:
        for first in range(0, len(captions), PART):
            part = captions[first : first + PART]
            embeddings[first : first + PART] = encoder.encode_texts([caption.text for caption in part])
            bar.advance(len(part))
    encoded = time.monotonic()
    index.build(captions, embeddings, index.model_id(encoder.recipe), paths.index)
    return {
        "captions": len(manifest.corpus), "distinct": len(captions),
        "seconds": {"encode": round(encoded - started, 2), "write": round(time.monotonic() - encoded, 2)},
    }


if __name__ == "__main__":
    stage(run, "index", __doc__)
