"""The estimators of a caption's emotions that the parameters name, made ready once for a corpus of captions.

What they learn from the corpus is `Learned`: estimators with the same say the same, to the last bit.

    estimators = Estimators(params.emotion, index, encode_texts, "cuda")
    words = estimators.predict(texts, embeddings, prior.weights)      # [n, W], joined by noisy-or
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.common.files import fingerprint
from pipeline.emotion import probabilities
from pipeline.emotion.probabilities import EncodeTexts, Floats
from pipeline.emotion.taxonomy import Taxonomy
from pipeline.emotion.word_choice import WordChoice, encode_words, fit_choice
from pipeline.params import Emotion

_CAPTIONS_TO_FIT = 4000     # of the corpus, from which the choice of words is learned


class Corpus(Protocol):
    """The captions that candidates are retrieved from, as a CaptionIndex has them."""

    @property
    def texts(self) -> Sequence[str]: ...

    @property
    def embeddings(self) -> NDArray[np.float32]: ...        # [M, D], of length 1

    @property
    def recipe_id(self) -> str: ...                         # of their text encoder


@dataclass(frozen=True)
class Learned:
    """word_counts [W]: in how many captions of the corpus each emotion word stands. centre [D]: the mean of its
    embeddings; word_vectors [W, D]; choice: how near a word has to be. These three are of `clip`, empty without it."""

    word_counts: NDArray[np.int64]
    centre: Floats
    word_vectors: Floats
    choice: WordChoice


class Estimators:
    """`lexicon`, `expressions`, `clip` and `classifier`, as far as the parameters name them."""

    def __init__(self, section: Emotion, corpus: Corpus, encode_texts: EncodeTexts, device: str) -> None:
        self.taxonomy = Taxonomy.load(section.words)
        self.section, self.corpus = section, corpus
        self._encode_texts = encode_texts
        self._classifier = None
        if "classifier" in section.estimators:
            # A classifier needs the transformers library, which the other estimators do without.
            from pipeline.emotion.classifier import Classifier

            self._classifier = Classifier(section, self.taxonomy, device)

    def predict_each(self, texts: Sequence[str], embeddings: Floats) -> dict[str, Floats]:
        """p(word | caption) [n, W] by estimator; embeddings: the texts' [n, D]. They need not be of the corpus."""
        predictions: dict[str, Floats] = {}
        for name in self.section.estimators:
            if name == "lexicon":
                predictions[name] = probabilities.match_words(texts, self.taxonomy)
            elif name == "expressions":
                predictions[name] = self._spread(probabilities.match_expressions(texts, self.taxonomy))
            elif name == "clip":
                predictions[name] = self.learned.choice.choose(_compare(self.learned, embeddings))
            elif self._classifier is not None:
                predictions[name] = self._spread(self._classifier.predict_categories(texts))
        return predictions

    def predict(self, texts: Sequence[str], embeddings: Floats, weights: Mapping[str, float]) -> Floats:
        """p(word | caption) [n, W] by all of them: the noisy-or, each estimator's evidence times its weight."""
        evidence = {name: probabilities.measure_evidence(words)
                    for name, words in self.predict_each(texts, embeddings).items()}
        return join_weighted(evidence, weights)

    def recipe_id(self, prior_digest: str) -> str:
        """Stands for everything that decides a prior but the captions and rows; prior_digest: of what was fitted."""
        return emotion_recipe_id(self.section, self.classifier_recipe, self.corpus.recipe_id, prior_digest)

    @property
    def classifier_recipe(self) -> dict[str, Any] | None:
        return self._classifier.recipe if self._classifier else None

    def _spread(self, categories: Floats) -> Floats:
        return probabilities.spread_categories(categories, self.taxonomy, self.learned.word_counts + 1.0)

    @cached_property
    def learned(self) -> Learned:
        counts = probabilities.count_words(self.corpus.texts, self.taxonomy)
        nothing = Learned(counts, np.empty(0, np.float32), np.empty((0, 0), np.float32), WordChoice(1.0, 0.0))
        if "clip" not in self.section.estimators:
            return nothing
        return self._learn_choice(Learned(counts, np.asarray(self.corpus.embeddings.mean(0), np.float32),
                                          encode_words(self.taxonomy, self._encode_texts), nothing.choice))

    def _learn_choice(self, learned: Learned) -> Learned:
        """Learned from captions all over the corpus. Those that express an emotion without naming it teach nothing."""
        chosen = range(0, len(self.corpus.texts), max(1, len(self.corpus.texts) // _CAPTIONS_TO_FIT))
        texts = [self.corpus.texts[row] for row in chosen]
        matches = probabilities.match_words(texts, self.taxonomy)
        clear = np.flatnonzero(matches.any(1) | ~probabilities.match_expressions(texts, self.taxonomy).any(1))
        if not len(clear):
            clear = np.arange(len(texts))
        near = _compare(learned, self.corpus.embeddings[list(chosen)])
        return replace(learned, choice=fit_choice(near[clear], matches[clear]))


def _compare(learned: Learned, embeddings: Floats) -> Floats:
    """Similarities [n, W] of captions to the emotion words, each counted from that to the corpus' mean: or else the
    word that is nearest to captions in general would win for all of them."""
    return np.asarray((embeddings - learned.centre) @ learned.word_vectors.T, np.float32)


def emotion_recipe_id(section: Emotion, classifier: Mapping[str, Any] | None, text_recipe_id: str,
                      prior_digest: str) -> str:
    """As `Estimators.recipe_id`; classifier: its recipe, which stands for its parameters."""
    own = section.model_dump(exclude={"classifier_model", "classifier_labels", "classifier_batch_size"})
    return fingerprint({"emotion": own, "classifier": classifier, "prior": prior_digest, "text": text_recipe_id})


def join_weighted(evidence: Mapping[str, Floats], weights: Mapping[str, float]) -> Floats:
    """The noisy-or of estimators' evidence, each [n, E], times their weights."""
    total = sum(weights[name] * own for name, own in evidence.items())
    return probabilities.join_evidence(np.asarray(total, np.float32))
