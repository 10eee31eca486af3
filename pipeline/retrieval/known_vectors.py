"""What an index that is there already saves the next one: its captions are not encoded again.

    known = KnownVectors(folder, recipe_id, encoder.precision)
    build_index(sentences, known.filled(texts, encode(known.missing(texts))), recipe_id, folder, encoder.precision)
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.common.errors import SpectrumError
from pipeline.retrieval.index import open_index, read_description, unit_vectors

_PART = 2048        # captions whose vectors are put together at once


class KnownVectors:
    """The vectors of the index in `folder`, by the captions' texts.

    None where there is no index, where it is damaged, or of another text encoder or precision.
    """

    def __init__(self, folder: Path, recipe_id: str, precision: str) -> None:
        self._row_of: dict[str, int] = {}
        try:
            if read_description(folder)["precision"] == precision:
                index = open_index(folder, recipe_id)
                self._row_of = {text: row for row, text in enumerate(index.texts)}
                self._vectors = index.embeddings
        except SpectrumError:
            pass

    def missing(self, texts: Sequence[str]) -> list[str]:
        """Those that have no vector, in their order."""
        return [text for text in texts if text not in self._row_of]

    def filled(self, texts: Sequence[str], found: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        """The vectors of all texts, each of length 1, in parts [n, D]. found: those of the missing ones, in parts of
        any size."""
        parts, rest = iter(found), np.empty((0, 0), np.float32)
        for first in range(0, len(texts), _PART):
            rows = np.array([self._row_of.get(text, -1) for text in texts[first:first + _PART]], np.int64)
            unknown = np.flatnonzero(rows < 0)
            while len(rest) < len(unknown):
                part = unit_vectors(next(parts), "captions")
                rest = np.concatenate([rest, part]) if len(rest) else part
            new, rest = rest[:len(unknown)], rest[len(unknown):]
            if len(unknown) == len(rows):
                yield new
            else:
                vectors = self._vectors[np.maximum(rows, 0)]
                if len(unknown):
                    vectors[unknown] = new
                yield vectors
