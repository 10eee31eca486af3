"""Report: one page to look at, made of all that the other stages left.

    python -m stages.report

Makes reports/<dataset>/index.html: scores beside the reference lines, curves, and captioned videos with
their frames, emotions, attributes and candidates. It is one file that needs no network.
"""

import csv
import io
from pathlib import Path

from PIL import Image

from pipeline.common.files import read_json, read_jsonl, write_text
from pipeline.datasets.manifest import Manifest
from pipeline.emotion.taxonomy import Taxonomy
from pipeline.media.decoder import MediaError, VideoDecoder
from pipeline.media.sampling import Uniform
from pipeline.params import Params
from pipeline.params.paths import Paths
from pipeline.report.page import ReportData, render
from pipeline.store.feature_store import FeatureStore
from stages.command import Summary, stage

STRIP = 4       # frames of a video that the page shows
HEIGHT = 128    # pixels
ORDER = ("prepare", "encoder", "extract-appearance", "extract-audio", "extract-motion", "index", "retrieve", "emotion",
         "train-captioner", "train-baseline", "evaluate")


def run(params: Params, paths: Paths) -> Summary:
    manifest = Manifest.load(paths.data)
    taxonomy = Taxonomy.load(params.emotion.words)
    path_of = {video.id: Path(video.path) for video in manifest.videos}
    with (paths.captioner / "curves.csv").open(newline="") as file:
        history = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    with VideoDecoder(params.extraction.timeout, params.extraction.backend) as decoder:
        page = render(ReportData(
            dataset=params.dataset,
            metrics=read_json(paths.reports / "metrics.json"),
            predictions=[row for _, row in read_jsonl(paths.reports / "predictions.jsonl")],
            references=manifest.captions_of,
            splits=manifest.split_of,
            emotion_words={word: taxonomy.categories_of(word) for word in taxonomy.words},
            thumbnails=lambda video: strip(decoder, path_of[video]),
            history=history,
            stages={name: read_json(paths.reports / "stages" / f"{name}.json") for name in ORDER},
            params=params.model_dump(mode="json"),
            encoder=FeatureStore.open(paths.appearance).recipe,
            seed=params.seed,
        ))
    write_text(paths.reports / "index.html", page)
    return {"bytes": len(page.encode())}


def strip(decoder: VideoDecoder, path: Path) -> list[bytes]:
    """A few frames as JPEG; none where the file cannot be read any more: the page shows its caption all the same."""
    pictures = []
    try:
        for _, frame in decoder.frames(path, Uniform(STRIP)):
            picture = Image.fromarray(frame)
            picture.thumbnail((4 * HEIGHT, HEIGHT))
            buffer = io.BytesIO()
            picture.save(buffer, "JPEG", quality=80)
            pictures.append(buffer.getvalue())
    except MediaError:
        return []
    return pictures


if __name__ == "__main__":
    stage(run, "report", __doc__)
