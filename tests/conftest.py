"""What every test relies on: no model hub, a torchvision that can be imported, where the real material is."""

import os
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"      # read when huggingface_hub is imported
os.environ["OMP_NUM_THREADS"] = "1"     # test processes share the cores: threads that wait for each other would crawl

from pipeline.encoders import torchvision_compat as compat

compat.install()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The graph's tests first: the longest files should not be the last that a worker takes."""
    items.sort(key=lambda item: item.get_closest_marker("graph") is None)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real clips and captions, which is no part of the repository."""
    folder = os.environ.get("SPECTRUM_REAL_DATA")
    if not folder:
        pytest.skip("SPECTRUM_REAL_DATA is not set: it names the folder of real clips and captions")
    return Path(folder)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny project whose graph ran once, stage by stage. It is not to be changed."""
    import fault_project  # imports what few tests need

    project = fault_project.make(tmp_path_factory.mktemp("faults") / "undisturbed")
    for stage in fault_project.STAGES:
        ended = fault_project.run(project, stage)
        assert ended.status == 0, f"{stage}: {ended.errors}"
    return project
