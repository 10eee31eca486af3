"""The one error that users are meant to read."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console


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
    Console(stderr=True, soft_wrap=True).print(f"error: {error}", markup=False, highlight=False, style="red")
