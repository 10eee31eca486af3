"""Everything that the page shows, read from the files that the other stages made."""

from pathlib import Path

from pipeline.common.files import read_jsonl
from pipeline.datasets.manifest import Manifest
from pipeline.emotion.taxonomy import Taxonomy
from pipeline.media.decoder import VideoDecoder
from pipeline.params import Params
from pipeline.params.paths import Paths
from pipeline.report import facts
from pipeline.report.film_strips import strip_maker
from pipeline.report.page import ReportData

_NOT_SHOWN = {"device", "machine", "cluster"}     # parameters of the machine, which change no result


def read_report_data(params: Params, paths: Paths, decoder: VideoDecoder) -> ReportData:
    """Raises SpectrumError naming the file where one is missing or damaged. Frames are decoded when the page asks."""
    manifest = Manifest.load(paths.data)
    (appearance, recipe), *others = (facts.read_store(folder)
                                     for folder in (paths.appearance, paths.audio, paths.motion))
    return ReportData(
        dataset=params.dataset,
        metrics=facts.read_object(paths.reports / "metrics.json"),
        predictions=[row for _, row in read_jsonl(paths.reports / "predictions.jsonl")],
        references=manifest.captions_of,
        splits=manifest.split_of,
        taxonomy=Taxonomy.load(params.emotion.words),
        thumbnails=strip_maker(decoder, {video.id: Path(video.path) for video in manifest.videos}),
        history=facts.read_curves(paths.captioner / "curves.csv"),
        facts={**facts.describe_data(manifest.counts(), facts.read_object(paths.index / "index.json")),
               **facts.describe_captioner(facts.read_object(paths.captioner / "captioner.json"))},
        stores=[appearance, *(store for store, _ in others)],
        prior_scores=facts.read_object(paths.reports / "emotion.json"),
        versions=facts.list_versions(),
        params=params.model_dump(mode="json", exclude=_NOT_SHOWN),
        encoder=facts.read_object(paths.encoder / "encoder.json"),
        recipe=recipe,
        seed=params.seed,
    )
