import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from colours import ALONE, MACHINE, SECTION, Colours
from distributed import Client, LocalCluster
from media_factory import clip
from project import ROOT, SUPPORT
from pydantic import ValidationError

from pipeline.common.device import cpu_cores
from pipeline.common.errors import SpectrumError
from pipeline.extraction.run import extract
from pipeline.params import Cluster
from pipeline.store.feature_store import FeatureStore
from pipeline.workers import dask_engine, local_cluster
from pipeline.workers.software import Software

WIDE = SECTION.model_copy(update={"num_shards": 5})
ONE_DECODER = MACHINE.model_copy(update={"decoder_processes": 1, "save_interval": 0})


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, Path]]:
    folder = tmp_path_factory.mktemp("clips")
    videos = [(f"v{i}", clip(folder / f"v{i}.mp4", 8, first=9 * i + 1)) for i in range(12)]
    broken = folder / "broken.mp4"
    broken.write_text("no video")
    return [*videos, ("broken", broken)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, clips: list[tuple[str, Path]]) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("undisturbed") / "store"
    extract(clips, Colours, folder, allowing(WIDE), ONE_DECODER, ALONE)
    return content(folder)


def allowing(section: Any) -> Any:
    return section.model_copy(update={"allowed_failures": 0.1})


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(params=[2, 4])
def workers(request: pytest.FixtureRequest) -> Iterator[tuple[str, Client]]:
    with (LocalCluster(n_workers=request.param, threads_per_worker=1, dashboard_address=None, memory_limit=0,
                       silence_logs=50) as local, Client(local, set_as_default=False) as client):
        yield local.scheduler_address, client


def test_a_worker_killed_while_it_works_changes_no_byte(
        tmp_path: Path, clips: list[tuple[str, Path]], undisturbed: dict[str, bytes],
        workers: tuple[str, Client], monkeypatch: pytest.MonkeyPatch) -> None:
    address, client = workers
    monkeypatch.chdir(tmp_path)         # relative paths reach workers that stand elsewhere
    pids = client.run(os.getpid)
    run = Running(clips, partial(Colours, delay=0.2), Path("store"), Cluster(scheduler=address))
    until(lambda: any(Path("store").glob("shard-*")))
    victim = next(worker for worker, tasks in client.processing().items() if tasks)
    os.kill(pids[victim], signal.SIGKILL)
    summary = run.result()
    assert pids[victim] not in client.run(os.getpid).values()
    assert (summary["videos"], summary["failed"]) == (12, 1)
    assert content(tmp_path / "store") == undisturbed
    assert FeatureStore.open(tmp_path / "store").verify() == []


class OnWorkers(Colours):
    """Cannot be made by the process that asks, as where that has no GPU or no weights."""

    def __init__(self, here: int) -> None:
        assert os.getpid() != here, "a model was made by the process that asks"
        super().__init__()


def test_local_workers_are_started_and_ended(tmp_path: Path, clips: list[tuple[str, Path]],
                                             undisturbed: dict[str, bytes]) -> None:
    """Only they make encoders."""
    summary = extract(clips, partial(OnWorkers, os.getpid()), tmp_path / "store", allowing(WIDE), ONE_DECODER,
                      Cluster(scheduler="local", workers=2))
    assert content(tmp_path / "store") == undisturbed
    assert summary["frames"] == 48
    assert set(summary["seconds"]) == {"decode", "prepare", "encode", "write", "wait"}
    again = extract(clips, Colours, tmp_path / "store", allowing(WIDE), ONE_DECODER,
                               Cluster(scheduler="local", workers=1))
    assert (again["reused"], again["frames"]) == (12, 0)
    assert content(tmp_path / "store") == undisturbed


class Deadly(Colours):
    """Kills every worker but not the process that asks; `deaths` has a line for each."""

    def __init__(self, deaths: Path) -> None:
        super().__init__()
        self.deaths = deaths

    def submit(self, batch: Any) -> Any:
        with self.deaths.open("a") as file:
            file.write("killed\n")
        os.kill(os.getpid(), signal.SIGKILL)


def test_workers_that_die_too_often_end_the_run(tmp_path: Path, clips: list[tuple[str, Path]]) -> None:
    """A scheduler of one's own allows no more of them."""
    with (LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None, memory_limit=0,
                       silence_logs=50) as local,
          pytest.raises(SpectrumError, match=r"more workers died than cluster\.retries=0 allows.*shard \d")):
        extract(clips[:1], partial(Deadly, tmp_path / "deaths"), tmp_path / "store", WIDE, ONE_DECODER,
                Cluster(scheduler=local.scheduler_address, retries=0))
    assert (tmp_path / "deaths").read_text() == "killed\n"
    summary = extract(clips[:5], Colours, tmp_path / "store", WIDE, ONE_DECODER, ALONE)
    assert summary["videos"] == 5


class Elsewhere(Colours):
    """Has another recipe and device in the worker that has a marked environment."""

    def __init__(self) -> None:
        super().__init__(3 if "ELSEWHERE" in os.environ else 4)
        self.device = "cuda:1" if "ELSEWHERE" in os.environ else "cpu"


def test_a_worker_of_another_recipe_or_device_is_refused(tmp_path: Path, clips: list[tuple[str, Path]]) -> None:
    with (LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, memory_limit=0,
                       silence_logs=50) as local, Client(local, set_as_default=False) as client):
        def mark() -> None:
            os.environ["ELSEWHERE"] = "1"

        client.run(mark, workers=[sorted(client.scheduler_info()["workers"])[1]])
        with pytest.raises(SpectrumError, match=r"worker tcp://\S+ does not go with this run: its device is \w+, not "
                                                r"\w+; its recipe is \w{16}, not \w{16}; install") as e:
            extract(clips, partial(Elsewhere), tmp_path / "store", WIDE, ONE_DECODER,
                    Cluster(scheduler=local.scheduler_address))
    assert "\n" not in str(e.value)


def test_a_worker_with_another_version_is_refused(tmp_path: Path, clips: list[tuple[str, Path]],
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    own = Software.of

    def other(*arguments: Any) -> Any:
        software = own(*arguments)
        return replace(software, versions={**software.versions, "torch": "0.1"})

    monkeypatch.setattr(Software, "of", other)         # in this process alone
    with pytest.raises(SpectrumError, match=r"torch \d\S+, not 0\.1"):
        extract(clips, Colours, tmp_path / "store", WIDE, ONE_DECODER, Cluster(scheduler="local", workers=1))


def test_a_worker_with_other_project_code_is_refused(tmp_path: Path, clips: list[tuple[str, Path]]) -> None:
    """A copy of the project with one line changed makes other rows under the same recipe."""
    copy = tmp_path / "copy"
    shutil.copytree(ROOT / "pipeline", copy / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(copy), str(SUPPORT)])}
    changed = copy / "pipeline" / "extraction" / "batching.py"
    for change in ("", "\n# another version\n"):
        with changed.open("a") as file:
            file.write(change)
        with LocalCluster(n_workers=0, dashboard_address=None, processes=True, silence_logs=50) as local:
            worker = subprocess.Popen(
                [sys.executable, "-m", "distributed.cli.dask_worker", local.scheduler_address, "--nthreads", "1",
                 "--no-dashboard", "--no-nanny"], env=environment, cwd=copy, stderr=subprocess.DEVNULL)
            try:
                run = partial(extract, clips[:2], Colours, tmp_path / "store", WIDE, ONE_DECODER,
                              Cluster(scheduler=local.scheduler_address))
                if change:
                    with pytest.raises(SpectrumError, match=r"worker tcp://\S+ does not go with .*other code"):
                        run()
                else:
                    assert run()["videos"] == 2
                    with changed.open("a") as file:
                        file.write("\n# not what the worker runs\n")
                    assert run()["videos"] == 2
            finally:
                worker.kill()
                worker.wait()


def test_a_scheduler_that_is_not_there(tmp_path: Path, clips: list[tuple[str, Path]],
                                       monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_engine, "_START_SECONDS", 1)
    monkeypatch.setattr(dask_engine, "_ANSWER_SECONDS", 1)
    with pytest.raises(SpectrumError, match=r"cluster\.scheduler=tcp://127\.0\.0\.1:9: no dask scheduler answers"):
        extract(clips, Colours, tmp_path / "store", WIDE, ONE_DECODER, Cluster(scheduler="tcp://127.0.0.1:9"))
    with (LocalCluster(n_workers=0, dashboard_address=None, processes=True, silence_logs=50) as local,
          pytest.raises(SpectrumError, match="no workers after 1 s")):
        extract(clips, Colours, tmp_path / "store", WIDE, ONE_DECODER, Cluster(scheduler=local.scheduler_address))


def test_a_lost_scheduler_is_reported_and_the_run_resumes(tmp_path: Path, clips: list[tuple[str, Path]],
                                                      undisturbed: dict[str, bytes]) -> None:
    script = ("from distributed import LocalCluster\nimport time\nif __name__ == '__main__':\n"
              "    local = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, memory_limit=0)\n"
              "    print(local.scheduler_address, flush=True)\n    time.sleep(600)\n")
    (tmp_path / "scheduler.py").write_text(script)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SUPPORT), *sys.path])}
    scheduler = subprocess.Popen([sys.executable, tmp_path / "scheduler.py"], stdout=subprocess.PIPE, text=True,
                                 stderr=subprocess.DEVNULL, env=environment)
    assert scheduler.stdout is not None
    address = scheduler.stdout.readline().strip()
    run = Running(clips, partial(Colours, delay=0.3), tmp_path / "store", Cluster(scheduler=address))
    until(lambda: any((tmp_path / "store").glob("shard-*")))
    scheduler.kill()
    scheduler.wait()
    scheduler.stdout.close()
    with pytest.raises(SpectrumError, match="the scheduler was lost; start it and its workers and run again"):
        run.result()
    summary = extract(clips, Colours, tmp_path / "store", allowing(WIDE), ONE_DECODER, ALONE)
    assert summary["reused"] > 0
    assert content(tmp_path / "store") == undisturbed


def test_a_scheduler_that_is_lost_before_it_has_a_worker(tmp_path: Path, clips: list[tuple[str, Path]]) -> None:
    scheduler, address = started("distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard",
                                 "--scheduler-file", str(tmp_path / "scheduler.json"))
    with Client(address, set_as_default=False) as client:
        own = client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.clients))
        run = Running(clips, Colours, tmp_path / "store", Cluster(scheduler=address))
        until(lambda: client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.clients)) > own)
    scheduler.kill()
    scheduler.wait()
    with pytest.raises(SpectrumError, match="the scheduler was lost"):
        run.result()


PLAIN = """
import sys
from functools import partial
from pathlib import Path
from colours import MACHINE, SECTION, Colours
from pipeline.common.errors import readable_errors
from pipeline.extraction.run import extract
from pipeline.params import Cluster

if __name__ == "__main__":
    clips, store, address = sys.argv[1:]
    videos = [(path.stem, path) for path in sorted(Path(clips).glob("v*.mp4"))]
    with readable_errors():
        extract(videos, partial(Colours, delay=0.3), Path(store), SECTION, MACHINE, Cluster(scheduler=address))
"""


def test_no_traceback_of_dask_reaches_the_terminal(tmp_path: Path, clips: list[tuple[str, Path]]) -> None:
    (tmp_path / "plain.py").write_text(PLAIN)
    scheduler, address = started("distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard",
                                 "--scheduler-file", str(tmp_path / "scheduler.json"))
    worker = subprocess.Popen([sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1",
                               "--no-dashboard", "--no-nanny"], env=environment(), stderr=subprocess.DEVNULL)
    run = subprocess.Popen([sys.executable, tmp_path / "plain.py", clips[0][1].parent, tmp_path / "store", address],
                           env=environment(), stderr=subprocess.PIPE, text=True)
    until(lambda: any((tmp_path / "store").glob("shard-*")))
    scheduler.terminate()
    _, shown = run.communicate(timeout=120)
    for process in (scheduler, worker):
        process.kill()
        process.wait()
    assert run.returncode == 1
    said = [line for line in shown.splitlines() if not line.startswith("extract colours: ")]
    assert said == [f"error: cluster.scheduler={address}: the scheduler was lost; start it and its workers and run "
                    "again: what is finished is kept"]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(SUPPORT), *sys.path])}


def started(*command: str) -> tuple[subprocess.Popen[bytes], str]:
    """A scheduler, and its address once it answers."""
    described = Path(command[-1])
    process = subprocess.Popen([sys.executable, "-m", *command], env=environment(), stderr=subprocess.DEVNULL)
    until(lambda: described.exists() and described.read_text().strip().endswith("}"))
    return process, json.loads(described.read_text())["address"]


def test_one_machine_needs_no_dask() -> None:
    code = "import sys\nimport pipeline.extraction.run\nassert not {'dask', 'distributed', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, cwd=ROOT)


def test_each_local_worker_sees_one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no GPU in the tests: what is looked at is the environment that torch would read."""
    monkeypatch.setattr(local_cluster, "_gpus", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    with (local_cluster.local_scheduler(Cluster(scheduler="local")) as address,
          Client(address, set_as_default=False) as client):
        client.wait_for_workers(2)
        seen = client.run(lambda: (os.environ["CUDA_VISIBLE_DEVICES"], os.environ["OMP_NUM_THREADS"]))
    assert sorted(seen.values()) == [(gpu, str(max(1, cpu_cores() // 2))) for gpu in ("3", "5")]


SHARE = """
import torch
from distributed import Client
from pipeline.params import Cluster
from pipeline.workers.local_cluster import local_scheduler

if __name__ == "__main__":
    with (local_scheduler(Cluster(scheduler="local", workers=1)) as address,
          Client(address, set_as_default=False) as client):
        print(client.submit(lambda: __import__("torch").get_num_threads()).result())
"""


def test_a_worker_whose_main_module_has_torch_has_its_share_of_the_cores_all_the_same(tmp_path: Path) -> None:
    """Stages import it first, and a worker does what its parent's main module does before its first task."""
    (tmp_path / "main.py").write_text(SHARE)
    own = {name: value for name, value in os.environ.items() if name not in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    printed = subprocess.run([sys.executable, tmp_path / "main.py"], check=True, timeout=120, stdout=subprocess.PIPE,
                          text=True, env={**own, "PYTHONPATH": str(ROOT)}).stdout
    assert int(printed) == cpu_cores()


@pytest.mark.parametrize("scheduler", ["", "somewhere", "localhost:8786", "tcp://"])
def test_what_is_no_scheduler_is_refused(scheduler: str) -> None:
    with pytest.raises(ValidationError, match="scheduler"):
        Cluster(scheduler=scheduler)


class Running:
    """An extraction in a thread."""

    def __init__(self, videos: list[tuple[str, Path]], build: Any, folder: Path, where: Cluster) -> None:
        self._result: Any = None
        self._thread = threading.Thread(
            target=self._run, args=(videos, build, folder, allowing(WIDE), ONE_DECODER, where))
        self._thread.start()

    def _run(self, *arguments: Any) -> None:
        try:
            self._result = extract(*arguments)
        except BaseException as error:
            self._result = error

    def result(self) -> dict[str, Any]:
        self._thread.join(120)
        assert not self._thread.is_alive()
        if isinstance(self._result, BaseException):
            raise self._result
        result: dict[str, Any] = self._result
        return result


def until(holds: Any) -> None:
    limit = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < limit
        time.sleep(0.02)
