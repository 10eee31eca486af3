"""emotion.h5: the emotions of candidate captions and videos, and the fitted prior, as later stages read them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.common.commands import rerun
from pipeline.common.hdf5 import TEXTS, Layout, describe_damage, read_arrays, write_arrays
from pipeline.common.ids import find_positions
from pipeline.emotion import prior_file
from pipeline.emotion.prior import Prior
from pipeline.emotion.probabilities import Floats
from pipeline.emotion.taxonomy import NAMES, Taxonomy

_ARRAYS = {"rows": Layout("int64", rank=1), "caption_categories": Layout("float32", rank=2),
           "word_shares": Layout("float32", rank=2), "counts": Layout("float32", rank=1),
           "evidence": Layout("float32", rank=3), "present": Layout("bool", rank=2)}
_ATTRIBUTES = ("taxonomy", "recipe_id", "candidates", "row_recipes", "prior")
_ABOVE_ONE = 1e-4       # by so much rounding may bring a mean of probabilities above 1


@dataclass(frozen=True)
class Emotions:
    """Emotions of every candidate caption once, and of every video.

    rows [n]: rows of the caption index; caption_categories [n, C]: their probabilities; ids [V]; word_shares [V, W]
    of so many candidates, counts [V]; evidence [V, S, C] of each of the prior's sources, and which modalities a video
    has, present [V, M]. candidates_digest: of the candidates; row_recipes: recipe ids of the rows, by
    modality; recipe_id: of estimators, prior and encoder.
    """

    taxonomy: str
    recipe_id: str
    candidates_digest: str
    row_recipes: Mapping[str, str]
    prior: Prior
    rows: NDArray[np.int64]
    caption_categories: Floats
    ids: tuple[str, ...]
    word_shares: Floats
    counts: Floats
    evidence: Floats
    present: NDArray[np.bool_]

    def write(self, path: Path) -> None:
        """Publishes the file whole or not at all; the same emotions give the same bytes."""
        fitted, described = prior_file.lay_out(self.prior)
        write_arrays(path, {"ids": self.ids, **{name: getattr(self, name) for name in _ARRAYS}, **fitted},
                     {"taxonomy": self.taxonomy, "recipe_id": self.recipe_id, "candidates": self.candidates_digest,
                      "row_recipes": json.dumps(dict(self.row_recipes), sort_keys=True), "prior": described})

    @classmethod
    def read(cls, path: Path) -> "Emotions":
        """Raises SpectrumError, naming the file, where it is missing, damaged or holds anything but such emotions."""
        arrays, attributes = read_arrays(path, {"ids": TEXTS, **_ARRAYS, **prior_file.LAYOUTS}, _ATTRIBUTES)
        if attributes["taxonomy"] not in NAMES:
            raise describe_damage(path, f"its list of emotion words is {attributes['taxonomy']!r:.40}, expected one of "
                                        f"{', '.join(NAMES)}")
        taxonomy = Taxonomy.load(attributes["taxonomy"])
        try:
            row_recipes = _parse_recipes(attributes["row_recipes"])
            prior = prior_file.parse(arrays, attributes["prior"], taxonomy.membership())
        except ValueError as error:
            raise describe_damage(path, str(error)) from None
        emotions = cls(taxonomy=taxonomy.name, recipe_id=attributes["recipe_id"], row_recipes=row_recipes,
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
        return categories, self.prior.estimate_words(categories, self.word_shares[positions], self.counts[positions])


def _parse_recipes(text: str) -> dict[str, str]:
    try:
        recipes = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its row_recipes are no JSON: {error}") from None
    if not isinstance(recipes, dict) or not all(isinstance(recipe, str) for recipe in recipes.values()):
        raise ValueError("its row_recipes are no texts by name")
    return recipes


def _find_problem(emotions: Emotions, taxonomy: Taxonomy) -> str:
    """What is wrong with emotions that were read, in words that follow the file's name; "" where nothing is."""
    captions, videos = len(emotions.rows), len(emotions.ids)
    words, categories = len(taxonomy.words), len(taxonomy.categories)
    modalities = len(emotions.prior.modalities)
    shapes = {"caption_categories": (captions, categories), "word_shares": (videos, words), "counts": (videos,),
              "evidence": (videos, 2 + modalities, categories), "present": (videos, modalities)}
    for name, shape in shapes.items():
        if getattr(emotions, name).shape != shape:
            return f"its {name} have the shape {getattr(emotions, name).shape}, expected {shape}"
    for name in ("caption_categories", "word_shares"):
        probabilities: Floats = getattr(emotions, name)
        if probabilities.size and not 0 <= probabilities.min() <= probabilities.max() <= 1 + _ABOVE_ONE:
            return f"its {name} hold a value that is no probability"
    if videos and emotions.counts.min() < 0:
        return "its counts are not 0 or more"
    if captions and (emotions.rows[0] < 0 or (np.diff(emotions.rows) <= 0).any()):
        return "its rows do not rise from 0 or more"
    if len(set(emotions.ids)) < videos:
        return "a video stands in it twice"
    return ""
