"""Two runs on the same videos: how far one is ahead of the other, by the scores of each video."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.common.errors import SpectrumError
from pipeline.metrics.paired_bootstrap import VideoScores, compare

Row = Mapping[str, Any]     # a line of predictions.jsonl


@dataclass(frozen=True)
class OtherRun:
    """name: of its file; rows: by video; ahead: by score, how far this run is ahead of it."""

    name: str
    rows: Mapping[str, Row]
    ahead: Mapping[str, Mapping[str, Any]]


def compare_runs(path: Path, ours: Sequence[Row], theirs: Sequence[Row], seed: int) -> OtherRun:
    """path: of `theirs`. Raises SpectrumError where the two did not score the same videos."""
    scored = [{row["video_id"]: row for row in rows if row.get("scores")} for rows in (ours, theirs)]
    if not all(scored):
        side = "this run's own predictions" if not scored[0] else str(path)
        raise SpectrumError(f"{side}: no line has scores, so that there is nothing to compare; name the "
                            "predictions.jsonl of a run of this graph, or compare by `python -m stages.score`")
    different = sorted(scored[0].keys() ^ scored[1].keys())
    if different:
        raise SpectrumError(f"{path}: it scored {len(scored[1]):,} videos and this run {len(scored[0]):,}; only one of "
                            f"them scored {different[0]!r}, and scores depend on which videos there are; compare two "
                            "runs on the same videos")
    videos = sorted(scored[0])
    own, other = (VideoScores.of_lines([rows[video]["scores"] for video in videos]) for rows in scored)
    return OtherRun(str(path), {row["video_id"]: row for row in theirs}, compare([own], [other], seed))


def count_changes(changes: Sequence[float | None]) -> dict[str, int]:
    """How many videos are better, worse and the same; gallery.js calls them so, too."""
    known = [change for change in changes if change is not None]
    better, worse = sum(change > 0 for change in known), sum(change < 0 for change in known)
    return {"better": better, "worse": worse, "same": len(known) - better - worse}
