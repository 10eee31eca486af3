"""Everything that the page shows, read from the files that the other stages made."""

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pipeline.common.commands import REMAKE
from pipeline.common.errors import SpectrumError
from pipeline.common.files import read_json, read_jsonl, sha256
from pipeline.common.progress import Bar
from pipeline.datasets.manifest import Manifest
from pipeline.emotion.taxonomy import Taxonomy
from pipeline.media.decoder import VideoDecoder
from pipeline.params import Params
from pipeline.params.paths import Paths
from pipeline.report import facts
from pipeline.report.film_strips import choose_size, make_strip
from pipeline.report.formats import CaptionerFile, IndexFile, MetricsFile, PredictionRow, PriorScoreTable, check_format
from pipeline.report.gallery import Frames
from pipeline.report.page import ReportData

_NOT_SHOWN = {"machine", "cluster"}     # parameters of the machine, which change no result


def read_report_data(params: Params, paths: Paths, decoder: VideoDecoder) -> ReportData:
    """Raises SpectrumError naming the file where one is missing or damaged."""
    manifest = Manifest.load(paths.data)
    (appearance, recipe), *others = (facts.read_store(folder)
                                     for folder in (paths.appearance, paths.audio, paths.motion))
    index = _read(paths.index / "index.json", IndexFile)
    captioner = _read(paths.captioner / "captioner.json", CaptionerFile)
    shown = params.model_dump(mode="json", exclude=_NOT_SHOWN)
    trained = {section: captioner[section] for section in ("captioner", "training") if captioner.get(section)}
    metrics = _read(paths.reports / "metrics.json", MetricsFile)
    curves, written = paths.captioner / "curves.csv", paths.reports / "predictions.jsonl"
    for path, digest in ((curves, captioner.get("curves_sha256")), (written, metrics.get("predictions_sha256"))):
        _check_unchanged(path, digest)
    prior_scores = _read(paths.reports / "emotion.json", PriorScoreTable)
    encoder = _read(paths.encoder / "encoder.json", dict[str, Any])
    predictions = read_predictions(written, manifest)
    files = {video.id: Path(video.path) for video in manifest.videos if video.path}
    videos = [row["video_id"] for row in predictions]
    return ReportData(
        dataset=params.dataset,
        metrics=metrics,
        predictions=predictions,
        references=manifest.captions_of,
        splits=manifest.split_of,
        taxonomy=Taxonomy.load(params.emotion.words),
        frames=_make_strips(decoder, {video: files[video] for video in videos if video in files}),
        clips={video: _link(files[video], paths.reports) for video in videos if video in files},
        history=facts.read_curves(curves),
        facts={**facts.describe_data(manifest.counts(), index), **facts.describe_captioner(captioner)},
        stores=[appearance, *(store for store, _ in others)],
        prior_scores=prior_scores,
        versions=facts.list_versions(),
        params=shown,
        trained=trained,
        stale=facts.find_stale(shown, captioner),
        encoder=encoder,
        recipe=recipe,
    )


def _make_strips(decoder: VideoDecoder, files: dict[str, Path]) -> dict[str, Frames]:
    size = choose_size(len(files))
    strips: dict[str, Frames] = {}
    with Bar("report", total=len(files), unit="videos") as bar:
        for video, path in files.items():
            strips[video] = make_strip(decoder, path, size)
            bar.advance()
    return strips


def _link(path: Path, folder: Path) -> str:
    """The way from the page in `folder` to a clip; it never begins with the name of a scheme."""
    return "./" + quote(os.path.relpath(path, folder).replace(os.sep, "/"), safe="/")


def _read(path: Path, expected: Any) -> Any:
    return check_format(path, read_json(path), expected)


def _check_unchanged(path: Path, digest: str | None) -> None:
    """Raises SpectrumError where a file is not the one that the stage which made it left."""
    if digest is not None and path.is_file() and sha256(path) != digest:
        raise SpectrumError(f"{path}: it was changed or damaged after it was written; {REMAKE}")


def read_predictions(path: Path, manifest: Manifest) -> list[dict[str, Any]]:
    """The rows of predictions.jsonl. Raises SpectrumError where one is of no video of the data set."""
    rows = []
    for number, row in read_jsonl(path):
        check_format(path.with_name(f"{path.name}, line {number}"), row, PredictionRow)
        if row["video_id"] not in manifest.split_of:
            raise SpectrumError(f"{path}, line {number}: video {row['video_id']!r} is not in the data set; "
                                f"{REMAKE}")
        rows.append(row)
    return rows
