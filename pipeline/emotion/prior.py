"""The emotional prior of a video: what its candidate captions feel, weighted by how near they are.

prior(e) = Σ_k w_k p(e | c_k), w = softmax(similarity_k / τ).
"""

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
from pipeline.metrics.average_precision import mean_average_precision


def prior(probabilities: Floats, scores: Floats, temperature: float) -> Floats:
    """[V, E] from the candidates' probabilities [V, K, E] and similarities [V, K]."""
    logits = scores / temperature
    weights = np.exp(logits - logits.max(1, keepdims=True))
    weights /= weights.sum(1, keepdims=True)
    return np.asarray(np.einsum("vk,vke->ve", weights, probabilities), np.float32)


@dataclass(frozen=True)
class Emotions:
    """What the emotion stage found: of every candidate caption once, and of every video.

    rows [n]: rows of the caption index; caption_words [n, W], caption_categories [n, C]: their probabilities;
    ids, words [V, W], categories [V, C]: the videos' priors. recipe_id: of back ends, temperatures, encoder;
    temperatures: by back end, those of calibration, none where it is off.
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
    def stored_temperatures(path: Path) -> dict[str, float]:
        """The temperatures alone."""
        if not path.is_file():
            raise SpectrumError(f"{path}: no such file; run python -m stages.emotion")
        with h5py.File(path) as file:
            found: dict[str, float] = json.loads(str(file.attrs["temperatures"]))
        return found

    def select(self, ids: Sequence[str]) -> tuple[Floats, Floats]:
        """Priors of `ids` in that order: categories [V, C], words [V, W]; a missing id is an error."""
        place = {video: i for i, video in enumerate(self.ids)}
        missing = [video for video in ids if video not in place]
        if missing:
            raise SpectrumError(f"no emotional prior for video {missing[0]!r} ({len(missing)} such); "
                                "run python -m stages.emotion")
        take = [place[video] for video in ids]
        return self.categories[take], self.words[take]


def hit_rates(priors: Floats, wanted: NDArray[np.bool_]) -> dict[str, float | int | None]:
    """How well category priors [V, C] find the videos' reference emotions, `wanted` [V, C]; None without any.

    hit1, hit3: share of videos with a reference category among the prior's top 1 and 3; mean_ap: mean average
    precision of the prior's order of the categories, over videos (those without emotions are left out);
    category_ap: that of the prior's order of the videos, over categories, each counting alike, which a prior
    that is the same for every video cannot win.
    """
    felt = np.flatnonzero(wanted.any(1))
    if not len(felt):
        return {"videos": 0, "hit1": None, "hit3": None, "mean_ap": None, "category_ap": None}
    order = np.argsort(-priors[felt], axis=1, kind="stable")
    right = np.take_along_axis(wanted[felt], order, 1)                          # [V, C], best first
    return {"videos": len(felt), "hit1": float(right[:, 0].mean()), "hit3": float(right[:, :3].any(1).mean()),
            "mean_ap": mean_average_precision(priors[felt].T, wanted[felt].T),
            "category_ap": mean_average_precision(priors, wanted)}
