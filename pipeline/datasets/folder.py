"""Your own videos: a folder of files, and a captions file in CSV or JSON Lines.

The captions file has the columns (or keys) `video` — the file's path inside the folder, or its name without
the ending — and `caption`; optionally `split` (train, validation, test). Where no split is given the videos
that have captions are dealt out by a seeded hash of their names. Every other video of the folder goes to
`predict`: it is captioned and shown, never trained on or scored.
"""

import csv
import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.common.errors import SpectrumError
from pipeline.common.files import read_jsonl
from pipeline.datasets import manifest
from pipeline.datasets.manifest import Caption, Manifest, Split, Video
from pipeline.params import Data

SUFFIXES = frozenset((
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".3gp", ".ogv", ".gif"))

Row = tuple[str, str, str, str]  # place, video, caption, split or ""


def build(section: Data, seed: int) -> Manifest:
    """The manifest of `section.videos` and `section.captions`; corpus: `section.corpus`, or training captions.

    Raises SpectrumError for a caption of a file that is not there, a name that fits two files, a video with
    two splits, an unreadable row.
    """
    folder = Path(section.videos)
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not files:
        raise SpectrumError(f"{folder}: no videos there (looked for {', '.join(sorted(SUFFIXES))}); set data.videos")
    id_of = _ids(folder, files)
    rows = list(read_captions(Path(section.captions)))
    captions = [(place, Caption(_resolve(place, name, id_of, folder), text)) for place, name, text, _ in rows]
    split_of = _splits(section, seed, [(place, caption.video_id, row[3])
                                       for (place, caption), row in zip(captions, rows, strict=True)])
    videos = [(str(path), Video(id_of[str(path.relative_to(folder))], str(path),
                                split_of.get(id_of[str(path.relative_to(folder))], "predict"))) for path in files]
    corpus = ([(place, caption) for place, caption in captions if split_of[caption.video_id] == "train"]
              if Path(section.corpus) == Path(section.captions)
              else [(place, Caption(name, text)) for place, name, text, _ in read_captions(Path(section.corpus))])
    return manifest.check(videos, captions, corpus)


def read_captions(path: Path) -> Iterator[Row]:
    """(place, video, caption, split or "") of every row of a .csv, .tsv, .txt or .jsonl file of captions.

    A .txt or .tsv without a header has `video<TAB>caption` on each line, as MSVD is published.
    """
    if not path.is_file():
        raise SpectrumError(f"{path}: no such file of captions; set data.captions and data.corpus")
    if path.suffix.lower() == ".jsonl":
        for number, row in read_jsonl(path):
            yield _row(f"{path}, line {number}", row)
        return
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SpectrumError(f"{path}: the captions cannot be read ({error.strerror}); mend its permissions") from None
    except UnicodeDecodeError as error:
        raise SpectrumError(f"{path}: not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from None
    if path.suffix.lower() == ".csv":
        reader = csv.DictReader(io.StringIO(text, newline=""))
        for record in reader:
            yield _row(f"{path}, line {reader.line_num}", record)
    elif path.suffix.lower() in {".txt", ".tsv"}:
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                name, tab, caption = line.rstrip("\r").partition("\t")
                if not tab:
                    raise SpectrumError(f"{path}, line {number}: expected video<TAB>caption, found {line!r:.100}")
                yield f"{path}, line {number}", name, caption, ""
    else:
        raise SpectrumError(f"{path}: captions are read from .csv, .jsonl, .tsv or .txt files")


def dealt(videos: Iterable[str], seed: int) -> list[str]:
    """Videos in an order that only their names and the seed decide."""
    return sorted(videos, key=lambda video: hashlib.sha256(f"{seed}:{video}".encode()).hexdigest())


def _row(place: str, record: Any) -> Row:
    if not isinstance(record, dict) or not isinstance(record.get("video"), str) \
            or not isinstance(record.get("caption"), str):
        raise SpectrumError(f"{place}: expected `video` and `caption` (and maybe `split`), found {record!r:.200}")
    return place, record["video"], record["caption"], str(record.get("split") or "")


def _ids(folder: Path, files: list[Path]) -> dict[str, str]:
    """An id for every path inside the folder: its name without the ending where that is unique, else the path."""
    stems: dict[str, list[str]] = {}
    for path in files:
        inside = path.relative_to(folder)
        stems.setdefault(str(inside.with_suffix("")), []).append(str(inside))
    return {inside: stem if len(insides) == 1 else inside for stem, insides in stems.items() for inside in insides}


def _resolve(place: str, name: str, id_of: Mapping[str, str], folder: Path) -> str:
    if name in id_of:
        return id_of[name]
    matches = [video for inside, video in id_of.items() if str(Path(inside).with_suffix("")) == name]
    if len(matches) == 1:
        return matches[0]
    found = "no such file there" if not matches else f"it fits {len(matches)} files; write the ending too"
    raise SpectrumError(f"{place}: video {name!r} of folder {folder}: {found}")


def _splits(section: Data, seed: int, rows: list[tuple[str, str, str]]) -> dict[str, Split]:
    given: dict[str, Split] = {}
    for place, video, split in rows:
        if split and split not in manifest.SPLITS:
            raise SpectrumError(f"{place}: split {split!r}; expected one of {', '.join(manifest.SPLITS)}")
        if split and given.setdefault(video, split) != split:
            raise SpectrumError(f"{place}: video {video!r} is of split {given[video]} and of {split}")
    without = dealt({video for _, video, _ in rows} - set(given), seed)
    if without and given:
        raise SpectrumError(f"{section.captions}: video {without[0]!r} has no split but others do; give all or none")
    # Even a handful of videos gives each split one: an empty split would end the graph at its evaluation.
    test, validation = (max(round(share * len(without)), share > 0 and len(without) > 2)
                        for share in (section.test, section.validation))
    for i, video in enumerate(without):
        given[video] = "test" if i < test else "validation" if i < test + validation else "train"
    return given
