"""The emotional prior of a video: p(category) from its candidate captions, its frames, its sound and its motion.

Each source gives evidence, a number a category. Sources that a video always has are made of its candidates:

    candidates   log-odds of the share of the candidates that carry the category, against its share of the corpus
    mixture      what a reader (row_reader.py) makes of the shares of all categories together

and those that it may lack are the modalities: what a reader makes of the mean of their rows. Calibration weighs them.
There is one for every set of modalities, so that the prior of a silent video, or of a captioner that does not read
sound, is what candidates and frames alone are worth.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.emotion.calibration import RAREST, Calibration
from pipeline.emotion.probabilities import Floats
from pipeline.emotion.row_reader import Doubles, RowReader

CANDIDATES, MIXTURE = "candidates", "mixture"
_PSEUDO_CANDIDATES = 4.0        # that carry categories as the corpus does: so much a few candidates do not weigh up
_BATCH = 256                    # videos whose candidates are weighed at once

Vectors = tuple[NDArray[np.float32], NDArray[np.bool_]]     # a modality's mean rows [V, D], and which videos have it


@dataclass(frozen=True)
class Prior:
    """Everything that was fitted: it makes the prior of any video, also of one outside the data set.

    temperature: candidates weigh by softmax(similarity / temperature); weights: of the estimators' evidence, by name;
    category_rates [C], word_rates [W]: shares of the corpus' captions that carry them; readers: of the mixture and
    of each modality; calibrations: by set of modalities, in the order of `subsets`; word_calibration: of the words'
    two sources (`estimate_words`); owners [C, W]: which categories a word stands for.
    """

    temperature: float
    weights: Mapping[str, float]
    category_rates: Doubles
    word_rates: Doubles
    readers: Mapping[str, RowReader]
    calibrations: tuple[Calibration, ...]
    word_calibration: Calibration
    owners: NDArray[np.bool_]

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(name for name in self.readers if name != MIXTURE)

    def summary(self) -> dict[str, Any]:
        """What was fitted, for a stage's summary: numbers by name, slopes for videos that have every modality."""
        slopes = self.calibrations[-1].slopes
        return {"temperature": self.temperature, "weights": dict(self.weights), "slopes": {
            name: round(float(slope), 3) for name, slope in zip((CANDIDATES, *self.readers), slopes, strict=True)}}

    def read_shares(self, shares: Floats, counts: Floats) -> Doubles:
        """Evidence [V, 2, C] of candidates and mixture; shares [V, C] and counts [V] as of `weigh`."""
        lifts = compare_shares(shares, counts, self.category_rates)
        return np.stack([lifts, self.readers[MIXTURE].read(shares)], 1)

    def read_rows(self, vectors: Mapping[str, Vectors], videos: int) -> tuple[Doubles, NDArray[np.bool_]]:
        """Evidence [V, M, C] of the modalities, and which of them a video has [V, M]."""
        evidence = np.zeros((videos, len(self.modalities), len(self.category_rates)))
        present = np.zeros(evidence.shape[:2], bool)
        for number, name in enumerate(self.modalities):
            if name in vectors:
                rows, present[:, number] = vectors[name]
                has = present[:, number]
                evidence[has, number] = self.readers[name].read(rows[has])
        return evidence, present

    def estimate(self, evidence: NDArray[np.floating], present: NDArray[np.bool_], modalities: Iterable[str]) -> Floats:
        """p(category) [V, C] from the evidence [V, 2 + M, C] of candidates, mixture and those of `modalities` that are
        present [V, M]."""
        named = set(modalities)
        asked = present & np.array([name in named for name in self.modalities], bool)
        numbers = asked @ (1 << np.arange(len(self.modalities)))
        probabilities = np.empty((len(evidence), evidence.shape[2]), np.float32)
        for number in np.unique(numbers):
            of_set = numbers == number
            probabilities[of_set] = self.calibrations[number].apply(evidence[of_set])
        return probabilities

    def estimate_words(self, categories: Floats, word_shares: Floats, counts: Floats) -> Floats:
        """p(word) [V, W]: that it stands in some caption of the video; from the prior of the categories [V, C], and
        shares [V, W] of so many candidates [V]. Words of one category may well stand side by side."""
        return self.word_calibration.apply(
            word_evidence(categories, word_shares, counts, (self.category_rates, self.word_rates), self.owners))


def word_evidence(categories: Floats, word_shares: Floats, counts: Floats, rates: tuple[Doubles, Doubles],
                  owners: NDArray[np.bool_]) -> Doubles:
    """Evidence [V, 2, W] of words: log-odds of the likelier of a word's categories above its rate, and those of the
    word among the candidates. rates: of categories and words in the corpus."""
    rate = np.clip(rates[0], RAREST, 1 - RAREST)
    p = np.clip(categories.astype(np.float64), RAREST, 1 - RAREST)
    lifts = np.log(p / (1 - p)) - np.log(rate / (1 - rate))                     # [V, C]
    of_words = np.full((len(lifts), owners.shape[1]), -np.inf)
    for category, words in enumerate(owners):
        of_words[:, words] = np.maximum(of_words[:, words], lifts[:, [category]])
    return np.stack([of_words, compare_shares(word_shares, counts, rates[1])], 1)


def subsets(modalities: Sequence[str]) -> list[tuple[str, ...]]:
    """All sets of modalities; that of number n has those whose bit is set in n."""
    return [tuple(name for bit, name in enumerate(modalities) if number >> bit & 1)
            for number in range(2 ** len(modalities))]


def weigh(probabilities: Floats, positions: NDArray[np.int64], scores: Floats,
          temperature: float) -> tuple[Floats, Floats]:
    """Shares [V, E] of candidates that carry each emotion, and how many candidates they are worth [V].

    probabilities [n, E] of captions; positions, scores [V, K]: each video's candidates among them, and similarities.
    A candidate weighs w = softmax(similarity / temperature), so that 1 / Σ w² is their number where all weigh alike.
    """
    logits = scores / temperature
    weights = np.exp(logits - logits.max(1, keepdims=True))
    weights /= weights.sum(1, keepdims=True)
    shares = np.empty((len(positions), probabilities.shape[1]), np.float32)
    for first in range(0, len(positions), _BATCH):
        batch = slice(first, first + _BATCH)
        shares[batch] = np.einsum("vk,vke->ve", weights[batch], probabilities[positions[batch]])
    return shares, np.asarray(1 / (weights**2).sum(1), np.float32)


def compare_shares(shares: Floats, counts: Floats, rates: Doubles) -> Doubles:
    """Log-odds [V, C] of shares [V, C] of so many candidates [V], above those of the rates [C] of the corpus."""
    rates = np.clip(rates, RAREST, 1 - RAREST)
    weight = counts.astype(np.float64)[:, None]
    posterior = (shares * weight + _PSEUDO_CANDIDATES * rates) / (weight + _PSEUDO_CANDIDATES)
    posterior = np.clip(posterior, RAREST / 100, 1 - RAREST / 100)
    lifts: Doubles = np.log(posterior / (1 - posterior)) - np.log(rates / (1 - rates))
    return lifts
