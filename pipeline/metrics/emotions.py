"""Emotion metrics of EmVidCap, and two that show what these hide.

A video's reference emotions are all categories of all emotion words in all its references. In a generated
caption every token counts for its first category (alphabetical), and every category once. A category is right
where it is among the reference emotions, else wrong. Tokens are compared whole and exactly: preparing them
(lower case, no punctuation) is the work of the caption protocol.

Acc_sw and Acc_c can be won by a constant word that most references carry. `balanced_accuracy` cannot: it
weighs every category alike. But a caption with a word of every category would win it; it cannot win `macro_f1`, which
counts what is said wrongly, too. `tabulate_categories` shows the categories one by one.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.common.errors import SpectrumError
from pipeline.emotion.taxonomy import Taxonomy, Tokens

ACC_C_SOFTENING = 1e-4  # of Acc_c's exponent, as published


@dataclass(frozen=True)
class Comparison:
    """The categories of one video: those of its caption, and those of its references."""

    predicted: frozenset[str]
    reference: frozenset[str]

    @property
    def right(self) -> int:
        return len(self.predicted & self.reference)

    @property
    def wrong(self) -> int:
        return len(self.predicted - self.reference)


@dataclass(frozen=True)
class EmotionScores:
    """Fractions.

    `acc_sw` (accuracy by emotion word): right categories among all that captions name, a caption without an emotion
    counting as a wrong one. `acc_c` (accuracy by caption): captions with a right category, less for those that mix
    right and wrong ones. `balanced_accuracy`: the recall of a category, averaged over the categories of the references;
    `macro_f1`: the F1 of a category (which also falls with every video that it is wrongly said of), averaged over the
    same. Both are None where no reference holds an emotion word.
    """

    acc_sw: float
    acc_c: float
    balanced_accuracy: float | None
    macro_f1: float | None


@dataclass(frozen=True)
class CategoryRow:
    """One emotion category over all videos."""

    category: str
    videos: int         # videos with it among their reference emotions
    hits: int           # of those, videos whose caption holds it
    predicted: int      # videos whose caption holds it, rightly or not


def score_emotions(hypotheses: Mapping[str, Tokens], references: Mapping[str, Sequence[Tokens]],
                   taxonomy: Taxonomy) -> EmotionScores:
    """Scores of one prepared caption a video against the video's prepared references.

    Raises SpectrumError where the ids of the two sides differ or there are none.
    """
    comparisons = compare_categories(hypotheses, references, taxonomy)
    return EmotionScores(_compute_acc_sw(comparisons), _compute_acc_c(comparisons),
                         _compute_balanced_accuracy(comparisons), _compute_macro_f1(comparisons))


def tabulate_categories(hypotheses: Mapping[str, Tokens], references: Mapping[str, Sequence[Tokens]],
                        taxonomy: Taxonomy) -> list[CategoryRow]:
    """A row for every category in some reference or caption, the most frequent in references first."""
    comparisons = compare_categories(hypotheses, references, taxonomy)
    rows = [CategoryRow(category,
                        videos=sum(category in each.reference for each in comparisons),
                        hits=sum(category in each.reference & each.predicted for each in comparisons),
                        predicted=sum(category in each.predicted for each in comparisons))
            for category in taxonomy.categories]
    return sorted((row for row in rows if row.videos or row.predicted),
                  key=lambda row: (-row.videos, row.category))


def compute_bfs(bleu: Sequence[float | None], acc_sw: float, acc_c: float) -> float | None:
    """BFS, of BLEU and both emotion accuracies, from BLEU-1 to BLEU-4 (fractions); None where one of them is absent."""
    if len(bleu) != 4:
        raise SpectrumError(f"BFS is made of BLEU-1 to BLEU-4, four numbers; there are {len(bleu)}")
    if any(score is None for score in bleu):
        return None
    weighted = sum(weight * score for weight, score in zip((0.1, 0.2, 0.3, 0.4), bleu, strict=True)
                   if score is not None)
    return 0.8 * weighted + 0.1 * (acc_sw + acc_c)


def compute_cfs(cider: float | None, acc_sw: float, acc_c: float) -> float | None:
    """CFS, of CIDEr and both emotion accuracies (CIDEr as a fraction: 0.478, not 47.8); None where it is absent."""
    return None if cider is None else 0.8 * cider + 0.1 * (acc_sw + acc_c)


def compare_categories(hypotheses: Mapping[str, Tokens], references: Mapping[str, Sequence[Tokens]],
             taxonomy: Taxonomy) -> list[Comparison]:
    """A comparison a video, in the order of the sorted ids. Raises SpectrumError as `score_emotions`."""
    if not hypotheses or hypotheses.keys() != references.keys():
        apart = sorted(hypotheses.keys() ^ references.keys())
        raise SpectrumError(f"emotion metrics: {len(hypotheses)} videos have captions, {len(references)} "
                            f"references, apart: {', '.join(apart[:5])}; score both of the same videos")
    return [Comparison(taxonomy.predicted_categories(hypotheses[id]),
                        taxonomy.reference_categories(references[id])) for id in sorted(hypotheses)]


def _compute_acc_sw(comparisons: Sequence[Comparison]) -> float:
    right, wrong = sum(each.right for each in comparisons), sum(each.wrong for each in comparisons)
    silent = sum(not each.predicted for each in comparisons)
    return right / (right + wrong + silent)


def _compute_acc_c(comparisons: Sequence[Comparison]) -> float:
    right = sum(each.right > 0 for each in comparisons)
    mixed = sum(each.right > 0 and each.wrong > 0 for each in comparisons)
    if mixed == right:
        # All of them mixed: the published formula's exponent turns large and positive there and overflows.
        # Its limit from the side of fewer mixed captions is 0. Nothing right at all is 0 anyway.
        return 0.0
    return math.exp(mixed / (mixed - right + ACC_C_SOFTENING)) * right / len(comparisons)


def _compute_balanced_accuracy(comparisons: Sequence[Comparison]) -> float | None:
    shares = []
    for category in sorted(frozenset().union(*(each.reference for each in comparisons))):
        having = [each for each in comparisons if category in each.reference]
        shares.append(sum(category in each.predicted for each in having) / len(having))
    return sum(shares) / len(shares) if shares else None


def _compute_macro_f1(comparisons: Sequence[Comparison]) -> float | None:
    scores = []
    for category in sorted(frozenset().union(*(each.reference for each in comparisons))):
        named = sum(category in each.predicted for each in comparisons)
        having = sum(category in each.reference for each in comparisons)
        hits = sum(category in each.predicted & each.reference for each in comparisons)
        scores.append(2 * hits / (named + having))
    return sum(scores) / len(scores) if scores else None
