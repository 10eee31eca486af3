"""All scores of a model on one split, with the reference lines beside it: what metrics.json holds.

Numbers are fractions (CIDEr 0.478, not 47.8). None means absent, and `warnings` says why: METEOR without
Java, BFS without BLEU, the human line of videos that all have one caption.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pipeline.emotion.taxonomy import Taxonomy
from pipeline.metrics import reference_lines as lines
from pipeline.metrics.captions import CaptionSet, Scores, describe_protocols, score_all
from pipeline.metrics.diversity import diversity
from pipeline.metrics.emotions import bfs, cfs, emotion_scores, emotion_table
from pipeline.metrics.protocols import METRICS, PROTOCOLS, evc_set

HUMAN_CHOICES = 3   # the human line is the mean of so many choices of the caption left out

Block = dict[str, dict[str, float | None]]     # {"coco": …, "evc": …, "emotion": …}

EMOTION_METRICS = ("acc_sw", "acc_c", "bfs", "cfs", "balanced_accuracy")


def evaluate(predictions: Mapping[str, str], references: Mapping[str, Sequence[str]],
             nearest: Mapping[str, str], training_captions: Mapping[str, Sequence[str]], taxonomy: Taxonomy,
             seed: int, timeout: float,
             others: Mapping[str, Mapping[str, str]] | None = None) -> dict[str, Any]:
    """Scores of `predictions` (one caption a video) and of every reference line against `references`.

    `nearest` is the first retrieved caption a video; `training_captions` choose the constant word and tell
    novel captions from repeated ones; `seed` chooses the captions left out of the human line; `timeout`
    (seconds) is for the scorers' process; `others` are captions of further models, by name. Returns

        {"coco": {metric: score}, "evc": {…}, "emotion": {acc_sw, acc_c, bfs, cfs, balanced_accuracy},
         <name of another>: {coco, evc, emotion}, "diversity": {…}, "reference_lines": {
             "constant_word": {coco, evc, emotion, word}, "nearest_caption": {coco, evc, emotion},
             "human": {coco, evc, emotion, videos, left_out, choices}},
         "videos": count, "protocols": {…}, "warnings": […]}

    Raises SpectrumError where the videos of the sets differ or the scorers fail; see `captions.score_all`.
    """
    others = others or {}
    word = lines.best_constant_word(training_captions, taxonomy)
    humans = [lines.human(references, seed * HUMAN_CHOICES + choice) for choice in range(HUMAN_CHOICES)]
    sets: dict[str, CaptionSet] = {
        "model": (predictions, references),
        **{name: (captions, references) for name, captions in others.items()},
        "constant_word": lines.constant_word(word, references),
        "nearest_caption": (nearest, references),
        **{f"human_{number}": (human.captions, human.references)
           for number, human in enumerate(humans, start=1) if human.captions},
    }
    scores = score_all(sets, timeout)
    blocks = {name: _block(name, captions, scores, taxonomy) for name, captions in sets.items()}
    human = _mean([blocks[f"human_{number}"] for number in range(1, HUMAN_CHOICES + 1) if humans[0].captions])
    counts = {"videos": len(humans[0].captions), "left_out": humans[0].left_out, "choices": HUMAN_CHOICES}
    warnings = list(scores.warnings)
    if not humans[0].captions:
        warnings.append("human: every video has a single caption, so none can be left out")
    return {
        **blocks["model"],
        **{name: blocks[name] for name in others},
        "diversity": diversity(predictions, training_captions),
        "emotion_table": [asdict(row) for row in emotion_table(*evc_set(predictions, references), taxonomy)],
        "reference_lines": {
            "constant_word": {**blocks["constant_word"], "word": word},
            "nearest_caption": blocks["nearest_caption"],
            "human": {**human, **counts},
        },
        "videos": len(predictions),
        "protocols": describe_protocols(),
        "warnings": warnings,
    }


def _block(name: str, captions: CaptionSet, scores: Scores, taxonomy: Taxonomy) -> Block:
    of = scores.of[name]
    emotion = emotion_scores(*evc_set(*captions), taxonomy)
    return {**of, "emotion": {
        "acc_sw": emotion.acc_sw,
        "acc_c": emotion.acc_c,
        "bfs": bfs([of["evc"][f"Bleu_{n}"] for n in range(1, 5)], emotion.acc_sw, emotion.acc_c),
        "cfs": cfs(of["evc"]["CIDEr"], emotion.acc_sw, emotion.acc_c),
        "balanced_accuracy": emotion.balanced_accuracy,
    }}


def _mean(blocks: Sequence[Block]) -> Block:
    """The mean of every score; None where there are no blocks or one of them lacks it."""
    names: dict[str, tuple[str, ...]] = {**dict.fromkeys(PROTOCOLS, METRICS), "emotion": EMOTION_METRICS}
    return {part: {metric: _mean_score([block[part][metric] for block in blocks]) for metric in metrics}
            for part, metrics in names.items()}


def _mean_score(scores: Sequence[float | None]) -> float | None:
    there = [score for score in scores if score is not None]
    return sum(there) / len(there) if there and len(there) == len(scores) else None
