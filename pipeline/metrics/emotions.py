"""Emotion metrics of EmVidCap, and two that say what they hide.

A video's reference emotions are all categories of all emotion words in all its references. In a generated
caption every token counts for its first category (alphabetical), and every category once. A category is right
where it is among the reference emotions, else wrong. Tokens are compared whole and exactly: preparing them
(lower case, no punctuation) is the work of the caption protocol, and nothing here undoes a failure to do so.

Acc_sw and Acc_c can be won by a constant word that most references carry. `balanced_accuracy` cannot: it
weighs every category alike, and `emotion_table` shows them one by one.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.common.errors import SpectrumError
from pipeline.emotion.taxonomy import Taxonomy

Tokens = str | Sequence[str]  # a prepared caption: its tokens, or one string of them with spaces between

_SOFTENING = 1e-4  # of Acc_c's exponent, as published


@dataclass(frozen=True)
class _Judged:
    """The categories of one video: those of its caption, and those of its references."""

    said: frozenset[str]
    expected: frozenset[str]

    @property
    def right(self) -> int:
        return len(self.said & self.expected)

    @property
    def wrong(self) -> int:
        return len(self.said - self.expected)


@dataclass(frozen=True)
class EmotionScores:
    """Fractions. `balanced_accuracy` is None where no reference holds an emotion word."""

    acc_sw: float
    acc_c: float
    balanced_accuracy: float | None


@dataclass(frozen=True)
class CategoryRow:
    """One emotion category over all videos."""

    category: str
    videos: int         # videos with it among their reference emotions
    hits: int           # of those, videos whose caption holds it
    said: int           # videos whose caption holds it, rightly or not


def emotion_scores(hypotheses: Mapping[str, Tokens], references: Mapping[str, Sequence[Tokens]],
                   taxonomy: Taxonomy) -> EmotionScores:
    """Scores of one prepared caption a video against the video's prepared references.

    Raises SpectrumError where the ids of the two sides differ or there are none.
    """
    judged = _judge(hypotheses, references, taxonomy)
    return EmotionScores(_acc_sw(judged), _acc_c(judged), _balanced_accuracy(judged))


def emotion_table(hypotheses: Mapping[str, Tokens], references: Mapping[str, Sequence[Tokens]],
                  taxonomy: Taxonomy) -> list[CategoryRow]:
    """A row for every category in some reference or caption, the most frequent in references first."""
    judged = _judge(hypotheses, references, taxonomy)
    rows = [CategoryRow(category,
                        videos=sum(category in one.expected for one in judged),
                        hits=sum(category in one.expected & one.said for one in judged),
                        said=sum(category in one.said for one in judged))
            for category in taxonomy.categories]
    return sorted((row for row in rows if row.videos or row.said),
                  key=lambda row: (-row.videos, row.category))


def bfs(bleu: Sequence[float | None], acc_sw: float, acc_c: float) -> float | None:
    """BFS from BLEU-1 to BLEU-4 (fractions); None where one of them is absent."""
    if len(bleu) != 4:
        raise SpectrumError(f"BFS is made of BLEU-1 to BLEU-4, four numbers; found {len(bleu)}")
    if any(score is None for score in bleu):
        return None
    weighted = sum(weight * score for weight, score in zip((0.1, 0.2, 0.3, 0.4), bleu, strict=True)
                   if score is not None)
    return 0.8 * weighted + 0.1 * (acc_sw + acc_c)


def cfs(cider: float | None, acc_sw: float, acc_c: float) -> float | None:
    """CFS from CIDEr (as a fraction: 0.478, not 47.8); None where it is absent."""
    return None if cider is None else 0.8 * cider + 0.1 * (acc_sw + acc_c)


def said_categories(tokens: Tokens, taxonomy: Taxonomy) -> frozenset[str]:
    """The categories that a generated caption counts for: the first of every emotion word in it."""
    firsts = (taxonomy.first_category(token) for token in _tokens(tokens))
    return frozenset(category for category in firsts if category is not None)


def reference_categories(references: Sequence[Tokens], taxonomy: Taxonomy) -> frozenset[str]:
    """All categories of all emotion words in all references of a video."""
    return frozenset(category for reference in references for token in _tokens(reference)
                     for category in taxonomy.categories_of(token))


def _judge(hypotheses: Mapping[str, Tokens], references: Mapping[str, Sequence[Tokens]],
           taxonomy: Taxonomy) -> list[_Judged]:
    if not hypotheses or hypotheses.keys() != references.keys():
        apart = sorted(hypotheses.keys() ^ references.keys())
        raise SpectrumError(f"emotion metrics: {len(hypotheses)} videos have captions, {len(references)} "
                            f"references, apart: {', '.join(apart[:5])}; score both of the same videos")
    return [_Judged(said_categories(hypotheses[id], taxonomy),
                    reference_categories(references[id], taxonomy)) for id in sorted(hypotheses)]


def _acc_sw(judged: Sequence[_Judged]) -> float:
    right, wrong = sum(one.right for one in judged), sum(one.wrong for one in judged)
    silent = sum(not one.said for one in judged)
    return right / (right + wrong + silent)


def _acc_c(judged: Sequence[_Judged]) -> float:
    right = sum(one.right > 0 for one in judged)
    mixed = sum(one.right > 0 and one.wrong > 0 for one in judged)
    if mixed == right:
        # All of them mixed: the published formula's exponent turns large and positive there and overflows.
        # Its limit from the side of fewer mixed captions is 0. Nothing right at all is 0 anyway.
        return 0.0
    return math.exp(mixed / (mixed - right + _SOFTENING)) * right / len(judged)


def _balanced_accuracy(judged: Sequence[_Judged]) -> float | None:
    shares = []
    for category in sorted(frozenset().union(*(one.expected for one in judged))):
        having = [one for one in judged if category in one.expected]
        shares.append(sum(category in one.said for one in having) / len(having))
    return sum(shares) / len(shares) if shares else None


def _tokens(caption: Tokens) -> Sequence[str]:
    return caption.split() if isinstance(caption, str) else caption
