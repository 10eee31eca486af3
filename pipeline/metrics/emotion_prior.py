"""How well emotional priors find the reference emotions of videos."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.emotion.calibration import compute_log_loss
from pipeline.emotion.emotion_file import Emotions
from pipeline.emotion.fitting import LabelledVideos
from pipeline.emotion.prior import CANDIDATES, subsets
from pipeline.emotion.probabilities import Floats
from pipeline.emotion.taxonomy import Taxonomy
from pipeline.metrics.average_precision import compute_mean_average_precision
from pipeline.metrics.protocols import prepare_evc_reference

PriorScores = dict[str, float | int | None]

CONSTANT = "constant"


def label_videos(ids: Sequence[str], split: Sequence[str], captions_of: Mapping[str, Sequence[str]],
                 taxonomy: Taxonomy) -> LabelledVideos:
    """The videos of `ids` that are in `split`, with their reference emotions.

    They are those of the emotion metrics: captions prepared under `evc`, cut at 15 words.
    """
    chosen = frozenset(split)
    positions = [position for position, video in enumerate(ids) if video in chosen]
    column = {word: number for number, word in enumerate(taxonomy.words)}
    words = np.zeros((len(positions), len(column)), bool)
    for row, position in enumerate(positions):
        tokens = {token for caption in captions_of[ids[position]] for token in prepare_evc_reference(caption).split()}
        words[row, [column[token] for token in tokens & column.keys()]] = True
    return LabelledVideos(np.array(positions, np.int64), words @ taxonomy.membership().T, words)


def score_priors(emotions: Emotions, training: LabelledVideos, validation: LabelledVideos) -> dict[str, PriorScores]:
    """Scores of `score_prior`, and the log-loss, of the validation videos' priors: from the candidates alone, with each
    set of modalities beside them (the last line has all there are), and of a `constant`.

    The constant is how often each category stands in the training videos' references; it is left out where there are
    no training videos.
    """
    evidence, present = emotions.evidence[validation.positions], emotions.present[validation.positions]
    priors = {" + ".join((CANDIDATES, *subset)): emotions.prior.estimate(evidence, present, subset)
              for subset in subsets(emotions.prior.modalities)}
    if len(training.targets):
        priors[CONSTANT] = np.broadcast_to(training.targets.mean(0, dtype=np.float32), validation.targets.shape)
    return {name: {**score_prior(prior, validation.targets), "log_loss": compute_log_loss(prior, validation.targets)}
            for name, prior in priors.items()}


def compare_with_constant(scores: Mapping[str, PriorScores]) -> tuple[str, bool]:
    """A sentence on the prior of all sources beside the constant, and whether it is better in both measures.

    scores: as of `score_priors`. Without validation videos or a constant there is nothing that it could be worse than.
    """
    name = [name for name in scores if name != CONSTANT][-1]
    prior, constant = scores[name], scores.get(CONSTANT, {})
    parts, better = [], []
    for key, what, sign in (("log_loss", "log-loss", -1), ("hit1", "hit@1", 1)):
        own, other = prior.get(key), constant.get(key)
        if own is not None and other is not None:
            parts.append(f"{what} {own:.3f}, a constant {other:.3f}")
            better.append(sign * own > sign * other)
    if not parts:
        return "no validation or no training video has emotions to compare the emotional prior with a constant by", True
    verdict = "better than" if all(better) else "in part no better than" if any(better) else "no better than"
    return f"the emotional prior ({name}) is {verdict} a constant on validation: {'; '.join(parts)}", all(better)


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
