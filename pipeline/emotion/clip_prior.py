"""The emotional prior of a clip outside the data set, by what was fitted on the data set's training videos."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.emotion.estimators import Estimators
from pipeline.emotion.pooled_rows import pool_clip
from pipeline.emotion.prior import Prior, weigh
from pipeline.emotion.prior_file import digest_of
from pipeline.emotion.probabilities import Floats, derive_categories


@dataclass(frozen=True)
class ClipPrior:
    estimators: Estimators
    prior: Prior

    @property
    def recipe_id(self) -> str:
        """That of an emotion.h5 with this prior."""
        return self.estimators.recipe_id(digest_of(self.prior))

    def estimate(self, texts: Sequence[str], embeddings: Floats, scores: Floats,
                 rows: Mapping[str, NDArray[np.floating]]) -> tuple[Floats, Floats]:
        """p(category) [1, C] and p(word) [1, W].

        texts [K], embeddings [K, D], scores [1, K]: of all candidates that are stored for a video of the data set;
        rows: by modality, the clip's rows [T, D] that the captioner reads.
        """
        words = self.estimators.predict(texts, embeddings, self.prior.weights)
        categories = derive_categories(words, self.estimators.taxonomy)
        positions = np.arange(len(texts))[None]
        shares, counts = weigh(categories, positions, scores, self.prior.temperature)
        word_shares, _ = weigh(words, positions, scores, self.prior.temperature)
        vectors = {name: pool_clip(own) for name, own in rows.items()}
        evidence, present = self.prior.read_rows(vectors, 1)
        evidence = np.concatenate([self.prior.read_shares(shares, counts), evidence], 1)
        probabilities = self.prior.estimate(evidence, present, vectors)
        return probabilities, self.prior.estimate_words(probabilities, word_shares, counts)
