"""All scores of a model on one split, with the reference lines beside it: what metrics.json holds.

Numbers are fractions (CIDEr 0.478, not 47.8). None means absent, and `warnings` says why: METEOR without
Java, BFS without BLEU, the human line of videos that all have one caption.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.emotion.taxonomy import Taxonomy
from pipeline.metrics import reference_lines as lines
from pipeline.metrics.captions import CaptionSet, Scores, describe_protocols, score_all
from pipeline.metrics.diversity import measure_diversity
from pipeline.metrics.emotions import compare_categories, compute_bfs, compute_cfs, score_emotions, tabulate_categories
from pipeline.metrics.paired_bootstrap import VideoScores, compare
from pipeline.metrics.protocols import METRICS, PROTOCOLS, prepare_evc_set

HUMAN_CHOICES = 3   # the human line is the mean of so many choices of the caption left out

Block = dict[str, dict[str, float | None]]     # {"coco": …, "evc": …, "emotion": …}

EMOTION_METRICS = ("acc_sw", "acc_c", "bfs", "cfs", "balanced_accuracy", "macro_f1")


@dataclass(frozen=True)
class CaptionedSplit:
    """Captions of the videos of one split, and what they are scored against.

    `predictions`: one caption a video; `others`: those of further models, by name; `retrieved`: captions that need no
    captioner, by the name of their reference line; `training_captions` of the training split choose the constant word
    and show which captions are novel.
    """

    predictions: Mapping[str, str]
    references: Mapping[str, Sequence[str]]
    retrieved: Mapping[str, Mapping[str, str]]
    training_captions: Mapping[str, Sequence[str]]
    others: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """`metrics`: what metrics.json holds; `of_videos`: what every model and line has of each video, by its name."""

    metrics: dict[str, Any]
    of_videos: dict[str, VideoScores]


def evaluate(split: CaptionedSplit, taxonomy: Taxonomy, seed: int, timeout: float) -> Evaluation:
    """Scores of the predictions and of every reference line against the references.

    `seed` chooses the captions left out of the human line, and the bootstrap's samples; `timeout` (seconds) is for the
    scorers' process. The metrics:

        {"coco": {metric: score}, "evc": {…}, "emotion": {acc_sw, acc_c, bfs, cfs, balanced_accuracy, macro_f1},
         <name of another>: {coco, evc, emotion}, "diversity": {…},
         "emotion_table": [{category, videos, hits, predicted}], "reference_lines": {
             "constant_word": {coco, evc, emotion, word}, <name of a retrieved one>: {coco, evc, emotion},
             "human": {coco, evc, emotion, videos, left_out, choices}},
         "ahead_of": {<other, or line>: {"cider": {difference, low, high, tie}, "cfs": {…}}},
         "videos": count, "protocols": {…}, "warnings": […]}

    Raises SpectrumError where the videos of the sets differ or the scorers fail; see `captions.score_all`.
    """
    predictions, references = split.predictions, split.references
    word = lines.choose_constant_word(split.training_captions, taxonomy)
    humans = [lines.leave_one_out(references, seed * HUMAN_CHOICES + choice) for choice in range(HUMAN_CHOICES)]
    human_sets: dict[str, CaptionSet] = {
        f"human_{number}": (human.captions, human.references)
        for number, human in enumerate(humans, start=1) if human.captions}
    same_videos: dict[str, CaptionSet] = {
        "model": (predictions, references),
        **{name: (captions, references) for name, captions in {**split.others, **split.retrieved}.items()},
        "constant_word": lines.caption_with_word(word, references),
    }
    sets = same_videos | human_sets
    scores = score_all(sets, timeout)
    blocks = {name: make_block(name, captions, scores, taxonomy) for name, captions in sets.items()}
    of_videos = {name: VideoScores.of(scores.cider[name], compare_categories(*prepare_evc_set(*captions), taxonomy))
                 for name, captions in same_videos.items()}
    counts = {"videos": len(humans[0].captions), "left_out": humans[0].left_out, "choices": HUMAN_CHOICES}
    warnings = list(scores.warnings)
    if not human_sets:
        warnings.append("human: every video has a single caption, so none can be left out")
    if blocks["model"]["emotion"]["balanced_accuracy"] is None:
        warnings.append("balanced_accuracy and macro_f1 are absent: no reference holds an emotion word")
    return Evaluation({
        **blocks["model"],
        **{name: blocks[name] for name in split.others},
        "diversity": measure_diversity(predictions, split.training_captions),
        "emotion_table": [
            asdict(row) for row in tabulate_categories(*prepare_evc_set(predictions, references), taxonomy)],
        "reference_lines": {
            "constant_word": {**blocks["constant_word"], "word": word},
            **{name: blocks[name] for name in split.retrieved},
            "human": {**average_blocks([blocks[name] for name in human_sets]), **counts},
        },
        "ahead_of": {name: compare([of_videos["model"]], [own], seed)
                     for name, own in of_videos.items() if name != "model"},
        "videos": len(predictions),
        "protocols": describe_protocols(),
        "warnings": warnings,
    }, of_videos)


def make_block(name: str, captions: CaptionSet, scores: Scores, taxonomy: Taxonomy) -> Block:
    by_protocol = scores.by_set[name]
    emotion = score_emotions(*prepare_evc_set(*captions), taxonomy)
    return {**by_protocol, "emotion": {
        "acc_sw": emotion.acc_sw,
        "acc_c": emotion.acc_c,
        "bfs": compute_bfs([by_protocol["evc"][f"Bleu_{n}"] for n in range(1, 5)], emotion.acc_sw, emotion.acc_c),
        "cfs": compute_cfs(by_protocol["evc"]["CIDEr"], emotion.acc_sw, emotion.acc_c),
        "balanced_accuracy": emotion.balanced_accuracy,
        "macro_f1": emotion.macro_f1,
    }}


def average_blocks(blocks: Sequence[Block]) -> Block:
    """The mean of every score; None where there are no blocks or one of them lacks it."""
    names: dict[str, tuple[str, ...]] = {**dict.fromkeys(PROTOCOLS, METRICS), "emotion": EMOTION_METRICS}
    return {part: {metric: _average_score([block[part][metric] for block in blocks]) for metric in metrics}
            for part, metrics in names.items()}


def _average_score(scores: Sequence[float | None]) -> float | None:
    present = [score for score in scores if score is not None]
    return sum(present) / len(present) if present and len(present) == len(scores) else None
