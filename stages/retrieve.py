"""Retrieve candidates: for every video the captions of the index that are nearest to its frames.

    python -m stages.retrieve retrieval.stored=50

Makes indexes/<dataset>/candidates.h5, and retrieval.json: how well the test captions find their videos.
A training video never retrieves its own captions, nor the same sentence written for another video.
"""

import time

import numpy as np

from pipeline.common.device import torch_device
from pipeline.common.files import write_json
from pipeline.datasets.manifest import Manifest
from pipeline.encoders.text_encoder import text_encoder
from pipeline.metrics.retrieval_scores import retrieval_scores
from pipeline.params import Params
from pipeline.params.paths import Paths
from pipeline.retrieval import index
from pipeline.store.feature_store import FeatureStore
from stages.command import Summary, stage


def run(params: Params, paths: Paths) -> Summary:
    manifest = Manifest.load(paths.data)
    store = FeatureStore.open(paths.appearance)
    ids = [video for video in manifest.ids() if video in store]
    queries = index.queries(store, ids)
    own = index.own_sentences([video if manifest.split_of[video] == "train" else "" for video in ids],
                              manifest.captions_of)
    captions = index.open_index(paths.index, index.model_id(store.recipe))
    started = time.monotonic()
    rows, scores = captions.search(queries, own, params.retrieval.stored, params.machine.search_batch_size)
    searched = time.monotonic()
    index.Candidates(tuple(ids), rows, scores, captions.recipe_id).write(paths.candidates)

    tested = [video for video in manifest.ids("test") if video in store]
    encoder = text_encoder(params.encoders.appearance, paths.encoder, str(torch_device(params.machine.device)))
    texts = encoder.encode_texts([manifest.captions_of[video][0] for video in tested])
    similarity = texts @ index.queries(store, tested).T
    found = retrieval_scores(similarity, np.arange(len(tested)))
    write_json(paths.retrieval, found)
    return {"videos": len(ids), "left_out": len(manifest.videos) - len(ids), "text_to_video": found,
            "seconds": {"search": round(searched - started, 3)}}


if __name__ == "__main__":
    stage(run, "retrieve", __doc__)
