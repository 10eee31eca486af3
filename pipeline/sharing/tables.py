"""Captions and predictions as Parquet tables, and back to the JSON Lines that the stages read.

    write_captions(Path("data/sample"), Path("captions.parquet"))      # a row a caption: video, split, caption, clip
    to_parquet(Path("reports/sample/predictions.jsonl"), Path("predictions.parquet"))
    to_jsonl(Path("predictions.parquet"), Path("predictions.jsonl"))

Features go through pipeline/store/exchange.py.
"""

from pathlib import Path

from pipeline.common import parquet
from pipeline.common.errors import SpectrumError
from pipeline.common.files import read_jsonl, write_jsonl
from pipeline.datasets.manifest import Manifest


def write_captions(folder: Path, path: Path) -> int:
    """The captions of the prepared data set in `folder`; returns how many rows. A video without captions has one row,
    without a caption."""
    manifest = Manifest.load(folder)
    rows = [{"video": video.id, "split": video.split, "clip": video.path or None, "caption": caption or None}
            for video in manifest.videos for caption in manifest.captions_of.get(video.id) or [""]]
    parquet.write_rows(path, rows)
    return len(rows)


def to_parquet(source: Path, path: Path) -> int:
    """The objects of a JSON Lines file; returns how many."""
    rows = [_checked(source, number, row) for number, row in read_jsonl(source)]
    parquet.write_rows(path, rows)
    return len(rows)


def to_jsonl(source: Path, path: Path) -> int:
    """The rows of a Parquet file; returns how many."""
    rows = parquet.read_rows(source)
    write_jsonl(path, rows)
    return len(rows)


def _checked(path: Path, number: int, row: object) -> dict[str, object]:
    if not isinstance(row, dict):
        raise SpectrumError(f"{path}, line {number}: expected an object, found {row!r:.100}")
    return row
