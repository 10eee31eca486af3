"""Make a project folder for your own data set, or a published one: its graph, parameters and .gitignore.

    python -m stages.new mine --videos clips --captions captions.csv
    python -m stages.new mine                            # then add mine/clips and mine/captions.csv
    python -m stages.new msvd --preset msvd              # a published data set (docs/datasets.md)
    python -m stages.new mine --update                   # after the program was updated; your parameters stay

Then run `dvc repro mine/dvc.yaml`. Each folder has its own dvc.lock, so several data sets can live in one repository.
Outside any repository, the folder becomes a git and DVC repository.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.common.errors import SpectrumError, readable_errors
from pipeline.common.files import write_text
from pipeline.common.terminal import say
from pipeline.params import DEFAULT, Params, apply, load, read
from pipeline.params.paths import Paths
from pipeline.params.shipped import shipped
from stages.command import run_command
from stages.project_code import CODE_FILE, PACKAGES, body, is_code, program, read_graph

GRAPH_FILE = Path("dvc.yaml")
_HEADER = """\
# The graph of this folder's data set, written by `python -m stages.new`; params.yaml is yours, this file is not:
# `python -m stages.new --update .` writes it anew. Your own stages belong into a dvc.yaml of another folder.
"""
_GITIGNORE = """\
# what the stages make: DVC tracks it, git does not
/data/
/features/
/indexes/
/models/
/reports/
# what the owners of published data sets gave you
/downloads/
"""


def main(
    folder: Annotated[Path, typer.Argument(help="the project's folder; its name is the data set's")],
    overrides: Annotated[list[str] | None, typer.Argument(
        metavar="[KEY=VALUE]...", help="parameters, such as encoders.appearance.weights=random")] = None,
    videos: Annotated[Path | None, typer.Option(help="folder of the videos; without it, FOLDER/clips")] = None,
    captions: Annotated[Path | None, typer.Option(
        help="file of the captions; without it, FOLDER/captions.csv")] = None,
    preset: Annotated[str, typer.Option(metavar="NAME", help="folder (your own videos), msvd, msrvtt, …")] = "folder",
    update: Annotated[bool, typer.Option(
        "--update", help="replace the graph of an existing folder by this program's")] = False,
) -> None:
    with readable_errors():
        folder = _absolute(folder)
        if update:
            _update(folder)
            return
        text = _parameters(folder, preset, [*_inputs(folder, videos, captions), *(overrides or [])])
        if taken := [name for name in (str(GRAPH_FILE), str(DEFAULT)) if (folder / name).exists()]:
            raise SpectrumError(f"{folder}: it has {' and '.join(taken)} already; take another folder, or renew "
                                "the graph with --update")
        _ensure_repository(folder)
        write_text(folder / DEFAULT, text)
        write_text(folder / GRAPH_FILE, graph_text(folder))
        if not (folder / ".gitignore").exists():
            write_text(folder / ".gitignore", _GITIGNORE)
        say(_next_steps(folder, load([], folder / DEFAULT)))


def _inputs(folder: Path, videos: Path | None, captions: Path | None) -> list[str]:
    """What was named on the command line as parameters; paths as seen from the folder. Raises SpectrumError."""
    named = []
    for option, path, keys in (("--videos", videos, ("videos",)), ("--captions", captions, ("captions", "corpus"))):
        if path is None:
            continue
        if not path.exists():
            raise SpectrumError(f"{option}: {path}: no such file or folder")
        full = _absolute(path)
        near = full.is_relative_to(_repository(folder) or folder)
        seen = os.path.relpath(full, folder) if near else str(full)
        named += [f"data.{key}={_quoted(seen)}" for key in keys]
    return named


def _absolute(path: Path) -> Path:
    """Without `..`, but links are kept: what they are called is what a team shares."""
    return Path(os.path.normpath(path.absolute()))


def _quoted(text: str) -> str:
    """As a YAML string, whatever is in it."""
    return "'" + text.replace("'", "''") + "'"


def _parameters(folder: Path, preset: str, overrides: list[str]) -> str:
    """params.yaml of the project: every parameter with its comment, the preset's values laid over the defaults."""
    presets = {path.stem: path for path in sorted(shipped("presets").glob("*.yaml")) if "data" in read(path)}
    if preset not in presets:
        raise SpectrumError(f"--preset {preset}: expected one of {', '.join(sorted(presets))}")
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary, DEFAULT)
        shutil.copy(shipped("params.yaml"), path)
        apply(presets[preset], [f"dataset={_quoted(folder.name)}", *overrides], path)
        return path.read_text(encoding="utf-8")


def graph_text(folder: Path) -> str:
    """dvc.yaml of a project in `folder`: the graph, with digests of the code in place of source files."""
    tree = read_graph()
    tree.ca.comment = None          # the header, which is about the source files
    for stage in tree["stages"].values():
        inner = body(stage)
        name = program(stage)
        inner["deps"] = [path for path in inner["deps"] if not is_code(path)]
        inner["params"] = [*inner["params"], {str(CODE_FILE): [name]}]
    tree["stages"].insert(0, "code", {
        "desc": "Note which code the results come of", "cmd": "python -m stages.code", **_trigger(folder),
        "outs": [{str(CODE_FILE): {"cache": False}}]})
    return _HEADER + _as_yaml(tree)


def _trigger(folder: Path) -> dict[str, Any]:
    """When the digests are made anew: inside a checkout when its code changes, elsewhere whenever the graph runs."""
    for above in folder.parents:
        if all((above / name).exists() for name in (*PACKAGES, "stages/new.py", GRAPH_FILE)):
            return {"deps": [os.path.relpath(above / name, folder) for name in PACKAGES]}
    return {"always_changed": True}


def is_current(folder: Path) -> bool:
    """Whether the folder's dvc.yaml is what `graph_text` gives, comments and layout aside."""
    from ruamel.yaml import YAML

    wanted, found = (YAML(typ="safe").load(text) for text in (
        graph_text(folder.absolute()), (folder / GRAPH_FILE).read_text(encoding="utf-8")))
    return bool(wanted == found)


def _update(folder: Path) -> None:
    """The graph anew, and parameters that are new since then, at their defaults."""
    path = folder / DEFAULT
    own, defaults = read(path), read(shipped("params.yaml"))
    _add_missing(own, defaults)
    write_text(path, _as_yaml(own))
    load([], path)
    write_text(folder / GRAPH_FILE, graph_text(folder))
    say(f"{folder}: the graph is this program's; `git diff` shows what changed")


def _add_missing(own: Any, defaults: Mapping[str, Any]) -> None:
    for key, value in defaults.items():
        if key not in own:
            own[key] = value
        elif isinstance(value, Mapping) and isinstance(own[key], Mapping):
            _add_missing(own[key], value)


def _as_yaml(tree: Any) -> str:
    from ruamel.yaml import YAML

    yaml, text = YAML(), StringIO()
    yaml.width, yaml.preserve_quotes = 120, True
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.dump(tree, text)
    return text.getvalue()


def _repository(folder: Path) -> Path | None:
    """The DVC repository that the folder lies in."""
    return next((above for above in (folder, *folder.parents) if (above / ".dvc").is_dir()), None)


def _ensure_repository(folder: Path) -> None:
    """Makes the folder a git and DVC repository, unless it lies in one."""
    folder.mkdir(parents=True, exist_ok=True)
    if _repository(folder) is not None:
        return
    if not any((above / ".git").exists() for above in (folder, *folder.parents)):
        _run(folder, "git", "init", "--quiet")
    own = (folder / ".git").exists()
    _run(folder, sys.executable, "-m", "dvc", "init", "--quiet", *([] if own else ["--subdir"]))
    _run(folder, sys.executable, "-m", "dvc", "config", "core.analytics", "false")


def _run(folder: Path, *command: str) -> None:
    try:
        ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise SpectrumError(f"{command[0]} is not installed, and {folder} lies in no repository; install it") from None
    if ended.returncode:
        raise SpectrumError(f"{folder}: `{' '.join(command)}` failed: {ended.stderr.strip()}")


def _next_steps(folder: Path, params: Params) -> str:
    shown = Path(os.path.relpath(folder))
    lines = [f"{shown}: data set {params.dataset!r}; its parameters are in {shown / DEFAULT}"]
    lines += [f"  put {what} there first: {os.path.relpath(folder / path)}"
              for what, path in (("the videos", params.data.videos), ("the captions", params.data.captions))
              if not (folder / path).exists()]
    graph = shown / GRAPH_FILE if _repository(folder) == _repository(Path.cwd()) else None
    lines += [f"run it with: {f'dvc repro {graph}' if graph else f'cd {shown} && dvc repro'}",
              f"and look at: {shown / Paths.of(params).reports / 'index.html'}"]
    return "\n".join(lines)


if __name__ == "__main__":
    run_command(main, __doc__)
