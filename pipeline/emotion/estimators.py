"""The estimators of a caption's emotions that have a weight, made ready once for a corpus of captions.

    estimators = Estimators(params.emotion, index, encode_texts, "cuda").with_temperatures(temperatures)
    words = estimators.predict(texts, embeddings)      # [n, W], calibrated and mixed
"""

from collections.abc import Mapping, Sequence
from copy import copy
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.common.files import fingerprint
from pipeline.emotion import probabilities
from pipeline.emotion.calibration import apply_temperature
from pipeline.emotion.probabilities import EncodeTexts, Floats
from pipeline.emotion.taxonomy import Taxonomy
from pipeline.params import Emotion


class Corpus(Protocol):
    """The captions that candidates are retrieved from, as a CaptionIndex has them."""

    @property
    def texts(self) -> Sequence[str]: ...

    @property
    def embeddings(self) -> NDArray[np.float32]: ...        # [M, D], of length 1

    @property
    def recipe_id(self) -> str: ...                         # of their text encoder


class Estimators:
    """`lexicon`, `clip` and `classifier`, as far as the parameters give them a weight.

    `temperatures`, of each estimator and of their `mixture`, come from calibration; without them probabilities stay
    as they are.
    """

    def __init__(self, section: Emotion, corpus: Corpus, encode_texts: EncodeTexts, device: str) -> None:
        self.taxonomy = Taxonomy.load(section.words)
        self.section, self.corpus = section, corpus
        self.temperatures: Mapping[str, float] = {}
        self._encode_texts = encode_texts
        self._classifier = None
        if section.classifier > 0:
            # A classifier needs the transformers library, which the other estimators do without.
            from pipeline.emotion.classifier import Classifier

            self._classifier = Classifier(section, self.taxonomy, device)

    def predict_each(self, texts: Sequence[str], embeddings: Floats) -> dict[str, Floats]:
        """p(word | caption) [n, W] by estimator, before calibration; embeddings: the texts' [n, D]."""
        predictions = {}
        if self.section.lexicon > 0:
            predictions["lexicon"] = probabilities.match_words(texts, self.taxonomy)
        if self.section.clip > 0:
            predictions["clip"] = probabilities.compare_with_words(
                embeddings, self.corpus.embeddings, self.taxonomy, self._encode_texts, self.section.clip_temperature)
        if self._classifier is not None:
            predictions["classifier"] = probabilities.spread_categories(
                self._classifier.predict_categories(texts), self.taxonomy, self._word_counts)
        return predictions

    @cached_property
    def _word_counts(self) -> NDArray[np.int64]:
        return probabilities.count_words(self.corpus.texts, self.taxonomy)

    def with_temperatures(self, temperatures: Mapping[str, float]) -> "Estimators":
        """The same estimators at these temperatures; one that is not named stays as it is."""
        estimators = copy(self)
        estimators.temperatures = dict(temperatures)
        return estimators

    def calibrate(self, predictions: Mapping[str, Floats]) -> dict[str, Floats]:
        """The predictions [n, W] calibrated and, last, their `mixture`: the weighted mean, calibrated too."""
        calibrated = {name: self._temper(name, words) for name, words in predictions.items()}
        mixture = self._temper("mixture", probabilities.mix(calibrated, self.section))
        return {**calibrated, "mixture": mixture}

    def _temper(self, name: str, words: Floats) -> Floats:
        return apply_temperature(words, self.temperatures[name]) if name in self.temperatures else words

    def predict(self, texts: Sequence[str], embeddings: Floats) -> Floats:
        """p(word | caption) [n, W] of captions that need not be of the corpus."""
        return self.calibrate(self.predict_each(texts, embeddings))["mixture"]

    def recipe_id(self, used: int) -> str:
        """Stands for everything that decides a prior but the captions; used: candidates a video."""
        # The classifier's own recipe stands for its parameters.
        section = self.section.model_dump(exclude={"classifier_model", "classifier_labels", "classifier_batch_size"})
        return fingerprint({
            "emotion": section,
            "classifier": self._classifier.recipe if self._classifier else None,
            "temperatures": dict(self.temperatures), "used": used, "text": self.corpus.recipe_id})
