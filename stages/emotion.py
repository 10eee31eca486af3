"""Estimate emotions: of every candidate caption, and from them each video's emotional prior.

    python -m stages.emotion emotion.clip=0      # the word lists alone

Makes features/<dataset>/emotion.h5, and emotion.json in the reports: a line for each estimator, their mixture and
a constant (how often each emotion is in the references of the training videos) with how well their priors find the
reference emotions of the validation videos, and their log-loss before and after calibration on the training videos.
"""

from pipeline.params import Params
from pipeline.params.paths import Paths
from stages.command import Summary, stage


def run(params: Params, paths: Paths) -> Summary:
    from pipeline.common.device import torch_device
    from pipeline.common.files import write_json
    from pipeline.datasets.manifest import Manifest
    from pipeline.emotion.estimators import Estimators
    from pipeline.emotion.video_emotions import estimate_video_emotions
    from pipeline.encoders.text_encoder import text_encoder
    from pipeline.metrics.emotion_prior import label_videos, score_estimators
    from pipeline.retrieval.candidates import Candidates
    from pipeline.retrieval.index import open_index

    manifest = Manifest.load(paths.data)
    candidates = Candidates.read(paths.candidates)
    captions = open_index(paths.index, candidates.recipe_id)
    candidates.check_index(captions)
    device = str(torch_device(params.machine.device))
    encoder = text_encoder(params.encoders.appearance, paths.encoder, device)
    estimators = Estimators(params.emotion, captions, encoder.encode_texts, device)
    training, validation = (
        label_videos(candidates.ids, manifest.ids(split), manifest.captions_of, estimators.taxonomy)
        for split in ("train", "validation"))

    estimated = estimate_video_emotions(estimators, candidates, params.retrieval.used, training, validation)
    scores = score_estimators(estimated, training, validation)
    estimated.emotions.write(paths.emotion)
    write_json(paths.reports / "emotion.json", scores)
    return {"captions": len(estimated.emotions.rows), "videos": len(candidates.ids), "validation": scores}


if __name__ == "__main__":
    stage(run, "emotion", __doc__)
