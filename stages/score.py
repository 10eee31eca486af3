"""Score the captions of any system: BLEU, METEOR, ROUGE-L, CIDEr and emotion metrics.

    python -m stages.score results.json --references captions_val2014.json          # COCO
    python -m stages.score predictions.json --references test_videodatainfo.json    # MSR-VTT
    python -m stages.score mine.txt --references captions.csv --split test          # video<TAB>caption; CSV
    python -m stages.score reports/sample/predictions.jsonl --dataset sample        # predictions of this project
    python -m stages.score mine.txt --references captions.csv --against theirs.txt  # which is better, or a tie?
    python -m stages.score mine.txt --references captions.csv --html scores.html --per-video videos.csv

Formats of captions and references, by the file's ending:
    .json   COCO (a list of image_id and caption; annotations), MSR-VTT (sentences, predictions),
            or {"video": "caption"} and {"video": ["caption", "caption"]}
    .jsonl  on each line an object with video_id (or video, image_id) and caption
    .csv    a header with video, caption and, optionally, split
    .txt    video<TAB>caption on each line, also .tsv; or captions alone, in the order of the references' videos

For comparison, it also scores one human caption of each video against the others, and the best constant emotion word.
The word is chosen on training captions (--training-references, or the training split).

Exit status: 0 scored, 1 an error, which one sentence explains, 2 a wrong command line.
"""

import csv
import inspect
import io
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.common.errors import SpectrumError, readable_errors
from pipeline.common.terminal import for_people, say, warn
from stages.command import run_command

if TYPE_CHECKING:
    from pipeline.metrics.predictions_file import References

_OUTPUT = {".csv", ".jsonl"}     # of --per-video


@dataclass(frozen=True)
class Options:
    """The command line."""

    predictions: Annotated[Path, typer.Argument(help="file of the captions to score")]
    references: Annotated[Path | None, typer.Option(metavar="FILE", help="captions that people wrote")] = None
    dataset: Annotated[str, typer.Option(
        metavar="NAME", help="in place of --references: a prepared data set, data/NAME")] = ""
    split: Annotated[str, typer.Option(
        metavar="NAME", help="score only this split; without it, test of a --dataset, and all of a --references")] = ""
    against: Annotated[Path | None, typer.Option(
        metavar="FILE", help="captions of another system for the same videos, to compare with")] = None
    training_references: Annotated[Path | None, typer.Option(
        metavar="FILE", help="captions of other videos, to choose the constant word on")] = None
    per_video: Annotated[Path | None, typer.Option(
        metavar="FILE", help="write the scores of each video, as .csv or .jsonl")] = None
    json_file: Annotated[Path | None, typer.Option(
        "--json", metavar="FILE", help="write all scores, as fractions")] = None
    html_file: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="write a page")] = None
    with_lines: Annotated[bool, typer.Option(
        "--lines/--no-lines", help="reference lines beside the scores; they take most of the time")] = True
    allow_empty: Annotated[bool, typer.Option("--allow-empty", help="let empty captions score 0")] = False
    emotion_words: Annotated[str, typer.Option(metavar="LIST", help="evc-179 or ft-161")] = "evc-179"
    seed: Annotated[int, typer.Option(help="of the random choices: human captions, samples of the intervals")] = 0
    timeout: Annotated[float, typer.Option(min=1, help="seconds that the scorers may take")] = 1800


def main(**options: Any) -> None:
    chosen = Options(**options)
    _check(chosen)
    with readable_errors():
        _score(chosen)


def _check(options: Options) -> None:
    if (options.references is None) == (not options.dataset):
        raise typer.BadParameter("give one of the two: a file of references, or a data set",
                                 param_hint="--references, --dataset")
    if options.per_video and options.per_video.suffix.lower() not in _OUTPUT:
        raise typer.BadParameter(f"{options.per_video}: expected a .csv or .jsonl file", param_hint="--per-video")


def _score(options: Options) -> None:
    from rich.console import Console

    from pipeline.common.files import write_json, write_jsonl, write_text
    from pipeline.emotion.taxonomy import Taxonomy
    from pipeline.metrics.predictions_file import read_predictions
    from pipeline.metrics.score_files import ScoredFiles, rows_by_video, score_files
    from pipeline.metrics.score_table import file_table

    _refuse_overwriting(options)
    taxonomy = Taxonomy.load(options.emotion_words)
    references, training = _references(options)
    paths = [options.predictions, *([options.against] if options.against else [])]
    alike = len({path.name for path in paths}) < len(paths)
    systems = {}
    for path in paths:
        predictions = read_predictions(path, references, options.allow_empty)
        systems[str(path) if alike else path.name] = predictions.captions
        for note in predictions.notes:
            warn(f"note: {note}")
    files = ScoredFiles(systems, references.captions, training, options.with_lines)
    try:
        evaluation = score_files(files, taxonomy, options.seed, options.timeout)
    except SpectrumError as error:
        raise SpectrumError(_as_option(str(error))) from None
    metrics = evaluation.metrics
    metrics["warnings"] = [_as_option(warning) for warning in metrics["warnings"]]

    rows = rows_by_video(files, evaluation, taxonomy)
    if options.per_video:
        if options.per_video.suffix.lower() == ".csv":
            write_text(options.per_video, _csv_text(rows))
        else:
            write_jsonl(options.per_video, rows)
    if options.json_file:
        write_json(options.json_file, metrics | {"references": references.source})
    if options.html_file:
        from pipeline.report.score_page import render

        write_text(options.html_file, render(metrics, rows, references.captions, references.source))
    if for_people():
        Console(width=None if sys.stdout.isatty() else 120).print(file_table(metrics))
    for warning in metrics["warnings"]:
        warn(f"warning: {warning}")
    written = [str(path) for path in (options.per_video, options.json_file, options.html_file) if path]
    say(f"scored {metrics['videos']:,} videos by {metrics['captions']:,} references of {references.source}"
        + (f"; wrote {', '.join(written)}" if written else ""))


def _references(options: Options) -> tuple["References", Mapping[str, Sequence[str]]]:
    """What to score against, and the captions that choose the constant word."""
    from pipeline.metrics.predictions_file import read_dataset, read_references

    if options.references is not None:
        every, split = read_references(options.references), options.split
    else:
        every, split = read_dataset(Path("data", options.dataset)), options.split or "test"
    if options.training_references:
        training = read_references(options.training_references).captions
    elif split and split != "train" and "train" in every.splits.values():
        training = every.select("train").captions
    else:
        training = {}
    return every.select(split) if split else every, training


def _refuse_overwriting(options: Options) -> None:
    taken = [path.resolve() for path in (options.predictions, options.references, options.against,
                                         options.training_references) if path]
    for path in (options.per_video, options.json_file, options.html_file):
        if path and path.resolve() in taken:
            raise SpectrumError(f"{path}: it is already the name of an input or of another output; "
                                "give every output a name of its own")
        if path:
            taken.append(path.resolve())


def _as_option(text: str) -> str:
    """A message of the library in the words of this command line."""
    return text.replace("machine.scoring_timeout", "--timeout")


def _csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode(errors="backslashreplace").decode()   # halves of characters have no UTF-8


# Typer reads a function's parameters; these are the fields of Options.
main.__signature__ = inspect.signature(Options)     # type: ignore[attr-defined]


if __name__ == "__main__":
    run_command(main, __doc__)
