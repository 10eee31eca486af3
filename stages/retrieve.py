"""Retrieve candidates: for every video the captions of the index that are nearest to its frames.

    python -m stages.retrieve retrieval.stored=50

Makes indexes/<dataset>/candidates.h5, and retrieval.json: how well the test captions find their videos, and how good
the candidates of each split are. A video never retrieves a caption that only its own people wrote; a sentence that
somebody also wrote for another video stays.
"""

import time

from pipeline.common.terminal import say
from pipeline.params import Params
from pipeline.params.paths import Paths
from stages.command import Summary, stage


def run(params: Params, paths: Paths) -> Summary:
    import numpy as np

    from pipeline.captioner.candidate_scores import score_candidates
    from pipeline.captioner.generation.consensus import Consensus
    from pipeline.common.device import torch_device
    from pipeline.common.files import write_json
    from pipeline.common.progress import Steps
    from pipeline.datasets.manifest import Manifest
    from pipeline.encoders.text_encoder import text_encoder
    from pipeline.metrics.retrieval_scores import score_retrieval
    from pipeline.retrieval.candidates import retrieve_candidates, video_queries
    from pipeline.retrieval.index import model_id, open_index
    from pipeline.retrieval.sentences import sentence_key
    from pipeline.store.feature_store import FeatureStore

    manifest = Manifest.load(paths.data)
    store = FeatureStore.open(paths.appearance)
    index = open_index(paths.index, model_id(store.recipe))
    started = time.monotonic()
    device = str(torch_device(params.machine.device))
    candidates = retrieve_candidates(manifest, store, index, params.retrieval.stored, params.machine.search_batch_size,
                                     device)
    searched = time.monotonic()
    candidates.write(paths.candidates)

    tested = [video for video in manifest.ids("test") if video in store]
    encoder = text_encoder(params.encoders.appearance, paths.encoder, device)
    texts = encoder.encode_texts([manifest.captions_of[video][0] for video in tested])
    scores = score_retrieval(texts @ video_queries(store, tested).T, np.arange(len(tested)))
    consensus = Consensus.of(index)
    known = {sentence_key(text) for text in index.texts}
    by_split, in_corpus = {}, {}
    with Steps("retrieve", 3) as steps:
        for split in ("train", "validation", "test"):
            steps.begin(f"scores of the candidates of {split}")
            own = [video for video in manifest.ids(split) if video in store]
            references = [manifest.captions_of[video] for video in own]
            found = [[index.texts[row] for row in rows] for rows in candidates.select(own).rows]
            by_split[split] = score_candidates(found, references, consensus, params.retrieval.used)
            if split != "train":
                in_corpus[split] = len({sentence_key(text) for texts in references for text in texts} & known)
    write_json(paths.retrieval, {"text_to_video": scores, "candidates": by_split,
                                 "references_in_corpus": in_corpus, "corpus": len(index.texts)})
    stored = candidates.rows.shape[1]
    if stored < params.retrieval.stored:
        say(f"the corpus has {len(index.texts)} distinct captions, so {stored} candidates a video are stored, not "
            f"{params.retrieval.stored} (retrieval.stored)")
    return {"videos": len(candidates.ids), "candidates": stored,
            "left_out": len(manifest.extracted) - len(candidates.ids), "text_to_video": scores,
            "candidates_by_split": by_split, "references_in_corpus": in_corpus,
            "seconds": {"search": round(searched - started, 3)}}


def describe(summary: Summary) -> str:
    first = summary["text_to_video"]["r1"]
    return (f"found {summary['candidates']} candidates for each of {summary['videos']:,} videos; "
            f"{first:.0%} of the test captions find their video first")


if __name__ == "__main__":
    stage(run, "retrieve", __doc__, describe)
