"""A file of captions that somebody wrote: CSV, tab-separated lines, JSON Lines or JSON, each row checked.

What people have is read where its meaning is sure: `;` or tabs for commas, a mark at the beginning of the file, capital
letters, `val` for validation, empty columns at the end, `video_id` and `sentence`, numbers as ids. Every other row that
is not what the header names is an error with its line number: nothing is cut, nothing is swallowed.
"""

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.common.errors import SpectrumError
from pipeline.common.files import read_jsonl
from pipeline.common.text import clean


class Row(NamedTuple):
    """A row of a file of captions; "" where it names no split or no group."""

    position: str       # file and line
    video: str
    caption: str
    split: str = ""
    group: str = ""     # what keeps pieces of one film together


_VIDEO, _CAPTION = ("video", "video_id"), ("caption", "sentence")
_SPLITS = {"val": "validation", "valid": "validation", "validate": "validation", "dev": "validation"}
_SEPARATORS = (",", ";", "\t")
_LONGEST = 100_000      # characters of a line of CSV: a longer one is no caption


def read_captions(path: Path) -> Iterator[Row]:
    """Every row of a .csv, .tsv, .txt, .json or .jsonl file.

    A .txt or .tsv without a header has `video<TAB>caption` on each line, as MSVD is published. Raises SpectrumError,
    with the line, for a row that is not what the header names.
    """
    if not path.is_file():
        raise SpectrumError(f"{path}: no such file of captions; set data.captions and data.corpus")
    match path.suffix.lower():
        case ".jsonl":
            yield from (_row(f"{path}, line {number}", record) for number, record in read_jsonl(path))
        case ".json":
            yield from _json_rows(path)
        case ".csv":
            yield from _table_rows(path, read_text(path).split("\n"))
        case ".tsv" | ".txt":
            lines = read_text(path).split("\n")
            header = {name.strip().lower() for name in lines[0].split("\t")}
            named = bool(header & set(_VIDEO) and header & set(_CAPTION))
            yield from _table_rows(path, lines) if named else _pairs(path, lines)
        case _:
            raise SpectrumError(f"{path}: captions are read from .csv, .tsv, .txt, .json or .jsonl files")


def read_text(path: Path) -> str:
    """The whole file, its lines ended by LF alone and without the mark that some programs put before it."""
    try:
        return path.read_text(encoding="utf-8-sig")         # CR and CR LF become LF
    except OSError as error:
        raise SpectrumError(f"{path}: the captions cannot be read ({error.strerror}); mend its permissions") from None
    except UnicodeDecodeError as error:
        raise SpectrumError(f"{path}: not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from None


def _pairs(path: Path, lines: list[str]) -> Iterator[Row]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            name, tab, caption = line.partition("\t")
            if not tab or "\t" in caption.rstrip("\t"):
                raise SpectrumError(f"{path}, line {number}: expected video<TAB>caption, found {line!r:.100}; "
                                    "for more columns, name them in the first line")
            yield Row(f"{path}, line {number}", name, caption)


def _table_rows(path: Path, lines: list[str]) -> Iterator[Row]:
    """The rows under a header; a row is a line, so that a quotation mark that is not closed swallows no other row."""
    if not lines[0].strip():
        raise SpectrumError(f"{path}, line 1: expected a header such as video,caption,split, found an empty line")
    separator = max(_SEPARATORS, key=lines[0].count)
    columns = [name.strip() for name in _fields(f"{path}, line 1", lines[0], separator)]
    while columns and not columns[-1]:
        columns.pop()
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip(separator + " \t"):
            continue
        line_name = f"{path}, line {number}"
        fields = _fields(line_name, line, separator)
        if len(fields) < len(columns) or any(field.strip() for field in fields[len(columns):]):
            raise SpectrumError(
                f"{line_name}: {len(fields)} fields where the header names {len(columns)} ({', '.join(columns)}); put "
                f"quotation marks around a caption with {separator!r} in it; found {line!r:.100}")
        yield _row(line_name, dict(zip(columns, fields, strict=False)))


def _fields(line_name: str, line: str, separator: str) -> list[str]:
    if len(line) > _LONGEST:
        raise SpectrumError(f"{line_name}: {len(line):,} characters, more than a row of captions has "
                            f"({_LONGEST:,}); is a line break missing?")
    try:
        return next(csv.reader([line], delimiter=separator, strict=True))
    except csv.Error:
        raise SpectrumError(f"{line_name}: a quotation mark opens a field and does not close it before the next "
                            f"{separator!r} or the end of the line; write \"\" for one inside a quoted field; found "
                            f"{line!r:.100}") from None


def _json_rows(path: Path) -> Iterator[Row]:
    """A list of rows, or the objects in which COCO and MSR-VTT are published."""
    try:
        tree = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise SpectrumError(f"{path}: not readable as JSON ({error}); write it again") from None
    names: dict[Any, Any] = {}
    splits: dict[Any, Any] = {}
    if isinstance(tree, dict) and isinstance(tree.get("annotations"), list):        # COCO
        images = [row for row in _objects(tree.get("images")) if isinstance(row.get("id"), str | int)]
        names = {row["id"]: row.get("file_name", row["id"]) for row in images}
        key, rows = "annotations", [{"video_id": row.get("image_id"), **row} if isinstance(row, dict) else row
                                    for row in tree["annotations"]]
    elif isinstance(tree, dict) and isinstance(tree.get("sentences"), list):        # MSR-VTT
        videos = [row for row in _objects(tree.get("videos")) if isinstance(row.get("video_id"), str | int)]
        splits = {row["video_id"]: row.get("split") for row in videos}
        key, rows = "sentences", tree["sentences"]
    elif isinstance(tree, list):
        key, rows = "", tree
    else:
        raise SpectrumError(f"{path}: expected a list of objects with `video` and `caption`, or the lists of COCO "
                            "(images, annotations) or MSR-VTT (videos, sentences)")
    for number, row in enumerate(rows):
        read = _row(f"{path}, {key}[{number}]", row)
        original = next(row[name] for name in (*_VIDEO,) if name in row)
        yield read._replace(video=str(names.get(original, read.video)),
                            split=read.split or normalize_split(splits.get(original)))


def _objects(rows: Any) -> list[dict[str, Any]]:
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _row(position: str, record: Any) -> Row:
    lowered = {str(key).lower(): value for key, value in record.items()} if isinstance(record, Mapping) else {}
    video, caption = ([lowered[name] for name in names if lowered.get(name) is not None]
                      for names in (_VIDEO, _CAPTION))
    if len(video) != 1 or len(caption) != 1 or isinstance(video[0], bool) \
            or not isinstance(video[0], str | int) or not isinstance(caption[0], str):
        raise SpectrumError(f"{position}: expected `video` and `caption` (and maybe `split` and `group`), found "
                            f"{record!r:.200}")
    group = lowered.get("group")
    if isinstance(group, bool) or not isinstance(group, str | int | None):
        raise SpectrumError(f"{position}: expected a text or a number as `group`, found {group!r:.100}")
    return Row(position, str(video[0]), caption[0], normalize_split(lowered.get("split")),
               clean("" if group is None else str(group)))


def normalize_split(value: Any) -> str:
    split = str(value or "").strip().lower()
    return _SPLITS.get(split, split)
