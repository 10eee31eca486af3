"""Write the page of results from what the other stages made.

    python -m stages.report

Makes reports/<dataset>/index.html: scores beside reference lines, curves, and all captioned videos with their frames,
emotions, attributes and retrieved captions. It is one file that needs no network; only the clips are links.
"""

from pipeline.params import Params
from pipeline.params.paths import Paths
from stages.command import Summary, stage


def run(params: Params, paths: Paths) -> Summary:
    from datetime import UTC, datetime
    from pathlib import Path

    from pipeline.common.files import write_text
    from pipeline.media.decoder import VideoDecoder
    from pipeline.report.facts import describe_making
    from pipeline.report.page import render
    from pipeline.report.reading import read_report_data

    with VideoDecoder(params.machine.decoding_timeout, params.extraction.decoder) as decoder:
        data = read_report_data(params, paths, decoder)
    page = render(data)
    write_text(paths.reports / "index.html", page)
    # Not on the page: the same files make the same bytes, or DVC would think that somebody changed it.
    return {"page": str(paths.reports / "index.html"), "videos": len(data.predictions),
            "bytes": len(page.encode()), **describe_making(Path.cwd(), datetime.now(UTC))}


def describe(summary: Summary) -> str:
    return f"{summary['page']}: the page of {summary['videos']:,} videos, {summary['bytes'] / 1e6:.1f} MB"


if __name__ == "__main__":
    stage(run, "report", __doc__, describe)
