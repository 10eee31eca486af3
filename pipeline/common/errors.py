"""The one error that users are meant to read."""

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.common.terminal import printable


class SpectrumError(Exception):
    """Bad input, a missing program or a refused mix: one sentence that names the file or id, what was
    expected and what to do. Programs print it without a traceback and exit with status 1."""


# What a user can mend when a file cannot be written.
_NOT_WRITTEN = {
    errno.ENOSPC: "there is no room left; make room",
    errno.EDQUOT: "your quota is used up; make room",
    errno.EROFS: "it is read-only; make it writable",
    errno.EACCES: "permission denied; mend its permissions",
    errno.EPERM: "permission denied; mend its permissions",
}


@contextmanager
def readable_errors() -> Iterator[None]:
    """Around a program's work: a SpectrumError becomes a sentence on stderr and exit status 1.

    So do a full disk and a folder that may not be written; an interruption (Ctrl-C) says how to go on, status 130.
    """
    try:
        yield
    except SpectrumError as error:
        print_error(error)
        sys.exit(1)
    except OSError as error:
        if error.errno not in _NOT_WRITTEN:
            raise
        print_error(SpectrumError(f"{error.filename or 'the output'}: {_NOT_WRITTEN[error.errno]} and run again: what "
                                  "is finished is kept"))
        sys.exit(1)
    except KeyboardInterrupt:
        print_error(SpectrumError("interrupted; run the same command again to go on: what is finished is kept"))
        sys.exit(130)


def print_error(error: SpectrumError) -> None:
    """In red on stderr. Control characters of file names in the message are shown as escapes."""
    from rich.console import Console

    Console(stderr=True, soft_wrap=True).print(f"error: {printable(str(error))}", markup=False, highlight=False,
                                               style="red")
