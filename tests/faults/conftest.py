"""Copies of a project whose graph ran once without disturbance, to disturb."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import fault_project
import pytest


@pytest.fixture(scope="module")
def project(undisturbed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all tests of a file: each leaves it as it found it."""
    copy = tmp_path_factory.mktemp("disturbed") / "project"
    shutil.copytree(undisturbed, copy)
    return copy


@pytest.fixture
def whole(project: Path, undisturbed: Path) -> Iterator[None]:
    """At the test's end the project has the undisturbed bytes, and nothing else."""
    yield
    made, wanted = fault_project.content(project), fault_project.content(undisturbed)
    assert sorted(made) == sorted(wanted)
    assert [name for name in wanted if made[name] != wanted[name]] == []
