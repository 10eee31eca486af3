"""What a data set is to the rest: videos with their splits, captions, and the captions to retrieve from.

A folder holds `videos.jsonl` {id, path, split} and maybe {names}, `captions.jsonl` {video_id, text} and
`corpus.jsonl` {video_id, text}: the captions that candidates are retrieved from, usually those of the training split.
`manifest.json`, published last, has the SHA-256 of each: a file that was changed, damaged or half replaced is noticed.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from pipeline.common.commands import rerun
from pipeline.common.errors import SpectrumError
from pipeline.common.files import read_json, read_jsonl, sha256, write_json, write_jsonl
from pipeline.common.text import clean, has_lone_surrogates, is_one_run, run_without_spaces, words

# A video of `pretrain` is for the encoder that is trained here, and for nothing else. One of `predict` has no captions:
# it is captioned and shown, never trained on or scored.
Split = Literal["pretrain", "train", "validation", "test", "predict"]
SPLITS: tuple[Split, ...] = get_args(Split)
_NEEDED: tuple[Split, ...] = ("train", "validation", "test")     # by training and evaluation
_FILES = ("videos", "captions", "corpus")
_CHECKSUMS = "manifest.json"


@dataclass(frozen=True)
class Video:
    id: str
    path: str                       # relative to the project's root, or absolute; "" where features are imported
    split: Split
    names: tuple[str, ...] = ()     # what else its owners' files and published features call it


@dataclass(frozen=True, slots=True)
class Caption:
    video_id: str
    text: str           # one clean line


@dataclass(frozen=True)
class Manifest:
    """A checked data set: ids and names are unique, every caption has its video, every video but those of
    `predict` has a caption."""

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

    @cached_property
    def id_of(self) -> dict[str, str]:
        """The id behind every name that a video goes by, its id among them: what keys of published files mean."""
        return {name: video.id for video in self.videos for name in (video.id, *video.names)}

    @cached_property
    def extracted(self) -> tuple[Video, ...]:
        """The videos that have features: all but those of `pretrain`, which only an encoder learns from."""
        return tuple(video for video in self.videos if video.split != "pretrain")

    def ids(self, *splits: Split) -> list[str]:
        """Ids of the videos in `splits` (all of them if none is given), in the manifest's order."""
        return [video.id for video in self.videos if not splits or video.split in splits]

    def counts(self) -> dict[str, dict[str, int]]:
        videos = Counter(video.split for video in self.videos)
        captions = Counter(self.split_of[caption.video_id] for caption in self.captions)
        return {split: {"videos": videos[split], "captions": captions[split]} for split in SPLITS if videos[split]}

    def caption_counts(self) -> dict[str, int]:
        """Captions, those that repeat an earlier one of the same video, those with a character outside ASCII."""
        seen = {(caption.video_id, caption.text) for caption in self.captions}
        return {"all": len(self.captions), "repeated": len(self.captions) - len(seen),
                "not_ascii": sum(not caption.text.isascii() for caption in self.captions)}

    def unspaced(self) -> list[Caption]:
        """The captions that may be several words of a script without spaces."""
        return [caption for caption in self.captions if is_one_run(caption.text)]

    def write(self, folder: Path) -> None:
        write_jsonl(folder / "videos.jsonl", ({key: value for key, value in vars(video).items() if value != ()}
                                              for video in self.videos))
        write_jsonl(folder / "captions.jsonl", map(_row, self.captions))
        write_jsonl(folder / "corpus.jsonl", map(_row, self.corpus))
        write_json(folder / _CHECKSUMS, {"sha256": {name: sha256(folder / f"{name}.jsonl") for name in _FILES}})

    @classmethod
    def load(cls, folder: Path) -> "Manifest":
        """The manifest in `folder`. Raises SpectrumError naming the file and line of what is wrong."""
        videos, captions, corpus = (folder / f"{name}.jsonl" for name in _FILES)
        _check_whole(folder)
        return check(
            [(f"{videos}, line {n}", _video(f"{videos}, line {n}", row)) for n, row in read_jsonl(videos)],
            ((f"{captions}, line {n}", _caption(f"{captions}, line {n}", row)) for n, row in read_jsonl(captions)),
            ((f"{corpus}, line {n}", _caption(f"{corpus}, line {n}", row)) for n, row in read_jsonl(corpus)),
        )


def _check_whole(folder: Path) -> None:
    """Raises SpectrumError for a file that is not the one that `write` left."""
    described: Any = read_json(folder / _CHECKSUMS)
    digests = described.get("sha256") if isinstance(described, dict) else None
    for name in _FILES:
        path = folder / f"{name}.jsonl"
        if not path.is_file():
            raise SpectrumError(f"{path}: no such file; {rerun('prepare')}")
        if not isinstance(digests, dict) or digests.get(name) != sha256(path):
            raise SpectrumError(f"{path}: it was changed or damaged after it was written; {rerun('prepare')}")


def check(
    videos: Iterable[tuple[str, Video]],
    captions: Iterable[tuple[str, Caption]],
    corpus: Iterable[tuple[str, Caption]],
) -> Manifest:
    """A manifest of rows that each come with the position they were read from, for the errors to name."""
    seen: dict[str, tuple[str, Video]] = {}
    for position, video in videos:
        if video.split not in SPLITS:
            raise SpectrumError(f"{position}: video {video.id!r} has split {video.split!r}; expected one of "
                                f"{', '.join(SPLITS)}")
        if video.id != clean(video.id) or not video.id or has_lone_surrogates(video.id):
            raise SpectrumError(f"{position}: {video.id!r} is no id: ids are one line of text without outer spaces")
        if video.id in seen:
            first, other = seen[video.id]
            what = "of two splits" if other.split != video.split else "twice"
            raise SpectrumError(f"{position}: video {video.id!r} is there {what} (first in {first}); ids are unique")
        seen[video.id] = (position, video)
    if not seen:
        raise SpectrumError("the data set has no videos; look at data.videos and data.captions")
    _check_names(seen)

    kept: list[Caption] = []
    captioned: set[str] = set()
    for position, caption in captions:
        if caption.video_id not in seen:
            raise SpectrumError(f"{position}: caption of the unknown video {caption.video_id!r}; "
                                "the list of videos does not have it")
        if seen[caption.video_id][1].split == "predict":
            raise SpectrumError(f"{position}: video {caption.video_id!r} has a caption but is of split predict; "
                                "give it another split, or leave the caption out")
        kept.append(_cleaned(position, caption))
        captioned.add(caption.video_id)
    for position, video in seen.values():
        if video.split != "predict" and video.id not in captioned:
            raise SpectrumError(f"{position}: video {video.id!r} of split {video.split} has no caption; "
                                "give it one or put it in split predict")
    candidates = tuple(_cleaned(position, caption) for position, caption in corpus)
    return Manifest(tuple(video for _, video in seen.values()), tuple(kept), candidates)


def check_trainable(manifest: Manifest) -> None:
    """Raises SpectrumError for what would end a later stage: an empty split, a video none of whose captions has a word
    that can be learnt or scored, captions of a language that needs its words separated first."""
    empty = [split for split in _NEEDED if not manifest.ids(split)]
    if empty:
        raise SpectrumError(
            f"no video of split {' and '.join(empty)} has a caption; training and evaluation need one of train, of "
            "validation and of test at least: caption more videos, or change the splits")
    for video, texts in manifest.captions_of.items():
        if texts and not any(words(text) for text in texts):
            raise SpectrumError(f"video {video!r}: none of its captions has a word (such as {texts[0]!r:.60}); "
                                "write one that has, or take the video out of the captions")
    runs = manifest.unspaced()
    if 2 * len(runs) > len(manifest.captions):
        raise SpectrumError(f"video {runs[0].video_id!r}: its caption {runs[0].text!r:.60} is one word, as are "
                            f"{len(runs)} of {len(manifest.captions)} captions; in a language written without spaces, "
                            "separate the words by spaces before")
    for caption in (*manifest.captions, *manifest.corpus):
        if unsegmented := run_without_spaces(caption.text):
            raise SpectrumError(f"video {caption.video_id!r}: its caption has {unsegmented!r:.60} as one word; in a "
                                "language written without spaces, separate the words by spaces before")


def _cleaned(position: str, caption: Caption) -> Caption:
    text = clean(caption.text)
    if not text:
        raise SpectrumError(f"{position}: empty caption of video {caption.video_id!r}; write it, or leave it out")
    if has_lone_surrogates(text):
        raise SpectrumError(f"{position}: caption of video {caption.video_id!r} has half a character "
                            "(a lone surrogate); write it again")
    return caption if text == caption.text else Caption(caption.video_id, text)


def _check_names(seen: Mapping[str, tuple[str, Video]]) -> None:
    owner = {video_id: video_id for video_id in seen}
    for position, video in seen.values():
        for name in video.names:
            if name != clean(name) or not name or has_lone_surrogates(name):
                raise SpectrumError(f"{position}: {name!r} is no name: names are one line of text without outer "
                                    "spaces")
            if owner.setdefault(name, video.id) != video.id:
                raise SpectrumError(f"{position}: video {video.id!r} is also called {name!r}, as is video "
                                    f"{owner[name]!r}; names are unique")


def _video(position: str, row: Any) -> Video:
    names = row.pop("names", []) if isinstance(row, dict) else []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise SpectrumError(f"{position}: expected a list of strings as names, found {names!r:.200}")
    fields = _strings(position, row, "id", "path", "split")
    return Video(fields["id"], fields["path"], fields["split"], tuple(names))    # type: ignore[arg-type]  # see check


def _caption(position: str, row: Any) -> Caption:
    fields = _strings(position, row, "text", "video_id")
    return Caption(sys.intern(fields["video_id"]), fields["text"])


def _row(caption: Caption) -> dict[str, str]:
    return {"video_id": caption.video_id, "text": caption.text}


def _strings(position: str, row: Any, *keys: str) -> dict[str, str]:
    if not isinstance(row, dict) or set(row) != set(keys) or not all(isinstance(row[key], str) for key in keys):
        raise SpectrumError(f"{position}: expected an object of the strings {sorted(keys)}, found {row!r:.200}")
    return row
