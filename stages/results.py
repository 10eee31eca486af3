"""Show where the page of the last run is, its scores, and what to try next.

    python -m stages.results
"""

from pipeline.common.errors import readable_errors
from pipeline.common.terminal import say
from pipeline.params import DEFAULT, Params, load
from pipeline.params.paths import Paths
from stages.command import ParamsFile, run_command

SHOWN = ("CIDEr", "BLEU_4", "METEOR", "CFS", "Acc_sw", "macro_F1")


def main(params_file: ParamsFile = DEFAULT) -> None:
    with readable_errors():
        params = load([], params_file)
        say("\n".join(lines(params, Paths.of(params))))


def lines(params: Params, paths: Paths) -> list[str]:
    """Raises SpectrumError where nothing was evaluated yet."""
    from pipeline.common.files import read_json

    scores = read_json(paths.reports / "scores.json")
    shown = ", ".join(f"{name} {100 * scores[name]:.1f}" for name in SHOWN if name in scores)
    return [f"The page: {paths.reports / 'index.html'} (open it in a browser)",
            f"Scores of the test videos of {params.dataset!r}: {shown or 'none'}",
            "Try next: spectrum caption holiday.mp4                    a clip of your own",
            "          spectrum new mine --videos clips --captions captions.csv    your own data set",
            "          dvc exp run -S seed=1 && dvc metrics diff        another run, compared"]


if __name__ == "__main__":
    run_command(main, __doc__)
