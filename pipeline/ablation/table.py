"""The ablation as Markdown: this data set's scores beside those that the paper prints for another."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.ablation.rows import PAPER_SET, SCORES
from pipeline.captioner.training.seeds import format_spread
from pipeline.metrics.paired_bootstrap import describe


def markdown(comparison: Mapping[str, Any]) -> str:
    """The page of what stages.ablate wrote: `ablation.compare` with data set, videos, seeds and budget."""
    rows: Sequence[Mapping[str, Any]] = comparison["rows"]
    numbers = ", ".join(str(seed) for seed in comparison["seeds"])
    many = "mean ± standard deviation of seeds" if len(comparison["seeds"]) > 1 else "seed"
    lines = [
        f"# Ablation: {comparison['dataset']}", "",
        f"Lines **{comparison['dataset']}**: {comparison['videos']} test videos of this data set, {many} {numbers}, "
        f"{comparison['epochs']} epochs each; the epoch is chosen on validation. Scores x 100; captions by protocol "
        "`coco`, emotions, BFS and CFS by `evc`.",
        f"Lines *paper*: the authors' numbers ({PAPER_SET}), **another data set and other features**: only the order "
        "of the rows can be compared, never the numbers.", "",
        "| row | | " + " | ".join(SCORES) + " | CFS without rerankers | full is ahead in CFS by |",
        "|---|---|" + "---:|" * (len(SCORES) + 2),
    ]
    for row in rows:
        cells = [_cell(row["scores"][score]) for score in SCORES] + [_cell(row["without_rerankers"]["CFS"])]
        name = row["row"] + (f" (here the same model as {row['same_as']})" if row["same_as"] else "")
        ahead = row["full_is_ahead_by"].get("cfs")
        lines.append(f"| {name} | **{comparison['dataset']}** | " + " | ".join(cells)
                     + f" | {describe(ahead) if ahead else ''} |")
        if row["paper"]:
            printed = [f"{row['paper'][score]:.1f}" if score in row["paper"] else "" for score in SCORES]
            behind = "" if row is rows[0] else f"{rows[0]['paper']['CFS'] - row['paper']['CFS']:.1f}"
            lines.append("| | *paper* | " + " | ".join(printed) + f" | | {behind} |")
    lines += ["", "“Full is ahead by” has the 95 % interval of a paired bootstrap over test videos and seeds; a tie is "
              "where it holds 0."]
    lines += ["", *_lines(comparison)]
    if len(rows) == 1:
        return "\n".join(lines) + "\n"
    lines += ["", "## Order of the rows", ""]
    for score, order in comparison["order"].items():
        lines += [f"By {score}, best first (Kendall's tau of the two orders: {order['kendall']:.2f}):", "",
                  f"- {comparison['dataset']}: {', '.join(order['here'])}", f"- paper: {', '.join(order['paper'])}", ""]
    lines.append(_verdict([row for row in rows[1:] if not row["same_as"]]))
    return "\n".join(lines) + "\n"


def _lines(comparison: Mapping[str, Any]) -> list[str]:
    """The reference lines of the same test videos."""
    out = ["Reference lines of the same videos:", ""]
    for name, block in comparison["reference_lines"].items():
        cells = [(score, block[part][metric]) for score, (part, metric) in SCORES.items()]
        out.append(f"- {name.replace('_', ' ')}: "
                   + ", ".join(f"{score} {100 * value:.1f}" for score, value in cells if value is not None))
    return out


def _cell(values: Mapping[str, Any] | None) -> str:
    return "-" if values is None else format_spread(dict(values))


def _verdict(others: Sequence[Mapping[str, Any]]) -> str:
    """Which rows the full model is above, tied with and below, in CFS."""
    groups: dict[str, list[str]] = {"above": [], "tied with": [], "below": []}
    for row in others:
        if ahead := row["full_is_ahead_by"].get("cfs"):
            groups["tied with" if ahead["tie"] else "above" if ahead["difference"] > 0 else "below"].append(row["row"])
    parts = [f"{relation} {', '.join(names)}" for relation, names in groups.items() if names]
    return f"In CFS the full model is {'; '.join(parts)}." if parts else ""
