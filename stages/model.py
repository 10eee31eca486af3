"""Put a trained captioner and all that it needs into one folder, or push this folder to a model hub.

    python -m stages.model export my-model                       # the captioner of this project
    python -m stages.model export my-model --checkpoint models/sample/baseline
    python -m stages.model push my-model org/name                # private, unless --public
"""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.common.errors import readable_errors
from pipeline.common.terminal import say
from pipeline.params import DEFAULT, load
from pipeline.params.paths import Paths
from stages.command import Overrides, ParamsFile

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None,
                  help="\b\n" + __doc__.replace("\n\n", "\n\n\b\n"))


@app.command("export")
def export_command(
    folder: Annotated[Path, typer.Argument(help="the folder to make")],
    overrides: Overrides = None,
    source: Annotated[Path | None, typer.Option(
        "--checkpoint", metavar="FOLDER", help="the captioner; without it, models/<dataset>/captioner")] = None,
    params_file: ParamsFile = DEFAULT,
) -> None:
    """Make a folder with encoder, caption index, prior, captioner, parameters and model card, and load it once."""
    with readable_errors():
        params = load(overrides or [], params_file)
        from pipeline.sharing.model_folder import export

        export(params, Paths.of(params), folder, source)
        megabytes = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
        say(f"{folder}: {megabytes:.0f} MB; `python -m stages.model push {folder} org/name` shares it")


@app.command("push")
def push_command(
    folder: Annotated[Path, typer.Argument(help="a folder that export made")],
    repository: Annotated[str, typer.Argument(metavar="ORG/NAME", help="the hub's repository; made if it is missing")],
    public: Annotated[bool, typer.Option("--public", help="let everybody see a new repository")] = False,
) -> None:
    """Put the folder on the model hub. Log in first: `hf auth login`."""
    with readable_errors():
        from pipeline.sharing.model_folder import push

        say(f"{push(folder, repository, public)}: {folder} is there")


if __name__ == "__main__":
    app()
