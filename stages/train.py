"""Train the captioner on the cached tensors, and beside it the baseline without VTAI and HCOT.

    python -m stages.train                        # both
    python -m stages.train --only captioner training.epochs=10 training.num_seeds=3

Makes models/<dataset>/{captioner,baseline}: captioner.safetensors, captioner.json, README.md (the model card) and
curves.csv. The epoch, and of several seeds the seed, of the best validation score (training.select_by) is kept. What
is killed goes on from models/<dataset>/.state, which is removed at the end.
"""

import contextlib
import csv
import shutil
from collections.abc import Sequence
from pathlib import Path

from pipeline.ablation import rows as ablation
from pipeline.captioner import card, checkpoint
from pipeline.captioner.cached_dataset import Sources
from pipeline.captioner.training import seeds
from pipeline.captioner.training import trainer as training
from pipeline.captioner.training.attribute_matching import matching
from pipeline.common.device import torch_device
from pipeline.common.files import atomic_write
from pipeline.common.progress import Bar
from pipeline.datasets.manifest import Manifest
from pipeline.emotion.taxonomy import Taxonomy
from pipeline.encoders.text_encoder import text_encoder
from pipeline.params import Params
from pipeline.params.paths import Paths
from stages.command import Summary, stage_of_parts

PARTS = ("captioner", "baseline")


def run(params: Params, paths: Paths, part: str) -> Summary:
    manifest = Manifest.load(paths.data)
    sources = Sources.open(paths)
    train, validation = (sources.present(manifest.ids(split)) for split in ("train", "validation"))
    section = params.captioner if part == "captioner" else ablation.BASELINE.of(params.captioner)
    match = matching(section, sources.index, lambda: text_encoder(
        params.encoders.appearance, paths.encoder, str(torch_device(params.machine.device))).encode_texts)
    learned = {video: manifest.captions_of[video] for video in train}
    numbers = range(params.seed, params.seed + params.training.num_seeds)
    with Bar(f"train {part}", params.training.all_epochs * len(numbers), "epochs") as bar:
        runs = [training.train(
            section, params.training, params.generation,
            sources.inputs(train, section.modalities, params.retrieval.used), learned,
            sources.inputs(validation, section.modalities, params.retrieval.used),
            {video: manifest.captions_of[video] for video in validation},
            Taxonomy.load(params.emotion.words), seed, torch_device(params.machine.device),
            log=lambda epoch: bar.advance(0, note=f"validation CFS {epoch['validation_cfs']:.3f}"), tick=bar.advance,
            state=paths.state / part / f"seed-{seed}.safetensors", match=match,
        ) for seed in numbers]
    kept = seeds.best_of(runs, params.training.select_by)
    folder = paths.captioner if part == "captioner" else paths.baseline
    parameters = sum(p.numel() for p in kept.model.parameters())
    checkpoint.save(folder, kept, training=params.training, dataset=params.dataset, taxonomy=params.emotion.words,
                    recipes=sources.recipes)
    card.write(folder, card.Seen(
        len(train), sum(map(len, learned.values())), len(validation), {one.seed: one.best for one in runs},
        bool(sources.appearance.recipe["untrained"]), parameters))
    _write_curves(folder, kept, runs)
    shutil.rmtree(paths.state / part)
    with contextlib.suppress(OSError):      # another part is under way
        paths.state.rmdir()
    return {"parameters": parameters, "vocabulary": len(kept.vocabulary), "attributes": len(kept.attributes),
            "best": kept.best, "seed": kept.seed,
            "seeds": {str(one.seed): one.best for one in runs},
            "over_seeds": {key: seeds.spread([one.best[key] for one in runs])
                           for key in ("validation_cider", "validation_cfs")},
            "left_out": sources.left_out}


def _write_curves(folder: Path, kept: training.Trained, runs: Sequence[training.Trained]) -> None:
    """curves.csv of the kept seed; of several, curves-seed-<n>.csv of each."""
    for earlier in folder.glob("curves-seed-*.csv"):
        earlier.unlink()
    of = {"curves.csv": kept}
    if len(runs) > 1:
        of |= {f"curves-seed-{one.seed}.csv": one for one in runs}
    for name, trained in of.items():
        with atomic_write(folder / name) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(trained.history[0]))
            writer.writeheader()
            writer.writerows(trained.history)


if __name__ == "__main__":
    stage_of_parts(run, "train", __doc__, PARTS)
