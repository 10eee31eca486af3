"""Open the studio, a web app on this machine: drop clips to caption them, and browse the captions of a data set.

    python -m stages.studio                              # this project's captioner and baseline
    python -m stages.studio --checkpoint my-model --checkpoint org/name     # folders of stages.model, or a hub's
    python -m stages.studio --port 8000 --no-browser

It only listens on 127.0.0.1, at a free port, and opens the browser. A clip is deleted as soon as it is captioned.
Ctrl-C ends the studio.
"""

import webbrowser
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.common.errors import SpectrumError, readable_errors
from pipeline.params import DEFAULT, Params, load
from pipeline.params.paths import Paths
from stages.command import Overrides, ParamsFile, run_command

if TYPE_CHECKING:
    from pipeline.studio.session import Model

Found = tuple[str, Params, Paths]       # a captioner's name, its parameters, and where its files are
_NEEDED = ("starlette", "uvicorn")


def main(
    overrides: Overrides = None,
    checkpoints: Annotated[list[str] | None, typer.Option(
        "--checkpoint", metavar="FOLDER",
        help="a checkpoint of this project, a folder of stages.model, a hub's org/name; several are compared")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one")] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="open the browser")] = True,
    megabytes: Annotated[int, typer.Option("--limit", min=1, metavar="MB", help="of a clip")] = 500,
    seconds: Annotated[float, typer.Option(min=1, help="that decoding a clip may take")] = 60,
    params_file: ParamsFile = DEFAULT,
) -> None:
    with readable_errors():
        if missing := [name for name in _NEEDED if find_spec(name) is None]:
            raise SpectrumError(f"the studio needs {' and '.join(missing)}, which is not installed; run "
                                "`pip install starlette uvicorn`, or install this package with its extra [studio]")
        given = [*(overrides or []), f"machine.decoding_timeout={seconds}"]
        # Folders of stages.model bring their own parameters: they need no project.
        params = load(given, params_file) if params_file.is_file() or not checkpoints else None

        from pipeline.studio.browsing import Predictions
        from pipeline.studio.server import serve
        from pipeline.studio.session import Session

        session = Session(_open(_find(checkpoints or [], given, params_file) or _own(params)))
        predictions = Predictions.read(params, Paths.of(params)) if params else None
        try:
            with suppress(KeyboardInterrupt):       # Ctrl-C is how it ends
                serve(session, predictions, megabytes, port, lambda address: _announce(address, browser))
        except OSError as error:
            raise SpectrumError(f"port {port}: it cannot be listened on ({error.strerror}); choose another with "
                                "--port, or none for a free one") from None
        finally:
            session.close()


def _find(checkpoints: Sequence[str], overrides: Sequence[str], params_file: Path) -> list[Found]:
    from pipeline.sharing.locating import locate

    return [(Path(name).name if Path(name).exists() else name, *locate(name, overrides, params_file))
            for name in checkpoints]


def _own(params: Params | None) -> list[Found]:
    """The graph's captioner, and beside it the baseline where there is one."""
    if params is None:
        return []
    paths = Paths.of(params)
    others = [replace(paths, captioner=paths.baseline)] if paths.baseline.is_dir() else []
    return [(own.captioner.name, params, own) for own in (paths, *others)]


def _open(found: Sequence[Found]) -> list["Model"]:
    from pipeline.captioning.loading import open_captioner
    from pipeline.studio.session import Model

    return [Model(name, open_captioner(params, paths)) for name, params, paths in found]


def _announce(address: str, browser: bool) -> None:
    print(f"The studio is at {address}\nCtrl-C ends it.", flush=True)
    if browser:
        webbrowser.open(address)


if __name__ == "__main__":
    run_command(main, __doc__)
