"""A trained captioner as one folder that needs no other: make it, or push it to a model hub.

    python -m stages.model export my-model                       # the graph's captioner, with all that it needs
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
        "--checkpoint", metavar="FOLDER", help="the captioner; without it, the graph's own")] = None,
    params_file: ParamsFile = DEFAULT,
) -> None:
    """Makes a folder of encoder, caption index, prior, captioner, parameters and card, and loads it once."""
    with readable_errors():
        params = load(overrides or [], params_file)
        from pipeline.sharing.model_folder import export

        export(params, Paths.of(params), folder, source)
        megabytes = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
        say(f"{folder}: {megabytes:.0f} MB; `python -m stages.model push {folder} org/name` shares it")


@app.command("push")
def push_command(
    folder: Annotated[Path, typer.Argument(help="a folder that export made")],
    repository: Annotated[str, typer.Argument(metavar="ORG/NAME", help="the hub's repository, made if needed")],
    public: Annotated[bool, typer.Option("--public", help="a new repository is for everybody to see")] = False,
) -> None:
    """Puts the folder on the model hub that huggingface_hub is logged in to."""
    with readable_errors():
        from pipeline.sharing.model_folder import push

        say(f"{push(folder, repository, public)}: {folder} is there")


if __name__ == "__main__":
    app()
