"""Which source files decide what a module computes: its imports within the project, followed to their end.

    import_closure("stages.index")          # {Path("stages/index.py"), Path("pipeline/retrieval/index.py"), …}
    code_digest("pipeline.captioner.training.trainer")

dvc.yaml has to name the closure of every stage (tests/graph/test_dependencies.py), a training that was killed goes on
only over the same code, and workers of a cluster have to have the same. Imports inside functions count,
and so do modules that are named in a string to be run as programs (`python -m pipeline.media`); imports for type
checking alone do not.
"""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]        # holds the packages `pipeline` and `stages`
PACKAGES = ("pipeline", "stages")


def import_closure(*modules: str) -> frozenset[Path]:
    """The files of `modules` (dotted names) and of all that they import, relative to the project's root.

    A package counts with its `__init__.py`. Raises ValueError for a module that the project does not have.
    """
    todo, seen = list(modules), set()
    for module in modules:
        if _file_of(module) is None:
            raise ValueError(f"{module}: no such module in {ROOT}")
    while todo:
        module = todo.pop()
        if module not in seen:
            seen.add(module)
            todo += _imports(module)
    files = {_file_of(module) for module in seen}
    return frozenset(path.relative_to(ROOT) for path in files if path is not None)


def code_digest(*modules: str) -> str:
    """SHA-256 over the sources of `import_closure(*modules)`, names included."""
    digest = hashlib.sha256()
    for path in sorted(import_closure(*modules)):
        digest.update(f"{path.as_posix()}\n".encode() + (ROOT / path).read_bytes())
    return digest.hexdigest()


@cache
def package_digest() -> str:
    """SHA-256 over all sources of the library: quicker than `code_digest`, and another after any change."""
    digest = hashlib.sha256()
    for path in sorted((ROOT / PACKAGES[0]).rglob("*.py")):
        digest.update(f"{path.relative_to(ROOT).as_posix()}\n".encode() + path.read_bytes())
    return digest.hexdigest()


@cache
def _imports(module: str) -> tuple[str, ...]:
    """The project's modules that `module` imports, and the packages that it lies in."""
    path = _file_of(module)
    if path is None:
        return ()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = set(_imported_names(tree)) | set(_named_programs(tree))
    names |= {module.rsplit(".", depth)[0] for depth in range(1, module.count(".") + 1)}
    return tuple(sorted(name for name in names if _file_of(name) is not None))


def _imported_names(tree: ast.Module) -> Iterator[str]:
    """Dotted names that may be modules: `from a import b` gives a and a.b."""
    typing_only = (node for node in ast.walk(tree)
                   if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))
    unused = {id(child) for node in typing_only for statement in node.body for child in ast.walk(statement)}
    for node in ast.walk(tree):
        if id(node) in unused:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _named_programs(tree: ast.Module) -> Iterator[str]:
    """Modules that a string names as a whole, such as "pipeline.media", and what runs when a package is a program."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.count(".") in range(1, 5):
            yield node.value
            yield f"{node.value}.__main__"


@cache
def _file_of(module: str) -> Path | None:
    if module.partition(".")[0] not in PACKAGES or not all(part.isidentifier() for part in module.split(".")):
        return None
    path = ROOT.joinpath(*module.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)
