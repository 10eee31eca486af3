"""Retrieve candidates: for every video the captions that are most similar to its frames.

    python -m stages.retrieve retrieval.stored=50

Makes indexes/<dataset>/candidates.h5, and retrieval.json: how often a test caption finds its video, and how good the
candidates of each split are. A video never retrieves its own captions, unless the same sentence also describes another
video.
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
    from pipeline.common.files import write_json
    from pipeline.common.progress import Steps
    from pipeline.datasets.manifest import Manifest
    from pipeline.encoders.text_parts import TextEncoding, encode_by_parts
    from pipeline.metrics.retrieval_scores import score_retrieval
    from pipeline.retrieval.candidates import retrieve_candidates, video_queries
    from pipeline.retrieval.index import model_id, open_index
    from pipeline.retrieval.search_parts import SearchWork, search_by_parts
    from pipeline.retrieval.sentences import sentence_key
    from pipeline.store.feature_store import FeatureStore
    from pipeline.workers.engine import open_engine
    from pipeline.workers.saved_parts import SavedTask, parts_folder

    manifest = Manifest.load(paths.data)
    store = FeatureStore.open(paths.appearance)
    index = open_index(paths.index, model_id(store.recipe))
    tested = [video for video in manifest.ids("test") if video in store]
    device, batch = params.machine.device, params.machine.search_batch_size
    encoding = TextEncoding(params.encoders.appearance, paths.encoder, device)
    with parts_folder(paths.parts / "retrieve") as parts, open_engine(params.cluster) as engine:
        run_searches = search_by_parts(engine, SearchWork(paths.appearance, paths.index, batch, device), parts, index)
        started = time.monotonic()
        candidates = retrieve_candidates(manifest, store, index, params.retrieval.stored, run_searches)
        searched = time.monotonic()
        candidates.write(paths.candidates)
        texts = [manifest.captions_of[video][0] for video in tested]
        encoded = list(encode_by_parts(SavedTask(engine, encoding, parts), texts))
    vectors = np.concatenate([np.empty((0, store.dim), np.float32), *encoded])
    scores = score_retrieval(vectors @ video_queries(store, tested).T, np.arange(len(tested)))
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
