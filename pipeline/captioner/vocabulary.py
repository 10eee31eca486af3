"""The words that the captioner can generate, and their ids."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from pipeline.common.errors import SpectrumError
from pipeline.common.text import words

SPECIALS = ("<pad>", "<bos>", "<eos>", "<unk>")
PAD, BOS, EOS, UNK = range(4)


@dataclass(frozen=True)
class Vocabulary:
    """`entries[i]` is the word of id i; the first four are specials, which no word can equal."""

    entries: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.entries[:4] != SPECIALS or len(set(self.entries)) != len(self.entries):
            raise SpectrumError(f"vocabulary: expected {', '.join(SPECIALS)} and then distinct words; "
                                "train the captioner again")

    def __len__(self) -> int:
        return len(self.entries)

    @classmethod
    def build(cls, captions: Iterable[str], min_count: int) -> "Vocabulary":
        """Words that occur at least `min_count` times, frequent ones first, equally frequent ones by name."""
        counts = Counter(word for caption in captions for word in words(caption))
        kept = sorted((word for word in counts if counts[word] >= min_count), key=lambda w: (-counts[w], w))
        if not kept:
            raise SpectrumError(f"vocabulary: no word occurs {min_count} times in the training captions; "
                                "lower captioner.min_word_count")
        return cls(SPECIALS + tuple(kept))

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.entries)}

    def encode(self, sentence: Sequence[str]) -> list[int]:
        """Ids of words, <unk> for those that are not in the vocabulary; nothing is put around them."""
        return [self._ids.get(word, UNK) for word in sentence]

    def decode(self, ids: Sequence[int]) -> str:
        """The sentence of `ids` up to the first <eos>; other special tokens are left out."""
        sentence: list[str] = []
        for number in ids:
            if number == EOS:
                break
            if number >= len(SPECIALS):
                sentence.append(self.entries[number])
        return " ".join(sentence)
