"""Index, retrieve, emotion and an ablation by real workers, one of which is killed: the bytes of one process."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import chdir
from pathlib import Path

import dask
import faiss
import numpy as np
import pytest
import stored_project
import torch
from distributed import Client, LocalCluster
from distributed.utils import get_mp_context
from killer import Killer
from project import ROOT, SUPPORT

from pipeline.ablation.rows import BASELINE, FULL
from pipeline.ablation.run import RowListeners, train_rows
from pipeline.ablation.work import AblationWork
from pipeline.common.errors import SpectrumError
from pipeline.emotion import caption_parts
from pipeline.encoders import text_parts
from pipeline.encoders.text_encoder import OpenClipTextEncoder, text_encoder
from pipeline.params import Params
from pipeline.params.paths import Paths
from pipeline.retrieval import candidates
from pipeline.retrieval.exact_search import nearest
from pipeline.retrieval.index import map_vectors
from pipeline.workers.engine import open_engine
from stages import emotion, index, retrieve

ESTIMATORS = "emotion.estimators=[lexicon, expressions, clip]"


def ablate(params: Params, paths: Paths) -> list[float]:
    """The progress that was told: epochs since the last time."""
    told: list[float] = []
    with open_engine(params.cluster) as engine:
        train_rows(engine.begin(AblationWork(params)), paths.reports / "ablation", range(2), params.training.all_epochs,
                   (FULL, BASELINE), RowListeners(on_progress=lambda epochs, _: told.append(epochs)))
    return told


# What each makes, and a part of its work.
STAGES: dict[str, tuple[Callable[[Params, Paths], object], list[str], str]] = {
    "index": (index.run, ["indexes/sample/sample-clip"], "captions-000000016"),
    "retrieve": (retrieve.run, ["indexes/sample/candidates.h5", "indexes/sample/retrieval.json"],
                 "videos-000000008-captions-000000000"),
    "emotion": (emotion.run, ["features/sample/emotion.h5", "reports/sample/emotion.json"], "words-000000016"),
    "ablate": (ablate, ["reports/sample/ablation"], "full, seed 1")}


def content(folder: Path, made: list[str]) -> dict[str, bytes]:
    files = [path for name in made for path in [folder / name, *(folder / name).rglob("*")] if path.is_file()]
    assert files
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture(scope="module", autouse=True)
def small_parts() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module in (text_parts, caption_parts):
            patch.setattr(module, "_CAPTIONS", 16)
        patch.setattr(candidates, "_QUERIES", 8)
        yield


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project through all of them in this process."""
    folder = tmp_path_factory.mktemp("alone")
    with chdir(folder):
        stored_project.make()
        params = stored_project.parameters(ESTIMATORS)
        for run, _, _ in STAGES.values():
            run(params, Paths.of(params))
    assert not (folder / "indexes/sample/.parts").exists()
    return folder


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[LocalCluster, Client]]:
    """Its processes are forked where everything is imported already."""
    with (pytest.MonkeyPatch.context() as patch,
          dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"})):
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(SUPPORT), *sys.path]))
        get_mp_context().set_forkserver_preload(["distributed", "fault_imports", "pipeline.ablation.work"])
        with (LocalCluster(n_workers=4, threads_per_worker=1, dashboard_address=None, memory_limit=0,
                           silence_logs=50) as local, Client(local, set_as_default=False) as client):
            yield local, client


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("workers", [4, 2])
def test_a_killed_worker_changes_no_byte(tmp_path: Path, alone: Path, cluster: tuple[LocalCluster, Client],
                                         workers: int, stage: str) -> None:
    local, client = cluster
    local.scale(workers)
    until(lambda: len(client.scheduler_info(n_workers=-1)["workers"]) == workers)
    run, made, part = STAGES[stage]
    project = tmp_path / "project"
    shutil.copytree(alone, project)
    for name in made:
        shutil.rmtree(project / name) if (project / name).is_dir() else (project / name).unlink()
    client.register_plugin(Killer(part, tmp_path / "killed"), name=part)
    pids = set(client.run(os.getpid).values())
    params = stored_project.parameters(ESTIMATORS, f"cluster.scheduler={local.scheduler_address}")
    with chdir(project):
        told = run(params, Paths.of(params))
    client.unregister_worker_plugin(part)
    assert (tmp_path / "killed").exists() and pids - set(client.run(os.getpid).values())
    assert content(project, made) == content(alone, made)
    if isinstance(told, list):
        assert sum(told) == pytest.approx(4 * params.training.all_epochs)


def test_a_lost_scheduler_costs_what_was_not_saved(tmp_path: Path, alone: Path,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    """The next run goes on, here in one process, and encodes no caption again."""
    monkeypatch.chdir(tmp_path)
    for folder in ("data", "models"):
        shutil.copytree(alone / folder, tmp_path / folder)
    described = tmp_path / "scheduler.json"
    scheduler = started("dask_scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", str(described))
    until(lambda: described.exists() and described.read_text().strip().endswith("}"))
    address = json.loads(described.read_text())["address"]
    worker = started("dask_worker", address, "--nthreads", "1", "--no-dashboard", "--no-nanny")
    try:
        with Client(address, set_as_default=False) as client:
            client.register_plugin(Killer("captions-000000048", tmp_path / "killed", scheduler.pid))
            params = stored_project.parameters(f"cluster.scheduler={address}")
            with pytest.raises(SpectrumError, match="the scheduler was lost; start it and its workers and run again"):
                index.run(params, Paths.of(params))
    finally:
        for process in (worker, scheduler):
            process.send_signal(signal.SIGKILL)
            process.wait()
    encoded: list[str] = []
    encode = OpenClipTextEncoder.encode_texts

    def counted(encoder: OpenClipTextEncoder, texts: list[str]) -> object:
        encoded.extend(texts)
        return encode(encoder, texts)

    monkeypatch.setattr(OpenClipTextEncoder, "encode_texts", counted)
    params = stored_project.parameters()
    summary = index.run(params, Paths.of(params))
    assert 0 < len(encoded) <= summary["distinct"] - 48
    assert content(tmp_path, STAGES["index"][1]) == content(alone, STAGES["index"][1])


def test_the_submitting_process_loads_no_model(tmp_path: Path, alone: Path, cluster: tuple[LocalCluster, Client],
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be a machine without a GPU and without the weights, whatever device the workers are asked for."""
    def refuse(*_: object) -> None:
        raise AssertionError("the process that asks looked for a device or a model")

    for name in ("pipeline.common.device.torch_device", "pipeline.encoders.text_encoder.text_encoder",
                 "pipeline.encoders.open_clip_model.load"):
        monkeypatch.setattr(name, refuse)
    local, _ = cluster
    shutil.copytree(alone, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    params = stored_project.parameters(ESTIMATORS, f"cluster.scheduler={local.scheduler_address}")
    for stage in ("index", "retrieve", "emotion"):
        STAGES[stage][0](params, Paths.of(params))
    with pytest.raises(SpectrumError, match="machine.device=cuda, but torch sees no GPU"):      # says a worker
        asked = stored_project.parameters("machine.device=cuda", f"cluster.scheduler={local.scheduler_address}")
        index.run(asked, Paths.of(asked))


def test_the_number_of_threads_changes_no_vector_and_no_candidate(alone: Path) -> None:
    """A worker has fewer than one process that has all cores."""
    params = stored_project.parameters()
    made = []
    with chdir(alone):
        paths = Paths.of(params)
        encoder = text_encoder(params.encoders.appearance, paths.encoder, "cpu")
        vectors = map_vectors(paths.index)
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            faiss.omp_set_num_threads(threads)
            rows, cosines = nearest(vectors[:30], vectors, 20, 30)
            made.append((encoder.encode_texts([f"a dog {'runs ' * number}" for number in range(60)]), rows, cosines))
        torch.set_num_threads(1)
        faiss.omp_set_num_threads(1)
    for other in made[1:]:
        assert all(np.array_equal(own, first) for own, first in zip(other, made[0], strict=True))


def test_parts_of_something_else_are_not_taken(tmp_path: Path, alone: Path, monkeypatch: pytest.MonkeyPatch,
                                               capsys: pytest.CaptureFixture[str]) -> None:
    """What a killed run left counts for its own captions alone, and not when it is damaged."""
    monkeypatch.chdir(tmp_path)
    for folder in ("data", "models"):
        shutil.copytree(alone / folder, tmp_path / folder)
    params = stored_project.parameters()
    paths = Paths.of(params)
    with monkeypatch.context() as patch:        # killed before the index is written
        patch.setattr("pipeline.retrieval.index.write_json", lambda *_: exec("raise KeyboardInterrupt"))
        with pytest.raises(KeyboardInterrupt):
            index.run(params, paths)
    saved = sorted((paths.parts / "index").iterdir())
    assert len(saved) == 5
    damaged = bytearray(saved[0].read_bytes())
    damaged[len(damaged) // 2] ^= 1
    saved[0].write_bytes(damaged)
    shutil.copyfile(saved[1], saved[2])
    index.run(params, paths)
    assert "encode: 72/72 captions" in capsys.readouterr().err
    assert not paths.parts.exists()
    assert content(tmp_path, STAGES["index"][1]) == content(alone, STAGES["index"][1])


def started(module: str, *arguments: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SUPPORT), *sys.path])}
    return subprocess.Popen([sys.executable, "-m", f"distributed.cli.{module}", *arguments], env=environment,
                            stderr=subprocess.DEVNULL)


def until(holds: Callable[[], bool]) -> None:
    limit = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < limit
        time.sleep(0.02)


def test_cluster_none_imports_no_dask() -> None:
    code = ("import sys\nimport pipeline.encoders.text_parts, pipeline.retrieval.search_parts\n"
            "from pipeline.params import Cluster\nfrom pipeline.workers.engine import open_engine\n"
            "with open_engine(Cluster()): pass\nassert not {'dask', 'distributed', 'torch'} & set(sys.modules)")
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
