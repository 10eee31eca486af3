"""The code behind a project folder's results: `code.json` holds a digest of it for every program of the graph.

A folder that `python -m stages.new` laid out may lie far from the code, so its graph names no source files. Its first
stage, `code`, writes the digests, each stage depends on its own one, and none runs with other code than they tell of.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.common.errors import SpectrumError
from pipeline.params.shipped import shipped

CODE_FILE = Path("code.json")
PACKAGES = ("pipeline", "stages")

_ROOT = Path(__file__).parents[1]       # holds both packages: a checkout, or where they are installed


def read_graph() -> Any:
    """dvc.yaml as a tree that keeps its comments."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width = 120
    return yaml.load(shipped("dvc.yaml").read_text(encoding="utf-8"))


def body(stage: Any) -> Any:
    """What a stage of dvc.yaml does, also of one that stands for several."""
    return stage.get("do", stage)


def program(stage: Any) -> str:
    """`extract`, where the stage's command runs `python -m stages.extract`."""
    found = re.match(r"python -m stages\.(\w+)", body(stage)["cmd"])
    assert found is not None
    return found[1]


def is_code(dependency: str) -> bool:
    return dependency.partition("/")[0] in PACKAGES


def code_digests() -> dict[str, str]:
    """A SHA-256 for every program of the graph, over the files of its code, names included."""
    return {program(stage): _digest([path for path in body(stage)["deps"] if is_code(path)])
            for stage in read_graph()["stages"].values()}


def _digest(dependencies: list[str]) -> str:
    digest = hashlib.sha256()
    for path in sorted({path for name in dependencies for path in _files(_ROOT / name)}):
        digest.update(f"{path.relative_to(_ROOT).as_posix()}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
    elif path.name != "__pycache__":
        for below in path.iterdir():
            yield from _files(below)


def check_code(name: str) -> None:
    """Raises SpectrumError where the working folder's results come of other code than what runs now."""
    if CODE_FILE.is_file():
        try:
            recorded = json.loads(CODE_FILE.read_text(encoding="utf-8")).get(name)
        except (ValueError, AttributeError):
            recorded = None
        if recorded != code_digests().get(name):
            raise SpectrumError(f"{CODE_FILE}: it was written for other code than that in {_ROOT}; run "
                                "`dvc repro --force --single-item code`, then `dvc repro`")
