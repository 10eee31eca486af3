"""The ten numbers of metrics.json that runs are compared by."""

from collections.abc import Mapping
from typing import Any

_SCORES = {"BLEU_4": ("coco", "Bleu_4"), "METEOR": ("coco", "METEOR"), "ROUGE_L": ("coco", "ROUGE_L"),
           "CIDEr": ("coco", "CIDEr"), "Acc_sw": ("emotion", "acc_sw"), "Acc_c": ("emotion", "acc_c"),
           "BFS": ("emotion", "bfs"), "CFS": ("emotion", "cfs"), "macro_F1": ("emotion", "macro_f1"),
           "baseline_CFS": ("baseline", "emotion", "cfs")}


def headline_scores(metrics: Mapping[str, Any]) -> dict[str, float]:
    """As fractions, by name; without those that could not be had."""
    scores: dict[str, float] = {}
    for name, way in _SCORES.items():
        value: Any = metrics
        for key in way:
            value = (value or {}).get(key)
        if value is not None:
            scores[name] = round(float(value), 4)
    return scores
