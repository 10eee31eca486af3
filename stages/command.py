"""The command line that every stage has: `python -m stages.<name> [key=value …]`.

A stage's module imports what --help and a refused argument need; `run` imports the rest, which takes seconds.
"""

import inspect
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.common.commands import repro
from pipeline.common.errors import SpectrumError, readable_errors
from pipeline.common.files import write_json
from pipeline.common.terminal import Output, say, warn
from pipeline.params import DEFAULT, Params, load
from pipeline.params.files import differences
from pipeline.params.inputs import check_inputs
from pipeline.params.paths import Paths
from stages.project_code import check_code

Summary = dict[str, Any]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="parameters to change for this run, e.g. seed=1")
]
ParamsFile = Annotated[Path, typer.Option(
    "--params", help="the file of parameters; paths in it start at the folder where you are")]
Checkpoint = Annotated[str | None, typer.Option(
    "--checkpoint", metavar="FOLDER",
    help="a checkpoint, a folder of stages.model, or a hub's org/name; without it, models/<dataset>/captioner")]
Describe = Callable[[Summary], str]      # a summary in words: `indexed 2,394 captions`
Quiet = Annotated[bool, typer.Option("--quiet", help="print only warnings and errors")]
Only = Annotated[str, typer.Option("--only", help="only one part of the stage; without it, all parts")]

class LogFormat(StrEnum):
    text = "text"
    json = "json"


Format = Annotated[LogFormat, typer.Option(
    "--log-format", help="print text for people, or a JSON object on each line")]

_VERSIONS = ("torch", "open_clip_torch", "h5py", "av", "numpy")


def stage(run: Callable[[Params, Paths], Summary], name: str, help_text: str | None, describe: Describe) -> None:
    """Runs a stage from the command line and writes what it did to `reports/<dataset>/stages/<name>.json`.

    `run` writes the stage's outs and returns a summary (counts, seconds per part), which is no out: it differs from
    run to run; `describe` puts it into words. `help_text` is the module's docstring. Exit status: 0 the outs are
    whole, 1 a SpectrumError, 2 usage.
    """

    def main(overrides: Overrides = None, params_file: ParamsFile = DEFAULT) -> None:
        with readable_errors():
            run_stage(run, name, describe, load_with_notice(overrides or [], params_file, repro(name)))

    run_command(main, help_text)


def stage_of_parts(run: Callable[..., Summary], name: str, help_text: str | None, describe: Describe,
                   parts: Sequence[str]) -> None:
    """Like `stage`, for one that is several nodes of the graph: `--only PART` runs one, `run(…, part=PART)`."""

    def main(overrides: Overrides = None, only: Only = "", params_file: ParamsFile = DEFAULT) -> None:
        with readable_errors():
            if only and only not in parts:
                raise typer.BadParameter(f"{only!r} is none of {', '.join(parts)}", param_hint="--only")
            params = load_with_notice(overrides or [], params_file, repro(name, only))
            for part in [only] if only else parts:
                run_stage(partial(run, part=part), f"{name}-{part}", describe, params)

    run_command(main, help_text)


def load_with_notice(overrides: Sequence[str], params_file: Path, back: str) -> Params:
    """The parameters; where overrides or another file change results, a note says so, and that the command `back`
    brings the graph's own back."""
    params = load(overrides, params_file)
    check_inputs(params)
    if params_file.resolve().parent != Path.cwd():
        warn(f"note: paths in {params_file} are read from the folder where you are, and results go there "
             f"({Path.cwd()})")
    own = params
    with suppress(SpectrumError):       # there are no parameters of a graph here
        own = load([], DEFAULT)
    if params.dataset == own.dataset and (changed := differences(params, own)):
        warn(f"note: this run differs from {DEFAULT} in {'; '.join(changed)}. Its results replace those of the "
             f"graph until `{back}` makes them anew")
    return params


def run_stage(run: Callable[[Params, Paths], Summary], name: str, describe: Describe, params: Params) -> None:
    from importlib.metadata import version

    check_code(name.partition("-")[0])
    paths = Paths.of(params)
    started = time.monotonic()
    summary = run(params, paths)
    seconds = round(time.monotonic() - started, 2)
    summary["seconds"] = {**summary.get("seconds", {}), "all": seconds}
    say(f"{name}: {describe(summary)} ({seconds:.1f} s)")
    summary["versions"] = {package: version(package) for package in _VERSIONS}
    write_json(paths.summary(name), summary)


def run_command(main: Callable[..., None], help_text: str | None) -> None:
    """Runs `main` as a typer command with --quiet and --log-format; its --help is `help_text`, line breaks kept."""

    def command(quiet: Quiet = False, log_format: Format = LogFormat.text, **own: Any) -> None:
        Output.quiet, Output.as_json = quiet, log_format is LogFormat.json
        main(**own)

    # Typer reads a function's parameters: those of `main`, and the two above.
    signature, common = inspect.signature(main), inspect.signature(command).parameters
    command.__signature__ = signature.replace(parameters=[      # type: ignore[attr-defined]
        *signature.parameters.values(), *(common[name] for name in ("quiet", "log_format"))])
    command.__doc__ = "\b\n" + (help_text or "").strip().replace("\n\n", "\n\n\b\n")
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(command)
    app()
