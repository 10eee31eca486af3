"""The one error that users are meant to read."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from pipeline.common.terminal import printable


class SpectrumError(Exception):
    """Bad input, a missing program or a refused mix: one sentence that names the file or id, what was
    expected and what to do. Programs print it without a traceback and exit with status 1."""


@contextmanager
def readable_errors() -> Iterator[None]:
    """Around a program's work: a SpectrumError becomes a sentence on stderr and exit status 1."""
    try:
        yield
    except SpectrumError as error:
        print_error(error)
        sys.exit(1)


def print_error(error: SpectrumError) -> None:
    """In red on stderr. Control characters of file names in the message are shown as escapes."""
    Console(stderr=True, soft_wrap=True).print(f"error: {printable(str(error))}", markup=False, highlight=False,
                                               style="red")
