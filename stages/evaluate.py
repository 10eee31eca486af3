"""Caption the test videos (and those of the split predict), and score the captions beside reference lines.

    python -m stages.evaluate generation.num_beams=3

Reference lines are the scores of captions that need no captioner: retrieved ones, a constant word, those of people.
Makes reports/<dataset>/metrics.json, scores.json (ten of its numbers, for `dvc metrics show`) and predictions.jsonl.
"""

import time
from collections.abc import Callable
from typing import Any

from pipeline.params import Params
from pipeline.params.paths import Paths
from stages.command import Summary, stage


def run(params: Params, paths: Paths) -> Summary:
    from rich.console import Console

    from pipeline.common.progress import Steps
    from pipeline.common.terminal import for_people, warn
    from pipeline.metrics.score_table import score_table

    with Steps("evaluate", 3) as steps:
        metrics, summary = _evaluate(params, paths, steps.begin)
    if for_people():
        Console(width=100).print(score_table(metrics))
    for warning in metrics["warnings"]:
        warn(f"warning: {warning}")
    return summary


def _evaluate(params: Params, paths: Paths, begin: Callable[[str], None]) -> tuple[dict[str, Any], Summary]:
    """What metrics.json holds, and the summary."""
    from pipeline.captioner import checkpoint
    from pipeline.captioner.attribute_scores import attribute_precision
    from pipeline.captioner.cached_dataset import CachedDataset
    from pipeline.captioner.generation.attention import read_attention
    from pipeline.captioner.generation.generator import CaptionGenerator
    from pipeline.common.device import torch_device
    from pipeline.common.files import json_text, read_json, sha256, write_json, write_jsonl, write_text
    from pipeline.datasets.manifest import Manifest
    from pipeline.emotion.taxonomy import Taxonomy
    from pipeline.metrics.evaluation import CaptionedSplit, evaluate
    from pipeline.metrics.headline_scores import headline_scores

    manifest, dataset = Manifest.load(paths.data), CachedDataset.open(paths, params.machine.resident_megabytes)
    tested, unscored = (dataset.present(manifest.ids(split)) for split in ("test", "predict"))
    videos = [*tested, *unscored]
    device, used = torch_device(params.machine.device), params.retrieval.used
    candidate_texts = dataset.candidate_texts(videos)
    begin("captions")
    started = time.monotonic()
    model, baseline = (checkpoint.load(folder, device) for folder in (paths.captioner, paths.baseline))
    captions_of, inputs_of = {}, {}
    for trained, ids in ((model, videos), (baseline, tested)):
        checkpoint.refuse_other_recipes(trained, dataset.recipes)
        generator = CaptionGenerator(trained.model, trained.vocabulary, trained.attributes, params.generation,
                                     lambda: dataset.consensus)
        inputs = dataset.inputs(ids, trained.model.section.modalities, used)
        inputs_of[trained.folder] = inputs
        captions_of[trained.folder] = generator.generate(inputs, candidate_texts[:len(ids)])
    captions, baseline_captions = (captions_of[folder] for folder in (paths.captioner, paths.baseline))
    others = {
        "baseline": {caption.video_id: caption.text for caption in baseline_captions},
        "without_rerankers": {caption.video_id: caption.likeliest for caption in captions[:len(tested)]},
        "baseline_without_rerankers": {caption.video_id: caption.likeliest for caption in baseline_captions}}
    if params.generation.candidates:
        others["without_candidates"] = {caption.video_id: caption.generated for caption in captions[:len(tested)]}
    generated = time.monotonic()
    begin("scores")

    taxonomy, references = Taxonomy.load(params.emotion.words), {video: manifest.captions_of[video] for video in tested}
    evaluation = evaluate(CaptionedSplit(
        predictions={caption.video_id: caption.text for caption in captions[: len(tested)]},
        others=others, references=references, retrieved=dataset.reference_captions(tested),
        training_captions={video: manifest.captions_of[video] for video in manifest.ids("train")}),
        taxonomy=taxonomy, seed=params.seed, timeout=params.machine.scoring_timeout,
    )
    begin("files")
    metrics = evaluation.metrics
    scores_of = evaluation.of_videos["model"].by_video(sorted(tested))
    similarities = dataset.candidates.select(videos).scores
    predictions = paths.reports / "predictions.jsonl"
    priors, _ = dataset.priors(videos, model.model.section.modalities)
    attention = read_attention(model.model, model.vocabulary, inputs_of[model.folder],
                               [caption.text for caption in captions], params.generation.batch_size)
    write_jsonl(predictions, (
        caption.as_json(zip(texts[:used], own.tolist(), strict=False)) | scores_of.get(caption.video_id, {})
        | {"prior": {name: round(p, 4) for name, p in zip(taxonomy.categories, prior.tolist(), strict=True)},
           "attention": looks.as_json(dataset.row_times(caption.video_id))}
        | {name: others[name][caption.video_id] for name in ("baseline",) if caption.video_id in others[name]}
        for caption, texts, own, prior, looks in zip(captions, candidate_texts, similarities, priors, attention,
                                                     strict=True)))
    metrics["attributes"] = attribute_precision(
        model, inputs_of[model.folder].first(len(tested)), list(references.values()),
        params.generation.batch_size)
    metrics["retrieval"] = read_json(paths.retrieval)
    metrics["predictions_sha256"] = sha256(predictions)      # the two belong together
    metrics["untrained"] = dataset.appearance.recipe["untrained"]
    write_json(paths.reports / "metrics.json", metrics)
    scores = headline_scores(metrics)
    # Without a checksum: every entry of it is a column of `dvc metrics show`.
    write_text(paths.reports / "scores.json", json_text(scores, indent=2) + "\n")
    return metrics, {"scores": scores, "scored": len(tested), "unscored": len(unscored), "left_out": dataset.left_out,
            "warnings": metrics["warnings"],
            "seconds": {"caption": round(generated - started, 2), "score": round(time.monotonic() - generated, 2)}}


def describe(summary: Summary) -> str:
    scores = ", ".join(f"{name} {100 * summary['scores'][name]:.1f}" for name in ("CIDEr", "CFS")
                       if name in summary["scores"])
    return f"captioned {summary['scored'] + summary['unscored']:,} videos in {summary['seconds']['caption']} s" + (
        f": {scores}" if scores else "")


if __name__ == "__main__":
    stage(run, "evaluate", __doc__, describe)
