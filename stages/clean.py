"""Remove what the stages made for the data set of params.yaml, and nothing else.

    python -m stages.clean            # asks first
    python -m stages.clean --yes

Other data sets, the environment and DVC's cache stay. If files of yours lie among the results, nothing is removed.
"""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from pipeline.common.errors import SpectrumError, readable_errors
from pipeline.common.terminal import say
from pipeline.params import DEFAULT, load
from pipeline.params.inputs import check_inputs
from pipeline.params.paths import Paths
from pipeline.store.folder import rows_folder
from stages.command import ParamsFile, run_command

ROOMS = ("data", "models", "features", "indexes", "reports")


def main(
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
    params_file: ParamsFile = DEFAULT,
) -> None:
    with readable_errors():
        params = load([], params_file)
        check_inputs(params)
        paths = Paths.of(params)
        beside = [rows_folder(store) for store in (paths.appearance, paths.audio, paths.motion)]
        outs = [path for path in sorted({*paths.outs(), *beside}) if path.exists()]
        if not all(path.parts[0] in ROOMS for path in outs):
            raise SpectrumError(f"{params_file}: outs outside of {', '.join(ROOMS)} are not removed")
        say("\n".join(map(str, outs)) or f"nothing of data set {params.dataset!r} is there")
        if outs and (yes or typer.confirm("remove these?")):
            for path in outs:
                remove(path)


def remove(path: Path) -> None:
    """Removes a file, a folder, or a link without what it points to."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    run_command(main, __doc__)
