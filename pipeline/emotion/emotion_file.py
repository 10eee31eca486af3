"""emotion.h5: the emotions of candidate captions and the videos' priors, as later stages read them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from pipeline.common.errors import SpectrumError
from pipeline.common.files import atomic_write
from pipeline.emotion.probabilities import Floats


@dataclass(frozen=True)
class Emotions:
    """Emotions of every candidate caption once, and of every video.

    rows [n]: rows of the caption index; caption_words [n, W], caption_categories [n, C]: their probabilities;
    ids, words [V, W], categories [V, C]: the videos' priors. recipe_id: of estimators, temperatures, encoder;
    temperatures: by estimator, those of calibration, none where it is off.
    """

    taxonomy: str
    recipe_id: str
    temperatures: Mapping[str, float]
    rows: NDArray[np.int64]
    caption_words: Floats
    caption_categories: Floats
    ids: tuple[str, ...]
    words: Floats
    categories: Floats

    def write(self, path: Path) -> None:
        with atomic_write(path) as temporary, h5py.File(temporary, "w") as file:
            file.attrs["taxonomy"] = self.taxonomy
            file.attrs["recipe_id"] = self.recipe_id
            file.attrs["temperatures"] = json.dumps(dict(self.temperatures), sort_keys=True)
            file.create_dataset("ids", data=list(self.ids), dtype=h5py.string_dtype(), track_times=False)
            for name in ("rows", "caption_words", "caption_categories", "words", "categories"):
                file.create_dataset(name, data=getattr(self, name), fletcher32=True, track_times=False)

    @classmethod
    def read(cls, path: Path) -> "Emotions":
        if not path.is_file():
            raise SpectrumError(f"{path}: no such file; run python -m stages.emotion")
        with h5py.File(path) as file:
            return cls(
                taxonomy=str(file.attrs["taxonomy"]), recipe_id=str(file.attrs["recipe_id"]),
                temperatures=json.loads(str(file.attrs["temperatures"])),
                ids=tuple(file["ids"].asstr()[:]),
                **{name: file[name][:] for name in
                   ("rows", "caption_words", "caption_categories", "words", "categories")})

    @staticmethod
    def read_temperatures(path: Path) -> dict[str, float]:
        """The temperatures alone."""
        if not path.is_file():
            raise SpectrumError(f"{path}: no such file; run python -m stages.emotion")
        with h5py.File(path) as file:
            temperatures: dict[str, float] = json.loads(str(file.attrs["temperatures"]))
        return temperatures

    def select(self, ids: Sequence[str]) -> tuple[Floats, Floats]:
        """Priors of `ids` in that order: categories [V, C], words [V, W]; a missing id is an error."""
        position_of = {video: i for i, video in enumerate(self.ids)}
        missing = [video for video in ids if video not in position_of]
        if missing:
            raise SpectrumError(f"no emotional prior for video {missing[0]!r} ({len(missing)} such); "
                                "run python -m stages.emotion")
        positions = [position_of[video] for video in ids]
        return self.categories[positions], self.words[positions]
