"""Inputs that lie in the stores: what a batch reads of them is gathered when the batch is asked for.

Rows stay packed, as many as a video has, in the store's own float16. Those that fit a budget are resident: in memory,
on a GPU in its memory. Others are read from the shards, batch by batch, the next batch while one is computed. What is
computed is the same: a batch is padded to a number of rows that its videos alone decide.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.captioner.inputs import (
    Index,
    Inputs,
    Modality,
    cut_blocks,
    digest_of,
    pack,
    refuse_blind,
    word_keys,
)
from pipeline.retrieval.index import CaptionIndex
from pipeline.store.feature_store import FeatureStore

_FEWEST_SLOTS = 32      # that a batch is padded to, where some video of the set has as many

_CPU = torch.device("cpu")

Indices = NDArray[np.int64]


class StoredModality(Protocol):
    """One modality of V videos."""

    @property
    def lengths(self) -> Indices: ...       # [V] rows a video

    @property
    def dim(self) -> int: ...

    def select(self, videos: Indices) -> Modality: ...

    def first(self, count: int) -> "StoredModality": ...

    def without_rows(self) -> "StoredModality": ...

    def to(self, device: torch.device) -> "StoredModality": ...

    def digest(self) -> str: ...


@dataclass(frozen=True)
class StoredRows:
    """Rows of a feature store. `resident` [ΣT, D] has them all, one video after the other; without it they are read."""

    store: FeatureStore
    ids: tuple[str, ...]
    lengths: Indices            # [V], 0 of a video that lacks the modality
    most: int                   # rows that a batch is padded to at most
    dim: int
    resident: Tensor | None = None
    device: torch.device = _CPU

    @classmethod
    def of(cls, store: FeatureStore, ids: Sequence[str], lengths: Indices, resident: bool) -> "StoredRows":
        rows = cls(store, tuple(ids), lengths, int(lengths.max(initial=0)), store.dim)
        return replace(rows, resident=rows._read(np.arange(len(ids)))) if resident else rows

    @cached_property
    def _first(self) -> Indices:
        return self.lengths.cumsum() - self.lengths

    def select(self, videos: Indices) -> Modality:
        lengths = self.lengths[videos]
        offsets = np.concatenate([[0], lengths.cumsum()])
        slots = padded_slots(int(lengths.max(initial=0)), self.most)
        if self.dim == 0:
            return pack(torch.zeros(int(offsets[-1]), 0), offsets, slots).to(self.device)
        return pack(self._gather(videos, offsets).float(), offsets, slots)

    def _gather(self, videos: Indices, offsets: Indices) -> Tensor:
        """[ΣT, D] of these videos, on the device."""
        if self.resident is None:
            rows = self._read(videos)
            return rows if self.device.type == "cpu" else rows.pin_memory().to(self.device, non_blocking=True)
        lengths = np.diff(offsets)
        numbers = np.arange(offsets[-1]) + np.repeat(self._first[videos] - offsets[:-1], lengths)
        return self.resident.index_select(0, torch.from_numpy(numbers).to(self.device))

    def _read(self, videos: Indices) -> Tensor:
        return torch.from_numpy(self.store.load([self.ids[video] for video in videos if self.lengths[video]])[0])

    def first(self, count: int) -> "StoredRows":
        resident = None if self.resident is None else self.resident[:self.lengths[:count].sum()]
        return replace(self, ids=self.ids[:count], lengths=self.lengths[:count], resident=resident)

    def without_rows(self) -> "StoredRows":
        return replace(self, resident=None, dim=0)

    def to(self, device: torch.device) -> "StoredRows":
        return replace(self, resident=None if self.resident is None else self.resident.to(device), device=device)

    @cached_property
    def _digest(self) -> str:
        digest = sha256(digest_of(self.ids, {"lengths": self.lengths}).encode())
        for block in cut_blocks(self.lengths):
            digest.update(self._gather(block, np.concatenate([[0], self.lengths[block].cumsum()])).cpu().numpy().data)
        return digest.hexdigest()

    def digest(self) -> str:
        return self._digest


@dataclass(frozen=True)
class CandidateRows:
    """K candidates a video, rows of the caption index: `table` [M, D] are its vectors, `words` [U, L] the word keys of
    the U captions that are a candidate of some video."""

    table: NDArray[np.float32] | Tensor
    rows: Indices               # [V, K] of the table
    words: Tensor
    numbers: Indices            # [V, K] of `words`
    scores: Tensor              # [V, K]
    origin: str                 # stands for the index
    resident: bool
    dim: int
    device: torch.device = _CPU

    @classmethod
    def of(cls, index: CaptionIndex, rows: Indices, scores: NDArray[np.float32], resident: bool) -> "CandidateRows":
        distinct, numbers = np.unique(rows, return_inverse=True)
        words = word_keys([[index.texts[row] for row in distinct]])[0]
        return cls(index.embeddings, rows, words, numbers.reshape(rows.shape), torch.from_numpy(scores), index.digest,
                   resident, index.embeddings.shape[1])

    @property
    def lengths(self) -> Indices:
        return np.full(len(self.rows), self.rows.shape[1])

    def select(self, videos: Indices) -> Modality:
        rows = self.rows[videos]
        if self.dim == 0:
            found = torch.zeros(*rows.shape, 0)
        elif isinstance(self.table, Tensor):
            found = self.table[torch.from_numpy(rows).to(self.device)]
        else:
            found = torch.from_numpy(self.table[rows])
        words = self.words[torch.from_numpy(self.numbers[videos]).to(self.words.device)]
        chosen = Modality(found, torch.ones(rows.shape, dtype=torch.bool), words, self.scores[torch.from_numpy(videos)])
        return chosen.to(self.device)

    def first(self, count: int) -> "CandidateRows":
        return replace(self, rows=self.rows[:count], numbers=self.numbers[:count], scores=self.scores[:count])

    def without_rows(self) -> "CandidateRows":
        return replace(self, dim=0)

    def to(self, device: torch.device) -> "CandidateRows":
        """On a GPU the vectors of the candidates are there once, where they are resident."""
        if device.type == "cpu" or not self.resident or isinstance(self.table, Tensor):
            return replace(self, device=device)
        distinct = np.unique(self.rows)
        return replace(self, table=torch.from_numpy(self.table[distinct]).to(device), rows=self.numbers,
                       words=self.words.to(device), device=device)

    def digest(self) -> str:
        return digest_of((self.origin,), {"rows": self.rows, "words": self.words.cpu().numpy(),
                                          "scores": self.scores.numpy()})


@dataclass(frozen=True)
class StoredInputs:
    """V videos. `prior_categories` [V, C] and `prior_words` [V, W] as of `Inputs`."""

    ids: tuple[str, ...]
    modalities: Mapping[str, StoredModality]
    prior_categories: Tensor
    prior_words: Tensor
    device: torch.device = _CPU

    def __post_init__(self) -> None:
        frames = self.modalities.get("appearance")
        refuse_blind(self.ids, None if frames is None else frames.lengths > 0)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def dims(self) -> dict[str, int]:
        return {name: modality.dim for name, modality in self.modalities.items() if modality.lengths.any()}

    @property
    def slots(self) -> dict[str, int]:
        return {name: int(modality.lengths.max()) for name, modality in self.modalities.items()
                if modality.lengths.any()}

    def select(self, index: Index) -> Inputs:
        chosen = np.asarray(index, np.int64)
        prepared = self._reader.take(chosen)
        return self._select(chosen) if prepared is None else prepared

    def _select(self, chosen: Indices) -> Inputs:
        on_device = torch.from_numpy(chosen).to(self.device)
        return Inputs(tuple(self.ids[video] for video in chosen),
                      {name: modality.select(chosen) for name, modality in self.modalities.items()},
                      self.prior_categories[on_device], self.prior_words[on_device])

    @cached_property
    def _reader(self) -> "_Reader":
        streamed = any(isinstance(modality, StoredRows) and modality.dim and modality.resident is None
                       for modality in self.modalities.values())
        return _Reader(self._select if streamed else None)

    def prepare(self, index: Index) -> None:
        self._reader.begin(np.asarray(index, np.int64))

    def blocks(self) -> list[Indices]:
        return cut_blocks(np.max([modality.lengths for modality in self.modalities.values()], 0))

    def first(self, count: int) -> "StoredInputs":
        return replace(self._each(lambda modality: modality.first(count)), ids=self.ids[:count],
                       prior_categories=self.prior_categories[:count], prior_words=self.prior_words[:count])

    def without_rows(self) -> "StoredInputs":
        return self._each(lambda modality: modality.without_rows())

    def with_priors(self, categories: Tensor, words: Tensor) -> "StoredInputs":
        return replace(self, prior_categories=categories, prior_words=words)

    def to(self, device: torch.device | str) -> "StoredInputs":
        device = torch.device(device)
        moved = self._each(lambda modality: modality.to(device))
        return replace(moved, prior_categories=self.prior_categories.to(device),
                       prior_words=self.prior_words.to(device), device=device)

    def _each(self, change: Callable[[StoredModality], StoredModality]) -> "StoredInputs":
        return replace(self, modalities={name: change(modality) for name, modality in self.modalities.items()})

    def digest(self) -> str:
        parts = [f"{name} {modality.digest()}" for name, modality in sorted(self.modalities.items())]
        return digest_of((*self.ids, *parts), {"prior_categories": self.prior_categories.cpu().numpy(),
                                               "prior_words": self.prior_words.cpu().numpy()})


class _Reader:
    """Reads one batch ahead in a thread; does nothing where nothing is to be read."""

    def __init__(self, read: Callable[[Indices], Inputs] | None) -> None:
        self._read = read
        self._threads: ThreadPoolExecutor | None = None
        self._next: tuple[Indices, Future[Inputs]] | None = None

    def begin(self, chosen: Indices) -> None:
        if self._read is not None:
            self._threads = self._threads or ThreadPoolExecutor(1, "next batch")
            self._next = chosen, self._threads.submit(self._read, chosen)

    def take(self, chosen: Indices) -> Inputs | None:
        """The batch that was begun, where it is this one."""
        ahead, self._next = self._next, None
        return ahead[1].result() if ahead is not None and np.array_equal(ahead[0], chosen) else None


def padded_slots(longest: int, most: int) -> int:
    """Rows that a batch is padded to whose longest video has `longest`, in a set whose longest has `most`.

    It is the next power of two, so that batches have few shapes. Sets of up to 32 rows a video have one shape.
    """
    return min(most, max(_FEWEST_SLOTS, 1 << (longest - 1).bit_length() if longest else 0))
