"""Emotions of all videos of a data set: of every candidate caption once, and from them each video's prior."""

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.emotion.emotion_file import Emotions
from pipeline.emotion.estimators import Estimators
from pipeline.emotion.fitting import CandidateEvidence, LabelledVideos, WeighedCandidates, fit_candidates, fit_prior
from pipeline.emotion.prior import Vectors, weigh
from pipeline.emotion.prior_file import digest_of
from pipeline.emotion.probabilities import derive_categories, match_words, measure_evidence


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


def estimate_video_emotions(estimators: Estimators, candidates: Candidates, vectors: Mapping[str, Vectors],
                            row_recipes: Mapping[str, str], training: LabelledVideos,
                            begin: Callable[[str], None]) -> Emotions:
    """Fits a prior on the training videos and gives every video the evidence that it weighs.

    vectors: by modality, the mean rows of the candidates' videos; row_recipes: what made them. All stored candidates
    are read. `begin` is told which step is next.
    """
    begin("emotions of the captions")
    corpus, taxonomy = estimators.corpus, estimators.taxonomy
    rows, positions = np.unique(candidates.rows, return_inverse=True)
    positions = positions.reshape(candidates.rows.shape)
    texts, embeddings = [corpus.texts[row] for row in rows], corpus.embeddings[rows]
    categories = {name: measure_evidence(derive_categories(words, taxonomy))
                  for name, words in estimators.predict_each(texts, embeddings).items()}
    word_rates = estimators.word_counts / max(len(corpus.texts), 1)
    category_rates = derive_categories(match_words(corpus.texts, taxonomy), taxonomy).mean(0, dtype=np.float64)
    begin("weights of candidates and estimators")
    fitted = fit_candidates(CandidateEvidence(categories, positions, candidates.scores), training, category_rates)

    words = estimators.predict(texts, embeddings, fitted.weights)
    caption_categories = derive_categories(words, taxonomy)
    shares, counts = weigh(caption_categories, positions, candidates.scores, fitted.temperature)
    word_shares, _ = weigh(words, positions, candidates.scores, fitted.temperature)
    begin("the prior of the videos")
    prior, evidence, present = fit_prior(
        fitted, WeighedCandidates(shares, word_shares, counts, (category_rates, word_rates)), vectors, training,
        taxonomy.membership())
    return Emotions(
        taxonomy=taxonomy.name, recipe_id=estimators.recipe_id(digest_of(prior)), candidates_digest=candidates.digest,
        row_recipes=row_recipes, prior=prior, rows=rows, caption_categories=caption_categories, ids=candidates.ids,
        word_shares=word_shares, counts=counts, evidence=evidence.astype(np.float32), present=present)
