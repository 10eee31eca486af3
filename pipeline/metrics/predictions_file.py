"""Captions of anybody's, and the references to score them against, from the files in which people have them.

    references = read_references(Path("captions.csv")).select("test")
    predictions = read_predictions(Path("results.json"), references)

CSV, tab-separated lines, JSON Lines and JSON are read: a list of objects (COCO's results), COCO's `annotations`,
MSR-VTT's `sentences` or `predictions`, or an object with the captions of every video. A row names its video by
`video`, `video_id` or `image_id`. Predictions may also be a .txt file with nothing but a caption on each line, in the
order of the references' videos.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.common.errors import SpectrumError
from pipeline.common.files import read_jsonl
from pipeline.common.text import clean
from pipeline.datasets.captions_file import Row, normalize_split, read_captions, read_text
from pipeline.datasets.manifest import Manifest
from pipeline.datasets.video_files import SUFFIXES
from pipeline.metrics.protocols import has_words

_VIDEO, _CAPTION = ("video", "video_id", "image_id"), ("caption", "sentence", "text")
_PICTURES = frozenset((".jpg", ".jpeg", ".png", ".webp"))
_LISTS = ("annotations", "sentences")       # of COCO, of MSR-VTT
_SHOWN = 5      # ids that an error names


@dataclass(frozen=True)
class References:
    """The captions that people wrote, by video, and what else a video may be called."""

    source: str
    captions: dict[str, list[str]]
    splits: dict[str, str] = field(default_factory=dict)    # of videos whose split is known
    names: dict[str, str] = field(default_factory=dict)     # name → video
    elsewhere: frozenset[str] = frozenset()                 # videos that `select` left out

    def select(self, split: str) -> "References":
        """Those of one split. Raises SpectrumError where it has no video."""
        split = normalize_split(split)
        captions = {video: own for video, own in self.captions.items() if self.splits.get(video) == split}
        if not captions:
            known = ", ".join(dict.fromkeys(self.splits.values())) or "none is named"
            raise SpectrumError(f"{self.source}: no video of split {split!r} has a caption; its splits: {known}")
        return replace(self, captions=captions, elsewhere=frozenset({*self.captions, *self.splits} - captions.keys()))

    def find(self, name: str) -> str | None:
        """The video called `name`; the ending of a file may be there or not."""
        for form in (name, _without_ending(name)):
            video = self.names.get(form, form)
            if video in self.captions or video in self.elsewhere:
                return video
        return None


@dataclass(frozen=True)
class Predictions:
    captions: dict[str, str]        # of exactly the references' videos
    notes: tuple[str, ...]          # what was left out or taken for granted, a sentence each


def read_references(path: Path) -> References:
    """The references in a file. Raises SpectrumError for what is not readable, with its line."""
    rows, names = _read_rows(path)
    captions: dict[str, list[str]] = {}
    splits: dict[str, str] = {}
    for position, video, caption, split, _ in rows:
        captions.setdefault(clean(video), []).append(caption)
        if split and splits.setdefault(clean(video), split) != split:
            raise SpectrumError(f"{position}: video {video!r} is of split {split}, and of {splits[clean(video)]} "
                                "before; give it one split")
    if not captions:
        raise SpectrumError(f"{path}: no captions there; expected references, a few for every video")
    return References(str(path), captions, splits, {**_endings(captions), **names})


def read_dataset(folder: Path) -> References:
    """The references of a prepared data set, `data/<name>`."""
    if not (folder / "videos.jsonl").is_file():
        raise SpectrumError(f"{folder}: no prepared data set there; run this where your project lies, "
                            "or name a file with --references")
    manifest = Manifest.load(folder)
    captions = {video: own for video, own in manifest.captions_of.items() if own}
    return References(str(folder), captions, dict(manifest.split_of), {**_endings(captions), **manifest.id_of})


def read_predictions(path: Path, references: References, allow_empty: bool = False) -> Predictions:
    """One caption for every video of the references.

    Raises SpectrumError where a video lacks one or has two, is unknown, or its caption is empty (without
    `allow_empty`). Captions of videos of other splits are left out and counted.
    """
    lines = _plain_lines(path)
    captions, notes = _match_rows(path, references) if lines is None else _match_lines(path, lines, references)
    empty = [video for video, caption in captions.items() if not has_words(caption)]
    if empty and not allow_empty:
        raise SpectrumError(f"{path}: {_count(empty, 'caption')} without a word, of {_some(empty)}; write them, or let "
                            "them score 0 with --allow-empty")
    return Predictions(captions, tuple(notes))


def _match_rows(path: Path, references: References) -> tuple[dict[str, str], list[str]]:
    captions: dict[str, str] = {}
    seen: dict[str, str] = {}
    unknown, elsewhere = [], 0
    for position, name, caption, *_ in _read_rows(path)[0]:
        video = references.find(clean(name))
        if video is None:
            unknown.append(name)
        elif video in seen:
            raise SpectrumError(f"{position}: a second caption of video {video!r} (first in {seen[video]}); "
                                "give every video one")
        elif video in references.captions:
            seen[video], captions[video] = position, caption
        else:
            seen[video], elsewhere = position, elsewhere + 1
    missing = [video for video in references.captions if video not in captions]
    if unknown or missing:
        raise _difference(path, references, unknown, missing)
    left_out = [f"{path}: {elsewhere} captions of videos of other splits were left out"] if elsewhere else []
    return {video: captions[video] for video in references.captions}, left_out


def _match_lines(path: Path, lines: list[str], references: References) -> tuple[dict[str, str], list[str]]:
    videos = list(references.captions)
    if len(lines) != len(videos):
        raise SpectrumError(
            f"{path}: {_count(lines, 'line')} without ids where {references.source} has {_count(videos, 'video')}; "
            "write video<TAB>caption, or a caption for every video of the references in their order")
    return dict(zip(videos, lines, strict=True)), [
        f"{path} names no videos: line 1 was taken for {videos[0]}, line {len(lines)} for {videos[-1]}, "
        "the order of the references"]


def _difference(path: Path, references: References, unknown: list[str], missing: list[str]) -> SpectrumError:
    parts = []
    if unknown:
        parts.append(f"captions of {_count(unknown, 'video')} that the references do not have ({_some(unknown)})")
    if missing:
        parts.append(f"no caption of {len(missing):,} of their {_count(list(references.captions), 'video')} "
                     f"({_some(missing)})")
    splits = ", ".join(dict.fromkeys(references.splits.values()))
    advice = "" if references.elsewhere or not splits else f"; --split chooses one of {splits}"
    return SpectrumError(f"{path}: {' and '.join(parts)}; it and {references.source} have to be of the same "
                         f"videos{advice}")


# Reading ----------------------------------------------------------------------------------------------------

def _read_rows(path: Path) -> tuple[Iterable[Row], dict[str, str]]:
    """Rows of a file, and what COCO calls the files of its images, by name."""
    if not path.is_file():
        raise SpectrumError(f"{path}: no such file of captions; name an existing one")
    match path.suffix.lower():
        case ".jsonl":
            return (_row(f"{path}, line {number}", record) for number, record in read_jsonl(path)), {}
        case ".json":
            return _read_json(path)
        case ".csv" | ".tsv" | ".txt":
            return read_captions(path), {}
        case _:
            raise SpectrumError(f"{path}: an unknown format; captions are read from .jsonl, .json, .csv, .tsv and .txt")


def _plain_lines(path: Path) -> list[str] | None:
    """The lines of a .txt file that has captions alone."""
    if path.suffix.lower() != ".txt" or not path.is_file() or "\t" in (text := read_text(path)):
        return None
    return text.removesuffix("\n").split("\n")


def _read_json(path: Path) -> tuple[Iterable[Row], dict[str, str]]:
    """COCO's results name images by number, so here an image's id counts, and the name of its file beside it."""
    try:
        tree = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise SpectrumError(f"{path}: not readable as JSON ({error}); JSON Lines are read from .jsonl") from None
    key = ""
    if isinstance(tree, dict) and isinstance(tree.get("predictions"), list | dict):
        tree, key = tree["predictions"], "predictions"
    if isinstance(tree, list):
        return _rows(path, key, tree, {}), {}
    for name in _LISTS:
        if isinstance(tree, dict) and isinstance(tree.get(name), list):
            files = {clean(str(image["file_name"])): str(image["id"]) for image in _objects(tree.get("images"))
                     if "file_name" in image and "id" in image}
            splits = {str(video["video_id"]): normalize_split(video["split"]) for video in _objects(tree.get("videos"))
                      if "video_id" in video and "split" in video}
            return _rows(path, name, tree[name], splits), {**_endings(files, files), **files}
    if isinstance(tree, dict):
        return _mapped_rows(path, tree), {}
    raise _unknown_json(path)


def _rows(path: Path, key: str, records: list[Any], splits: Mapping[str, str]) -> Iterator[Row]:
    for number, record in enumerate(records):
        row = _row(f"{path}, {key}[{number}]", record)
        yield row._replace(split=row.split or splits.get(row.video, ""))


def _mapped_rows(path: Path, tree: Mapping[str, Any]) -> Iterator[Row]:
    """{video: caption}, {video: [caption, …]} or {video: [{"caption": …}, …]}."""
    for video, value in tree.items():
        for entry in value if isinstance(value, list) else [value]:
            if not isinstance(entry, str | dict):
                raise _unknown_json(path)
            record = entry if isinstance(entry, dict) else {"caption": entry}
            known = {key: text for key, text in record.items() if key in _CAPTION}
            if len(known) != 1:
                raise _unknown_json(path)
            yield _row(f"{path}, {video}", {"video": video, **known})


def _unknown_json(path: Path) -> SpectrumError:
    return SpectrumError(
        f"{path}: an unknown format; expected a list of objects with `image_id` or `video_id` and `caption`, COCO's "
        "`annotations`, MSR-VTT's `sentences` or `predictions`, or an object with every video's captions")


def _row(position: str, record: Any) -> Row:
    values = record if isinstance(record, Mapping) else {}
    videos, captions = ([values[key] for key in keys if values.get(key) is not None] for keys in (_VIDEO, _CAPTION))
    if not videos or len({str(video) for video in videos}) > 1 or len(captions) != 1 or isinstance(videos[0], bool) \
            or not isinstance(videos[0], str | int) or not isinstance(captions[0], str):
        raise SpectrumError(f"{position}: expected `video`, `video_id` or `image_id`, and `caption`, "
                            f"found {record!r:.200}")
    return Row(position, str(videos[0]), captions[0], normalize_split(values.get("split")))


def _objects(rows: Any) -> list[dict[str, Any]]:
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _endings(names: Iterable[str], videos: Mapping[str, str] | None = None) -> dict[str, str]:
    """Names without the endings of their files, where that fits one of them."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(_without_ending(name), []).append(videos[name] if videos else name)
    return {stem: own[0] for stem, own in found.items() if len(own) == 1}


def _without_ending(name: str) -> str:
    suffix = PurePosixPath(name).suffix
    return name.removesuffix(suffix) if suffix.lower() in SUFFIXES | _PICTURES else name


def _count(things: list[str], noun: str) -> str:
    return f"{len(things):,} {noun}{'' if len(things) == 1 else 's'}"


def _some(ids: list[str]) -> str:
    return ", ".join(ids[:_SHOWN]) + (", …" if len(ids) > _SHOWN else "")
