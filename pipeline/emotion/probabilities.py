"""Emotion probabilities of captions: p(word | caption) and p(category | caption).

Estimators give the words; a category is the noisy-or of its words (coarse from fine). `lexicon` is certain of the
words that stand in the caption (`match_words`); `clip` also finds words that are only near it, by the similarity of
the encoder's own text tower (word_choice.py). `expressions` (`match_expressions`) and `classifier` (classifier.py)
give categories, which are spread over their words in such a way that the same noisy-or gives them back. estimators.py
runs them.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.common.files import read_json
from pipeline.common.text import words
from pipeline.emotion.taxonomy import Taxonomy

Floats = NDArray[np.float32]
EncodeTexts = Callable[[Sequence[str]], Floats]

_EXPRESSIONS = Path(__file__).with_name("expressions.json")
_CERTAIN = 1 - 1e-6     # where evidence ends


def match_words(texts: Sequence[str], taxonomy: Taxonomy) -> Floats:
    """[n, W]: 1 where the emotion word stands in the caption."""
    column = {word: i for i, word in enumerate(taxonomy.words)}
    matches = np.zeros((len(texts), len(column)), np.float32)
    for row, text in enumerate(texts):
        matches[row, [column[word] for word in words(text) if word in column]] = 1.0
    return matches


def match_expressions(texts: Sequence[str], taxonomy: Taxonomy) -> Floats:
    """[n, C]: the noisy-or of what the caption's words express without naming it: tears, laughing, happier."""
    shares = _read_expressions(taxonomy.categories)
    silent = np.ones((len(texts), len(taxonomy.categories)))
    for row, text in enumerate(texts):
        for word in set(words(text)) & shares.keys():
            silent[row] *= 1 - shares[word]
    return np.asarray(1 - silent, np.float32)


@cache
def _read_expressions(categories: tuple[str, ...]) -> dict[str, NDArray[np.float64]]:
    """[C] by word, out of expressions.json."""
    return {word: np.array([shares.get(category, 0.0) for category in categories])
            for entry, shares in read_json(_EXPRESSIONS)["words"].items() for word in entry.split()}


def measure_evidence(probabilities: Floats) -> Floats:
    """−log(1 − p): what a noisy-or adds up."""
    return np.asarray(-np.log1p(-np.minimum(probabilities, _CERTAIN)), np.float32)


def join_evidence(evidence: Floats) -> Floats:
    """The probability of that much evidence."""
    return np.asarray(-np.expm1(-evidence), np.float32)


def derive_categories(word_probabilities: Floats, taxonomy: Taxonomy) -> Floats:
    """[n, C] from [n, W]: the noisy-or over a category's words."""
    return join_evidence(measure_evidence(word_probabilities) @ taxonomy.membership().T.astype(np.float32))


def spread_categories(category_probabilities: Floats, taxonomy: Taxonomy, frequency: NDArray[np.floating]) -> Floats:
    """Word probabilities [n, W] whose noisy-or are the category probabilities [n, C]: the inverse of
    `derive_categories`.

    frequency [W] or [n, W], above 0: how usual each word is; a word takes a part of its category's evidence
    −log(1 − p) in proportion, so that the usual word is the likely one. A word of several categories stands for
    all of them, and gets the part of the least sure; what it does not take goes to the words of one category alone.
    """
    frequency = np.atleast_2d(frequency).astype(np.float64)
    evidence = measure_evidence(category_probabilities).astype(np.float64)                      # [n, C]
    member = taxonomy.membership()                                                              # [C, W]
    total = frequency @ member.T                                                                # [n, C]
    word_evidence = np.zeros((len(evidence), member.shape[1]))
    left = evidence.copy()
    for word in np.flatnonzero(member.sum(0) > 1):
        owners = member[:, word]
        word_evidence[:, word] = (evidence[:, owners] * frequency[:, [word]] / total[:, owners]).min(1)
        left[:, owners] -= word_evidence[:, [word]]
    single = np.flatnonzero(member.sum(0) == 1)
    owner = member[:, single].argmax(0)                                                         # [singles]
    shared = frequency[:, single] @ member[:, single].T                                         # [n, C]
    word_evidence[:, single] = left[:, owner] * frequency[:, single] / shared[:, owner]
    return join_evidence(np.maximum(word_evidence, 0))


def count_words(texts: Sequence[str], taxonomy: Taxonomy) -> NDArray[np.int64]:
    """[W]: in how many of the texts each emotion word stands."""
    counts = Counter(word for text in texts for word in set(words(text)))
    return np.array([counts[word] for word in taxonomy.words], np.int64)
