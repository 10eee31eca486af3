"""The videos of a split with their captions and candidates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.captioner.inputs import InputSource
from pipeline.common.errors import SpectrumError
from pipeline.common.text import words


@dataclass(frozen=True)
class Split:
    """Videos with their captions: `captions[i]` are those of `inputs.ids[i]`, and so are `candidates[i]`.

    Candidates are needed where captions are generated: the rerankers read them.
    """

    inputs: InputSource
    captions: tuple[tuple[str, ...], ...]
    candidates: tuple[tuple[str, ...], ...] = ()

    @classmethod
    def of(cls, name: str, inputs: InputSource, captions: Mapping[str, Sequence[str]],
           candidates: Sequence[Sequence[str]] = ()) -> "Split":
        """The split `name` with the captions by video id. Captions without a word are left out.

        Raises SpectrumError for a video that has no other.
        """
        kept = tuple(tuple(text for text in captions.get(video, ()) if words(text)) for video in inputs.ids)
        empty = [video for video, texts in zip(inputs.ids, kept, strict=True) if not texts]
        if empty:
            raise SpectrumError(f"video {empty[0]!r}: no {name} caption with a word in it ({len(empty)} such videos); "
                                "give it one or leave it out")
        return cls(inputs, kept, tuple(map(tuple, candidates)))
