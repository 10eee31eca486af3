"""How well emotional priors find the reference emotions of videos."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.emotion.calibration import compute_log_loss
from pipeline.emotion.probabilities import Floats
from pipeline.emotion.taxonomy import Taxonomy
from pipeline.emotion.video_emotions import LabelledVideos, VideoEmotions
from pipeline.metrics.average_precision import compute_mean_average_precision
from pipeline.metrics.protocols import prepare_evc_reference

PriorScores = dict[str, float | int | None]


def label_videos(ids: Sequence[str], split: Sequence[str], captions_of: Mapping[str, Sequence[str]],
                 taxonomy: Taxonomy) -> LabelledVideos:
    """The videos of `ids` that are in `split`, with their reference emotions.

    They are those of the emotion metrics: captions prepared under `evc`, cut at 15 words.
    """
    chosen = frozenset(split)
    positions = [position for position, video in enumerate(ids) if video in chosen]
    references = ([prepare_evc_reference(caption) for caption in captions_of[ids[position]]] for position in positions)
    categories = [taxonomy.reference_categories(own) for own in references]
    return LabelledVideos(np.array(positions, np.int64), mark_categories(categories, taxonomy))


def mark_categories(categories: Sequence[frozenset[str]], taxonomy: Taxonomy) -> NDArray[np.bool_]:
    """[V, C]: whether the category is among the video's."""
    return np.array([[category in own for category in taxonomy.categories] for own in categories],
                    bool).reshape(len(categories), len(taxonomy.categories))


def score_estimators(estimated: VideoEmotions, training: LabelledVideos,
                     validation: LabelledVideos) -> dict[str, PriorScores]:
    """Scores of the validation videos' priors by estimator, for their `mixture` and for a `constant`.

    Each has the scores of `score_prior` as it is put to use, its fitted temperature, and its log-loss before and
    after calibration. The constant is how often each category stands in the training videos' references; it is left
    out where there are no training videos.
    """
    in_use = estimated.calibrated_priors if estimated.is_calibrated else estimated.priors
    scores: dict[str, PriorScores] = {name: {
        **score_prior(in_use[name], validation.targets),
        "temperature": estimated.temperatures[name],
        "log_loss": compute_log_loss(estimated.priors[name], validation.targets),
        "log_loss_calibrated": compute_log_loss(estimated.calibrated_priors[name], validation.targets),
    } for name in estimated.priors}
    if len(training.targets):
        constant = np.broadcast_to(training.targets.mean(0, dtype=np.float32), validation.targets.shape)
        scores["constant"] = {**score_prior(constant, validation.targets),
                              "log_loss": compute_log_loss(constant, validation.targets)}
    return scores


def score_prior(priors: Floats, targets: NDArray[np.bool_]) -> PriorScores:
    """How well category priors [V, C] find the videos' reference emotions, targets [V, C]; None without any.

    hit1, hit3: share of videos with a reference category among the prior's top 1 and 3; mean_ap: mean average
    precision of the prior's order of the categories, over videos (those without emotions are left out);
    category_ap: that of the prior's order of the videos, over categories, each counting alike, which a prior
    that is the same for every video cannot win.
    """
    emotional = np.flatnonzero(targets.any(1))
    if not len(emotional):
        return {"videos": 0, "hit1": None, "hit3": None, "mean_ap": None, "category_ap": None}
    order = np.argsort(-priors[emotional], axis=1, kind="stable")
    hits = np.take_along_axis(targets[emotional], order, 1)                     # [V, C], best first
    return {"videos": len(emotional), "hit1": float(hits[:, 0].mean()), "hit3": float(hits[:, :3].any(1).mean()),
            "mean_ap": compute_mean_average_precision(priors[emotional].T, targets[emotional].T),
            "category_ap": compute_mean_average_precision(priors, targets)}
