"""Files are hashed once for each of their states, and not believed to be what they were where they may have changed."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.common import file_digests
from pipeline.common.file_digests import database_file, file_digest

SIZE = 8_000_000


@pytest.fixture
def video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "clip.mp4"
    path.write_bytes(os.urandom(SIZE))
    return path


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the files had not changed for some seconds."""
    monkeypatch.setattr(file_digests, "_STEP", -1)


def bytes_read() -> int:
    """Of files, by this process."""
    return int(Path("/proc/self/io").read_text().split()[1])


def reads(path: Path) -> bool:
    """Whether its digest is computed; it has to be right in any case."""
    before = bytes_read()
    digest = file_digest(path)
    read = bytes_read() - before
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert read < SIZE / 10 or read >= SIZE
    return read >= SIZE


@pytest.mark.usefixtures("settled")
def test_an_unchanged_file_is_read_once_by_all_processes(video: Path) -> None:
    assert reads(video) and not reads(video)
    program = ("import sys; from pathlib import Path; from pipeline.common.file_digests import file_digest\n"
               "file_digest(Path(sys.argv[1])); print(Path('/proc/self/io').read_text().split()[1])")
    ended = subprocess.run([sys.executable, "-c", program, video], check=True, stdout=subprocess.PIPE, text=True)
    assert int(ended.stdout) < SIZE         # a second stage: what it read are Python's modules


@pytest.mark.usefixtures("settled")
def test_a_changed_file_is_read_again_though_size_and_time_are_the_same(video: Path) -> None:
    reads(video)
    times = video.stat()
    with video.open("r+b") as file:
        file.write(b"another")
    os.utime(video, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert reads(video) and not reads(video)
    other = video.with_name("other")
    other.write_bytes(os.urandom(SIZE))
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    other.replace(video)
    assert reads(video) and not reads(video)


def test_what_changed_a_moment_ago_is_not_believed(video: Path) -> None:
    assert reads(video) and reads(video)


def test_a_file_that_changes_while_it_is_read_is_not_remembered(
        video: Path, monkeypatch: pytest.MonkeyPatch, settled: None) -> None:
    def hash_and_change(path: Path) -> str:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        path.write_bytes(os.urandom(SIZE))
        return digest

    with monkeypatch.context() as patched:
        patched.setattr(file_digests, "sha256", hash_and_change)
        file_digest(video)
    assert reads(video)


@pytest.mark.usefixtures("settled")
def test_a_damaged_or_missing_cache_costs_reading_alone(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads(video)
    database_file().write_bytes(b"no database" * 1000)
    assert reads(video) and reads(video) and not reads(video)       # noticed, made anew, used
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/none")
    assert reads(video) and reads(video)


@pytest.mark.usefixtures("settled")
def test_names_that_are_not_utf8(video: Path) -> None:
    odd = video.with_name(os.fsdecode(b"\xff\xfe.mp4"))
    video.rename(odd)
    assert reads(odd) and not reads(odd)
