"""What an index that is there already saves the next one: its captions are not encoded again."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.common.errors import SpectrumError
from pipeline.retrieval.index import open_index, read_description, unit_vectors

Encode = Callable[[Sequence[str]], NDArray[np.float32]]


class KnownVectors:
    """The vectors of the index in `folder`, by the captions' texts.

    None where there is no index, where it is damaged, or of another text encoder or precision.
    """

    def __init__(self, folder: Path, recipe_id: str, precision: str) -> None:
        self.encoded = 0        # texts that it did not have
        self._row_of: dict[str, int] = {}
        try:
            if read_description(folder)["precision"] == precision:
                index = open_index(folder, recipe_id)
                self._row_of = {text: row for row, text in enumerate(index.texts)}
                self._vectors = index.embeddings
        except SpectrumError:
            pass

    def complete(self, texts: Sequence[str], encode: Encode) -> NDArray[np.float32]:
        """[n, D], each of length 1; `encode` is asked for those that are not known."""
        rows = np.array([self._row_of.get(text, -1) for text in texts], np.int64)
        missing = np.flatnonzero(rows < 0)
        if not len(missing):
            return self._vectors[rows]
        self.encoded += len(missing)
        found = unit_vectors(encode([texts[place] for place in missing.tolist()]), "captions")
        if len(missing) == len(texts):
            return found
        vectors = self._vectors[np.maximum(rows, 0)]
        vectors[missing] = found
        return vectors
