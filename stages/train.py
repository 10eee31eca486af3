"""Train the captioner on the features, and the baseline: the same without VTAI and HCOT (no attributes, no theme).

    python -m stages.train                        # both
    python -m stages.train --only captioner training.epochs=10 training.num_seeds=3

Makes models/<dataset>/{captioner,baseline}: captioner.safetensors, captioner.json, README.md (the model card),
curves.csv and training_domain.h5 (to tell which clips are unlike the training clips). The epoch with the best
validation score (training.select_by) is kept; of several seeds, the best one. If a training is killed, run it again: it
goes on from models/<dataset>/.state, which is removed at the end.
"""

import contextlib
import shutil
from dataclasses import replace

from pipeline.params import Params
from pipeline.params.paths import Paths
from stages.command import Summary, stage_of_parts

PARTS = ("captioner", "baseline")


def run(params: Params, paths: Paths, part: str) -> Summary:
    from pipeline.ablation.rows import BASELINE
    from pipeline.captioner import card, checkpoint
    from pipeline.captioner.cached_dataset import CachedDataset
    from pipeline.captioner.training import seeds
    from pipeline.captioner.training.curves import write_curves
    from pipeline.captioner.training.settings import Listeners, TrainingSettings
    from pipeline.captioner.training.trainer import train
    from pipeline.captioner.training_domain import TrainedOn, TrainingDomain
    from pipeline.common.device import torch_device
    from pipeline.common.errors import readable_write_errors
    from pipeline.common.progress import Bar
    from pipeline.datasets.manifest import Manifest

    manifest, dataset = Manifest.load(paths.data), CachedDataset.open(paths, params.machine.resident_megabytes)
    device = torch_device(params.machine.device)
    section = params.captioner if part == "captioner" else BASELINE.of(params.captioner)
    settings = replace(TrainingSettings.of(params, paths, dataset, device), captioner=section)
    training, validation = (dataset.split(manifest, name, section.modalities, params.retrieval.used)
                            for name in ("train", "validation"))
    numbers = range(params.seed, params.seed + params.training.num_seeds)
    with Bar(f"train {part}", params.training.all_epochs * len(numbers), "epochs") as bar:
        listeners = Listeners(
            lambda epoch: bar.advance(0, note=f"validation CFS {epoch['validation_cfs']:.3f}"), bar.advance)
        runs = [train(training, validation, settings, seed, device,
                      paths.state / part / f"seed-{seed}.safetensors", listeners) for seed in numbers]
    kept = seeds.best_of(runs, params.training.select_by)
    folder = paths.captioner if part == "captioner" else paths.baseline
    parameters = sum(p.numel() for p in kept.model.parameters())
    write_curves(folder, kept, runs)
    checkpoint.save(folder, kept, training=params.training, dataset=params.dataset, taxonomy=params.emotion.words,
                    recipes=dataset.recipes)
    captions = sum(map(len, training.captions))
    TrainingDomain.fit(dataset.appearance, training.inputs.ids, validation.inputs.ids,
                       TrainedOn(params.dataset, len(training.captions), captions)).write(folder)
    card.write(folder, card.TrainingFacts(
        len(training.captions), captions, len(validation.captions),
        {trained.seed: trained.best for trained in runs}, bool(dataset.appearance.recipe["untrained"]), parameters))
    with readable_write_errors(paths.state):
        shutil.rmtree(paths.state / part)
    with contextlib.suppress(OSError):      # another part is being trained
        paths.state.rmdir()
    return {"parameters": parameters, "vocabulary": len(kept.vocabulary), "attributes": len(kept.attributes),
            "best": kept.best, "seed": kept.seed,
            "seeds": {str(trained.seed): trained.best for trained in runs},
            "over_seeds": {key: seeds.spread([trained.best[key] for trained in runs])
                           for key in ("validation_cider", "validation_cfs")},
            "left_out": dataset.left_out, "feature_megabytes": dataset.budget.summary()}


def describe(summary: Summary) -> str:
    best = summary["best"]
    return (f"trained {summary['parameters']:,} parameters; kept epoch {best['epoch']} of seed {summary['seed']}: "
            f"validation CIDEr {100 * best['validation_cider']:.1f}, CFS {100 * best['validation_cfs']:.1f}")


if __name__ == "__main__":
    stage_of_parts(run, "train", __doc__, describe, PARTS)
