"""Write the values of a preset into params.yaml: `python -m pipeline.params PRESET [key=value …]`."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.common.errors import readable_errors
from pipeline.params import DEFAULT, apply
from pipeline.params.shipped import find_preset


def main(
    preset: Annotated[Path, typer.Argument(help="a file such as presets/care.yaml, or a preset's name: care")],
    overrides: Annotated[list[str] | None, typer.Argument(
        metavar="[KEY=VALUE]...", help="more parameters to change, e.g. seed=1")] = None,
    params_file: Annotated[Path, typer.Option("--params", help="the file of parameters to change")] = DEFAULT,
) -> None:
    """Write the values of a preset into params.yaml. `git diff params.yaml` shows what changed; the preset `sample`
    brings the sample data set back."""
    with readable_errors():
        params = apply(find_preset(preset), overrides or [], params_file)
        print(f"{params_file}: now data set {params.dataset!r}; run it with `dvc repro` or `dvc exp run`")


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(main)
    app()
