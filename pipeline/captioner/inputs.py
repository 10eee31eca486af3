"""What the captioner reads of a video: rows of every modality with their masks, and the emotional prior."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from hashlib import blake2b, sha256
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.common.errors import SpectrumError
from pipeline.common.text import words as words_of

_BLOCK = 1 << 13        # padded rows of a modality that are looked at together when all videos are

Index = Tensor | NDArray[np.int64] | Sequence[int]


class InputSource(Protocol):
    """Videos whose inputs are there in memory (`Inputs`) or are read when they are asked for (`StoredInputs`)."""

    @property
    def ids(self) -> tuple[str, ...]: ...

    @property
    def dims(self) -> dict[str, int]:
        """Dimension of a row of every modality that some video has."""
        ...

    @property
    def slots(self) -> dict[str, int]:
        """Rows that a video has at most of every modality that some video has."""
        ...

    def __len__(self) -> int: ...

    def select(self, index: Index) -> "Inputs":
        """The videos at `index`, in its order."""
        ...

    def prepare(self, index: Index) -> None:
        """A `select` of this index comes next: what has to be read may be read beside what goes on."""
        ...

    def blocks(self) -> list[NDArray[np.int64]]:
        """All videos in parts that are small enough to be looked at one after the other."""
        ...

    def first(self, count: int) -> "InputSource":
        """The first so many videos."""
        ...

    def without_rows(self) -> "InputSource":
        """The same videos with rows of no column, where masks, words and priors are all that is needed."""
        ...

    def with_priors(self, categories: Tensor, words: Tensor) -> "InputSource": ...

    def to(self, device: torch.device | str) -> "InputSource": ...

    def digest(self) -> str:
        """Stands for everything that the captioner reads of them."""
        ...


@dataclass(frozen=True)
class Modality:
    """Feature rows of V videos. Where the mask is False is no row; a video without any lacks the modality.

    Rows that are captions come with the keys (`word_key`) of their words in order, 0 behind the last, and with their
    similarity to the video.
    """

    rows: Tensor                    # [V, T, D] floating point
    mask: Tensor                    # [V, T] bool
    words: Tensor | None = None     # [V, T, L] int64
    scores: Tensor | None = None    # [V, T] floating point

    def __post_init__(self) -> None:
        if self.rows.dim() != 3 or self.mask.shape != self.rows.shape[:2] or self.mask.dtype != torch.bool:
            raise SpectrumError(f"modality: expected rows [V, T, D] and a boolean mask [V, T], found "
                                f"{list(self.rows.shape)} and {self.mask.dtype} {list(self.mask.shape)}")
        if self.words is not None and (self.words.dim() != 3 or self.words.shape[:2] != self.mask.shape):
            raise SpectrumError(f"modality: expected word keys {list(self.mask.shape)} and one more dimension, found "
                                f"{list(self.words.shape)}")
        if self.scores is not None and self.scores.shape != self.mask.shape:
            raise SpectrumError(f"modality: expected a similarity for each row {list(self.mask.shape)}, found "
                                f"{list(self.scores.shape)}")

    @property
    def dim(self) -> int:
        return self.rows.shape[2]

    @property
    def slots(self) -> int:
        return self.rows.shape[1]

    def select(self, index: Tensor) -> "Modality":
        return self._each(lambda tensor: tensor[index])

    def to(self, device: torch.device | str) -> "Modality":
        return self._each(lambda tensor: tensor.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Modality":
        return Modality(change(self.rows), change(self.mask), None if self.words is None else change(self.words),
                        None if self.scores is None else change(self.scores))


@dataclass(frozen=True)
class Inputs:
    """V videos. `modalities` holds appearance; audio, motion and text (embedded candidates) where there are any.

    `prior_categories` [V, C] and `prior_words` [V, W] follow the order of the taxonomy's categories and
    words.
    """

    ids: tuple[str, ...]
    modalities: dict[str, Modality]
    prior_categories: Tensor
    prior_words: Tensor

    def __post_init__(self) -> None:
        videos = len(self.ids)
        lengths = {"prior_categories": len(self.prior_categories), "prior_words": len(self.prior_words)}
        lengths |= {name: len(modality.rows) for name, modality in self.modalities.items()}
        for name, length in lengths.items():
            if length != videos:
                raise SpectrumError(f"{name}: expected one entry for each of {videos} videos, found {length}")
        frames = self.modalities.get("appearance")
        refuse_blind(self.ids, None if frames is None else frames.mask.any(1).cpu().numpy())

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def dims(self) -> dict[str, int]:
        return {name: modality.dim for name, modality in self.modalities.items() if modality.mask.any()}

    @property
    def slots(self) -> dict[str, int]:
        return {name: modality.slots for name, modality in self.modalities.items() if modality.mask.any()}

    def select(self, index: Index) -> "Inputs":
        """The videos at `index`, in its order."""
        chosen = torch.as_tensor(index, dtype=torch.long)
        on_device = chosen.to(self.prior_words.device)
        return Inputs(
            tuple(self.ids[i] for i in chosen.tolist()),
            {name: modality.select(on_device) for name, modality in self.modalities.items()},
            self.prior_categories[on_device], self.prior_words[on_device],
        )

    def to(self, device: torch.device | str) -> "Inputs":
        return Inputs(self.ids, {name: modality.to(device) for name, modality in self.modalities.items()},
                      self.prior_categories.to(device), self.prior_words.to(device))

    def prepare(self, index: Index) -> None:
        """Nothing is to be read."""

    def blocks(self) -> list[NDArray[np.int64]]:
        return cut_blocks(np.full(len(self), max(modality.slots for modality in self.modalities.values())))

    def first(self, count: int) -> "Inputs":
        return self.select(range(count))

    def without_rows(self) -> "Inputs":
        return replace(self, modalities={name: replace(modality, rows=modality.rows[..., :0])
                                         for name, modality in self.modalities.items()})

    def with_priors(self, categories: Tensor, words: Tensor) -> "Inputs":
        return replace(self, prior_categories=categories, prior_words=words)

    def digest(self) -> str:
        tensors = {"prior_categories": self.prior_categories, "prior_words": self.prior_words}
        for name, modality in sorted(self.modalities.items()):
            tensors |= {f"{name} {part}": tensor for part, tensor in vars(modality).items() if tensor is not None}
        return digest_of(self.ids, {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()})


def refuse_blind(ids: Sequence[str], seen: NDArray[np.bool_] | None) -> None:
    """Raises SpectrumError for a video without frames. seen: which videos have some, [V]; None: none has."""
    if seen is None:
        raise SpectrumError("appearance: the captioner needs picture features of every video; found none")
    blind = np.flatnonzero(~seen)
    if len(blind):
        raise SpectrumError(f"video {ids[blind[0]]!r}: no appearance rows ({len(blind)} such "
                            "videos); extract its features again or leave it out")


def select_blocks(source: InputSource) -> Iterator[tuple[NDArray[np.int64], Inputs]]:
    """All videos of `source`, part by part, with their indices."""
    blocks = source.blocks()
    for block, following in zip(blocks, [*blocks[1:], None], strict=True):
        selected = source.select(block)
        if following is not None:
            source.prepare(following)
        yield block, selected


def cut_blocks(slots: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Indices of videos of so many rows each [V], in parts that are few enough rows when padded."""
    blocks, first, widest = [], 0, 0
    for number, own in enumerate(slots.tolist()):
        if number > first and max(widest, own) * (number + 1 - first) > _BLOCK:
            blocks.append(np.arange(first, number))
            first, widest = number, 0
        widest = max(widest, own)
    return [*blocks, np.arange(first, len(slots))] if len(slots) else []


def digest_of(ids: Sequence[str], arrays: "dict[str, NDArray[np.generic]]") -> str:
    """Stands for these arrays of these videos."""
    digest = sha256(json.dumps(ids).encode())
    for name, array in arrays.items():
        digest.update(f"{name} {array.dtype} {list(array.shape)}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def pack(rows: Tensor | np.ndarray, offsets: Tensor | np.ndarray, slots: int | None = None) -> Modality:
    """Padded rows of n videos out of packed `rows` [ΣT, D]; video i owns rows offsets[i] : offsets[i + 1].

    They are padded to `slots`, or to the most that a video has. A video with no rows becomes an all-False mask row. The
    rows keep their dtype and device.
    """
    packed = torch.as_tensor(rows)
    bounds = torch.as_tensor(np.asarray(offsets).astype(np.int64))
    lengths = bounds.diff()
    if packed.dim() != 2 or bounds[0] != 0 or bounds[-1] != len(packed) or (lengths < 0).any():
        raise SpectrumError(f"packed features: offsets {bounds[0]}…{bounds[-1]} do not fit rows "
                            f"{list(packed.shape)}; extract the features again")
    if slots is None:
        slots = int(lengths.max()) if len(lengths) else 0
    mask = torch.arange(slots) < lengths[:, None]                               # [n, T]
    place = torch.nonzero(mask.flatten()).flatten().to(packed.device)           # [ΣT]
    padded = packed.new_zeros(len(lengths) * slots, packed.shape[1]).index_copy_(0, place, packed)
    return Modality(padded.view(len(lengths), slots, -1) if slots else padded.view(len(lengths), 0, packed.shape[1]),
                    mask.to(packed.device))


@cache
def word_key(word: str) -> int:
    """A positive number that stands for `word` in tensors: the same in every run, without a table of all words."""
    return int.from_bytes(blake2b(word.encode(), digest_size=8).digest(), "big") >> 1 or 1


def word_keys(texts: Sequence[Sequence[str]]) -> Tensor:
    """[V, K, L] keys of the words of K texts a video in their order, 0 behind the last."""
    keys = [[[word_key(word) for word in words_of(text)] for text in video] for video in texts]
    longest = max((len(text) for video in keys for text in video), default=0)
    padded = np.zeros((len(keys), max(map(len, keys), default=0), longest), np.int64)
    for video, own in enumerate(keys):
        for position, text in enumerate(own):
            padded[video, position, :len(text)] = text
    return torch.from_numpy(padded)
