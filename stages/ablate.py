"""The paper's ablation: seven rows of the captioner, several seeds each, scored on test.

    python -m stages.ablate --seeds 3
    python -m stages.ablate --seeds 3 training.epochs=10
    python -m stages.ablate --rows baseline,"no text"        # these beside the full model

Makes reports/<dataset>/ablation.json and ablation.md, the table beside the paper's own. A row and seed that is done
is kept in reports/<dataset>/ablation/; killed and started again, the rest goes on. It is no node of the graph: it
needs what stages.train needs.
"""

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console

from pipeline.ablation import rows as ablation
from pipeline.ablation.table import markdown
from pipeline.captioner.cached_dataset import Sources
from pipeline.captioner.generation.beam_search import Caption
from pipeline.captioner.training.attribute_matching import matching
from pipeline.captioner.training.trainer import Epoch
from pipeline.common.device import torch_device
from pipeline.common.errors import readable_errors
from pipeline.common.files import write_json, write_text
from pipeline.common.progress import Bar
from pipeline.datasets.manifest import Manifest
from pipeline.emotion.taxonomy import Taxonomy
from pipeline.encoders.text_encoder import text_encoder
from pipeline.metrics.evaluation import evaluate
from pipeline.params import DEFAULT, Params, load
from pipeline.params.paths import Paths
from stages.command import Overrides, ParamsFile, teach


def main(
    overrides: Overrides = None,
    count: Annotated[int, typer.Option("--seeds", min=1, help="trainings a row, from `seed` on")] = 3,
    chosen: Annotated[str, typer.Option("--rows", help="the full model and these rows alone, by commas")] = "",
    params_file: ParamsFile = DEFAULT,
) -> None:
    with readable_errors():
        params = load(overrides or [], params_file)
        paths = Paths.of(params)
        run(params, paths, range(params.seed, params.seed + count), rows_of(chosen))
        Console().print(f"{paths.reports / 'ablation.md'}: the table", soft_wrap=True)


def rows_of(chosen: str) -> list[ablation.Row]:
    """The full model and the rows named in `chosen`, in the paper's order; all of them where it names none."""
    names = {name.strip() for name in chosen.split(",") if name.strip()}
    known = [row.name for row in ablation.ROWS]
    unknown = sorted(names - set(known))
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r} is none of {', '.join(known)}", param_hint="--rows")
    return [row for row in ablation.ROWS if not names or row.name in names or row is ablation.FULL]


def run(params: Params, paths: Paths, seeds: range, rows: Sequence[ablation.Row] = ablation.ROWS) -> None:
    manifest = Manifest.load(paths.data)
    sources = Sources.open(paths)
    splits = {split: sources.present(manifest.ids(split)) for split in ("train", "validation", "test")}
    inputs = {split: sources.inputs(ids, params.captioner.modalities, params.retrieval.used)
              for split, ids in splits.items()}
    taxonomy = Taxonomy.load(params.emotion.words)
    data = ablation.Data(inputs["train"], inputs["validation"], inputs["test"], manifest.captions_of)
    match = matching(params.captioner, sources.index, lambda: text_encoder(
        params.encoders.appearance, paths.encoder, str(torch_device(params.machine.device))).encode_texts)
    epochs = params.training.all_epochs
    with Bar("ablate", epochs * len(rows) * len(seeds), "epochs") as bar:
        def log(row: str, epoch: Epoch) -> None:
            bar.advance(0, note=f"{row}: validation CFS {epoch['validation_cfs']:.3f}")

        def rerank(captions: list[Caption]) -> list[Caption]:
            return sources.agreed(captions, params.generation.consensus)

        results = ablation.train_rows(
            params.captioner, params.training, params.generation, data, taxonomy, seeds, torch_device(params.machine.device),
            paths.reports / "ablation", log, bar.advance, rerank, match, rows)
    first, *others = results
    tested = splits["test"]
    candidates = sources.candidates.select(tested)
    metrics = evaluate(
        predictions=first.captions, others={result.name: result.captions for result in others},
        references={video: manifest.captions_of[video] for video in tested},
        nearest={video: sources.index.texts[rows[0]] for video, rows in zip(tested, candidates.rows, strict=True)},
        training_captions={video: manifest.captions_of[video] for video in manifest.ids("train")},
        taxonomy=taxonomy, seed=params.seed, timeout=params.machine.scoring_timeout * len(results))
    found = {
        "dataset": params.dataset, "videos": len(tested), "seeds": list(seeds), "epochs": epochs,
        **ablation.compare(results, {first.name: metrics, **{result.name: metrics[result.name] for result in others}}),
        "reference_lines": metrics["reference_lines"], "protocols": metrics["protocols"],
        "warnings": metrics["warnings"], "captioner": params.captioner.model_dump(mode="json"),
        "training": params.training.model_dump(mode="json"), "recipes": sources.recipes,
        "untrained": sources.appearance.recipe["untrained"],
    }
    write_json(paths.reports / "ablation.json", found)
    write_text(paths.reports / "ablation.md", markdown(found))


if __name__ == "__main__":
    teach(main, __doc__)
