"""Emotions of all videos of a data set: of every candidate caption once, and from them each video's prior."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.emotion.calibration import fit_temperature
from pipeline.emotion.emotion_file import Emotions
from pipeline.emotion.estimators import Estimators
from pipeline.emotion.prior import compute_prior
from pipeline.emotion.probabilities import Floats, derive_categories


class Candidates(Protocol):
    """Every video's nearest captions, best first, as the retrieval stage leaves them."""

    @property
    def ids(self) -> tuple[str, ...]: ...               # [V]

    @property
    def rows(self) -> NDArray[np.int64]: ...            # [V, N], rows of the corpus

    @property
    def digest(self) -> str: ...                        # stands for all of it

    @property
    def scores(self) -> NDArray[np.float32]: ...        # [V, N], cosines


@dataclass(frozen=True)
class LabelledVideos:
    """Videos of one split: their positions [v] among the candidates' videos, and their reference emotions [v, C]."""

    positions: NDArray[np.int64]
    targets: NDArray[np.bool_]


@dataclass(frozen=True)
class VideoEmotions:
    """What was estimated. By estimator and for their `mixture`: the fitted temperature, and the category priors
    [v, C] of the validation videos before and after calibration. `is_calibrated`: which of them `emotions` hold."""

    emotions: Emotions
    temperatures: Mapping[str, float]
    priors: Mapping[str, Floats]
    calibrated_priors: Mapping[str, Floats]
    is_calibrated: bool


@dataclass(frozen=True)
class _Retrieved:
    """The used candidates: distinct rows [n] of the corpus; each video's as positions among them and cosines [V, K]."""

    rows: NDArray[np.int64]
    positions: NDArray[np.int64]
    scores: NDArray[np.float32]
    temperature: float

    def priors(self, probabilities: Floats, videos: NDArray[np.int64] | slice) -> Floats:
        """[v, E] of these videos, from the captions' probabilities [n, E]."""
        return compute_prior(probabilities[self.positions[videos]], self.scores[videos], self.temperature)


def estimate_video_emotions(estimators: Estimators, candidates: Candidates, used: int, training: LabelledVideos,
                            validation: LabelledVideos) -> VideoEmotions:
    """Estimates emotions from the first `used` candidates of every video.

    The training videos' reference emotions fit the temperatures; the parameters say whether these are put to use.
    """
    section, corpus, taxonomy = estimators.section, estimators.corpus, estimators.taxonomy
    retrieved = _retrieve(candidates, used, section.retrieval_temperature)
    rows = retrieved.rows
    predictions = estimators.predict_each([corpus.texts[row] for row in rows], corpus.embeddings[rows])

    def fit(words: Floats) -> float:
        videos = training.positions
        return fit_temperature(derive_categories(words, taxonomy), retrieved.positions[videos],
                               retrieved.scores[videos], training.targets, retrieved.temperature)

    temperatures = {name: fit(words) for name, words in predictions.items()}
    # A mean of calibrated probabilities is not calibrated.
    temperatures["mixture"] = fit(estimators.with_temperatures(temperatures).calibrate(predictions)["mixture"])
    calibrated = estimators.with_temperatures(temperatures)
    before, after = estimators.calibrate(predictions), calibrated.calibrate(predictions)
    chosen, words = (calibrated, after["mixture"]) if section.calibrate else (estimators, before["mixture"])

    def validation_priors(predicted: Mapping[str, Floats]) -> dict[str, Floats]:
        return {name: retrieved.priors(derive_categories(words, taxonomy), validation.positions)
                for name, words in predicted.items()}

    categories = derive_categories(words, taxonomy)
    emotions = Emotions(
        taxonomy=taxonomy.name, recipe_id=chosen.recipe_id(used), candidates_digest=candidates.digest,
        temperatures=chosen.temperatures,
        rows=rows, caption_words=words, caption_categories=categories, ids=candidates.ids,
        words=retrieved.priors(words, slice(None)), categories=retrieved.priors(categories, slice(None)))
    return VideoEmotions(emotions, temperatures, validation_priors(before), validation_priors(after),
                         section.calibrate)


def _retrieve(candidates: Candidates, used: int, temperature: float) -> _Retrieved:
    of_videos = candidates.rows[:, :used]                                       # [V, K]
    rows, positions = np.unique(of_videos, return_inverse=True)
    return _Retrieved(rows, positions.reshape(of_videos.shape), candidates.scores[:, :used], temperature)
