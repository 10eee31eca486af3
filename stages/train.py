"""Train the captioner on the cached tensors, and beside it the baseline without VTAI and HCOT.

    python -m stages.train                        # both
    python -m stages.train --only captioner training.epochs=10 seed=1

Makes models/<dataset>/{captioner,baseline}: captioner.safetensors, captioner.json and curves.csv. The epoch of
the best validation CFS is kept.
"""

import csv

from pipeline.captioner import checkpoint, training
from pipeline.captioner.sources import Sources
from pipeline.device import device
from pipeline.emotion.taxonomy import Taxonomy
from pipeline.files import published
from pipeline.manifest import Manifest
from pipeline.params import Params
from pipeline.paths import Paths
from pipeline.progress import Bar
from stages.command import Summary, stage_of_parts

PARTS = ("captioner", "baseline")


def run(params: Params, paths: Paths, part: str) -> Summary:
    manifest = Manifest.load(paths.data)
    sources = Sources.open(paths)
    train, validation = (sources.present(manifest.ids(split)) for split in ("train", "validation"))
    off = {} if part == "captioner" else {"vtai": False, "cfb": False, "aeb": False}
    section = params.captioner.model_copy(update=off)
    with Bar(f"train {part}", params.training.epochs, "epochs") as bar:
        trained = training.train(
            section, params.training, params.decoding,
            sources.inputs(train, section.modalities, params.retrieval.used),
            {video: manifest.captions_of[video] for video in train},
            sources.inputs(validation, section.modalities, params.retrieval.used),
            {video: manifest.captions_of[video] for video in validation},
            Taxonomy.load(params.emotion.words), params.seed, device(params.device),
            log=lambda epoch: bar.advance(1, f"validation CFS {epoch['validation_cfs']:.3f}"),
        )
    folder = paths.captioner if part == "captioner" else paths.baseline
    checkpoint.save(folder, trained, training=params.training, dataset=params.dataset, taxonomy=params.emotion.words,
                    recipes=sources.recipes, seed=params.seed)
    with published(folder / "curves.csv") as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(trained.history[0]))
        writer.writeheader()
        writer.writerows(trained.history)
    return {"parameters": sum(p.numel() for p in trained.model.parameters()), "vocabulary": len(trained.vocabulary),
            "attributes": len(trained.attributes), "best": trained.best, "left_out": sources.left_out}


if __name__ == "__main__":
    stage_of_parts(run, "train", __doc__, PARTS)
