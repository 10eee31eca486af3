"""What the stages made, as their files have it: feature stores, caption index, encoder and captioner.

Only what a file holds is read, no times and no rates, so that the same files give the same page but for the line that
says when and how it was made.
"""

import csv
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipeline.common.commands import MAKE, REMAKE
from pipeline.common.errors import SpectrumError

_SECONDS = 10.0     # for git
_PACKAGES = ("av", "h5py", "numpy", "open_clip_torch", "torch")


@dataclass(frozen=True)
class StoreFacts:
    """A feature store: its rows of `dim` numbers of type `dtype`, and the videos that it lacks in part or whole."""

    name: str
    modality: str
    videos: int
    rows: int
    dim: int
    dtype: str
    failures: Mapping[str, str]     # reason by video
    partial: Mapping[str, float]    # share that could be decoded, by video


def read_store(folder: Path) -> tuple[StoreFacts, dict[str, Any]]:
    """The facts of a feature store, and its recipe. Raises SpectrumError where the store is not complete."""
    from pipeline.store.feature_store import FeatureStore

    store = FeatureStore.open(folder)
    facts = StoreFacts(folder.name, store.modality, len(store), store.metadata.rows, store.dim, store.dtype.name,
                       store.failures, store.partial)
    return facts, store.recipe


def read_curves(path: Path) -> list[dict[str, float]]:
    """A row an epoch, every column a number. Raises SpectrumError naming the file where it is not so."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
        if not all("epoch" in row for row in rows):
            raise ValueError("it has no column epoch")
        return rows
    except FileNotFoundError:
        raise SpectrumError(f"{path}: no such file; {MAKE}") from None
    except OSError as error:
        raise SpectrumError(f"{path}: it cannot be read ({error.strerror}); mend the path or its permissions") from None
    except (csv.Error, TypeError, ValueError) as error:
        raise SpectrumError(f"{path}: not a table of numbers ({error}); {REMAKE}") from None


def describe_data(counts: Mapping[str, Mapping[str, int]], index: Mapping[str, Any]) -> dict[str, str]:
    """Sizes of the splits and of the caption index (index.json), by their names on the page."""
    splits = {f"{split} split": f"{sizes['videos']:,} videos, {sizes['captions']:,} captions"
              for split, sizes in counts.items()}
    return {**splits, "caption index": f"{index['captions']:,} distinct captions, {index['dim']} numbers each"}


def describe_captioner(description: Mapping[str, Any]) -> dict[str, str]:
    """The trained model, from captioner.json, by names on the page."""
    facts = {"seed": str(description["seed"]), "epoch kept": str(description["best"]["epoch"]),
             "vocabulary": f"{len(description['vocabulary']):,} entries"}
    if description.get("parameters") is not None:
        facts["parameters"] = f"{description['parameters']:,}"
    return {f"captioner: {name}": value for name, value in facts.items()}


def find_stale(params: Mapping[str, Any], captioner: Mapping[str, Any]) -> list[str]:
    """Parameters that are others now than those that captioner.json says the captioner was trained with."""
    return [f"{section}.{key} was {old}, is {params[section][key]} now"
            for section in ("captioner", "training") for key, old in (captioner.get(section) or {}).items()
            if key in params[section] and params[section][key] != old]


def describe_making(folder: Path, now: datetime) -> dict[str, str]:
    """When the page was made, from which commit of the project in `folder`, and by which command."""
    program, *arguments = sys.orig_argv
    return {"date": f"{now:%Y-%m-%d %H:%M} UTC", "commit": _describe_commit(folder),
            "command": shlex.join([Path(program).name, *arguments])}


def _describe_commit(folder: Path) -> str:
    """The commit, with a word where tracked files were changed since; "none" outside a repository or without git."""
    try:
        answers = [subprocess.run(["git", *command], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True,
                                  text=True, timeout=_SECONDS, check=True).stdout.strip()
                   for command in (("rev-parse", "--short=10", "HEAD"),
                                   ("status", "--porcelain", "--untracked-files=no"))]
    except (OSError, subprocess.SubprocessError):
        return "none"
    return f"{answers[0]}, with changes" if answers[1] else answers[0]


def list_versions() -> dict[str, str]:
    """Versions of the packages that decide the results, as they are installed where the page is made."""
    return {package: version(package) for package in _PACKAGES}
