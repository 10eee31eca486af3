"""A training that is killed at any moment goes on and ends with the very weights of one that was not."""

import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from captioner_stage import RECIPES, params_file, use_world
from captioner_world import SECTION as WORLD_SECTION
from captioner_world import TRAINING, train_on, world, world_split
from safetensors.torch import load_file, save_file

from pipeline.captioner import checkpoint
from pipeline.captioner.splits import Split
from pipeline.captioner.trained import TrainedCaptioner
from pipeline.captioner.training import trainer
from pipeline.captioner.training.settings import Listeners, TrainingSettings
from pipeline.captioner.training.state import StateFile
from pipeline.common.errors import SpectrumError
from pipeline.common.files import read_json, write_json
from pipeline.params import Training, load
from pipeline.params.paths import Paths
from stages import train as stage

SECTION = WORLD_SECTION.model_copy(update={"max_words": 8})
MIXED = TRAINING.model_copy(update={
    "epochs": 3, "captions_per_batch": 32, "patience": 2, "select_by": "mean", "self_critical_epochs": 2,
    "self_critical_samples": 3, "lr_schedule": "decay", "optimizer": "adam"})
WHOLE = TRAINING.model_copy(update={"epochs": 3, "videos_per_batch": 8})

# Children are forks of a server that has imported everything; it finds the modules by PYTHONPATH alone.
context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["captioner_stage", "captioner_world", "pytest", "stages.train"])


@pytest.fixture(autouse=True, scope="module")
def modules_of_the_server() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        yield


def learn(training: Training, state: Path | None = None, seed: int = 0,
          listeners: Listeners = Listeners()) -> TrainedCaptioner:
    splits = world_split(60, seed=1, silent=5), world_split(15, seed=2)
    return train_on(*splits, training, SECTION, seed, state, listeners)


def train_in_child(training: Training, state: Path | None, out: Path) -> None:
    """Saves the state before every step; writes what came of it beside `out`."""
    torch.set_num_threads(1)
    trainer._SAVE_INTERVAL = 0.0
    progress: list[float] = []
    trained = learn(training, state, listeners=Listeners(on_progress=lambda epochs, fresh: progress.append(epochs)))
    save_file({name: tensor.contiguous() for name, tensor in trained.model.state_dict().items()}, out)
    write_json(out.with_suffix(".json"), {"history": trained.history, "best": trained.best["epoch"],
                                          "epochs": round(sum(progress), 6)})


def run(*args: object) -> multiprocessing.process.BaseProcess:
    process = context.Process(target=train_in_child, args=args)
    process.start()
    return process


def changes_of(path: Path) -> tuple[int, int]:
    """Stands for the file that is there now."""
    status = path.stat() if path.exists() else None
    return (status.st_ino, status.st_mtime_ns) if status else (0, 0)


def kill_after(process: multiprocessing.process.BaseProcess, state: Path, saves: int, more: float) -> None:
    """SIGKILL once the state was saved `saves` times, and `more` seconds."""
    seen = changes_of(state)
    while process.is_alive() and saves:
        if (now := changes_of(state)) != seen:
            seen, saves = now, saves - 1
        time.sleep(0.001)
    time.sleep(more)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()


@pytest.mark.parametrize(("training", "kills"), [(MIXED, 5), (WHOLE, 2)], ids=["mixed", "whole"])
def test_killed_again_and_again_it_ends_with_the_same_weights(training: Training, kills: int,
                                                              tmp_path: Path) -> None:
    whole = run(training, None, tmp_path / "whole.safetensors")
    state, out = tmp_path / "state.safetensors", tmp_path / "out.safetensors"
    chance = random.Random(0)
    killed = 0
    for _ in range(kills):
        process = run(training, state, out)
        kill_after(process, state, chance.randint(0, 5), chance.random() * 0.1)
        killed += process.exitcode == -signal.SIGKILL
    assert killed == kills and state.exists() and not out.exists()
    last = run(training, state, out)
    for process in (whole, last):
        process.join()
        assert process.exitcode == 0
    expected, actual = load_file(tmp_path / "whole.safetensors"), load_file(out)
    assert expected.keys() == actual.keys()
    assert all(torch.equal(expected[name], actual[name]) for name in expected)
    assert read_json(tmp_path / "whole.json") == read_json(tmp_path / "out.json")
    assert read_json(out.with_suffix(".json"))["epochs"] == training.epochs + training.self_critical_epochs


def test_a_finished_state_is_not_trained_again_and_another_trainings_is_not_taken(tmp_path: Path) -> None:
    state = tmp_path / "state.safetensors"
    short = WHOLE.model_copy(update={"epochs": 1})
    one = learn(short, state)
    inode = changes_of(state)
    again = learn(short, state)
    assert changes_of(state) == inode and again.history == one.history
    assert all(torch.equal(a, b) for a, b in zip(one.model.parameters(), again.model.parameters(), strict=True))
    other = learn(short, state, seed=1)
    assert changes_of(state) != inode
    assert other.history[0]["loss"] != one.history[0]["loss"]


def test_seeds_do_not_change_what_one_of_them_learns(tmp_path: Path) -> None:
    state = tmp_path / "state.safetensors"
    learn(WHOLE.model_copy(update={"epochs": 1}), state)
    inode = changes_of(state)
    learn(WHOLE.model_copy(update={"epochs": 1, "num_seeds": 3}), state)
    assert changes_of(state) == inode


def test_a_state_that_is_none_is_refused(tmp_path: Path) -> None:
    state = tmp_path / "state.safetensors"
    state.write_bytes(b"no state")
    with pytest.raises(SpectrumError, match="delete it"):
        StateFile(state, "f").load()
    save_file({"a": torch.zeros(1)}, state)
    with pytest.raises(SpectrumError, match="delete it"):
        StateFile(state, "f").load()
    assert StateFile(tmp_path / "none.safetensors", "f").load() is None


@pytest.mark.parametrize(("interval", "saves"), [(0.0, 8 + 1), (1e9, 1)])
def test_the_state_is_saved_within_an_epoch_only_after_its_time(interval: float, saves: int, tmp_path: Path,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    state, calls, save = tmp_path / "state.safetensors", [], StateFile.save

    def counted(*args: object) -> None:
        calls.append(args)
        save(*args)                 # type: ignore[arg-type]

    monkeypatch.setattr(StateFile, "save", counted)
    monkeypatch.setattr(trainer, "_SAVE_INTERVAL", interval)
    learn(WHOLE.model_copy(update={"epochs": 1}), state)        # 8 steps
    assert len(calls) == saves
    assert StateFile(state, "").load() is None  # of another fingerprint
    assert not list(tmp_path.glob(".*"))        # nothing else is left


def test_the_stage_goes_on_with_several_seeds_and_tidies_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    splits, captions = {}, {}
    for number, split in enumerate(("train", "validation")):
        splits[split], own = world(12, seed=number)
        captions |= own
    use_world(monkeypatch, splits, captions)
    params_file(tmp_path, monkeypatch, "training.epochs=2", "training.num_seeds=2")
    settings = load([])
    paths = Paths.of(settings)
    whole, seeds = trainer.train, []

    def dies(train: Split, validation: Split, settings: TrainingSettings, seed: int, *more: object) -> TrainedCaptioner:
        seeds.append(seed)
        if len(seeds) == 2:
            raise KeyboardInterrupt
        return whole(train, validation, settings, seed, *more)      # type: ignore[arg-type]

    monkeypatch.setattr(trainer, "train", dies)
    with pytest.raises(KeyboardInterrupt):
        stage.run(settings, paths, "captioner")
    assert [path.name for path in (paths.state / "captioner").iterdir()] == ["seed-0.safetensors"]
    saved = changes_of(paths.state / "captioner/seed-0.safetensors")
    with monkeypatch.context() as patch:
        patch.setattr(stage.shutil, "rmtree", lambda path: None)
        summary = stage.run(settings, paths, "captioner")
    assert seeds == [0, 1, 0, 1] and changes_of(paths.state / "captioner/seed-0.safetensors") == saved
    assert set(summary["seeds"]) == {"0", "1"} and summary["over_seeds"]["validation_cfs"]["deviation"] is not None
    best = max(summary["seeds"].values(), key=lambda record: record["validation_cfs"])
    assert summary["best"] == best == summary["seeds"][str(summary["seed"])]
    assert sorted(path.name for path in paths.captioner.iterdir()) == [
        "README.md", "captioner.json", "captioner.safetensors", "curves-seed-0.csv", "curves-seed-1.csv", "curves.csv",
        "training_domain.h5"]
    kept = checkpoint.load(paths.captioner)
    assert kept.seed == summary["seed"] and kept.best == best and kept.recipes == RECIPES
    assert (paths.captioner / "curves.csv").read_text() == (
        paths.captioner / f"curves-seed-{kept.seed}.csv").read_text()

    summary = stage.run(load(["training.num_seeds=1"]), paths, "captioner")
    assert summary["over_seeds"]["validation_cfs"]["deviation"] is None
    assert not paths.state.exists() and not list(paths.captioner.glob("curves-seed-*"))
    assert stage.run(load(["training.num_seeds=1"]), paths, "baseline")["attributes"] == summary["attributes"]
    assert checkpoint.load(paths.baseline).model.detector is None
