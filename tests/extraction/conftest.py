"""What the tests of extraction share."""

from pathlib import Path

import pytest
from media_factory import clip


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, Path]]:
    folder = tmp_path_factory.mktemp("clips")
    return [(f"v{i}", clip(folder / f"v{i}.mp4", 8, first=10 * i + 1, sound=440.0 if i % 2 else None))
            for i in range(9)]
