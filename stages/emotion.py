"""Estimate emotions: those of every retrieved caption, and from these the emotional prior of every video.

    python -m stages.emotion
    python -m stages.emotion "emotion.modalities=[]"      # from the retrieved captions alone

The prior is what the captioner begins from: a probability for each emotion. It is fitted on the training videos. Makes
features/<dataset>/emotion.h5, and reports/<dataset>/emotion.json: how good the prior is on validation videos, with each
set of modalities, and how good a constant is (how often each emotion is in the captions of training videos). It warns
if the prior is no better than the constant.
"""

from pipeline.common.terminal import say, warn
from pipeline.params import Params
from pipeline.params.paths import Paths
from stages.command import Summary, stage


def run(params: Params, paths: Paths) -> Summary:
    from pipeline.common.files import write_json
    from pipeline.common.progress import Steps
    from pipeline.datasets.manifest import Manifest
    from pipeline.emotion.caption_parts import CaptionEmotions, EmotionWork
    from pipeline.emotion.pooled_rows import pool_store
    from pipeline.emotion.taxonomy import Taxonomy
    from pipeline.emotion.video_emotions import estimate_video_emotions
    from pipeline.metrics.emotion_prior import compare_with_constant, label_videos, score_priors
    from pipeline.retrieval.candidates import Candidates
    from pipeline.retrieval.index import open_index
    from pipeline.store.feature_store import FeatureStore
    from pipeline.store.store_file import STORE_FILE
    from pipeline.workers.engine import open_engine
    from pipeline.workers.saved_parts import parts_folder

    manifest = Manifest.load(paths.data)
    candidates = Candidates.read(paths.candidates)
    captions = open_index(paths.index, candidates.recipe_id)
    candidates.check_index(captions)
    taxonomy = Taxonomy.load(params.emotion.words)
    training, validation = (
        label_videos(candidates.ids, manifest.ids(split), manifest.captions_of, taxonomy)
        for split in ("train", "validation"))
    # Motion may never have been extracted: the captioner does without it, too.
    opened = {name: FeatureStore.open(folder) for name in params.emotion.modalities
              if (folder := getattr(paths, name)) != paths.motion or (folder / STORE_FILE).is_file()}
    stores = {name: store for name, store in opened.items() if store.recipe["kind"] != "none"}

    work = EmotionWork(params.emotion, params.encoders.appearance, paths.encoder, paths.index, captions.recipe_id,
                       params.machine.device)
    with (parts_folder(paths.parts / "emotion") as parts, open_engine(params.cluster) as engine,
          Steps("emotion", 4) as steps):
        emotions = estimate_video_emotions(
            CaptionEmotions(engine, work, parts, captions), candidates,
            {name: pool_store(store, candidates.ids) for name, store in stores.items()},
            {name: store.recipe_id for name, store in stores.items()}, training, steps.begin)
        steps.begin("scores")
        scores = score_priors(emotions, training, validation)
        emotions.write(paths.emotion)
    write_json(paths.reports / "emotion.json", scores)
    verdict, is_better = compare_with_constant(scores)
    if is_better:
        say(verdict)
    else:
        warn(f"warning: {verdict}")
    return {"captions": len(emotions.rows), "videos": len(candidates.ids), "validation": scores,
            "fitted": emotions.prior.summary()}


def describe(summary: Summary) -> str:
    return f"estimated the emotions of {summary['captions']:,} captions and {summary['videos']:,} videos"


if __name__ == "__main__":
    stage(run, "emotion", __doc__, describe)
