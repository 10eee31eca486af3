"""Evaluate: caption the test videos (and those of split predict) and score them beside the reference lines.

    python -m stages.evaluate decoding.beam=3

Makes reports/<dataset>/metrics.json and predictions.jsonl.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from pipeline.captioner import checkpoint
from pipeline.captioner.cached_dataset import Sources
from pipeline.captioner.generation import beam_search as beam
from pipeline.captioner.inputs import Inputs
from pipeline.common.device import device
from pipeline.common.files import read_json, write_json, write_jsonl
from pipeline.datasets.manifest import Manifest
from pipeline.emotion.taxonomy import Taxonomy
from pipeline.metrics.average_precision import compute_mean_average_precision
from pipeline.metrics.evaluation import CaptionedSplit, evaluate
from pipeline.params import Params
from pipeline.params.paths import Paths
from stages.command import Summary, stage


def run(params: Params, paths: Paths) -> Summary:
    manifest = Manifest.load(paths.data)
    sources = Sources.open(paths)
    tested, unscored = (sources.present(manifest.ids(split)) for split in ("test", "predict"))
    shown = [*tested, *unscored]

    started = time.monotonic()
    model, baseline = (_Captioner(folder, sources, params) for folder in (paths.captioner, paths.baseline))
    captions, plain = model.captions(shown), baseline.captions(tested)
    decoded = time.monotonic()

    candidates = sources.candidates.select(shown)
    texts = [found[: params.retrieval.used] for found in sources.candidate_texts(shown)]
    write_jsonl(paths.reports / "predictions.jsonl", (
        caption.as_json(zip(found, scores.tolist(), strict=False))
        for caption, found, scores in zip(captions, texts, candidates.scores, strict=True)))

    metrics = evaluate(CaptionedSplit(
        predictions={caption.video_id: caption.text for caption in captions[: len(tested)]},
        others={"baseline": {caption.video_id: caption.text for caption in plain}},
        references={video: manifest.captions_of[video] for video in tested},
        nearest={video: found[0] for video, found in zip(tested, texts, strict=False)},
        training_captions={video: manifest.captions_of[video] for video in manifest.ids("train")}),
        taxonomy=Taxonomy.load(params.emotion.words), seed=params.seed, timeout=params.metrics.timeout,
    )
    metrics["attributes"] = model.attributes(tested, manifest)
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


class _Captioner:
    """A trained captioner with the inputs that it reads."""

    def __init__(self, folder: Path, sources: Sources, params: Params) -> None:
        self.trained = checkpoint.load(folder, device(params.device))
        checkpoint.refuse_other_recipes(self.trained, sources.recipes)
        self.sources, self.params = sources, params

    def captions(self, videos: Sequence[str]) -> list[beam.Caption]:
        found = beam.caption(self.trained.model, self.trained.vocabulary, self.trained.attributes,
                             self._inputs(videos), self.params.decoding)
        reads_candidates = "text" in self.trained.model.section.modalities
        return self.sources.agreed(found, self.params.decoding.consensus if reads_candidates else 0.0)

    def attributes(self, videos: Sequence[str], manifest: Manifest) -> dict[str, float | None]:
        """How well VTAI finds the attributes that the references have, by their words; {} without VTAI."""
        inputs, batch = self._inputs(videos), self.params.decoding.batch
        parts = []
        with torch.inference_mode():
            for first in range(0, len(videos), batch):
                chosen = inputs.select(range(first, min(first + batch, len(videos)))).to(self.trained.model.device)
                logits = self.trained.model.encode(chosen).attribute_logits
                if logits is None:
                    return {}
                parts.append(logits.float().cpu())
        found, wanted = torch.cat(parts), self.trained.attributes.targets([manifest.captions_of[v] for v in videos])
        split = len(self.trained.attributes.universal)
        return {"universal_map": compute_mean_average_precision(found[:, :split], wanted[:, :split]),
                "emotional_map": compute_mean_average_precision(found[:, split:], wanted[:, split:])}

    def _inputs(self, videos: Sequence[str]) -> Inputs:
        return self.sources.inputs(videos, self.trained.model.section.modalities, self.params.retrieval.used)


if __name__ == "__main__":
    stage(run, "evaluate", __doc__)
