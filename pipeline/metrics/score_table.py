"""The scores of a run as a terminal shows them: the model beside the baseline and the reference lines."""

from typing import TYPE_CHECKING, Any

from pipeline.metrics.paired_bootstrap import describe

if TYPE_CHECKING:
    from rich.table import Table


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
