"""dvc.yaml tells the truth: each stage lists the code that decides its outs, and no other; README draws this graph."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from code_dependencies import code_dependencies, covered_files
from project import ROOT
from ruamel.yaml import YAML

from pipeline.common import code
from pipeline.common.code import import_closure


def stages_of(path: Path) -> dict[str, Any]:
    """Stages by name; those made by `foreach` count as one."""
    stages = YAML(typ="safe").load(path.read_text(encoding="utf-8"))["stages"]
    return {name: stage.get("do", stage) for name, stage in stages.items()}


STAGES = stages_of(ROOT / "dvc.yaml") | stages_of(ROOT / "sample" / "dvc.yaml")


def module_of(stage: dict[str, Any]) -> str:
    return re.findall(r"-m (stages\.\w+)", stage["cmd"])[0]


def listed_code(stage: dict[str, Any]) -> list[str]:
    return [path for path in stage["deps"] if path.startswith(("pipeline/", "stages/"))]


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_lists_the_code_that_decides_its_outs(name: str) -> None:
    assert problems(STAGES[name]) == []


def problems(stage: dict[str, Any]) -> list[str]:
    """What the stage's list lacks and what it has too much, a line each."""
    expected, listed = code_dependencies(module_of(stage)), listed_code(stage)
    needed, covered = covered_files(expected), covered_files(listed)
    return [*(f"missing: {path}" for path in sorted(needed - covered)),
            *(f"needless: {path}" for path in sorted(covered - needed)
              if path.name not in ("__init__.py", "__main__.py"))]


@pytest.mark.parametrize("name", STAGES)
def test_a_missing_and_a_needless_dependency_are_found(name: str) -> None:
    stage = STAGES[name]
    for path in listed_code(stage):
        assert problems({**stage, "deps": [other for other in stage["deps"] if other != path]}), f"without {path}"
    needless = next(str(path.relative_to(ROOT)) for path in sorted((ROOT / "pipeline").rglob("*.py"))
                    if path.relative_to(ROOT) not in covered_files(listed_code(stage)) and "__" not in path.name)
    assert problems({**stage, "deps": [*stage["deps"], needless]}) == [f"needless: {needless}"]


def test_late_imports_and_programs_count_and_typing_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "stages/__init__.py": "", "pipeline/__init__.py": "", "pipeline/tool/__init__.py": "",
        "stages/one.py": "from typing import TYPE_CHECKING\nimport pipeline.a\n"
                         "if TYPE_CHECKING:\n    import pipeline.typed\n"
                         "def run():\n    from pipeline import late\n    call(['-m', 'pipeline.tool'])\n",
        "pipeline/a.py": "from pipeline.b import x\n", "pipeline/b.py": "x = 1\n", "pipeline/late.py": "",
        "pipeline/typed.py": "", "pipeline/other.py": "", "pipeline/tool/__main__.py": "import pipeline.tool.work\n",
        "pipeline/tool/work.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(code, "ROOT", tmp_path)
    code._imports.cache_clear()
    code._file_of.cache_clear()
    try:
        found = {str(path) for path in import_closure("stages.one")}
        before = code.code_digest("stages.one")
        (tmp_path / "pipeline/other.py").write_text("y = 2\n")
        assert code.code_digest("stages.one") == before
        (tmp_path / "pipeline/b.py").write_text("x = 2\n")
        assert code.code_digest("stages.one") != before
        with pytest.raises(ValueError, match=r"stages\.none: no such module"):
            import_closure("stages.none")
    finally:
        code._imports.cache_clear()
        code._file_of.cache_clear()
    assert found == set(files) - {"pipeline/typed.py", "pipeline/other.py"}


def test_encoding_a_caption_needs_no_video_decoding_and_an_encoder_no_other() -> None:
    index = {str(path) for path in import_closure("stages.index")}
    assert not any(path.startswith(("pipeline/media", "pipeline/extraction", "pipeline/captioner")) for path in index)
    encoder = {str(path) for path in import_closure("stages.encoder")}
    assert not {"pipeline/encoders/audio.py", "pipeline/encoders/motion.py"} & encoder


def test_every_stage_says_what_it_does() -> None:
    assert all(stage["desc"] for stage in STAGES.values())


def test_no_stage_depends_on_what_describes_the_machine() -> None:
    for name, stage in STAGES.items():
        assert not [key for key in stage["params"] if key.partition(".")[0] in ("machine", "cluster")], name


def test_the_readme_draws_this_graph() -> None:
    dot = subprocess.run([sys.executable, "-m", "dvc", "dag", "--dot"], cwd=ROOT, capture_output=True, text=True,
                         check=True).stdout
    edges = {(short(a), short(b)) for a, b in re.findall(r'"(.+?)" -> "(.+?)"', dot)}
    block = re.search(r"```mermaid\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    drawn = {(a, b) for line in block[1].splitlines() for a, b in re.findall(r"^\s*(\S+) --> (\S+)$", line)}
    assert drawn == reduced(edges)


def short(name: str) -> str:
    """`sample/dvc.yaml:sample` → sample; @ is none of Mermaid's characters."""
    return name.rpartition(":")[2].replace("@", "-")


def reduced(edges: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """The edges that no longer way replaces."""
    following: dict[str, set[str]] = {}
    for a, b in edges:
        following.setdefault(a, set()).add(b)

    def reachable(start: str) -> set[str]:
        return {end for node in following.get(start, ()) for end in {node, *reachable(node)}}

    return {(a, b) for a, b in edges if not any(b in reachable(node) for node in following[a] - {b})}
