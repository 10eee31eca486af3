"""Train and score the ablation: the paper's seven variants of the captioner (rows) and one more, several seeds each.

    python -m stages.ablate --seeds 3
    python -m stages.ablate --seeds 3 training.epochs=10
    python -m stages.ablate --rows baseline,"no text"        # only these, and the full model

Makes reports/<dataset>/ablation.json, and ablation.html and ablation.md: a table of the scores on test, beside those
of the paper. Finished rows are kept in reports/<dataset>/ablation/. If it is killed, run it again: it goes on from
there. `dvc repro` does not run it. It reads the same files as stages.train.
"""

from collections.abc import Sequence
from typing import Annotated

import typer

from pipeline.ablation.rows import FULL, PAPER_SET, ROWS, SCORES, Row
from pipeline.common.errors import readable_errors
from pipeline.common.terminal import say
from pipeline.params import DEFAULT, Params, load
from pipeline.params.paths import Paths
from stages.command import Overrides, ParamsFile, run_command


def main(
    overrides: Overrides = None,
    count: Annotated[int, typer.Option("--seeds", min=1, help="trainings of each row, from `seed` on")] = 3,
    chosen: Annotated[str, typer.Option(
        "--rows", help="only these rows, separated by commas, and the full model")] = "",
    params_file: ParamsFile = DEFAULT,
) -> None:
    with readable_errors():
        params = load(overrides or [], params_file)
        paths = Paths.of(params)
        run(params, paths, range(params.seed, params.seed + count), rows_of(chosen))
        say(f"{paths.reports / 'ablation.html'}: the page; ablation.md beside it: the table")


def rows_of(chosen: str) -> list[Row]:
    """The full model and the rows named in `chosen`, in the paper's order; all of them where it names none."""
    names = {name.strip() for name in chosen.split(",") if name.strip()}
    known = [row.name for row in ROWS]
    unknown = sorted(names - set(known))
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r} is none of {', '.join(known)}", param_hint="--rows")
    return [row for row in ROWS if not names or row.name in names or row is FULL]


def run(params: Params, paths: Paths, seeds: range, rows: Sequence[Row] = ROWS) -> None:
    from pipeline.ablation.comparison import compare, without_rerankers
    from pipeline.ablation.run import RowListeners, train_rows
    from pipeline.ablation.table import markdown
    from pipeline.ablation.work import AblationWork
    from pipeline.common.files import write_json, write_text
    from pipeline.common.progress import Bar
    from pipeline.emotion.taxonomy import Taxonomy
    from pipeline.metrics.evaluation import CaptionedSplit, evaluate
    from pipeline.report.ablation_page import render
    from pipeline.workers.engine import open_engine

    work = AblationWork(params)
    manifest, dataset, tested, epochs = work.manifest, work.dataset, work.tested, params.training.all_epochs
    with (open_engine(params.cluster) as engine,
          Bar("ablate", epochs * len(rows) * len(seeds), "epochs") as bar):
        listeners = RowListeners(
            lambda row, epoch: bar.advance(0, note=f"{row}: validation CFS {epoch['validation_cfs']:.3f}"), bar.advance)
        results = train_rows(engine.begin(work), paths.reports / "ablation", seeds, epochs, rows, listeners)
    taxonomy = Taxonomy.load(params.emotion.words)
    first = results[0]
    captions_of = {result.name: result.captions for result in results}
    captions_of |= {without_rerankers(result.name): result.likeliest for result in results}
    others = {name: captions for name, captions in captions_of.items() if name != first.name}
    evaluation = evaluate(CaptionedSplit(
        predictions=first.captions, others=others,
        references={video: manifest.captions_of[video] for video in tested},
        retrieved=dataset.reference_captions(tested),
        training_captions={video: manifest.captions_of[video] for video in manifest.ids("train")}),
        taxonomy=taxonomy, seed=params.seed, timeout=params.machine.scoring_timeout * len(captions_of))
    metrics = evaluation.metrics
    comparison = {
        "dataset": params.dataset, "videos": len(tested), "seeds": list(seeds), "epochs": epochs,
        **compare(results, {first.name: metrics, **{name: metrics[name] for name in others}},
                  {first.name: evaluation.of_videos["model"], **evaluation.of_videos}, params.seed),
        "reference_lines": metrics["reference_lines"], "protocols": metrics["protocols"],
        "warnings": metrics["warnings"], "captioner": params.captioner.model_dump(mode="json"),
        "training": params.training.model_dump(mode="json"), "recipes": dataset.recipes,
        "untrained": dataset.appearance.recipe["untrained"],
    }
    write_json(paths.reports / "ablation.json", comparison)
    write_text(paths.reports / "ablation.md", markdown(comparison))
    write_text(paths.reports / "ablation.html", render(comparison, tuple(SCORES), PAPER_SET))


if __name__ == "__main__":
    run_command(main, __doc__)
