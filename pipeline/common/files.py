"""Publishing files: whole or not at all."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from pipeline.common.errors import SpectrumError


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A temporary name to write to; on success its bytes are synced and take the place of `path` at once.

    A kill at any moment leaves the old file or the new one. The rename also gives a fresh inode, so a
    copy of `path` that a cache links to is never written through.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:12]}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def json_text(value: Any, indent: int | None = None) -> str:
    """`value` as JSON; NaN and infinities are refused, for no other reader takes them.

    A file name that is not UTF-8 has halves of characters in Python: they are escaped, for UTF-8 has none.
    """
    text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    return text.encode(errors="backslashreplace").decode()


def write_json(path: Path, value: Any) -> None:
    write_text(path, json_text(value, indent=2) + "\n")


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SpectrumError(f"{path}: no such file; run the stage that makes it, or `dvc repro`") from None
    except OSError as error:
        raise SpectrumError(f"{path}: it cannot be read ({error.strerror}); mend the path or its permissions") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise SpectrumError(f"{path}: not readable as JSON ({error}); make it again with `dvc repro`") from None


def write_jsonl(path: Path, rows: Iterable[Any]) -> None:
    write_text(path, "".join(json_text(row) + "\n" for row in rows))


def read_jsonl(path: Path) -> Iterator[tuple[int, Any]]:
    """(line number from 1, value) of every line that is not blank. A line ends at \\n alone."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise SpectrumError(f"{path}: no such file; run the stage that makes it, or `dvc repro`") from None
    except UnicodeDecodeError as error:
        raise SpectrumError(f"{path}: not UTF-8 ({error.reason} at byte {error.start})") from None
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except json.JSONDecodeError as error:
                raise SpectrumError(f"{path}, line {number}: not readable as JSON: {error.msg}") from None


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(value: Any) -> str:
    """Sixteen hexadecimal digits that stand for a JSON value, whatever the order of its keys."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
