"""What the stages made, as their files have it: feature stores, caption index, encoder and captioner.

Only what a file holds is read, no times and no rates, so that the same files give the same page.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipeline.common.errors import SpectrumError
from pipeline.common.files import read_json

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
    from pipeline.store import FeatureStore

    store = FeatureStore.open(folder)
    facts = StoreFacts(folder.name, store.modality, len(store), int(store.index["rows"]), store.dim, store.dtype.name,
                       store.failures, store.partial)
    return facts, store.recipe


def read_object(path: Path) -> dict[str, Any]:
    """The object of a JSON file; anything else is a SpectrumError."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise SpectrumError(f"{path}: expected a JSON object, but it is another value; make it again with `dvc repro`")
    return value


def read_curves(path: Path) -> list[dict[str, float]]:
    """A row an epoch, every column a number. Raises SpectrumError naming the file where it is not so."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    except FileNotFoundError:
        raise SpectrumError(f"{path}: no such file; run the stage that makes it, or `dvc repro`") from None
    except OSError as error:
        raise SpectrumError(f"{path}: it cannot be read ({error.strerror}); mend the path or its permissions") from None
    except (csv.Error, TypeError, ValueError) as error:
        raise SpectrumError(f"{path}: not a table of numbers ({error}); make it again with `dvc repro`") from None


def describe_data(counts: Mapping[str, Mapping[str, int]], index: Mapping[str, Any]) -> dict[str, str]:
    """Sizes of the splits and of the caption index (index.json), by their names on the page."""
    splits = {f"{split} split": f"{sizes['videos']:,} videos, {sizes['captions']:,} captions"
              for split, sizes in counts.items()}
    return {**splits, "caption index": f"{index.get('captions', 0):,} distinct captions, {index.get('dim', 0)} numbers "
                                       "each"}


def describe_captioner(description: Mapping[str, Any]) -> dict[str, str]:
    """The trained model, from captioner.json, by names on the page."""
    facts = {"seed": description.get("seed"), "epoch kept": (description.get("best") or {}).get("epoch"),
             "parameters": description.get("parameters"), "vocabulary": len(description.get("vocabulary") or ())}
    return {f"captioner: {name}": f"{value:,}" for name, value in facts.items() if isinstance(value, int | float)}


def list_versions() -> dict[str, str]:
    """Versions of the packages that decide the results, as they are installed where the page is made."""
    return {package: version(package) for package in _PACKAGES}
