"""Publishing files: whole or not at all, and noticing what was changed after that."""

import fcntl
import hashlib
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from pipeline.common.commands import MAKE, REMAKE
from pipeline.common.errors import SpectrumError, readable_write_errors

_TEMPORARY = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{12}\.tmp")
_CHECKSUM = "sha256_of_the_above"       # the last entry of every JSON object that is written here


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A temporary name to write to; on success its bytes are synced and take the place of `path` at once.

    A kill at any moment leaves the old file or the new one; what it leaves of the temporary file, the next writing
    of `path` removes. The rename also gives a fresh inode, so a copy of `path` that a cache links to is never written
    through. An OSError of what writes becomes a SpectrumError.
    """
    with readable_write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_temporary_files(path.parent, path.name)
        temporary, held = _temporary_file(path)
        try:
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
            _sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)
            os.close(held)


def remove_temporary_files(folder: Path, name: str | None = None) -> None:
    """Deletes what killed processes left of the files that `atomic_write` made, of one name or of all in a folder.

    A file that a process still writes stays: the process holds a lock on it.
    """
    for entry in [*os.scandir(folder)] if folder.is_dir() else ():
        match = _TEMPORARY.fullmatch(entry.name)
        if match and name in (None, match["name"]) and entry.is_file(follow_symlinks=False):
            try:
                held = os.open(entry.path, os.O_RDONLY)
            except OSError:     # another process removed it, or it is somebody else's
                continue
            if _locks(held):
                Path(entry.path).unlink(missing_ok=True)
            os.close(held)


def _temporary_file(path: Path) -> tuple[Path, int]:
    """A new file beside `path`, and a descriptor that holds a lock on it as long as this process lives."""
    while True:
        temporary = path.with_name(f".{path.name}.{uuid4().hex[:12]}.tmp")
        held = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        _locks(held)
        if os.fstat(held).st_nlink:
            return temporary, held
        os.close(held)      # taken for a killed process' file before it was locked


def _locks(descriptor: int) -> bool:
    """Whether the lock could be taken: not where another process has it, or the file system knows none."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


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
    """`value` for `read_json`. The last entry of an object is the SHA-256 of the text before it."""
    text = json_text(value, indent=2)
    if isinstance(value, dict) and value:
        above = text.removesuffix("\n}")
        text = f"{above}{_ending(above)}"
    write_text(path, text.removesuffix("\n") + "\n")


def read_json(path: Path, signed: bool = False) -> Any:
    """What `write_json` wrote or, unless it has to be `signed`, a file of others.

    Raises SpectrumError for a file that is missing, no ordinary file, not JSON, or an object that was changed after
    `write_json` wrote it.
    """
    text = _read_text(path, "utf-8")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SpectrumError(f"{path}: not readable as JSON ({error}); {REMAKE}") from None
    if signed or (isinstance(value, dict) and _CHECKSUM in value):
        above = text.rpartition(",\n")[0]
        if text != above + _ending(above):
            raise SpectrumError(f"{path}: it was changed or damaged after it was written; {REMAKE}")
        del value[_CHECKSUM]
    return value


def _ending(above: str) -> str:
    return f',\n  "{_CHECKSUM}": "{hashlib.sha256(above.encode()).hexdigest()}"\n}}\n'


def _read_text(path: Path, encoding: str) -> str:
    """A file's text. A pipe or device in its place is refused: reading it could wait for ever."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise SpectrumError(f"{path}: expected a file, but it is a folder, a pipe or a device; move it away")
        return path.read_text(encoding=encoding)
    except FileNotFoundError:
        raise SpectrumError(f"{path}: no such file; {MAKE}") from None
    except UnicodeDecodeError as error:
        raise SpectrumError(f"{path}: not UTF-8 ({error.reason} at byte {error.start}); write it again as "
                            "UTF-8") from None
    except OSError as error:
        raise SpectrumError(f"{path}: it cannot be read ({error.strerror}); mend the path or its permissions") from None


def write_jsonl(path: Path, rows: Iterable[Any]) -> None:
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json_text(row) + "\n" for row in rows)


def read_jsonl(path: Path) -> Iterator[tuple[int, Any]]:
    """(line number from 1, value) of every line that is not blank. A line ends at \\n alone."""
    for number, line in enumerate(_lines(_read_text(path, "utf-8-sig")), start=1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
                raise SpectrumError(f"{path}, line {number}: not readable as JSON: {reason}") from None


def _lines(text: str) -> Iterator[str]:
    """One after the other: a list of all would take more memory than the text."""
    first = 0
    while (end := text.find("\n", first)) >= 0:
        yield text[first:end]
        first = end + 1
    yield text[first:]


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(value: Any) -> str:
    """Sixteen hexadecimal digits that stand for a JSON value, whatever the order of its keys."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
