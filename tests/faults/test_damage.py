"""A truncated and a bit-flipped copy of every file that a stage reads: one sentence that names it, or the right bytes.

SPECTRUM_DAMAGES says of how many (file, damage) pairs a stage, drawn by chance (3 where it is not set).
"""

import os
import random
import shutil
from pathlib import Path

import fault_project
import pytest
from fault_project import STAGES

DAMAGES = int(os.environ.get("SPECTRUM_DAMAGES", "3"))
OWN = ("clips", "captions.jsonl")       # the user's: what a changed one should have been nobody knows


def truncated(data: bytes, draw: random.Random) -> bytes:
    return data[:draw.randrange(len(data))]


def flipped(data: bytes, draw: random.Random) -> bytes:
    changed = bytearray(data)
    changed[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def emptied(data: bytes, draw: random.Random) -> bytes:
    return b""


@pytest.mark.parametrize("stage", [stage for stage in STAGES if fault_project.deps(stage)])
@pytest.mark.usefixtures("whole")
def test_a_damaged_file_is_named_or_does_no_harm(project: Path, undisturbed: Path, stage: str) -> None:
    read = [*fault_project.deps(stage), *([Path("clips")] if stage == "encoder" else [])]       # which it trains on
    pairs = [(file, damage) for file in dict.fromkeys(fault_project.files(project, read))
             for damage in (truncated, flipped, flipped, emptied)]
    draw = random.Random(f"{stage} {DAMAGES}")
    wrong = []
    for file, damage in draw.sample(pairs, min(DAMAGES, len(pairs))):
        restore(project, undisturbed, stage)
        data = (project / file).read_bytes()
        (project / file).write_bytes(damage(data, draw))
        ended = fault_project.run(project, stage)
        (project / file).write_bytes(data)
        if problem := judge(project, undisturbed, stage, file, ended):
            wrong.append(f"{file} {damage.__name__}: {problem}")
    again = fault_project.run(project, stage)
    assert not wrong, "\n".join(wrong)
    assert again.status == 0


@pytest.mark.parametrize(("stage", "name"), [
    ("encoder", "clips/v0.mp4"), ("report", "models/tiny/captioner/curves.csv"),
    ("report", "reports/tiny/predictions.jsonl"), ("index", "data/tiny/corpus.jsonl"),
    ("retrieve", "indexes/tiny/sample-clip/index.json"), ("evaluate", "models/tiny/captioner/captioner.json")])
@pytest.mark.usefixtures("whole")
def test_a_digit_that_changed_is_noticed(project: Path, stage: str, name: str) -> None:
    """Where the file is as well formed as before."""
    data = (project / name).read_bytes()
    position = max(data.rfind(digit) for digit in (b"1", b"3", b"5", b"7"))
    (project / name).write_bytes(data[:position] + bytes([data[position] - 1]) + data[position + 1:])
    ended = fault_project.run(project, stage)
    (project / name).write_bytes(data)
    assert ended.status == 1 and f"{name}: it was changed or damaged" in ended.sentence


def judge(project: Path, undisturbed: Path, stage: str, file: Path, ended: fault_project.Ended) -> str:
    """What is wrong with how a stage ended; "" where it told the file or made what it should."""
    if ended.status == 0:
        outs = list(fault_project.files(undisturbed, fault_project.outs(stage)))
        same = all((project / out).is_file() and (project / out).read_bytes() == (undisturbed / out).read_bytes()
                   for out in outs)
        return "" if same or (file.parts[0] in OWN and stage != "encoder") else "other bytes, without a word"
    errors = [line for line in ended.errors.splitlines() if line.startswith("error:")]
    if ended.status != 1 or len(errors) != 1 or "Traceback" in ended.errors:
        return f"status {ended.status}: {ended.errors[-1500:]}"
    return "" if file.name in errors[0] or file.stem in errors[0] else f"not named: {errors[0]}"


def restore(project: Path, undisturbed: Path, stage: str) -> None:
    """The outs of the undisturbed run."""
    fault_project.remove(project, fault_project.outs(stage))
    for out in fault_project.files(undisturbed, fault_project.outs(stage)):
        (project / out).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(undisturbed / out, project / out)
