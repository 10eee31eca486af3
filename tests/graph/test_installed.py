"""The command `spectrum`, and the package as a wheel outside any checkout; no network is needed."""

import os
import shutil
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest
from project import ROOT
from test_team import FAST, own_files

from pipeline import params
from pipeline.common.files import read_json
from stages.project_code import code_digests

pytestmark = [pytest.mark.graph, pytest.mark.timeout(600)]

OF_THE_WHEEL = ("pipeline", "stages", "presets", "dvc.yaml", "params.yaml", "pyproject.toml", "setup.py", "README.md",
                "LICENSE")
# What the command does: https://packaging.python.org/en/latest/specifications/entry-points/
SPECTRUM = "import sys; from {module} import {name}; sys.argv[0] = 'spectrum'; {name}()"


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's files."""
    root = tmp_path_factory.mktemp("wheel")
    (root / "source").mkdir()
    for name in OF_THE_WHEEL:
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, root / "source" / name)
    subprocess.run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
                    "--disable-pip-version-check", "--wheel-dir", root, root / "source"], check=True)
    with zipfile.ZipFile(next(root.glob("*.whl"))) as wheel:
        wheel.extractall(root / "installed")
    return root / "installed"


def spectrum(installed: Path, cwd: Path, *arguments: str, prefix: str = "", suffix: str = "",
             ok: bool = True) -> subprocess.CompletedProcess[str]:
    """The console command of the wheel, with statements before and after it."""
    entry = ConfigParser()
    entry.read(next(installed.glob("*.dist-info")) / "entry_points.txt")
    module, _, name = entry["console_scripts"]["spectrum"].partition(":")
    program = SPECTRUM.format(module=module, name=name)
    return command(installed, cwd, sys.executable, "-c", f"{prefix}{program}{suffix}", *arguments, ok=ok)


def command(installed: Path, cwd: Path, *arguments: str, ok: bool = True) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1", "COLUMNS": "200",
                                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    ended = subprocess.run(arguments, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode == 0) == ok, f"{arguments}: {ended.returncode}\n{ended.stdout}\n{ended.stderr}"
    return ended


def test_help_and_version_import_nothing_that_takes_time(installed: Path, tmp_path: Path) -> None:
    heavy = "; print('heavy:', {'torch', 'typer', 'pydantic', 'dvc', 'rich'} & set(sys.modules))"
    overview = spectrum(installed, tmp_path, "--help", suffix=heavy).stdout
    assert "heavy: set()" in overview
    for name in ("caption", "extract", "new", "store", "params"):
        assert f"\n  {name} " in overview
    assert spectrum(installed, tmp_path, "--version").stdout == "spectrum 0.1.0\n"
    completion = spectrum(installed, tmp_path, "--completion", "bash").stdout
    asked = completion + 'COMP_WORDS=(spectrum cap) COMP_CWORD=1; _spectrum; echo "${COMPREPLY[@]}"'
    assert subprocess.run(["bash", "-c", asked], capture_output=True, text=True).stdout == "caption\n"


def test_programs_are_called_by_their_short_names(installed: Path, tmp_path: Path) -> None:
    assert "Usage: spectrum caption" in spectrum(installed, tmp_path, "caption", "--help").stdout
    refused = spectrum(installed, tmp_path, "store", "verify", "none", ok=False)
    assert refused.returncode == 1 and "none" in refused.stderr and "Traceback" not in refused.stderr
    mistyped = spectrum(installed, tmp_path, "captoin", ok=False)
    assert (mistyped.returncode, mistyped.stderr) == (
        2, "error: spectrum has no command 'captoin'; did you mean 'caption'?\n")


def test_a_project_outside_any_checkout_is_a_repository_of_its_own(installed: Path, tmp_path: Path) -> None:
    own_files(tmp_path / "elsewhere")
    printed = spectrum(installed, tmp_path, "new", "mine", "--videos", "elsewhere/clips", "--captions",
                       "elsewhere/captions.csv", *FAST).stdout
    mine = tmp_path / "mine"
    assert "cd mine && dvc repro" in printed
    section = params.load([], mine / "params.yaml").data
    assert (section.videos, section.corpus) == (f"{tmp_path}/elsewhere/clips", f"{tmp_path}/elsewhere/captions.csv")

    assert "Running stage 'prepare'" in command(installed, mine, "dvc", "repro", "prepare").stdout
    again = command(installed, mine, "dvc", "repro", "prepare").stdout
    assert "Running stage 'code'" in again and "Stage 'prepare' didn't change" in again
    assert read_json(mine / "code.json") == code_digests()      # the same code as the checkout's
    assert command(installed, mine, "git", "status", "--porcelain", "--", "data").stdout == ""

    # an updated package is noticed, though no file of the project changed
    folder = installed / "pipeline/datasets/folder.py"
    before = folder.read_text()
    folder.write_text(before + "# changed\n")
    try:
        assert "Running stage 'prepare'" in command(installed, mine, "dvc", "repro", "prepare").stdout
    finally:
        folder.write_text(before)


def test_presets_are_known_by_name(installed: Path, tmp_path: Path) -> None:
    spectrum(installed, tmp_path, "new", "msvd", "--preset", "msvd")
    spectrum(installed, tmp_path / "msvd", "params", "care")
    applied = params.load([], tmp_path / "msvd/params.yaml")
    assert (applied.dataset, applied.data.kind, applied.captioner.theme) == ("msvd", "msvd", "linear")


@pytest.mark.parametrize(("arguments", "expected"), [
    (["mine", "--videos", "none"], "--videos: none: no such file"),
    (["mine", "--preset", "none"], "--preset none: expected one of emvidcap, "),
    (["mine", "captioner.widht=1"], "captioner.widht: no such parameter"),
    (["mine", "--update"], "params.yaml: no such file"),
    (["."], "it has params.yaml already"),
])
def test_a_project_that_cannot_be_laid_out_leaves_nothing(installed: Path, tmp_path: Path, arguments: list[str],
                                                          expected: str) -> None:
    (tmp_path / "params.yaml").write_text("mine")
    refused = spectrum(installed, tmp_path, "new", *arguments, ok=False)
    assert expected in refused.stderr and "Traceback" not in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]
