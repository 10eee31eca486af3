"""Estimate emotions: of every candidate caption, and from them each video's emotional prior.

    python -m stages.emotion emotion.clip=0      # the word lists alone

Makes features/<dataset>/emotion.h5, and emotion.json in the reports: a line for each back end, their mixture and
a constant (how often each emotion is felt in the training videos) with how well their priors find the reference
emotions of the validation videos, and their log-loss before and after calibration on the training videos.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.common.device import torch_device
from pipeline.common.files import write_json
from pipeline.common.text import words
from pipeline.datasets.manifest import Manifest
from pipeline.emotion import calibration, probabilities
from pipeline.emotion.backends import Backends
from pipeline.emotion.prior import Emotions, hit_rates, prior
from pipeline.emotion.probabilities import Floats
from pipeline.emotion.taxonomy import Taxonomy
from pipeline.encoders.text_encoder import text_encoder
from pipeline.metrics.emotions import reference_categories
from pipeline.params import Params
from pipeline.params.paths import Paths
from pipeline.retrieval import index
from stages.command import Summary, stage


def run(params: Params, paths: Paths) -> Summary:
    manifest = Manifest.load(paths.data)
    taxonomy = Taxonomy.load(params.emotion.words)
    candidates = index.Candidates.read(paths.candidates)
    captions = index.open_index(paths.index, candidates.recipe_id)
    used = candidates.rows[:, : params.retrieval.used]  # [V, K]
    scores = candidates.scores[:, : params.retrieval.used]
    rows, place = np.unique(used, return_inverse=True)  # [n], [V, K]
    place = place.reshape(used.shape)

    where = str(torch_device(params.machine.device))
    encoder = text_encoder(params.encoders.appearance, paths.encoder, where)
    backends = Backends(params.emotion, captions, encoder.encode_texts, where)
    parts = backends.parts([captions.texts[row] for row in rows], captions.embeddings[rows])

    def of_split(split: str) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Its videos' places among the candidates, and their reference emotions [v, C]."""
        videos = np.flatnonzero([manifest.split_of[video] == split for video in candidates.ids])
        return videos, wanted([manifest.captions_of[candidates.ids[i]] for i in videos], taxonomy)

    temperature = params.emotion.retrieval_temperature
    train, felt = of_split("train")

    def fit(part: Floats) -> float:
        return calibration.fit(probabilities.categories(part, taxonomy), place[train], scores[train], felt, temperature)

    fitted = {name: fit(part) for name, part in parts.items()}
    # A mean of calibrated probabilities is not calibrated.
    fitted["mixture"] = fit(backends.calibrated(fitted).lines(parts)["mixture"])
    calibrated = backends.calibrated(fitted)
    before, after = backends.lines(parts), calibrated.lines(parts)
    in_use, mixed = (calibrated, after["mixture"]) if params.emotion.calibrate else (backends, before["mixture"])

    validation, told = of_split("validation")

    def priors(part: Floats) -> Floats:
        return prior(probabilities.categories(part, taxonomy)[place[validation]], scores[validation], temperature)

    found = {name: {**hit_rates(priors(after[name] if params.emotion.calibrate else before[name]), told),
                    "temperature": fitted[name],
                    "log_loss": calibration.log_loss(priors(before[name]), told),
                    "log_loss_calibrated": calibration.log_loss(priors(after[name]), told)} for name in before}
    if len(felt):
        constant = np.broadcast_to(felt.mean(0, dtype=np.float32), told.shape)
        found["constant"] = {**hit_rates(constant, told), "log_loss": calibration.log_loss(constant, told)}

    caption_categories = probabilities.categories(mixed, taxonomy)
    Emotions(
        taxonomy=taxonomy.name, recipe_id=in_use.recipe_id(params.retrieval.used), temperatures=in_use.temperatures,
        rows=rows, caption_words=mixed, caption_categories=caption_categories, ids=candidates.ids,
        words=prior(mixed[place], scores, temperature),
        categories=prior(caption_categories[place], scores, temperature),
    ).write(paths.emotion)
    write_json(paths.reports / "emotion.json", found)
    return {"captions": len(rows), "videos": len(candidates.ids), "validation": found}


def wanted(captions: Sequence[Sequence[str]], taxonomy: Taxonomy) -> NDArray[np.bool_]:
    return calibration.targets([reference_categories([words(text) for text in one], taxonomy) for one in captions],
                               taxonomy)


if __name__ == "__main__":
    stage(run, "emotion", __doc__)
