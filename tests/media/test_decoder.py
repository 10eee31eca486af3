import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from media_factory import clip, number_of

from pipeline import media
from pipeline.media import BACKENDS, Backend, Tally, decoder
from pipeline.media.decoder import DecoderError, DecodeStream, MediaError, VideoDecoder
from pipeline.media.sampling import Uniform


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    found: Backend = request.param
    return found


def process(of: VideoDecoder) -> int:
    assert of._process is not None
    return of._process.pid


def alive(pid: int) -> bool:
    """Whether it runs; a process that has ended but was not collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_process_gives_what_the_functions_give(tmp_path: Path, backend: Backend) -> None:
    path = clip(tmp_path / "a.mp4", 20, sound=440.0)
    with VideoDecoder(30, backend) as child:
        assert child.probe(path) == media.probe(str(path))
        for found, wanted in (
                (child.frames(path, Uniform(4)), media.frames(str(path), Uniform(4), backend, Tally())),
                (child.sound(path, 3, 0.5, 16_000), media.sound(str(path), 3, 0.5, 16_000, backend, Tally()))):
            for (time_found, array), (time_wanted, reference) in zip(found, wanted, strict=True):
                assert time_found == time_wanted
                assert array.dtype == reference.dtype
                assert np.array_equal(array, reference)
        assert list(child.sound(clip(tmp_path / "b.mp4", 3), 3, 0.5, 16_000)) == []
        pid = process(child)
    assert not alive(pid)


def test_a_bad_video_costs_itself_alone(tmp_path: Path, backend: Backend) -> None:
    good = clip(tmp_path / "a.mp4", 6)
    with VideoDecoder(30, backend) as child:
        for _ in range(2):
            with pytest.raises(MediaError, match=r"no\.mp4: no such file") as caught:
                list(child.frames(tmp_path / "no.mp4", Uniform(2)))
            assert caught.value.reason == "no such file"
            assert len(list(child.frames(good, Uniform(2)))) == 2
            pid = process(child)
        assert process(child) == pid


def test_a_process_that_hangs_is_killed_in_time(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mp4", 6)
    with VideoDecoder(30) as child:
        child.probe(path)
        child.timeout = 0.5
        pid = process(child)
        os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises(MediaError, match=r"took more than 0\.5 s"):
            list(child.frames(path, Uniform(2)))
        assert time.monotonic() - began < 5
        assert not alive(pid)
        child.timeout = 30
        assert len(list(child.frames(path, Uniform(2)))) == 2


def test_a_process_that_crashes_is_replaced(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mp4", 6, size=(640, 480))
    with VideoDecoder(30) as child:
        reading = child.frames(path, Uniform(6))
        next(reading)
        os.kill(process(child), signal.SIGSEGV)
        with pytest.raises(MediaError, match=r"crashed on it \(SIGSEGV\)"):
            list(reading)
        assert [number_of(image) for _, image in child.frames(path, Uniform(3))] == [1, 3, 5]


def test_a_process_that_died_between_videos_is_replaced(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mp4", 6)
    with VideoDecoder(30) as child:
        child.probe(path)
        os.kill(process(child), signal.SIGKILL)
        assert child._process is not None
        child._process.wait()
        assert len(list(child.frames(path, Uniform(3)))) == 3


def test_a_reader_may_leave_early(tmp_path: Path, backend: Backend) -> None:
    first, second = clip(tmp_path / "a.mp4", 9, size=(640, 480)), clip(tmp_path / "b.mp4", 9, first=50)
    with VideoDecoder(30, backend) as child:
        reading = child.frames(first, Uniform(9))
        next(reading)
        reading.close()
        assert [number_of(image) for _, image in child.frames(second, Uniform(3))] == [51, 54, 57]


def test_the_readers_own_time_is_not_counted(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mp4", 6, size=(640, 480))
    with VideoDecoder(30) as child:
        child.probe(path)
        child.timeout = 0.6
        count = 0
        for _ in child.frames(path, Uniform(6)):
            time.sleep(0.2)
            count += 1
        assert count == 6


def test_kill_ends_a_reading_thread(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mp4", 6, size=(640, 480))
    with VideoDecoder(30) as child:
        child.kill()            # no process yet: nothing happens
        reading = child.frames(path, Uniform(6))
        next(reading)
        child.kill()
        with pytest.raises(MediaError, match="SIGKILL"):
            list(reading)


def test_a_process_ends_with_its_parent(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mp4", 6)
    script = ("import os, sys\nfrom pathlib import Path\nfrom pipeline.media.decoder import VideoDecoder\n"
              "child = VideoDecoder(30)\nchild.probe(Path(sys.argv[1]))\n"
              "print(child._process.pid, flush=True)\nos.kill(os.getpid(), 9)\n")
    run = subprocess.run([sys.executable, "-c", script, path], stdout=subprocess.PIPE, timeout=60, check=False)
    assert run.returncode == -signal.SIGKILL
    pid = int(run.stdout)
    limit = time.monotonic() + 10
    while alive(pid) and time.monotonic() < limit:
        time.sleep(0.05)
    assert not alive(pid)


def test_a_process_that_does_not_start_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> subprocess.Popen[bytes]:
        child = subprocess.Popen([sys.executable, "-c", ""], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 bufsize=0)
        child.wait()
        return child

    monkeypatch.setattr(decoder, "_spawn", broken)
    with VideoDecoder(30) as child, pytest.raises(DecoderError, match="does not start"):
        child.probe(tmp_path / "a.mp4")


def test_a_broken_installation_or_a_full_process_table_is_no_fault_of_the_videos(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise each of them would be listed as a video that fails."""
    path = clip(tmp_path / "a.mp4", 6)
    (tmp_path / "av.py").write_text("import time\ntime.sleep(0.3)\nraise ImportError('no libavcodec')\n")
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path))
        with VideoDecoder(30) as child, pytest.raises(DecoderError, match="does not start"):
            child.probe(path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    with VideoDecoder(30) as child, pytest.raises(DecoderError, match=r"can be started \(No such file"):
        child.probe(path)


def test_the_time_to_start_is_not_a_videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text("import time\ntime.sleep(1.5)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    path = clip(tmp_path / "a.mp4", 6)
    with VideoDecoder(1.0) as child:
        assert len(list(child.frames(path, Uniform(2)))) == 2


def test_a_file_name_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.mp4")
    clip(tmp_path / "a.mp4", 4).rename(path)
    with VideoDecoder(30) as child:
        assert len(list(child.frames(path, Uniform(2)))) == 2


def test_the_outcome_comes_with_the_end(tmp_path: Path, backend: Backend) -> None:
    path = clip(tmp_path / "a.mkv", 60)
    with VideoDecoder(30, backend) as child:
        reading = child.frames(path, Uniform(3))
        assert math.isnan(reading.share)
        assert len(list(reading)) == 3
        assert (reading.share, reading.reason) == (1.0, "")
        assert list(reading) == []
        assert reading.share == 1.0
        os.truncate(path, path.stat().st_size // 2)
        reading = child.frames(path, Uniform(3))
        assert len(list(reading)) == 3
        assert 0.2 < reading.share < 0.8
        assert "cut off" in reading.reason


def test_a_reading_of_nothing_is_whole() -> None:
    reading = DecodeStream.empty()
    assert list(reading) == []
    assert (reading.share, reading.reason) == (1.0, "")


def programs_of(parent: int) -> list[int]:
    lists = Path(f"/proc/{parent}/task").glob("*/children")
    return [int(pid) for children in lists for pid in children.read_text().split()]


def test_a_program_that_hangs_is_killed_in_time(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mkv", 300, size=(640, 480))
    with VideoDecoder(30, "ffmpeg") as child:
        reading = child.frames(path, Uniform(300))
        next(reading)
        [program] = programs_of(process(child))
        os.kill(program, signal.SIGSTOP)
        child._left = 0.5
        with pytest.raises(MediaError, match="took more than"):
            list(reading)
        limit = time.monotonic() + 10
        while alive(program) and time.monotonic() < limit:
            time.sleep(0.05)
        assert not alive(program)
        assert len(list(child.frames(path, Uniform(2)))) == 2


def test_a_program_that_crashes_costs_its_video_alone(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mkv", 300, size=(640, 480))
    with VideoDecoder(30, "ffmpeg") as child:
        reading = child.frames(path, Uniform(300))
        next(reading)
        pid = process(child)
        [program] = programs_of(pid)
        os.kill(program, signal.SIGSEGV)
        with pytest.raises(MediaError, match=r"within a frame|crashed on it \(SIGSEGV\)"):
            list(reading)
        assert [number_of(image) for _, image in child.frames(path, Uniform(3))] == [50, 150, 250]
        assert process(child) == pid


def test_memory_is_limited(tmp_path: Path) -> None:
    """The limit holds for the process and for the programs it starts."""
    with VideoDecoder(30) as child:
        child.probe(clip(tmp_path / "a.mp4", 3))
        limits = Path(f"/proc/{process(child)}/limits").read_text()
    assert int(re.search(r"Max address space +(\d+)", limits)[1]) <= 8 << 30


def test_backend_names_the_decoder_and_its_version() -> None:
    found = decoder.decoder_recipe()
    assert (found["backend"], found["reading"]) == ("pyav", media.READING)
    assert found["libavcodec"].count(".") == 2
    assert decoder.decoder_recipe("ffmpeg")["backend"] == "ffmpeg"
