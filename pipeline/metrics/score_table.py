"""Scores as a terminal shows them: of a run, and of captions that came in files, beside the reference lines."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline.metrics.paired_bootstrap import describe
from pipeline.metrics.protocols import METRICS

if TYPE_CHECKING:
    from rich.table import Table

NAMES = {"Bleu_1": "BLEU-1", "Bleu_2": "BLEU-2", "Bleu_3": "BLEU-3", "Bleu_4": "BLEU-4", "METEOR": "METEOR",
         "ROUGE_L": "ROUGE-L", "CIDEr": "CIDEr", "acc_sw": "Acc_sw", "acc_c": "Acc_c", "bfs": "BFS", "cfs": "CFS",
         "balanced_accuracy": "balanced accuracy", "macro_f1": "macro F1"}
COMPARED = {"cider": "CIDEr (coco)", "cfs": "CFS"}      # scores of a paired comparison
_SHORT = ("Bleu_4", "METEOR", "ROUGE_L", "CIDEr")      # of evc, where coco has all of them


def score_table(metrics: dict[str, Any]) -> "Table":
    """metrics: what metrics.json holds."""
    from rich.table import Table

    protocol = "coco" if metrics["coco"]["CIDEr"] is not None else "evc"       # coco is absent without Java
    table = Table("x 100", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr", "CFS", "macro F1", "model is ahead in CFS by",
                  title=f"{metrics['videos']} test videos, {protocol} protocol")
    for name, block in {"model": metrics, "baseline": metrics["baseline"], **metrics["reference_lines"]}.items():
        scores = [block[protocol][key] for key in ("Bleu_4", "METEOR", "ROUGE_L", "CIDEr")]
        scores += [block["emotion"][key] for key in ("cfs", "macro_f1")]
        table.add_row(name.replace("_", " "), *("-" if score is None else f"{100 * score:.1f}" for score in scores),
                      describe(ahead["cfs"]) if (ahead := metrics["ahead_of"].get(name, {})).get("cfs") else "")
    return table


def file_table(metrics: dict[str, Any]) -> "Table":
    """metrics: of `score_files`; a column a system or reference line, a row a metric."""
    from rich.table import Table

    columns = columns_of(metrics)
    ahead_of = {name: own for name, own in metrics["ahead_of"].items() if name in metrics["systems"]}
    table = Table("x 100", *columns, *(f"ahead of {name} by" for name in ahead_of))
    has_coco = next(iter(columns.values()))["coco"]["CIDEr"] is not None
    rows: dict[str, Sequence[str]] = {
        "coco": METRICS if has_coco else (), "evc": _SHORT if has_coco else METRICS,
        "emotion": [key for key in NAMES if key not in METRICS]}
    for part, keys in rows.items():
        for key in keys:
            name = NAMES[key] if part == "emotion" else f"{NAMES[key]} ({part})"
            cells = [name, *(percent(block[part][key]) for block in columns.values())]
            compared = next((score for score, own in COMPARED.items() if own == name), "")
            cells += [describe(own[compared]) if compared in own else "" for own in ahead_of.values()]
            table.add_row(*cells, end_section=key == keys[-1])
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def columns_of(metrics: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The scores of every system and reference line, by the name that readers see."""
    found = dict(metrics["systems"])
    for block in metrics["reference_lines"].values():
        found[f"the word {block['word']!r}" if "word" in block else "a human caption"] = block
    return found


def percent(score: float | None) -> str:
    return "-" if score is None else f"{100 * score:.1f}"
