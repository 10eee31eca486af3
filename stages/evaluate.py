"""Evaluate: caption the test videos (and those of split predict) and score them beside the reference lines.

    python -m stages.evaluate decoding.beam=3

Makes reports/<dataset>/metrics.json and predictions.jsonl.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pipeline.captioner import beam, checkpoint
from pipeline.captioner.sources import Sources
from pipeline.device import device
from pipeline.emotion.taxonomy import Taxonomy
from pipeline.files import read_json, write_json, write_jsonl
from pipeline.manifest import Manifest
from pipeline.metrics.evaluation import evaluate
from pipeline.params import Params
from pipeline.paths import Paths
from stages.command import Summary, stage


def run(params: Params, paths: Paths) -> Summary:
    manifest = Manifest.load(paths.data)
    sources = Sources.open(paths)
    tested, unscored = (sources.present(manifest.ids(split)) for split in ("test", "predict"))
    shown = [*tested, *unscored]

    started = time.monotonic()
    captions = captions_of(paths.captioner, sources, shown, params)
    baseline = captions_of(paths.baseline, sources, shown, params)
    decoded = time.monotonic()

    candidates = sources.candidates.select(shown)
    texts = [[sources.index.texts[row] for row in rows] for rows in candidates.rows[:, : params.retrieval.used]]
    write_jsonl(paths.reports / "predictions.jsonl", (
        caption.as_json() | {"candidates": [{"text": text, "score": round(float(score), 4)}
                                            for text, score in zip(found, scores, strict=False)]}
        for caption, found, scores in zip(captions, texts, candidates.scores, strict=True)))

    metrics = evaluate(
        predictions={caption.video_id: caption.text for caption in captions[: len(tested)]},
        others={"baseline": {caption.video_id: caption.text for caption in baseline[: len(tested)]}},
        references={video: manifest.captions_of[video] for video in tested},
        nearest={video: found[0] for video, found in zip(tested, texts, strict=False)},
        training_captions={video: manifest.captions_of[video] for video in manifest.ids("train")},
        taxonomy=Taxonomy.load(params.emotion.words), seed=params.seed, timeout=params.metrics.timeout,
    )
    metrics["retrieval"] = read_json(paths.retrieval)
    metrics["untrained"] = sources.appearance.recipe["untrained"]
    write_json(paths.reports / "metrics.json", metrics)
    Console(width=100).print(table(metrics))
    return {"scored": len(tested), "unscored": len(unscored), "left_out": sources.left_out,
            "seconds": {"caption": round(decoded - started, 2), "score": round(time.monotonic() - decoded, 2)}}


def table(metrics: dict[str, Any]) -> Table:
    """The model beside the baseline and the reference lines, as a terminal shows it."""
    found = Table("x 100", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr", "CFS", "balanced emotion accuracy",
                  title=f"{metrics['videos']} test videos, coco protocol")
    for name, block in {"model": metrics, "baseline": metrics["baseline"], **metrics["reference_lines"]}.items():
        scores = [block["coco"][key] for key in ("Bleu_4", "METEOR", "ROUGE_L", "CIDEr")]
        scores += [block["emotion"][key] for key in ("cfs", "balanced_accuracy")]
        found.add_row(name.replace("_", " "), *("-" if score is None else f"{100 * score:.1f}" for score in scores))
    return found


def captions_of(folder: Path, sources: Sources, videos: Sequence[str], params: Params) -> list[beam.Caption]:
    loaded = checkpoint.load(folder, device(params.device))
    checkpoint.refuse_other_recipes(loaded, sources.recipes)
    inputs = sources.inputs(videos, loaded.model.section.modalities, params.retrieval.used)
    return beam.caption(loaded.model, loaded.vocabulary, loaded.attributes, inputs, params.decoding)


if __name__ == "__main__":
    stage(run, "evaluate", __doc__)
