"""Emotion probabilities of captions: p(word | caption) and p(category | caption).

Estimators give the words; a category is the noisy-or of its words (coarse from fine). `lexicon` is certain of the
words that stand in the caption (`match_words`); `clip` also finds words that are only near it, by the similarity of
the encoder's own text tower (`compare_with_words`); `classifier` (classifier.py) gives categories, which are spread
over their words in such a way that the same noisy-or gives them back. estimators.py runs them.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.common.text import words
from pipeline.emotion.taxonomy import Taxonomy
from pipeline.params import Emotion

Floats = NDArray[np.float32]
EncodeTexts = Callable[[Sequence[str]], Floats]

# An emotion word is shown to the text tower in a few frames, for it can be an adjective, an adverb or a noun.
_FRAMES = ("{}", "someone looks {}", "someone does it {}", "a feeling of {}")


def match_words(texts: Sequence[str], taxonomy: Taxonomy) -> Floats:
    """[n, W]: 1 where the emotion word stands in the caption."""
    column = {word: i for i, word in enumerate(taxonomy.words)}
    matches = np.zeros((len(texts), len(column)), np.float32)
    for row, text in enumerate(texts):
        matches[row, [column[word] for word in words(text) if word in column]] = 1.0
    return matches


def compare_with_words(embeddings: Floats, corpus: Floats, taxonomy: Taxonomy, encode_texts: EncodeTexts,
                       temperature: float) -> Floats:
    """[n, W]: softmax over the emotion words and one neutral choice.

    embeddings [n, D] and corpus [M, D] are unit caption vectors. A word's similarity counts from its mean
    over the corpus, or else the word that is nearest to captions in general would win for each of them;
    the neutral choice is that mean.
    """
    prompts = [frame.format(word) for word in taxonomy.words for frame in _FRAMES]
    vectors = encode_texts(prompts).reshape(len(taxonomy.words), len(_FRAMES), -1).mean(1)  # [W, D]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    logits = (embeddings - corpus.mean(0)) @ vectors.T / temperature  # [n, W]
    top = np.maximum(logits.max(1, keepdims=True), 0.0)
    weights = np.exp(logits - top)
    return np.asarray(weights / (weights.sum(1, keepdims=True) + np.exp(-top)), np.float32)


def mix(predictions: Mapping[str, Floats], section: Emotion) -> Floats:
    """The weighted mean of the estimators' word probabilities, each [n, W]."""
    weights = {name: float(getattr(section, name)) for name in predictions}
    total = sum(weights.values())
    return np.asarray(sum(weights[name] / total * words for name, words in predictions.items()), np.float32)


def derive_categories(word_probabilities: Floats, taxonomy: Taxonomy) -> Floats:
    """[n, C] from [n, W]: the noisy-or over a category's words."""
    silent = np.log1p(-np.minimum(word_probabilities, 1 - 1e-6))  # [n, W]
    return np.asarray(-np.expm1(silent @ taxonomy.membership().T.astype(np.float32)), np.float32)


def spread_categories(category_probabilities: Floats, taxonomy: Taxonomy, counts: NDArray[np.int64]) -> Floats:
    """Word probabilities [n, W] whose noisy-or are the category probabilities [n, C]: the inverse of
    `derive_categories`.

    counts [W]: how often each word stands in the corpus; a word takes a part of its category's evidence
    −log(1 − p) in proportion, so that the usual word is the likely one. A word of several categories stands for
    all of them, and gets the part of the least sure; what it does not take goes to the words of one category alone.
    """
    evidence = -np.log1p(-np.minimum(category_probabilities.astype(np.float64), 1 - 1e-6))      # [n, C]
    member = taxonomy.membership()                                                              # [C, W]
    frequency = member * (counts + 1.0)
    alone = member & (member.sum(0) == 1)
    double = np.flatnonzero(member.sum(0) > 1)
    parts = frequency / frequency.sum(1, keepdims=True)
    word_evidence = np.zeros((len(evidence), member.shape[1]))
    for word in double:
        owners = member[:, word]
        word_evidence[:, word] = (evidence[:, owners] * parts[owners, word]).min(1)
    left = evidence - word_evidence[:, double] @ member[:, double].T.astype(float)                      # [n, C]
    singles = frequency * alone
    word_evidence += left @ (singles / singles.sum(1, keepdims=True))
    return np.asarray(-np.expm1(-word_evidence), np.float32)


def count_words(texts: Sequence[str], taxonomy: Taxonomy) -> NDArray[np.int64]:
    """[W]: in how many of the texts each emotion word stands."""
    counts = Counter(word for text in texts for word in set(words(text)))
    return np.array([counts[word] for word in taxonomy.words], np.int64)
