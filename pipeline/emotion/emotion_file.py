"""emotion.h5: the emotions of candidate captions and videos, and the fitted prior, as later stages read them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.common.commands import rerun
from pipeline.common.hdf5 import TEXTS, Layout, describe_damage, read_arrays, write_arrays
from pipeline.common.ids import find_positions
from pipeline.emotion import prior_file
from pipeline.emotion.prior import Prior
from pipeline.emotion.probabilities import Floats, spread_categories
from pipeline.emotion.taxonomy import NAMES, Taxonomy

_ARRAYS = {"rows": Layout("int64", rank=1), "caption_categories": Layout("float32", rank=2),
           "word_shares": Layout("float32", rank=2), "evidence": Layout("float32", rank=3),
           "present": Layout("bool", rank=2)}
_ATTRIBUTES = ("taxonomy", "recipe_id", "candidates", "prior")
_ABOVE_ONE = 1e-4       # by so much rounding may bring a mean of probabilities above 1
_WORDS_OF_CORPUS = 0.05  # how much a word's share of the corpus counts beside its share of the candidates
_NEVER = 1e-6           # share of a word that stands in neither


@dataclass(frozen=True)
class Emotions:
    """Emotions of every candidate caption once, and of every video.

    rows [n]: rows of the caption index; caption_categories [n, C]: their probabilities; ids [V]; word_shares [V, W]:
    of the candidates; evidence [V, S, C] of each of the prior's sources, and which modalities a video has,
    present [V, M]. candidates_digest: of the candidates; recipe_id: of estimators, prior and encoder.
    """

    taxonomy: str
    recipe_id: str
    candidates_digest: str
    prior: Prior
    rows: NDArray[np.int64]
    caption_categories: Floats
    ids: tuple[str, ...]
    word_shares: Floats
    evidence: Floats
    present: NDArray[np.bool_]

    def write(self, path: Path) -> None:
        """Publishes the file whole or not at all; the same emotions give the same bytes."""
        fitted, described = prior_file.lay_out(self.prior)
        write_arrays(path, {"ids": self.ids, **{name: getattr(self, name) for name in _ARRAYS}, **fitted},
                     {"taxonomy": self.taxonomy, "recipe_id": self.recipe_id, "candidates": self.candidates_digest,
                      "prior": described})

    @classmethod
    def read(cls, path: Path) -> "Emotions":
        """Raises SpectrumError, naming the file, where it is missing, damaged or holds anything but such emotions."""
        arrays, attributes = read_arrays(path, {"ids": TEXTS, **_ARRAYS, **prior_file.LAYOUTS}, _ATTRIBUTES)
        if attributes["taxonomy"] not in NAMES:
            raise describe_damage(path, f"its list of emotion words is {attributes['taxonomy']!r:.40}, expected one of "
                                        f"{', '.join(NAMES)}")
        taxonomy = Taxonomy.load(attributes["taxonomy"])
        try:
            prior = prior_file.parse(arrays, attributes["prior"], len(taxonomy.categories), len(taxonomy.words))
        except ValueError as error:
            raise describe_damage(path, str(error)) from None
        emotions = cls(taxonomy=taxonomy.name, recipe_id=attributes["recipe_id"],
                       candidates_digest=attributes["candidates"], prior=prior, ids=arrays["ids"],
                       **{name: arrays[name] for name in _ARRAYS})
        problem = _find_problem(emotions, taxonomy)
        if problem:
            raise describe_damage(path, problem)
        return emotions

    def select(self, ids: Sequence[str], modalities: Iterable[str]) -> tuple[Floats, Floats]:
        """Priors of `ids` in that order, as a captioner that reads `modalities` may know them: categories [V, C],
        words [V, W]; a missing id is an error."""
        positions = find_positions(ids, self.ids, "emotional prior", rerun("emotion"))
        categories = self.prior.estimate(self.evidence[positions], self.present[positions], modalities)
        return categories, spread_prior(categories, self.word_shares[positions], self.prior, self.taxonomy)


def spread_prior(categories: Floats, word_shares: Floats, prior: Prior, taxonomy: str) -> Floats:
    """The prior of words [V, W]: that of their categories [V, C], spread as the candidates [V, W], and a little as the
    corpus, use them."""
    frequency = word_shares + _WORDS_OF_CORPUS * prior.word_rates + _NEVER
    return spread_categories(categories, Taxonomy.load(taxonomy), frequency)


def _find_problem(emotions: Emotions, taxonomy: Taxonomy) -> str:
    """What is wrong with emotions that were read, in words that follow the file's name; "" where nothing is."""
    captions, videos = len(emotions.rows), len(emotions.ids)
    words, categories = len(taxonomy.words), len(taxonomy.categories)
    modalities = len(emotions.prior.modalities)
    shapes = {"caption_categories": (captions, categories), "word_shares": (videos, words),
              "evidence": (videos, 2 + modalities, categories), "present": (videos, modalities)}
    for name, shape in shapes.items():
        if getattr(emotions, name).shape != shape:
            return f"its {name} have the shape {getattr(emotions, name).shape}, expected {shape}"
    for name in ("caption_categories", "word_shares"):
        probabilities: Floats = getattr(emotions, name)
        if probabilities.size and not 0 <= probabilities.min() <= probabilities.max() <= 1 + _ABOVE_ONE:
            return f"its {name} hold a value that is no probability"
    if captions and (emotions.rows[0] < 0 or (np.diff(emotions.rows) <= 0).any()):
        return "its rows do not rise from 0 or more"
    if len(set(emotions.ids)) < videos:
        return "a video stands in it twice"
    return ""
