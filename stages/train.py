"""Train the captioner on the cached tensors, and beside it the baseline without VTAI and HCOT.

    python -m stages.train                        # both
    python -m stages.train --only captioner training.epochs=10 seed=1

Makes models/<dataset>/{captioner,baseline}: captioner.safetensors, captioner.json and curves.csv. The epoch of
the best validation CIDEr is kept.
"""

import csv
from dataclasses import asdict

from pipeline.captioner import checkpoint, training
from pipeline.captioner.sources import Sources
from pipeline.device import device
from pipeline.emotion.taxonomy import Taxonomy
from pipeline.files import published
from pipeline.manifest import Manifest
from pipeline.params import Params
from pipeline.paths import Paths
from stages.command import Summary, stage_of_parts

PARTS = ("captioner", "baseline")


def run(params: Params, paths: Paths, part: str) -> Summary:
    manifest = Manifest.load(paths.data)
    sources = Sources.open(paths)
    train, validation = (sources.present(manifest.ids(split)) for split in ("train", "validation"))
    off = {} if part == "captioner" else {"vtai": False, "cfb": False, "aeb": False}
    section = params.captioner.model_copy(update=off)
    trained = training.train(
        section, params.training, params.decoding,
        train_inputs=sources.inputs(train, section.modalities, params.retrieval.used),
        train_captions={video: manifest.captions_of[video] for video in train},
        validation_inputs=sources.inputs(validation, section.modalities, params.retrieval.used),
        validation_references={video: manifest.captions_of[video] for video in validation},
        taxonomy=Taxonomy.load(params.emotion.words), seed=params.seed, device=device(params.device),
    )
    folder = paths.captioner if part == "captioner" else paths.baseline
    checkpoint.save(folder, trained, recipes=sources.recipes, dataset=params.dataset)
    with published(folder / "curves.csv") as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(trained.history[0]))
        writer.writeheader()
        writer.writerows(trained.history)
    return {"parameters": trained.parameters, "best": trained.best, "left_out": sources.left_out,
            "section": asdict(section) if not hasattr(section, "model_dump") else section.model_dump()}


if __name__ == "__main__":
    stage_of_parts(run, "train", __doc__, PARTS)
