"""emotion.h5: the emotions of candidate captions and the videos' priors, as later stages read them."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.common.commands import rerun
from pipeline.common.hdf5 import TEXTS, Layout, describe_damage, read_arrays, write_arrays
from pipeline.common.ids import find_positions
from pipeline.emotion.probabilities import Floats
from pipeline.emotion.taxonomy import NAMES, Taxonomy

_ARRAYS = {"rows": Layout("int64", rank=1), **dict.fromkeys(
    ("caption_words", "caption_categories", "words", "categories"), Layout("float32", rank=2))}
_ATTRIBUTES = ("taxonomy", "recipe_id", "temperatures", "candidates")
_ABOVE_ONE = 1e-4       # by so much rounding may bring a mean of probabilities above 1


@dataclass(frozen=True)
class Emotions:
    """Emotions of every candidate caption once, and of every video.

    rows [n]: rows of the caption index; caption_words [n, W], caption_categories [n, C]: their probabilities;
    ids, words [V, W], categories [V, C]: the videos' priors. candidates_digest: of the candidates that they were
    estimated from. recipe_id: of estimators, temperatures, encoder;
    temperatures: by estimator, those of calibration, none where it is off.
    """

    taxonomy: str
    recipe_id: str
    candidates_digest: str
    temperatures: Mapping[str, float]
    rows: NDArray[np.int64]
    caption_words: Floats
    caption_categories: Floats
    ids: tuple[str, ...]
    words: Floats
    categories: Floats

    def write(self, path: Path) -> None:
        """Publishes the file whole or not at all; the same emotions give the same bytes."""
        write_arrays(path, {"ids": self.ids, **{name: getattr(self, name) for name in _ARRAYS}},
                     {"taxonomy": self.taxonomy, "recipe_id": self.recipe_id, "candidates": self.candidates_digest,
                      "temperatures": json.dumps(dict(self.temperatures), sort_keys=True)})

    @classmethod
    def read(cls, path: Path) -> "Emotions":
        """Raises SpectrumError, naming the file, where it is missing, damaged or holds anything but such emotions."""
        arrays, attributes = read_arrays(path, {"ids": TEXTS, **_ARRAYS}, _ATTRIBUTES)
        emotions = cls(taxonomy=attributes["taxonomy"], recipe_id=attributes["recipe_id"],
                       candidates_digest=attributes["candidates"],
                       temperatures=_parse_temperatures(path, attributes["temperatures"]), **arrays)
        problem = _find_problem(emotions)
        if problem:
            raise describe_damage(path, problem)
        return emotions

    @staticmethod
    def read_temperatures(path: Path) -> dict[str, float]:
        """The temperatures alone. Raises SpectrumError as `read` does."""
        _, attributes = read_arrays(path, {}, ["temperatures"])
        return _parse_temperatures(path, attributes["temperatures"])

    def select(self, ids: Sequence[str]) -> tuple[Floats, Floats]:
        """Priors of `ids` in that order: categories [V, C], words [V, W]; a missing id is an error."""
        positions = find_positions(ids, self.ids, "emotional prior", rerun("emotion"))
        return self.categories[positions], self.words[positions]


def _parse_temperatures(path: Path, text: str) -> dict[str, float]:
    try:
        temperatures = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise describe_damage(path, f"its temperatures are no JSON: {error}") from None
    if not isinstance(temperatures, dict) or not all(map(_is_temperature, temperatures.values())):
        raise describe_damage(path, "its temperatures are no positive numbers by name")
    return temperatures


def _is_temperature(value: object) -> bool:
    return isinstance(value, float) and math.isfinite(value) and value > 0


def _find_problem(emotions: Emotions) -> str:
    """What is wrong with emotions that were read, in words that follow the file's name; "" where nothing is."""
    if emotions.taxonomy not in NAMES:
        return f"its list of emotion words is {emotions.taxonomy!r:.40}, expected one of {', '.join(NAMES)}"
    taxonomy = Taxonomy.load(emotions.taxonomy)
    captions, videos = len(emotions.rows), len(emotions.ids)
    words, categories = len(taxonomy.words), len(taxonomy.categories)
    shapes = {"caption_words": (captions, words), "caption_categories": (captions, categories),
              "words": (videos, words), "categories": (videos, categories)}
    for name, shape in shapes.items():
        probabilities: Floats = getattr(emotions, name)
        if probabilities.shape != shape:
            return f"its {name} have the shape {probabilities.shape}, expected {shape}"
        if probabilities.size and not 0 <= probabilities.min() <= probabilities.max() <= 1 + _ABOVE_ONE:
            return f"its {name} hold a value that is no probability"
    if captions and (emotions.rows[0] < 0 or (np.diff(emotions.rows) <= 0).any()):
        return "its rows do not rise from 0 or more"
    if len(set(emotions.ids)) < videos:
        return "a video stands in it twice"
    return ""
