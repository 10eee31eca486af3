"""One studio for all tests of a file."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from studio_server import Studio


@pytest.fixture(scope="module")
def studio(undisturbed: Path) -> "Iterator[Studio]":
    from studio_server import run_studio  # which needs the extra [studio]

    with run_studio(undisturbed) as running:
        yield running
