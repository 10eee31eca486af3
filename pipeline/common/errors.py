"""The one error that users are meant to read, and failed writes as such errors."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.common.terminal import Output, line, printable


class SpectrumError(Exception):
    """Bad input, a missing program or a refused mix: one sentence that names the file or id, what was
    expected and what to do. Programs print it without a traceback and exit with status 1."""


# Why a file cannot be written where a user can mend it, whatever called the operating system.
_NOT_WRITTEN = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}


def write_error(path: Path | str, error: OSError) -> SpectrumError:
    """The error for a file or folder that cannot be written, in the words of everything that writes."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    return SpectrumError(f"{path}: it cannot be written ({reason}); make room or mend the folder's permissions and run "
                         "again: what is finished is kept")


@contextmanager
def readable_write_errors(path: Path) -> Iterator[None]:
    """Around what writes `path`: a full disk, a quota, a folder without write permission become a SpectrumError."""
    try:
        yield
    except OSError as error:
        raise write_error(path, error) from None


@contextmanager
def readable_errors(go_on: str = "run the same command again to go on: what is finished is kept") -> Iterator[None]:
    """Around a program's work: a SpectrumError becomes a sentence on stderr and exit status 1.

    So does a write that failed elsewhere than in `atomic_write`, such as of what is printed into a file; an
    interruption (Ctrl-C) says how to `go_on`, status 130.
    """
    try:
        yield
    except SpectrumError as error:
        print_error(error)
        sys.exit(1)
    except OSError as error:
        if error.errno not in _NOT_WRITTEN:
            raise
        print_error(write_error(error.filename or "the output", error))
        sys.exit(1)
    except KeyboardInterrupt:
        print_error(SpectrumError(f"interrupted; {go_on}"))
        sys.exit(130)


def print_error(error: SpectrumError) -> None:
    """In red on stderr. Control characters of file names in the message are shown as escapes."""
    if Output.as_json:
        print(line("error", printable(str(error))), file=sys.stderr)
        return
    from rich.console import Console

    Console(stderr=True, soft_wrap=True).print(f"error: {printable(str(error))}", markup=False, highlight=False,
                                               style="red")
