"""The command line that every stage has: `python -m stages.<name> [key=value …]`.

A stage's module imports what --help and a refused argument need; `run` imports the rest, which takes seconds.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.common.errors import readable_errors
from pipeline.common.files import write_json
from pipeline.params import DEFAULT, Params, load
from pipeline.params.files import differences
from pipeline.params.inputs import check_inputs
from pipeline.params.paths import Paths
from stages.project_code import check_code

Summary = dict[str, Any]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="parameters to change for this run, e.g. seed=1")
]
ParamsFile = Annotated[Path, typer.Option("--params", help="the file of parameters")]
Only = Annotated[str, typer.Option("--only", help="one part of the stage; without it, every part")]

_VERSIONS = ("torch", "open_clip_torch", "h5py", "av", "numpy")


def stage(run: Callable[[Params, Paths], Summary], name: str, help_text: str | None) -> None:
    """Runs a stage from the command line and writes what it did to `reports/<dataset>/stages/<name>.json`.

    `run` writes the stage's outs and returns a summary (counts, seconds per part), which is no out: it differs from
    run to run. `help_text` is the module's docstring. Exit status: 0 the outs are whole, 1 a SpectrumError, 2 usage.
    """

    def main(overrides: Overrides = None, params_file: ParamsFile = DEFAULT) -> None:
        with readable_errors():
            _run(run, name, load_with_notice(overrides or [], params_file, name))

    run_command(main, help_text)


def stage_of_parts(run: Callable[..., Summary], name: str, help_text: str | None, parts: Sequence[str]) -> None:
    """Like `stage`, for one that is several nodes of the graph: `--only PART` runs one, `run(…, part=PART)`."""

    def main(overrides: Overrides = None, only: Only = "", params_file: ParamsFile = DEFAULT) -> None:
        with readable_errors():
            if only and only not in parts:
                raise typer.BadParameter(f"{only!r} is none of {', '.join(parts)}", param_hint="--only")
            params = load_with_notice(overrides or [], params_file, name)
            for part in [only] if only else parts:
                _run(partial(run, part=part), f"{name}-{part}", params)

    run_command(main, help_text)


def load_with_notice(overrides: Sequence[str], params_file: Path, name: str) -> Params:
    """The parameters; where overrides change results, a note says so and how to bring the graph's own back."""
    params = load(overrides, params_file)
    check_inputs(params)
    own = load([], params_file) if overrides else params
    if params.dataset == own.dataset and (changed := differences(params, own)):
        print(f"note: this run differs from {params_file} in {'; '.join(changed)}. Its results replace those of the "
              f"graph until `dvc repro {name}` makes them anew", file=sys.stderr)
    return params


def _run(run: Callable[[Params, Paths], Summary], name: str, params: Params) -> None:
    from importlib.metadata import version

    check_code(name.partition("-")[0])
    paths = Paths.of(params)
    started = time.monotonic()
    summary = run(params, paths)
    summary["seconds"] = {**summary.get("seconds", {}), "all": round(time.monotonic() - started, 2)}
    print(f"{name}: {json.dumps(summary, ensure_ascii=False)}")
    summary["versions"] = {package: version(package) for package in _VERSIONS}
    write_json(paths.summary(name), summary)


def run_command(main: Callable[..., None], help_text: str | None) -> None:
    """Runs `main` as a typer command whose --help is `help_text`, line breaks kept."""
    main.__doc__ = "\b\n" + (help_text or "").strip().replace("\n\n", "\n\n\b\n")
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(main)
    app()
