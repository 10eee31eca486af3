"""The estimator `clip`: which emotion word a caption is near in the encoder's own text tower, or none.

A softmax over the emotion words and one neutral choice. How sharp it is, and how near a word has to be before it is
likelier than none, are learned from the captions of the corpus: of those with an emotion word, that word should be
chosen, and none of those without. So a tower that does not hear emotions says little, and says so.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.emotion.probabilities import EncodeTexts, Floats
from pipeline.emotion.taxonomy import Taxonomy

# An emotion word is shown to the text tower in a few frames, for it can be an adjective, an adverb or a noun.
_FRAMES = ("{}", "someone looks {}", "someone does it {}", "a feeling of {}")


@dataclass(frozen=True)
class WordChoice:
    """temperature: the similarities are divided by it; neutral: the logit of no emotion."""

    temperature: float
    neutral: float

    def choose(self, similarities: Floats) -> Floats:
        """p(word | caption) [n, W] of similarities [n, W]; what is missing to 1 is neutral."""
        logits = similarities / self.temperature
        top = np.maximum(logits.max(1, keepdims=True), self.neutral)
        weights = np.exp(logits - top)
        return np.asarray(weights / (weights.sum(1, keepdims=True) + np.exp(self.neutral - top)), np.float32)


def encode_words(taxonomy: Taxonomy, encode_texts: EncodeTexts) -> Floats:
    """A unit vector [W, D] for each emotion word."""
    prompts = [frame.format(word) for word in taxonomy.words for frame in _FRAMES]
    vectors = encode_texts(prompts).reshape(len(taxonomy.words), len(_FRAMES), -1).mean(1)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def fit_choice(similarities: Floats, matches: Floats) -> WordChoice:
    """The likeliest choice for captions with these similarities [n, W], in which these words stand (matches [n, W])."""
    emotional = matches.any(1)
    scaled = similarities.astype(np.float64)

    def choice_and_loss(exponent: float) -> tuple[WordChoice, float]:
        logits = scaled / 2.0**exponent
        every, right = _log_sum_exp(logits), _log_sum_exp(np.where(matches > 0, logits, -np.inf)[emotional])
        neutral = _fit_neutral(every, 1 - float(emotional.mean()))
        silent = np.logaddexp(0, every - neutral)                   # −log p(neutral)
        named = np.logaddexp(every[emotional], neutral) - right     # −log p(a word that stands in the caption)
        return WordChoice(float(2.0**exponent), neutral), float(silent[~emotional].sum() + named.sum())

    def least(exponents: Iterable[float]) -> float:
        return min(exponents, key=lambda exponent: choice_and_loss(exponent)[1])

    best = least(map(float, range(-9, 2)))
    for step in (1 / 2, 1 / 8):
        best = least(best + step * i for i in range(-2, 3))
    return choice_and_loss(best)[0]


def _fit_neutral(every: NDArray[np.float64], share: float) -> float:
    """The likeliest neutral logit: with it, neutral is as likely on average as it is frequent. By bisection."""
    low, high = float(every.min()) - 15.0, float(every.max()) + 15.0
    for _ in range(60):
        middle = (low + high) / 2
        if float((1 / (1 + np.exp(np.clip(every - middle, -50, 50)))).mean()) < share:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _log_sum_exp(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    top = logits.max(1, initial=-np.inf)
    sums: NDArray[np.float64] = top + np.log(np.exp(logits - top[:, None]).sum(1))
    return sums
