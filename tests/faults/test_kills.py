"""Kills at random moments over the whole graph: the next run of the stage ends with the bytes of an undisturbed one.

SPECTRUM_KILLS says how many (one a stage where it is not set; with it METEOR and the tokenizer run, too).
"""

import os
import random
import shutil
import signal
import time
from pathlib import Path

import fault_project
import pytest
from fault_project import STAGES, Limits, Running

KILLS = int(os.environ.get("SPECTRUM_KILLS", len(STAGES)))
LIMITS = Limits(java="SPECTRUM_KILLS" in os.environ)
STATUS = {signal.SIGKILL: -9, signal.SIGTERM: -15, signal.SIGINT: 130}


@pytest.fixture(scope="module")
def seconds() -> dict[str, float]:
    """How long each stage took when it was last run to its end."""
    return {}


@pytest.fixture(scope="module", autouse=True)
def scored(project: Path, undisturbed: Path) -> None:
    """Where Java takes part, it does so in what is compared, too."""
    if LIMITS.java:
        for folder in (project, undisturbed):
            for stage in ("evaluate", "report"):
                assert fault_project.run(folder, stage, LIMITS).status == 0


@pytest.mark.parametrize("number", range(KILLS))
@pytest.mark.usefixtures("whole")
def test_a_killed_stage_goes_on_to_the_same_bytes(project: Path, seconds: dict[str, float], number: int) -> None:
    draw = random.Random(number)
    stage = list(STAGES)[number % len(STAGES)]
    sent = list(STATUS)[(number + number // len(STAGES)) % 3]
    if draw.random() < 0.7:     # as DVC runs it; else over what is there
        fault_project.remove(project, fault_project.outs(stage))
    running = Running(project, stage, LIMITS)
    time.sleep(draw.uniform(0.05, 1.0) * seconds.get(stage, 1.0))
    running.send(sent)
    killed = running.end()
    assert killed.status in {0, STATUS[sent]}, killed.errors
    assert "Traceback" not in killed.errors and "Fatal" not in killed.errors
    started = time.monotonic()
    again = fault_project.run(project, stage, LIMITS)
    seconds[stage] = time.monotonic() - started
    assert again.status == 0, again.errors


@pytest.mark.usefixtures("whole")
def test_an_interruption_says_how_to_go_on(project: Path) -> None:
    """Ctrl-C in the middle of a training: once it has saved its state, there is much left to do."""
    state = project / "models" / fault_project.DATASET / ".state"
    shutil.rmtree(state, ignore_errors=True)        # an earlier test's would send the signal before there is a stage
    running = Running(project, "train --only captioner training.epochs=10000", Limits())
    while running.process.is_alive() and not [*state.rglob("*.safetensors")]:
        time.sleep(0.01)
    running.send(signal.SIGINT)
    ended = running.end()
    assert ended.status == 130
    assert ended.sentence == "error: interrupted; run the same command again to go on: what is finished is kept"
    shutil.rmtree(state)


@pytest.mark.parametrize("victim", ["a worker", "the stage"])
@pytest.mark.usefixtures("whole")
def test_of_processes_that_render_none_outlives_the_others(project: Path, victim: str) -> None:
    """A worker that is ended from outside, as where memory runs out, is a sentence."""
    fault_project.remove(project, fault_project.outs("sample"))
    running = Running(project, "sample", Limits())
    workers: list[int] = []
    while running.process.is_alive() and not workers:
        workers = [number for number, command in running.started().items() if "spawn_main" in command]
    os.kill(workers[0] if victim == "a worker" else running.process.pid, signal.SIGKILL)
    ended = running.end()
    if victim == "a worker":
        assert ended.status == 1
        assert "sample/clips: a process that renders clips was ended from outside" in ended.sentence
    assert fault_project.run(project, "sample").status == 0
