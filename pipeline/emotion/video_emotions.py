"""Emotions of all videos of a data set: of every candidate caption once, and from them each video's prior."""

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.emotion.caption_parts import CaptionEmotions
from pipeline.emotion.emotion_file import Emotions
from pipeline.emotion.estimators import Corpus
from pipeline.emotion.fitting import CandidateEvidence, LabelledVideos, WeighedCandidates, fit_candidates, fit_prior
from pipeline.emotion.prior import Vectors, weigh
from pipeline.emotion.prior_file import digest_of
from pipeline.emotion.probabilities import derive_categories, match_words
from pipeline.emotion.taxonomy import Taxonomy


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


_CAPTIONS = 1 << 16     # whose words are looked up at once


def estimate_video_emotions(captions: CaptionEmotions, candidates: Candidates, vectors: Mapping[str, Vectors],
                            row_recipes: Mapping[str, str], training: LabelledVideos,
                            begin: Callable[[str], None]) -> Emotions:
    """Fits a prior on the training videos and gives every video the evidence that it weighs.

    vectors: by modality, the mean rows of the candidates' videos; row_recipes: what made them. All stored candidates
    are read. `begin` is told which step is next.
    """
    begin("emotions of the captions")
    corpus, taxonomy = captions.corpus, captions.taxonomy
    rows, positions = np.unique(candidates.rows, return_inverse=True)
    positions = positions.reshape(candidates.rows.shape)
    categories = captions.measure_evidence(rows)
    word_rates = captions.word_counts / max(len(corpus.texts), 1)
    category_rates = _category_rates(corpus, taxonomy)
    begin("weights of candidates and estimators")
    fitted = fit_candidates(CandidateEvidence(categories, positions, candidates.scores), training, category_rates)

    words = captions.predict(rows, fitted.weights)
    caption_categories = np.concatenate([derive_categories(words[first:first + _CAPTIONS], taxonomy)
                                         for first in range(0, max(1, len(rows)), _CAPTIONS)])
    shares, counts = weigh(caption_categories, positions, candidates.scores, fitted.temperature)
    word_shares, _ = weigh(words, positions, candidates.scores, fitted.temperature)
    begin("the prior of the videos")
    prior, evidence, present = fit_prior(
        fitted, WeighedCandidates(shares, word_shares, counts, (category_rates, word_rates)), vectors, training,
        taxonomy.membership())
    return Emotions(
        taxonomy=taxonomy.name, recipe_id=captions.recipe_id(digest_of(prior)), candidates_digest=candidates.digest,
        row_recipes=row_recipes, prior=prior, rows=rows, caption_categories=caption_categories, ids=candidates.ids,
        word_shares=word_shares, counts=counts, evidence=evidence.astype(np.float32), present=present)


def _category_rates(corpus: Corpus, taxonomy: Taxonomy) -> NDArray[np.float64]:
    """[C]: the share of the corpus' captions that carry each category by their words."""
    total = np.zeros(len(taxonomy.categories))
    for first in range(0, len(corpus.texts), _CAPTIONS):
        matches = match_words(corpus.texts[first:first + _CAPTIONS], taxonomy)
        total += derive_categories(matches, taxonomy).sum(0, dtype=np.float64)
    rates: NDArray[np.float64] = total / len(corpus.texts)
    return rates
