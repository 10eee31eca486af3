"""The back ends of a caption's emotion that have a weight, made ready once for a corpus of captions.

    backends = Backends(params.emotion, index, encode_texts, "cuda").calibrated(temperatures)
    words = backends.words(texts, embeddings)          # [n, W], calibrated and mixed
"""

from collections.abc import Mapping, Sequence
from copy import copy
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.common.files import fingerprint
from pipeline.emotion import probabilities
from pipeline.emotion.calibration import tempered
from pipeline.emotion.classifier import Classifier
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


class Backends:
    """As sure as they are, until `calibrated`. `temperatures`: by back end
    and of their mixture, those of calibration."""

    def __init__(self, section: Emotion, corpus: Corpus, encode_texts: EncodeTexts, device: str) -> None:
        self.taxonomy = Taxonomy.load(section.words)
        self.temperatures: Mapping[str, float] = {}
        self._section, self._corpus, self._encode_texts = section, corpus, encode_texts
        self._classifier = Classifier(section, self.taxonomy, device) if section.classifier > 0 else None

    def parts(self, texts: Sequence[str], embeddings: Floats) -> dict[str, Floats]:
        """The word probabilities [n, W] of each back end, before calibration; embeddings: the texts' [n, D]."""
        found = {}
        if self._section.lexicon > 0:
            found["lexicon"] = probabilities.lexicon(texts, self.taxonomy)
        if self._section.clip > 0:
            found["clip"] = probabilities.clip(embeddings, self._corpus.embeddings, self.taxonomy,
                                               self._encode_texts, self._section.clip_temperature)
        if self._classifier is not None:
            found["classifier"] = probabilities.spread(self._classifier.categories(texts), self.taxonomy,
                                                       self._word_counts)
        return found

    @cached_property
    def _word_counts(self) -> NDArray[np.int64]:
        return probabilities.word_counts(self._corpus.texts, self.taxonomy)

    def calibrated(self, temperatures: Mapping[str, float]) -> "Backends":
        """The same back ends at these temperatures; one that is not named stays as it is."""
        made = copy(self)
        made.temperatures = dict(temperatures)
        return made

    def lines(self, parts: Mapping[str, Floats]) -> dict[str, Floats]:
        """Each of `parts` calibrated and, last, the `mixture`, their weighted mean, calibrated too: [n, W]."""
        found = {name: self._tempered(name, part) for name, part in parts.items()}
        return {**found, "mixture": self._tempered("mixture", probabilities.mixture(found, self._section))}

    def _tempered(self, name: str, words: Floats) -> Floats:
        return tempered(words, self.temperatures[name]) if name in self.temperatures else words

    def words(self, texts: Sequence[str], embeddings: Floats) -> Floats:
        """p(word | caption) [n, W] of captions that need not be of the corpus."""
        return self.lines(self.parts(texts, embeddings))["mixture"]

    def recipe_id(self, used: int) -> str:
        """Stands for everything that decides a prior but the captions; used: candidates a video."""
        return fingerprint({
            "emotion": self._section.model_dump(exclude={"classifier_model", "classifier_labels", "classifier_batch_size"}),
            "classifier": self._classifier.recipe if self._classifier else None,
            "temperatures": dict(self.temperatures), "used": used, "text": self._corpus.recipe_id})
