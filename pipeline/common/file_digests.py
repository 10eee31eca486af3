"""The SHA-256 of a user's own file, computed once for each state of it, whichever stage asks.

A state is the file's place, inode, size, and the times of its last change, of its content and of anything (which no
program can set back). Digests lie in `~/.cache/spectrum/digests.sqlite` (`$XDG_CACHE_HOME`); without that file, or
where it cannot be written, a file is read as if nobody had before. What the project itself made is not asked about
here: its checksums are there to find damage, which changes no time.
"""

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from pipeline.common.files import sha256

# A change this soon after another may leave the same times: file systems count in steps of up to two seconds.
_STEP = 2 * 10**9
_State = tuple[int, int, int, int, int]


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits. Raises OSError where it cannot be read."""
    place, state, now = str(path.resolve()), _state(path), time.time_ns()
    known = _look_up(place, state)
    if known is not None:
        return known
    digest = sha256(path)
    if now - max(state[-2:]) > _STEP:       # so what changes it from now on changes its state, too
        _remember(place, state, digest)
    return digest


def _state(path: Path) -> _State:
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _look_up(place: str, state: _State) -> str | None:
    try:
        with closing(_open()) as database:
            row = database.execute("SELECT digest FROM digests WHERE place = ? AND state = ?",
                                   (_bytes(place), repr(state))).fetchone()
    except (sqlite3.Error, OSError):
        return None
    return None if row is None else bytes(row[0]).hex()


def _remember(place: str, state: _State, digest: str) -> None:
    try:
        with closing(_open()) as database, database:
            database.execute("REPLACE INTO digests VALUES (?, ?, ?)",
                             (_bytes(place), repr(state), bytes.fromhex(digest)))
    except sqlite3.OperationalError:        # locked, full or not writable: the file is read again another time
        pass
    except sqlite3.DatabaseError:           # damaged
        database_file().unlink(missing_ok=True)
    except OSError:
        pass


def _bytes(place: str) -> bytes:
    """Names of files need not be UTF-8."""
    return os.fsencode(place)


def database_file() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "spectrum" / "digests.sqlite"


def _open() -> sqlite3.Connection:
    path = database_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(path, timeout=10)
    database.execute("PRAGMA synchronous = OFF")        # what a power cut takes is computed again
    database.execute("CREATE TABLE IF NOT EXISTS digests "
                     "(place BLOB PRIMARY KEY, state TEXT NOT NULL, digest BLOB NOT NULL) WITHOUT ROWID")
    return database
