"""The emotional prior of a video: what its candidate captions feel, weighted by how near they are.

prior(e) = Σ_k w_k p(e | c_k), w = softmax(similarity_k / τ).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from pipeline.emotion.probabilities import Floats
from pipeline.emotion.taxonomy import Taxonomy
from pipeline.errors import SpectrumError
from pipeline.files import published
from pipeline.text import words


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
    ids, words [V, W], categories [V, C]: the videos' priors. recipe_id: of back ends, temperatures, encoder.
    """

    taxonomy: str
    recipe_id: str
    rows: NDArray[np.int64]
    caption_words: Floats
    caption_categories: Floats
    ids: tuple[str, ...]
    words: Floats
    categories: Floats

    def write(self, path: Path) -> None:
        with published(path) as temporary, h5py.File(temporary, "w") as file:
            file.attrs["taxonomy"] = self.taxonomy
            file.attrs["recipe_id"] = self.recipe_id
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
                ids=tuple(file["ids"].asstr()[:]),
                **{name: file[name][:] for name in
                   ("rows", "caption_words", "caption_categories", "words", "categories")})

    def select(self, ids: Sequence[str]) -> tuple[Floats, Floats]:
        """Priors of `ids` in that order: categories [V, C], words [V, W]; a missing id is an error."""
        place = {video: i for i, video in enumerate(self.ids)}
        missing = [video for video in ids if video not in place]
        if missing:
            raise SpectrumError(f"no emotional prior for video {missing[0]!r} ({len(missing)} such); "
                                "run python -m stages.emotion")
        take = [place[video] for video in ids]
        return self.categories[take], self.words[take]


def reference_categories(captions: Sequence[str], taxonomy: Taxonomy) -> set[str]:
    """All categories of all emotion words in a video's captions."""
    return {category for text in captions for word in words(text) for category in taxonomy.categories_of(word)}


def hit_rates(priors: Floats, references: Sequence[set[str]], taxonomy: Taxonomy) -> dict[str, float | int | None]:
    """How well category priors [V, C] find the videos' reference emotions; videos without any are left out.

    hit1, hit3: share of videos with a reference category among the prior's top 1 and 3; mean_ap: mean average
    precision of the prior's order of the categories.
    """
    index = {category: i for i, category in enumerate(taxonomy.categories)}
    hits1, hits3, precisions = [], [], []
    for row, reference in zip(priors, references, strict=True):
        if reference:
            order = np.argsort(-row, kind="stable")
            right = np.isin(order, [index[category] for category in reference])
            hits1.append(bool(right[0]))
            hits3.append(bool(right[:3].any()))
            precisions.append(float(np.mean((np.cumsum(right) / np.arange(1, len(right) + 1))[right])))
    if not hits1:
        return {"videos": 0, "hit1": None, "hit3": None, "mean_ap": None}
    return {"videos": len(hits1), "hit1": float(np.mean(hits1)), "hit3": float(np.mean(hits3)),
            "mean_ap": float(np.mean(precisions))}
