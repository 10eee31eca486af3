"""Retrieve candidates: for every video the captions of the index that are nearest to its frames.

    python -m stages.retrieve retrieval.stored=50

Makes indexes/<dataset>/candidates.h5, and retrieval.json: how well the test captions find their videos.
A training video never retrieves its own captions, nor the same sentence written for another video.
"""

import time

from pipeline.params import Params
from pipeline.params.paths import Paths
from stages.command import Summary, stage


def run(params: Params, paths: Paths) -> Summary:
    import numpy as np

    from pipeline.common.device import torch_device
    from pipeline.common.files import write_json
    from pipeline.datasets.manifest import Manifest
    from pipeline.encoders.text_encoder import text_encoder
    from pipeline.metrics.retrieval_scores import score_retrieval
    from pipeline.retrieval.candidates import retrieve_candidates, video_queries
    from pipeline.retrieval.index import model_id, open_index
    from pipeline.store.feature_store import FeatureStore

    manifest = Manifest.load(paths.data)
    store = FeatureStore.open(paths.appearance)
    index = open_index(paths.index, model_id(store.recipe))
    started = time.monotonic()
    candidates = retrieve_candidates(manifest, store, index, params.retrieval.stored, params.machine.search_batch_size)
    searched = time.monotonic()
    candidates.write(paths.candidates)

    tested = [video for video in manifest.ids("test") if video in store]
    encoder = text_encoder(params.encoders.appearance, paths.encoder, str(torch_device(params.machine.device)))
    texts = encoder.encode_texts([manifest.captions_of[video][0] for video in tested])
    scores = score_retrieval(texts @ video_queries(store, tested).T, np.arange(len(tested)))
    write_json(paths.retrieval, scores)
    stored = candidates.rows.shape[1]
    if stored < params.retrieval.stored:
        print(f"the corpus has {len(index.texts)} distinct captions, so {stored} candidates a video are stored, not "
              f"{params.retrieval.stored} (retrieval.stored)")
    return {"videos": len(candidates.ids), "candidates": stored, "left_out": len(manifest.videos) - len(candidates.ids),
            "text_to_video": scores, "seconds": {"search": round(searched - started, 3)}}


if __name__ == "__main__":
    stage(run, "retrieve", __doc__)
