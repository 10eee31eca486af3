"""Fitting a prior on the training videos: their candidates, rows and reference emotions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.emotion.calibration import Calibration, fit_calibration
from pipeline.emotion.estimators import join_weighted
from pipeline.emotion.prior import MIXTURE, Prior, Vectors, compare_shares, subsets, weigh, word_evidence
from pipeline.emotion.probabilities import Floats
from pipeline.emotion.row_reader import Doubles, RowReader, fit_reader

_TEMPERATURES = (0.02, 0.05, 0.1, 0.3, 1.0)
_WEIGHTS = (1.0, 0.5, 0.25, 0.125, 0.0)
_FEWEST = 10        # training videos with a modality, from which a reader of it is fitted


@dataclass(frozen=True)
class LabelledVideos:
    """Videos of one split: their positions [v] among the candidates' videos, and the emotions in their references:
    categories, targets [v, C], and emotion words [v, W]."""

    positions: NDArray[np.int64]
    targets: NDArray[np.bool_]
    words: NDArray[np.bool_]


@dataclass(frozen=True)
class CandidateEvidence:
    """Evidence [n, C] of captions by estimator; the videos' candidates among them, positions and scores [V, K]."""

    categories: Mapping[str, Floats]
    positions: NDArray[np.int64]
    scores: Floats


@dataclass(frozen=True)
class WeighedCandidates:
    """What `weigh` makes of the candidates: shares [V, C] of categories and [V, W] of words, counts [V]; rates [C] and
    [W]: both in the corpus."""

    shares: Floats
    word_shares: Floats
    counts: Floats
    rates: tuple[Doubles, Doubles]


@dataclass(frozen=True)
class FittedCandidates:
    """How candidates are weighed: by their similarities, and by what each estimator says of them."""

    temperature: float
    weights: Mapping[str, float]


def fit_candidates(candidates: CandidateEvidence, training: LabelledVideos, rates: Doubles) -> FittedCandidates:
    """The temperature and the estimators' weights with which the candidates tell most about the training videos.

    rates [C]: shares of the corpus' captions that carry the categories. An estimator that tells nothing more beside
    the others gets the weight 0.
    """
    weights = dict.fromkeys(candidates.categories, 1.0)
    if not len(training.positions):
        return FittedCandidates(_TEMPERATURES[2], weights)
    positions, scores = candidates.positions[training.positions], candidates.scores[training.positions]

    def loss(temperature: float, changed: Mapping[str, float]) -> float:
        captions = join_weighted(candidates.categories, changed)
        shares, counts = weigh(captions, positions, scores, temperature)
        evidence = np.stack([compare_shares(shares, counts, rates), fit_reader(shares, training.targets)[1]], 1)
        p = fit_calibration(evidence, training.targets, rates).apply(evidence).astype(np.float64)
        return -float(np.log(np.where(training.targets, p, 1 - p)).sum())

    def best_temperature() -> float:
        return min(_TEMPERATURES, key=lambda temperature: loss(temperature, weights))

    temperature = best_temperature()
    for name in [name for name in weights if name != "lexicon"]:
        others = any(weight for other, weight in weights.items() if other != name)
        tried = [weight for weight in _WEIGHTS if weight or others]
        weights[name] = min(tried, key=lambda weight: loss(temperature, {**weights, name: weight}))
    return FittedCandidates(best_temperature(), weights)


def fit_prior(fitted: FittedCandidates, candidates: WeighedCandidates, vectors: Mapping[str, Vectors],
              training: LabelledVideos, owners: NDArray[np.bool_]) -> tuple[Prior, Doubles, NDArray[np.bool_]]:
    """The prior; and the evidence [V, 2 + M, C] of all videos with the modalities that they have [V, M].

    The evidence of a training video is that of a reader that has not seen it. owners [C, W]: the words of the
    categories.
    """
    videos, targets, shares = training.positions, training.targets, candidates.shares
    readers: dict[str, RowReader] = {}
    unseen: dict[str, Doubles] = {}
    readers[MIXTURE], unseen[MIXTURE] = fit_reader(shares[videos], targets) if len(videos) else _silent_reader(shares)
    has_row = {}
    for name, (rows, present) in vectors.items():
        has_row[name] = present[videos]
        if has_row[name].sum() >= _FEWEST:
            own = videos[has_row[name]]
            readers[name], unseen[name] = fit_reader(rows[own], targets[has_row[name]])
    # So far it reads; how much to believe of it comes next.
    no_belief = Calibration(np.zeros(2), np.zeros(owners.shape[1]))
    prior = Prior(fitted.temperature, fitted.weights, *candidates.rates, readers, (), no_belief, owners)
    evidence, present = prior.read_rows(vectors, len(shares))
    evidence = np.concatenate([prior.read_shares(shares, candidates.counts), evidence], 1)
    evidence[videos, 1] = unseen[MIXTURE]
    for number, name in enumerate(prior.modalities):
        evidence[videos[has_row[name]], 2 + number] = unseen[name]
    prior = replace(prior, calibrations=tuple(
        _calibrate(evidence, present, [name in subset for name in prior.modalities], training, prior.category_rates)
        for subset in subsets(prior.modalities)))
    of_words = word_evidence(prior.estimate(evidence[videos], present[videos], prior.modalities),
                             candidates.word_shares[videos], candidates.counts[videos], candidates.rates, owners)
    return (replace(prior, word_calibration=fit_calibration(of_words, training.words, prior.word_rates)), evidence,
            present)


def _calibrate(evidence: Doubles, present: NDArray[np.bool_], read: Sequence[bool], training: LabelledVideos,
               rates: Doubles) -> Calibration:
    """On the training videos that have all modalities of a subset, as if these were all they have; where there are too
    few such, on all. read [M]: which modalities are in the subset."""
    asked = np.array(read, bool)
    chosen = np.asarray(present[training.positions][:, asked].all(1))
    if chosen.sum() < _FEWEST:
        chosen = np.ones(len(chosen), bool)
    sources = np.concatenate([[True, True], asked])
    own = evidence[training.positions[chosen]] * sources[:, None]
    return fit_calibration(own, training.targets[chosen], rates)


def _silent_reader(shares: Floats) -> tuple[RowReader, Doubles]:
    """A reader that says nothing, where there is no training video to learn from."""
    width = shares.shape[1]
    return RowReader(np.zeros(width), np.ones(width), np.zeros((width, width))), np.zeros((0, width))
