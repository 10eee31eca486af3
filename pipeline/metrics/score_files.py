"""Scores of captions that came in files, beside the reference lines that need no model.

    evaluation = score_files(files, taxonomy, seed=0, timeout=600)
    evaluation.metrics["systems"]["results.json"]["coco"]["CIDEr"]
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.common import programs
from pipeline.common.text import run_without_spaces
from pipeline.emotion.taxonomy import Taxonomy
from pipeline.metrics import reference_lines as lines
from pipeline.metrics.captions import CaptionSet, describe_protocols, score_all
from pipeline.metrics.diversity import measure_diversity
from pipeline.metrics.emotions import compare_categories, tabulate_categories
from pipeline.metrics.evaluation import HUMAN_CHOICES, Evaluation, average_blocks, make_block
from pipeline.metrics.paired_bootstrap import VideoScores, compare
from pipeline.metrics.protocols import prepare_evc_set


@dataclass(frozen=True)
class ScoredFiles:
    """What is scored: `systems`, captions of the same videos by the name of their file, the one asked about first.

    `training_captions`, of other videos, choose the constant word; without them there is no such line. `with_lines`:
    whether there are reference lines at all; they take most of the time.
    """

    systems: Mapping[str, Mapping[str, str]]
    references: Mapping[str, Sequence[str]]
    training_captions: Mapping[str, Sequence[str]]
    with_lines: bool = True


def score_files(files: ScoredFiles, taxonomy: Taxonomy, seed: int, timeout: float) -> Evaluation:
    """Scores as fractions; None means absent, and `warnings` says why. The metrics:

        {"systems": {name: {"coco": {metric: score}, "evc": {…}, "emotion": {…}, "diversity": {…},
                            "emotion_table": [{category, videos, hits, predicted}]}},
         "reference_lines": {"constant_word": {coco, evc, emotion, word}, "human": {coco, evc, emotion, videos, …}},
         "ahead_of": {<another system, or constant_word>: {"cider": {difference, low, high, tie}, "cfs": {…}}},
         "videos": count, "captions": count of references, "protocols": {…}, "warnings": […]}

    `seed` chooses the captions left out of the human line, and the bootstrap's samples. Raises SpectrumError where
    the videos of the sets differ or the scorers fail.
    """
    references = files.references
    same_videos: dict[str, CaptionSet] = {name: (captions, references) for name, captions in files.systems.items()}
    choosing = files.training_captions if files.with_lines else {}
    word = lines.choose_constant_word(choosing, taxonomy) if choosing else ""
    if word:
        same_videos["constant_word"] = lines.caption_with_word(word, references)
    humans = [lines.leave_one_out(references, seed * HUMAN_CHOICES + choice)
              for choice in range(HUMAN_CHOICES) if files.with_lines]
    human_sets: dict[str, CaptionSet] = {f"human_{number}": (human.captions, human.references)
                                         for number, human in enumerate(humans, start=1) if human.captions}
    sets = same_videos | human_sets
    scores = score_all(sets, timeout)
    blocks = {name: make_block(name, captions, scores, taxonomy) for name, captions in sets.items()}
    of_videos = {name: VideoScores.of(scores.cider[name], compare_categories(*prepare_evc_set(*captions), taxonomy))
                 for name, captions in same_videos.items()}
    first = next(iter(files.systems))
    reference_lines: dict[str, Any] = {"constant_word": {**blocks["constant_word"], "word": word}} if word else {}
    if human_sets:
        reference_lines["human"] = {
            **average_blocks([blocks[name] for name in human_sets]),
            "videos": len(humans[0].captions), "left_out": humans[0].left_out, "choices": HUMAN_CHOICES}
    return Evaluation({
        "systems": {name: {**blocks[name], **_describe(name, files, taxonomy)} for name in files.systems},
        "reference_lines": reference_lines,
        "ahead_of": {name: compare([of_videos[first]], [own], seed)
                     for name, own in of_videos.items() if name != first},
        "videos": len(references),
        "captions": sum(map(len, references.values())),
        "protocols": describe_protocols(),
        "warnings": _warnings(files, scores.warnings, bool(humans) and not human_sets),
    }, of_videos)


def rows_by_video(files: ScoredFiles, evaluation: Evaluation, taxonomy: Taxonomy) -> list[dict[str, Any]]:
    """A flat row a video, in the order of the references: captions, scores and emotions. The columns of a second
    system have its name before them."""
    ids = sorted(files.references)
    scores = {name: evaluation.of_videos[name].by_video(ids) for name in files.systems}
    compared = {name: dict(zip(ids, compare_categories(*prepare_evc_set(captions, files.references), taxonomy),
                               strict=True)) for name, captions in files.systems.items()}
    first = next(iter(files.systems))
    rows = []
    for video, own in files.references.items():
        row: dict[str, Any] = {"video": video, "references": len(own),
                               "reference_emotions": " ".join(sorted(compared[first][video].reference))}
        for name, captions in files.systems.items():
            columns = {"caption": captions[video], **scores[name][video]["scores"],
                       "emotions": " ".join(sorted(compared[name][video].predicted))}
            row |= {key if name == first else f"{name}: {key}": value for key, value in columns.items()}
        rows.append(row)
    return rows


def _describe(name: str, files: ScoredFiles, taxonomy: Taxonomy) -> dict[str, Any]:
    captions = files.systems[name]
    diversity = measure_diversity(captions, files.training_captions)
    if not files.training_captions:
        del diversity["novel_captions"]
    table = tabulate_categories(*prepare_evc_set(captions, files.references), taxonomy)
    return {"diversity": diversity, "emotion_table": [asdict(row) for row in table]}


def _warnings(files: ScoredFiles, found: Sequence[str], single: bool) -> list[str]:
    """Each thing once: the sets share their references, and a Java that is not there lacks for two reasons."""
    if programs.java() is None:
        found = [f"coco and METEOR are absent: {programs.NO_JAVA}",
                 *(text for text in found if programs.NO_JAVA not in text)]
    first, *others = files.systems
    kept = [text for text in found if not text.startswith(tuple(
        f"{name}: " for name in (*others, "constant_word", *(f"human_{n}" for n in range(1, HUMAN_CHOICES + 1)))))]
    if single:
        kept.append("no human line: every video has a single reference, so none can be left out")
    texts = (caption for captions in (files.systems[first].values(), *files.references.values())
             for caption in captions)
    if unsegmented := next(filter(None, map(run_without_spaces, texts)), ""):
        kept.append(f"{unsegmented!r:.60} counts as one word: in a language written without spaces, separate the words "
                    "by spaces before")
    return kept
