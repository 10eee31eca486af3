"""Publishing files: whole or not at all."""

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from pipeline.common.commands import MAKE, REMAKE
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
    """Raises SpectrumError for a file that is missing, no ordinary file, or not JSON."""
    try:
        return json.loads(_read_text(path, "utf-8"))
    except (json.JSONDecodeError, RecursionError) as error:
        raise SpectrumError(f"{path}: not readable as JSON ({error}); {REMAKE}") from None


def _read_text(path: Path, encoding: str) -> str:
    """A file's text. A pipe or device in its place is refused: reading it could wait for ever."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise SpectrumError(f"{path}: expected a file, but it is a folder, a pipe or a device; move it away")
        return path.read_text(encoding=encoding)
    except FileNotFoundError:
        raise SpectrumError(f"{path}: no such file; {MAKE}") from None
    except UnicodeDecodeError as error:
        raise SpectrumError(f"{path}: not UTF-8 ({error.reason} at byte {error.start})") from None
    except OSError as error:
        raise SpectrumError(f"{path}: it cannot be read ({error.strerror}); mend the path or its permissions") from None


def write_jsonl(path: Path, rows: Iterable[Any]) -> None:
    write_text(path, "".join(json_text(row) + "\n" for row in rows))


def read_jsonl(path: Path) -> Iterator[tuple[int, Any]]:
    """(line number from 1, value) of every line that is not blank. A line ends at \\n alone."""
    for number, line in enumerate(_read_text(path, "utf-8-sig").split("\n"), start=1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (json.JSONDecodeError, RecursionError) as error:
                reason = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply"
                raise SpectrumError(f"{path}, line {number}: not readable as JSON: {reason}") from None


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(value: Any) -> str:
    """Sixteen hexadecimal digits that stand for a JSON value, whatever the order of its keys."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
