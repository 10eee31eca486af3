"""Scores of every row over its seeds, how far the full model is ahead, and how the rows are ordered."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from pipeline.ablation.results import Result
from pipeline.ablation.rows import FULL, PAPER_SCORES, ROWS, SCORES, Row
from pipeline.captioner.training.seeds import Spread, spread


def compare(results: Sequence[Result], blocks: Mapping[str, Mapping[str, Mapping[str, float | None]]],
            ) -> dict[str, Any]:
    """Scores of every row over its seeds, how far it is below the full model, and how the rows are ordered.

    `results` hold every row with the same seeds, the full model among them; `blocks` are the scores of every result
    by its name, as in metrics.json: {part: {metric: score}}.
    """
    results_of = {row: [result for result in results if result.row == row.name] for row in ROWS}
    rows = [_row(row, own, blocks) for row, own in results_of.items() if own]
    full = _values([result for result in results if result.row == FULL.name], blocks, "CFS")
    for row in rows:
        own = _values([result for result in results if result.row == row["row"]], blocks, "CFS")
        row["full_is_ahead_by"] = spread([a - b for a, b in zip(full, own, strict=True)])
    return {"rows": rows, "order": {score: _order(rows, score) for score in ("CFS", "C")}}


def _row(row: Row, results: Sequence[Result], blocks: Mapping[str, Mapping[str, Mapping[str, float | None]]],
         ) -> dict[str, Any]:
    scores: dict[str, Spread | None] = {}
    for score in SCORES:
        values = _values(results, blocks, score)
        scores[score] = spread(values) if len(values) == len(results) else None
    return {"row": row.name, "seeds": [result.seed for result in results], "same_as": results[0].same_as,
            "parameters": results[0].parameters, "scores": scores,
            "validation": [result.best for result in results],
            "paper": dict(zip(PAPER_SCORES, row.paper, strict=True))}


def _values(results: Sequence[Result], blocks: Mapping[str, Mapping[str, Mapping[str, float | None]]],
            score: str) -> list[float]:
    """The score of every result that has it."""
    part, metric = SCORES[score]
    values = [blocks[result.name][part][metric] for result in results]
    return [value for value in values if value is not None]


def _order(rows: Sequence[Mapping[str, Any]], score: str) -> dict[str, Any]:
    """The rows by their mean score here and in the paper, best first, and Kendall's tau of the two."""
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
