"""What a stage says where something is missing, and that the advice in messages works when it is typed."""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import fault_project
import pytest
from fault_project import STAGES
from project import ROOT

from pipeline.common.commands import repro
from pipeline.encoders import open_clip_model

SOURCES = [*(ROOT / "pipeline").rglob("*.py"), *(ROOT / "stages").glob("*.py")]


@pytest.mark.parametrize("stage", [*[stage for stage in STAGES if stage != "sample"], "caption clips/v0.mp4",
                                   "ablate --seeds 1"])
def test_nothing_is_made_yet(undisturbed: Path, tmp_path: Path, stage: str) -> None:
    shutil.copy(undisturbed / "params.yaml", tmp_path / "params.yaml")
    ended = fault_project.run(tmp_path, stage)
    assert ended.status == 1 and re.search(r"(clips|tiny/|captions\.jsonl)\S*: no ", ended.sentence)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.usefixtures("whole")
def test_one_thing_is_not_there(project: Path, stage: str) -> None:
    """It is named, or was not needed."""
    for dep in dict.fromkeys(fault_project.deps(stage)):
        hidden = project / "hidden"
        (project / dep).rename(hidden)
        ended = fault_project.run(project, stage)
        hidden.rename(project / dep)
        if ended.status != 0:
            assert ended.status == 1 and (str(dep) in ended.sentence or dep.name in ended.sentence)
        else:       # such as a page without frames
            assert fault_project.run(project, stage).status == 0
    if any(project.glob("indexes/*/.parts")):       # what the stage had done is kept until it is done
        assert fault_project.run(project, stage).status == 0


def test_without_java_the_table_has_the_scores_that_exist_and_says_why(project: Path) -> None:
    ended = fault_project.run(project, "evaluate")
    table = ended.printed.partition("evc protocol")[2]
    model = next(line for line in table.splitlines() if line.startswith("│ model"))
    assert len(re.findall(r"\d+\.\d", model)) >= 5
    for warning in ("coco is absent", "METEOR is absent"):
        assert f"warning: {warning}: no Java was found" in ended.errors


def test_another_file_of_parameters_says_what_it_means(project: Path, tmp_path: Path) -> None:
    """Paths are of the folder where one is, and what differs from the graph's own parameters is told."""
    other = tmp_path / "other.yaml"
    other.write_text((project / "params.yaml").read_text().replace("stored: 4", "stored: 5"))
    ended = fault_project.run(project, f"retrieve --params {other}")
    assert ended.status == 0
    assert f"note: paths in {other} are read from the folder where you are" in ended.errors
    assert "differs from params.yaml in retrieval.stored (5, not 4)" in ended.errors
    assert "until `dvc repro retrieve` makes" in ended.errors
    assert "note:" not in fault_project.run(project, "retrieve").errors


# Commands in messages -----------------------------------------------------------------------------------------------

def rendered(node: ast.expr) -> str:
    """A text of the source as it will be, with X for what is put into it."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(rendered(part) for part in node.values)
    return "X"


def messages() -> Iterator[str]:
    """The texts in the code, docstrings aside."""
    for path in SOURCES:
        tree = ast.parse(path.read_text())
        comments = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
        yield from (rendered(node) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr | ast.Constant)
                    and id(node) not in comments and id(node) not in parts)


def commands() -> set[str]:
    found = {command for text in messages() for command in re.findall(r"`([^`]+)`", text)
             if re.match(r"(python|pip|dvc|hf|dask|git|make)\b", command)}
    return found | {command for text in messages() for command in re.findall(r"python -m [\w.]*\w", text)}


def help_of(*command: str) -> str:
    """What `--help` prints, by the programs of this environment."""
    program = shutil.which(command[0], path=f"{Path(sys.executable).parent}")
    assert program is not None, f"{command[0]} is not installed with the project"
    ended = subprocess.run([program, *command[1:], "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    return ended.stdout


def check(command: str) -> None:
    """Fails where a command cannot be typed as it stands."""
    match command.split():
        case ["pip", "install", *packages]:
            pins = (ROOT / "constraints.txt").read_text()
            assert all(re.search(rf"^{package}==", pins, re.MULTILINE | re.IGNORECASE) for package in packages)
        case ["dvc", "repro", *nodes]:
            known = fault_project.nodes() | {"X", "code"}       # `code` is a node of the folders of stages.new
            assert all(node in known or node in help_of("dvc", "repro") for node in nodes)
        case ["dvc", action, *options]:
            nodes = fault_project.nodes() | {"code"}        # `code` is a node of the folders of stages.new
            assert all(option in nodes or option in help_of("dvc", action) for option in options)
        case ["git", "diff", *_]:
            assert shutil.which("git")
        case ["dask", part, *options]:
            assert all(option in help_of("dask", part) for option in options if option.startswith("--"))
        case ["hf", part, _]:
            assert help_of("hf", part)
        case ["python", "-m", module] if module == "stages.X" or module.startswith("stages."):
            assert module == "stages.X" or (ROOT / "stages" / f"{module.partition('.')[2]}.py").is_file()
        case ["python", "-m", module, *rest]:
            assert help_of("python", "-m", module, *(part for part in rest if part.isalpha())) or module == \
                "pipeline.media"
        case ["python", "-c", *_]:
            shell = subprocess.run(["sh", "-c", command.replace("python", sys.executable, 1)], cwd=ROOT,
                                   capture_output=True, text=True)
            assert shell.returncode == 0 and shell.stdout, shell.stderr
        case _:
            raise AssertionError(f"{command}: no check of it; add one")


@pytest.mark.parametrize("command", sorted(commands()))
def test_a_command_in_a_message_works(command: str) -> None:
    check(command)


def test_stages_that_messages_name_exist() -> None:
    """`rerun("extract")` and `repro("extract")` are called with names of stages."""
    calls = {(node.func.id, node.args[0].value) for path in SOURCES for node in ast.walk(ast.parse(path.read_text()))
             if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("rerun", "repro")
             and isinstance(node.args[0], ast.Constant)}
    assert len(calls) > 5
    for _, stage in calls:
        assert (ROOT / "stages" / f"{stage}.py").is_file()
    for stage in ("sample", *{command[0] for command in STAGES.values()}):
        nodes = repro(stage).split()[2:]
        assert nodes and {node.rpartition(":")[2] for node in nodes} <= fault_project.nodes()
    for node, (stage, *only) in STAGES.items():
        if only:
            assert repro(stage, only[1]) == f"dvc repro {node}"


def test_an_unknown_model_is_told_with_those_of_a_like_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_clip_model, "names", lambda: ["ViT-B-32", "ViT-L-14", "RN50"])
    with pytest.raises(Exception, match=r"no model 'ViT-B32' \(of a like name: ViT-B-32"):
        open_clip_model._check_name("ViT-B32")
