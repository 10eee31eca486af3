"""N-grams of many sentences at once: each is known by a key, a 64-bit hash of its words and their order."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]
Numbers = NDArray[np.int64]

_STEP = np.uint64(0x9E3779B97F4A7C15)       # odd, so that an n-gram's words and their order make its key


def ngram_keys(words: Numbers, lengths: Numbers, n: int) -> tuple[Numbers, Keys]:
    """Where the n-grams of sentences of these lengths begin among their words, numbers from 1, and their keys."""
    left = np.repeat(lengths.cumsum(), lengths) - np.arange(len(words))         # words from here to the sentence's end
    begins = np.flatnonzero(left >= n)
    keys = np.zeros(len(begins), np.uint64)
    for offset in range(n):
        keys = keys * _STEP + words[begins + offset].astype(np.uint64)           # modulo 2^64
    return begins, keys


@dataclass(frozen=True)
class CountedNgrams:
    """Distinct n-grams of sentences, sorted by sentence and key."""

    sentence: Numbers       # [G]
    key: Keys               # [G]
    count: Numbers          # [G]


def counted_ngrams(sentences: Sequence[Numbers], n: int) -> CountedNgrams:
    """Every run of `n` words of every sentence, counted."""
    lengths = np.array([len(ids) for ids in sentences], np.int64)
    begins, keys = ngram_keys(np.concatenate([*sentences, np.zeros(0, np.int64)]), lengths, n)
    owner = np.repeat(np.arange(len(sentences)), lengths)
    order = np.lexsort((keys, owner[begins]))
    owner, keys = owner[begins][order], keys[order]
    new = np.ones(len(keys), bool)
    new[1:] = (owner[1:] != owner[:-1]) | (keys[1:] != keys[:-1])
    count = np.diff(np.append(np.flatnonzero(new), len(keys)))
    return CountedNgrams(owner[new], keys[new], count)


def ragged_entries(bounds: Numbers, rows: Numbers) -> tuple[Numbers, Numbers]:
    """Row r of a ragged table has the entries bounds[r] to bounds[r + 1]. Of all `rows`, one after the other: each
    entry, and the place among `rows` that it belongs to, as (place, entry)."""
    many = bounds[rows + 1] - bounds[rows]
    place = np.repeat(np.arange(len(rows)), many)
    return place, np.repeat(bounds[rows] - (many.cumsum() - many), many) + np.arange(many.sum())


def find_sorted(table: NDArray[np.generic], wanted: NDArray[np.generic]) -> tuple[Numbers, NDArray[np.bool_]]:
    """Where each of `wanted` stands, or would stand, in the sorted `table`, and whether it is there."""
    at = np.searchsorted(table, wanted)
    there = at < len(table)
    there[there] = table[at[there]] == wanted[there]
    return at, there
