"""No room, or no permission, to write a stage's outs: one sentence that names the file, and then the run goes on."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import fault_project
import pytest
from fault_project import STAGES, Ended, Limits

SENTENCE = "; make room or mend the folder's permissions and run again: what is finished is kept"


def check(project: Path, ended: Ended, stage: str, reason: str) -> None:
    """It told which of its files could not be written, and why; nothing half-written is left."""
    assert ended.status == 1, ended.errors
    assert f"it cannot be written ({reason}){SENTENCE}" in ended.sentence
    outs = fault_project.outs(stage)
    places = [*map(str, outs), *(f"{out.parent}/.{out.name}.rows" for out in outs), "reports/tiny/stages",
              "models/tiny/.state", "indexes/tiny/.parts"]
    assert ended.sentence.removeprefix("error: ").startswith(tuple(places)), ended.sentence
    assert list(project.rglob(".*.tmp")) == []


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.usefixtures("whole")
def test_files_that_may_not_grow(project: Path, stage: str) -> None:
    """As where a quota ends: half of what the stage's largest file needs."""
    sizes = [(project / file).stat().st_size for file in fault_project.files(project, fault_project.outs(stage))]
    fault_project.remove(project, fault_project.outs(stage))
    check(project, fault_project.run(project, stage, Limits(file_size=max(sizes) // 2)), stage, "File too large")
    assert fault_project.run(project, stage).status == 0


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.usefixtures("whole")
def test_folders_that_may_not_be_written(project: Path, stage: str) -> None:
    """With the old outs there, and where their folder would have to be made."""
    for removed in (False, True):
        if removed:
            fault_project.remove(project, fault_project.outs(stage))
        folders = sorted({folder for out in fault_project.outs(stage)
                          for folder in (project / out, (project / out).parent) if folder.is_dir()})
        for folder in folders:
            folder.chmod(0o555)
        ended = fault_project.run(project, stage, Limits(as_root=False))
        for folder in folders:
            folder.chmod(0o755)
        check(project, ended, stage, "Permission denied")
    assert fault_project.run(project, stage).status == 0


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory: pytest.TempPathFactory, undisturbed: Path) -> Iterator[Path]:
    """A copy of the project on a file system that has 1 MB more than it needs."""
    folder = tmp_path_factory.mktemp("disk")
    kilobytes = sum(-(-path.stat().st_size // 4096) * 4 + 4 for path in undisturbed.rglob("*")) + 1024
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", folder], capture_output=True)
    if made.returncode:
        pytest.skip("this user may not mount a tmpfs; the test of files that may not grow stands for it")
    subprocess.run(["cp", "-r", undisturbed, folder / "project"], check=True)
    yield folder / "project"
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("stage", STAGES)
def test_a_full_disk(small_disk: Path, undisturbed: Path, stage: str) -> None:
    fault_project.remove(small_disk, fault_project.outs(stage))
    filler = small_disk / "filler"
    with filler.open("wb") as file:
        try:
            while True:
                os.write(file.fileno(), bytes(4096))
        except OSError:
            pass
    ended = fault_project.run(small_disk, stage)
    filler.unlink()
    check(small_disk, ended, stage, "No space left on device")
    again = fault_project.run(small_disk, stage)
    assert again.status == 0, again.errors
    assert fault_project.content(small_disk) == fault_project.content(undisturbed)
