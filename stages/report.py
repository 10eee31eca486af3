"""Write the page of results from what the other stages made.

    python -m stages.report
    python -m stages.report --compare ../other/reports/sample/predictions.jsonl     # two runs on one page

Makes reports/<dataset>/index.html: scores beside reference lines, curves, and all captioned videos with their frames,
emotions, attributes and retrieved captions. It is one file that needs no network; only the clips are links.

With --compare it makes reports/<dataset>/compared.html and leaves index.html as it is. It is the same page, and has how
far this run is ahead of the other, both captions of every video, and which videos are better, worse or the same. Both
runs must have scored the same videos; keep a copy of predictions.jsonl before you make another run.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.common.commands import repro
from pipeline.common.errors import readable_errors
from pipeline.common.terminal import say
from pipeline.params import DEFAULT, Params, load
from pipeline.params.paths import Paths
from stages.command import Overrides, ParamsFile, Summary, load_with_notice, run_command, run_stage

if TYPE_CHECKING:
    from pipeline.report.page import ReportData


def main(
    overrides: Overrides = None,
    compare: Annotated[Path | None, typer.Option(
        metavar="FILE", help="the predictions.jsonl of another run, to compare this one with")] = None,
    params_file: ParamsFile = DEFAULT,
) -> None:
    with readable_errors():
        if compare is None:
            run_stage(run, "report", describe, load_with_notice(overrides or [], params_file, repro("report")))
        else:
            say(describe(run_compared(load(overrides or [], params_file), compare)))


def run(params: Params, paths: Paths) -> Summary:
    from datetime import UTC, datetime

    from pipeline.report.facts import describe_making

    # Not on the page: the same files make the same bytes, or DVC would think that somebody changed it.
    return {**_write(_read(params, paths), paths.reports / "index.html"),
            **describe_making(Path.cwd(), datetime.now(UTC))}


def run_compared(params: Params, path: Path) -> Summary:
    """A page of its own: the graph's is as DVC knows it."""
    from dataclasses import replace

    from pipeline.datasets.manifest import Manifest
    from pipeline.report.comparison import compare_runs
    from pipeline.report.reading import read_predictions

    paths = Paths.of(params)
    data = _read(params, paths)
    theirs = read_predictions(path, Manifest.load(paths.data))
    other = compare_runs(path, data.predictions, theirs, params.seed)
    return _write(replace(data, other=other), paths.reports / "compared.html")


def _read(params: Params, paths: Paths) -> "ReportData":
    from pipeline.media.decoder import VideoDecoder
    from pipeline.report.reading import read_report_data

    with VideoDecoder(params.machine.decoding_timeout, params.extraction.decoder) as decoder:
        return read_report_data(params, paths, decoder)


def _write(data: "ReportData", path: Path) -> Summary:
    from pipeline.common.files import write_text
    from pipeline.report.page import render

    page = render(data)
    write_text(path, page)
    return {"page": str(path), "videos": len(data.predictions), "bytes": len(page.encode())}


def describe(summary: Summary) -> str:
    return f"{summary['page']}: the page of {summary['videos']:,} videos, {summary['bytes'] / 1e6:.1f} MB"


if __name__ == "__main__":
    run_command(main, __doc__)
