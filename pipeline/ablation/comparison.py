"""Scores of every row over its seeds, how far the full model is ahead, and how the rows are ordered."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from pipeline.ablation.results import Result
from pipeline.ablation.rows import FULL, PAPER_SCORES, ROWS, SCORES, Row
from pipeline.captioner.training.seeds import Spread, spread
from pipeline.metrics import paired_bootstrap
from pipeline.metrics.paired_bootstrap import VideoScores

Block = Mapping[str, Mapping[str, float | None]]


def compare(results: Sequence[Result], blocks: Mapping[str, Block], of_videos: Mapping[str, VideoScores], seed: int,
            ) -> dict[str, Any]:
    """Scores of every row over its seeds, how far the full model is ahead of it, and how the rows are ordered.

    `results` hold every row with the same seeds, the full model among them. Of every result, `blocks` are its scores as
    in metrics.json, {part: {metric: score}}, and `of_videos` those of its videos, by its name; its captions without
    rerankers go by `without_rerankers(name)`. `seed` is the bootstrap's.
    """
    results_of = {row: [result for result in results if result.row == row.name] for row in ROWS}
    full = [of_videos[result.name] for result in results_of[FULL]]
    rows = []
    for row, own in results_of.items():
        if own:
            theirs = [of_videos[result.name] for result in own]
            rows.append({**_row(row, own, blocks),
                         "full_is_ahead_by": {} if row is FULL else paired_bootstrap.compare(full, theirs, seed)})
    return {"rows": rows, "order": {score: _order(rows, score) for score in ("CFS", "C")}}


def without_rerankers(name: str) -> str:
    return f"{name}, without rerankers"


def _row(row: Row, results: Sequence[Result], blocks: Mapping[str, Block]) -> dict[str, Any]:
    names = [result.name for result in results]
    return {"row": row.name, "seeds": [result.seed for result in results], "same_as": results[0].same_as,
            "parameters": results[0].parameters, "scores": _spreads(names, blocks),
            "without_rerankers": _spreads([without_rerankers(name) for name in names], blocks),
            "validation": [result.best for result in results],
            "paper": dict(zip(PAPER_SCORES, row.paper, strict=True)) if row.paper else {}}


def _spreads(names: Sequence[str], blocks: Mapping[str, Block]) -> dict[str, Spread | None]:
    """Every score over the seeds; None where one of them lacks it."""
    spreads: dict[str, Spread | None] = {}
    for score, (part, metric) in SCORES.items():
        values = [value for name in names if (value := blocks[name][part][metric]) is not None]
        spreads[score] = spread(values) if len(values) == len(names) else None
    return spreads


def _order(rows: Sequence[Mapping[str, Any]], score: str) -> dict[str, Any]:
    """The paper's rows by their mean score here and in the paper, best first, and Kendall's tau of the two."""
    rows = [row for row in rows if row["paper"]]
    here = {row["row"]: row["scores"][score]["mean"] for row in rows}
    paper = {row["row"]: row["paper"][score] for row in rows}
    return {"here": sorted(here, key=lambda row: -here[row]), "paper": sorted(paper, key=lambda row: -paper[row]),
            "kendall": kendall(list(here.values()), list(paper.values()))}


def kendall(one: Sequence[float], other: Sequence[float]) -> float:
    """Kendall's tau (a): the share of pairs in the same order less that of pairs in the opposite one; 0 of one row."""
    pairs = list(combinations(range(len(one)), 2))
    signs = [_sign(one[i] - one[j]) * _sign(other[i] - other[j]) for i, j in pairs]
    return sum(signs) / max(1, len(pairs))


def _sign(number: float) -> int:
    return (number > 0) - (number < 0)
