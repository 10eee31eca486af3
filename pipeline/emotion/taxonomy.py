"""Emotion words and the 34 categories after Plutchik that they stand for.

Two lists are in use, and both are field conventions: `evc-179`, the default of the emotion metrics, and
`ft-161`, which lacks 18 of its words. Odd spellings (`sacredly`, `uglily`, `loathly`) are part of both and
kept for parity. Four words stand in two categories; where one has to be chosen, it is the alphabetically
first.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.common.errors import SpectrumError
from pipeline.common.files import read_json

Tokens = str | Sequence[str]  # a prepared caption: its tokens, or one string of them with spaces between

NAMES = ("evc-179", "ft-161")
_WORDS = Path(__file__).with_name("words.json")


@dataclass(frozen=True, eq=False)
class Taxonomy:
    """One list: every category (alphabetical) with its words, which are whole lower-case tokens."""

    name: str
    category_words: Mapping[str, tuple[str, ...]]

    @staticmethod
    def load(name: str) -> "Taxonomy":
        """The list called `name`; raises SpectrumError for a name that is not in NAMES."""
        return _load(name)

    @cached_property
    def categories(self) -> tuple[str, ...]:
        return tuple(sorted(self.category_words))

    @cached_property
    def words(self) -> tuple[str, ...]:
        """Every word once, in alphabetical order."""
        return tuple(sorted(self._categories_of))

    def categories_of(self, word: str) -> tuple[str, ...]:
        """The categories that `word` stands for, alphabetical; empty where it is no emotion word."""
        return self._categories_of.get(word, ())

    def first_category(self, word: str) -> str | None:
        """The category that a generated `word` counts for, or None."""
        categories = self.categories_of(word)
        return categories[0] if categories else None

    def predicted_categories(self, tokens: Tokens) -> frozenset[str]:
        """The categories that a generated caption counts for: the first of every emotion word in it."""
        firsts = (self.first_category(token) for token in _split(tokens))
        return frozenset(category for category in firsts if category is not None)

    def reference_categories(self, references: Iterable[Tokens]) -> frozenset[str]:
        """All categories of all emotion words in all references of a video."""
        return frozenset(category for reference in references for token in _split(reference)
                         for category in self.categories_of(token))

    def membership(self) -> npt.NDArray[np.bool_]:
        """`[34, W]`: whether the row's category (of `categories`) holds the column's word (of `words`)."""
        return np.array([[word in self.category_words[category] for word in self.words]
                         for category in self.categories])

    @cached_property
    def _categories_of(self) -> dict[str, tuple[str, ...]]:
        categories: dict[str, tuple[str, ...]] = {}
        for category in self.categories:
            for word in self.category_words[category]:
                categories[word] = (*categories.get(word, ()), category)
        return categories


def _split(tokens: Tokens) -> Sequence[str]:
    return tokens.split() if isinstance(tokens, str) else tokens


@cache
def _load(name: str) -> Taxonomy:
    if name not in NAMES:
        raise SpectrumError(f"{name!r}: no such list of emotion words; expected one of {', '.join(NAMES)}")
    tree = read_json(_WORDS)
    left_out = set(tree["only_in_evc_179"]) if name == "ft-161" else set()
    return Taxonomy(name, {category: tuple(word for word in words if word not in left_out)
                           for category, words in sorted(tree["categories"].items())})
