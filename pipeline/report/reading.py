"""Everything that the page shows, read from the files that the other stages made."""

from pathlib import Path
from typing import Any

from pipeline.common.commands import REMAKE
from pipeline.common.errors import SpectrumError
from pipeline.common.files import read_json, read_jsonl, sha256
from pipeline.datasets.manifest import Manifest
from pipeline.emotion.taxonomy import Taxonomy
from pipeline.media.decoder import VideoDecoder
from pipeline.params import Params
from pipeline.params.paths import Paths
from pipeline.report import facts
from pipeline.report.film_strips import make_strip
from pipeline.report.formats import CaptionerFile, IndexFile, MetricsFile, PredictionRow, PriorScoreTable, check_format
from pipeline.report.page import ReportData

_NOT_SHOWN = {"machine", "cluster"}     # parameters of the machine, which change no result


def read_report_data(params: Params, paths: Paths, decoder: VideoDecoder) -> ReportData:
    """Raises SpectrumError naming the file where one is missing or damaged. Frames are decoded when the page asks."""
    manifest = Manifest.load(paths.data)
    path_of = {video.id: Path(video.path) for video in manifest.videos}
    (appearance, recipe), *others = (facts.read_store(folder)
                                     for folder in (paths.appearance, paths.audio, paths.motion))
    index = _read(paths.index / "index.json", IndexFile)
    captioner = _read(paths.captioner / "captioner.json", CaptionerFile)
    metrics = _read(paths.reports / "metrics.json", MetricsFile)
    curves, predictions = paths.captioner / "curves.csv", paths.reports / "predictions.jsonl"
    for path, digest in ((curves, captioner.get("curves_sha256")), (predictions, metrics.get("predictions_sha256"))):
        _check_unchanged(path, digest)
    return ReportData(
        dataset=params.dataset,
        metrics=metrics,
        predictions=_read_predictions(predictions, manifest),
        references=manifest.captions_of,
        splits=manifest.split_of,
        taxonomy=Taxonomy.load(params.emotion.words),
        thumbnails=lambda video: make_strip(decoder, path_of[video]),
        history=facts.read_curves(curves),
        facts={**facts.describe_data(manifest.counts(), index), **facts.describe_captioner(captioner)},
        stores=[appearance, *(store for store, _ in others)],
        prior_scores=_read(paths.reports / "emotion.json", PriorScoreTable),
        versions=facts.list_versions(),
        params=params.model_dump(mode="json", exclude=_NOT_SHOWN),
        encoder=_read(paths.encoder / "encoder.json", dict[str, Any]),
        recipe=recipe,
        seed=params.seed,
    )


def _read(path: Path, expected: Any) -> Any:
    return check_format(path, read_json(path), expected)


def _check_unchanged(path: Path, digest: str | None) -> None:
    """Raises SpectrumError where a file is not the one that the stage which made it left."""
    if digest is not None and path.is_file() and sha256(path) != digest:
        raise SpectrumError(f"{path}: it was changed or damaged after it was written; {REMAKE}")


def _read_predictions(path: Path, manifest: Manifest) -> list[dict[str, Any]]:
    rows = []
    for number, row in read_jsonl(path):
        check_format(path.with_name(f"{path.name}, line {number}"), row, PredictionRow)
        if row["video_id"] not in manifest.split_of:
            raise SpectrumError(f"{path}, line {number}: video {row['video_id']!r} is not in the data set; "
                                f"{REMAKE}")
        rows.append(row)
    return rows
