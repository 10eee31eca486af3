"""What a data set is to the rest: videos with their splits, captions, and the captions to retrieve from.

A folder holds `videos.jsonl` {id, path, split}, `captions.jsonl` {video_id, text} and `corpus.jsonl`
{video_id, text}: the captions that candidates are retrieved from, usually those of the training split.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from pipeline.errors import SpectrumError
from pipeline.files import read_jsonl, write_jsonl
from pipeline.text import clean

# A video of `predict` has no captions: it is captioned and shown, never trained on or scored.
Split = Literal["train", "validation", "test", "predict"]
SPLITS: tuple[Split, ...] = get_args(Split)


@dataclass(frozen=True)
class Video:
    id: str
    path: str           # relative to the project's root, or absolute
    split: Split


@dataclass(frozen=True)
class Caption:
    video_id: str
    text: str           # one clean line


@dataclass(frozen=True)
class Manifest:
    """A checked data set: ids are unique, every caption has its video, every video but those of `predict` a caption."""

    videos: tuple[Video, ...]
    captions: tuple[Caption, ...]
    corpus: tuple[Caption, ...] = field(repr=False)

    @cached_property
    def split_of(self) -> dict[str, Split]:
        return {video.id: video.split for video in self.videos}

    @cached_property
    def captions_of(self) -> dict[str, list[str]]:
        """Every video's captions, in the manifest's order; an empty list where it has none."""
        captions: dict[str, list[str]] = {video.id: [] for video in self.videos}
        for caption in self.captions:
            captions[caption.video_id].append(caption.text)
        return captions

    def ids(self, *splits: Split) -> list[str]:
        """Ids of the videos in `splits` (all of them if none is given), in the manifest's order."""
        return [video.id for video in self.videos if not splits or video.split in splits]

    def counts(self) -> dict[str, dict[str, int]]:
        videos = Counter(video.split for video in self.videos)
        captions = Counter(self.split_of[caption.video_id] for caption in self.captions)
        return {split: {"videos": videos[split], "captions": captions[split]} for split in SPLITS if videos[split]}

    def write(self, folder: Path) -> None:
        write_jsonl(folder / "videos.jsonl", (vars(video) for video in self.videos))
        write_jsonl(folder / "captions.jsonl", (vars(caption) for caption in self.captions))
        write_jsonl(folder / "corpus.jsonl", (vars(caption) for caption in self.corpus))

    @classmethod
    def load(cls, folder: Path) -> "Manifest":
        """The manifest in `folder`. Raises SpectrumError naming the file and line of what is wrong."""
        videos, captions, corpus = (folder / f"{name}.jsonl" for name in ("videos", "captions", "corpus"))
        return check(
            [(f"{videos}, line {n}", _row(Video, row, f"{videos}, line {n}")) for n, row in read_jsonl(videos)],
            [(f"{captions}, line {n}", _row(Caption, row, f"{captions}, line {n}"))
             for n, row in read_jsonl(captions)],
            [(f"{corpus}, line {n}", _row(Caption, row, f"{corpus}, line {n}")) for n, row in read_jsonl(corpus)],
        )


def check(
    videos: Iterable[tuple[str, Video]],
    captions: Iterable[tuple[str, Caption]],
    corpus: Iterable[tuple[str, Caption]],
) -> Manifest:
    """A manifest of rows that each come with the place they were read from, for the errors to name."""
    seen: dict[str, tuple[str, Video]] = {}
    for place, video in videos:
        if video.split not in SPLITS:
            raise SpectrumError(f"{place}: video {video.id!r} has split {video.split!r}; expected one of {SPLITS}")
        if video.id != clean(video.id) or not video.id:
            raise SpectrumError(f"{place}: {video.id!r} is no id: ids are one line without outer spaces")
        if video.id in seen:
            first, other = seen[video.id]
            what = "of two splits" if other.split != video.split else "twice"
            raise SpectrumError(f"{place}: video {video.id!r} is there {what} (first in {first}); ids are unique")
        seen[video.id] = (place, video)
    if not seen:
        raise SpectrumError("the data set has no videos")

    kept: list[Caption] = []
    captioned: set[str] = set()
    for place, caption in captions:
        if caption.video_id not in seen:
            raise SpectrumError(f"{place}: caption of the unknown video {caption.video_id!r}")
        if seen[caption.video_id][1].split == "predict":
            raise SpectrumError(f"{place}: video {caption.video_id!r} has a caption but is of split predict")
        kept.append(_cleaned(place, caption))
        captioned.add(caption.video_id)
    for place, video in seen.values():
        if video.split != "predict" and video.id not in captioned:
            raise SpectrumError(f"{place}: video {video.id!r} of split {video.split} has no caption; "
                                "give it one or put it in split predict")
    candidates = tuple(_cleaned(place, caption) for place, caption in corpus)
    return Manifest(tuple(video for _, video in seen.values()), tuple(kept), candidates)


def _cleaned(place: str, caption: Caption) -> Caption:
    text = clean(caption.text)
    if not text:
        raise SpectrumError(f"{place}: empty caption of video {caption.video_id!r}")
    return Caption(caption.video_id, text)


def _row(kind: type, row: Any, place: str) -> Any:
    fields = kind.__dataclass_fields__  # type: ignore[attr-defined]
    if not isinstance(row, dict) or set(row) != set(fields) or not all(isinstance(row[f], str) for f in fields):
        raise SpectrumError(f"{place}: expected an object of the strings {sorted(fields)}, found {row!r:.200}")
    return kind(**row)
