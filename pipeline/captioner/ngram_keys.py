"""N-grams of many sentences at once: each is known by a key, a 64-bit hash of its words and their order."""

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


def find_sorted(table: NDArray[np.generic], wanted: NDArray[np.generic]) -> tuple[Numbers, NDArray[np.bool_]]:
    """Where each of `wanted` stands, or would stand, in the sorted `table`, and whether it is there."""
    at = np.searchsorted(table, wanted)
    there = at < len(table)
    there[there] = table[at[there]] == wanted[there]
    return at, there
