"""The project's files that decide what a stage makes, as dvc.yaml should list them.

    python tests/support/code_dependencies.py        # the list of every stage, to be copied into dvc.yaml

Every module that a stage imports, late imports included, and the data files (word lists, templates, model
configurations) that those modules name. A folder stands for its files where the stage needs all of them; packages'
`__init__.py` files that hold nothing but a docstring do not count, nor does a package's `__main__.py` beside them that
the stage does not run.
"""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

from project import ROOT

from pipeline.common.code import import_closure

_IGNORED = {"__pycache__"}


@cache
def code_dependencies(module: str) -> list[str]:
    """The shortest list of files and folders, sorted, that covers what `module` (such as stages.train) needs."""
    needed = {path for path in import_closure(module) if not _is_empty_package(path)}
    needed |= {path for path in _data_files() if _is_named(path, needed)}
    covered = sorted(str(path) for path in _cover(Path("pipeline"), needed))
    return sorted(str(path) for path in needed if path.parts[0] != "pipeline") + covered


def covered_files(dependencies: list[str]) -> set[Path]:
    """The files below the listed files and folders."""
    return {path.relative_to(ROOT) for dependency in dependencies for path in _files(ROOT / dependency)}


def _cover(folder: Path, needed: set[Path]) -> Iterator[Path]:
    files = {path.relative_to(ROOT) for path in _files(ROOT / folder)}
    relevant = {path for path in files if not _is_empty_package(path) and not (
        path.name == "__main__.py" and path not in needed)}
    if relevant and relevant <= needed and len(relevant) > 1:
        yield folder
        return
    yield from sorted(path for path in relevant & needed if path.parent == folder)
    for child in sorted(path for path in (ROOT / folder).iterdir() if path.is_dir() and path.name not in _IGNORED):
        yield from _cover(child.relative_to(ROOT), needed)


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    for child in sorted(path.iterdir()) if path.is_dir() else ():
        if child.name not in _IGNORED:
            yield from _files(child)


def _data_files() -> Iterator[Path]:
    return (path.relative_to(ROOT) for path in _files(ROOT / "pipeline") if path.suffix != ".py")


def _is_named(data: Path, modules: set[Path]) -> bool:
    """Whether a module in the data file's folder, or in the one above, names the file or its folder."""
    for module in modules:
        if module.parent in (data.parent, data.parent.parent):
            literals = _literals(module)
            if data.name in literals or (module.parent == data.parent.parent and data.parent.name in literals):
                return True
    return False


@cache
def _literals(module: Path) -> set[str]:
    return {node.value for node in ast.walk(ast.parse((ROOT / module).read_text(encoding="utf-8")))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)}


@cache
def _is_empty_package(path: Path) -> bool:
    if path.name != "__init__.py":
        return False
    body = ast.parse((ROOT / path).read_text(encoding="utf-8")).body
    return all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in body)


if __name__ == "__main__":
    for stage in sorted((ROOT / "stages").glob("*.py")):
        if stage.stem not in ("__init__", "command"):
            print(f"stages.{stage.stem}:", *(f"      - {path}" for path in code_dependencies(f"stages.{stage.stem}")),
                  sep="\n")
