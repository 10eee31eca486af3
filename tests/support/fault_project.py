"""A tiny data set through the whole graph, for tests of what can go wrong: each stage by itself, in a second or two.

`python -m stages.<name>` in a process of its own, forked where everything is imported already, so that a signal
reaches a stage at work and a test costs what the stage does.
"""

import contextlib
import ctypes
import json
import multiprocessing
import os
import resource
import runpy
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml
from media_factory import clip
from project import ROOT, SUPPORT

from pipeline import params
from pipeline.common import programs

DATASET = "tiny"
OVERRIDES = [
    f"dataset={DATASET}", "sample={pretrain: 1, train: 2, validation: 1, test: 1, seconds: 0.3, size: 112}",
    "data.videos=clips", "data.captions=captions.jsonl", "data.corpus=captions.jsonl",
    "machine.device=cpu", "machine.decoder_processes=1", "machine.save_interval=0", "extraction.num_shards=2",
    "encoder.epochs=1", "encoder.batch_size=6", "encoders.appearance.num_frames=2", "encoders.audio.num_windows=2",
    "encoders.audio.window_seconds=0.2", "retrieval.stored=4", "retrieval.used=3", "captioner.hidden_size=16",
    "captioner.num_heads=2", "captioner.feedforward_size=32", "captioner.embedded_attributes=3",
    "captioner.universal_words=10", "captioner.min_word_count=1", "training.epochs=2", "generation.num_beams=2"]
ROOMS = ("sample", "data", "models", "features", "indexes", "reports")
# Every node of the graph in the order in which it runs, and how it is called.
STAGES = {
    "sample": ["sample"], "prepare": ["prepare"], "encoder": ["encoder"],
    "extract-appearance": ["extract", "--only", "appearance"],
    "extract@audio": ["extract", "--only", "audio"], "extract@motion": ["extract", "--only", "motion"],
    "index": ["index"], "retrieve": ["retrieve"], "emotion": ["emotion"],
    "train@captioner": ["train", "--only", "captioner"], "train@baseline": ["train", "--only", "baseline"],
    "evaluate": ["evaluate"], "report": ["report"]}


@dataclass(frozen=True)
class Ended:
    """A stage that came to its end: exit status (negative: the signal) and what it printed."""

    status: int
    printed: str
    errors: str

    @property
    def sentence(self) -> str:
        """The only error that it printed. A traceback, or no error, or two, fail the test."""
        assert "Traceback" not in self.errors, self.errors
        (line,) = [line for line in self.errors.splitlines() if line.startswith("error:")]
        return line


@dataclass(frozen=True)
class Limits:
    """What a stage may not do: write a file larger than this, write where only root's rights allow it, use Java."""

    file_size: int | None = None
    as_root: bool = True
    java: bool = False      # METEOR takes ten times as long as all else


class Running:
    """A stage at work: a node of the graph, or a command such as "ablate --seeds 1". What it starts can be told by a
    variable of its environment."""

    def __init__(self, project: Path, stage: str, limits: Limits) -> None:
        self._mark = uuid4().hex
        pipes = [_context().Pipe(duplex=False) for _ in range(2)]
        self._readers = [reader for reader, _ in pipes]
        self.process = _context().Process(
            target=_run,
            args=(project, STAGES.get(stage) or stage.split(), limits, self._mark, [writer for _, writer in pipes]))
        self.process.start()
        for _, writer in pipes:
            writer.close()

    def send(self, sent: signal.Signals) -> None:
        """As a terminal sends Ctrl-C, to the whole group; other signals to the stage alone."""
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if sent == signal.SIGINT else os.kill)(self.process.pid, sent)

    def end(self) -> Ended:
        """Waits for the stage, and fails where something that it started is still there half a minute later."""
        pool = ThreadPoolExecutor(2)        # which read while it writes: a pipe holds little
        texts = [pool.submit(_read_all, reader) for reader in self._readers]
        self.process.join()
        limit = time.monotonic() + 30
        while (started := self.started()) and time.monotonic() < limit:
            time.sleep(0.02)
        for number in started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        printed, errors = (text.result() for text in texts)
        pool.shutdown()
        assert not started, f"still running: {started}"
        return Ended(self.process.exitcode, printed, errors)

    def started(self) -> dict[int, str]:
        """Numbers and command lines of the programs that it started and that still run, where the system tells."""
        found = {}
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if self._mark.encode() in (process / "environ").read_bytes():
                    found[int(process.name)] = (process / "cmdline").read_text().replace("\0", " ")
        return found


def _read_all(reader: Any) -> str:
    parts = []
    while part := os.read(reader.fileno(), 1 << 16):
        parts.append(part)
    reader.close()
    return b"".join(parts).decode(errors="replace")


def make(folder: Path) -> Path:
    """A project of ten small clips, with nothing made yet."""
    (folder / "clips").mkdir(parents=True)
    rows = []
    for number, split in enumerate(["train"] * 6 + ["validation"] * 2 + ["test"] * 2):
        clip(folder / "clips" / f"v{number}.mp4", 6, first=number, sound=300.0 + 40 * number, size=(64, 64))
        rows += [{"video": f"v{number}", "split": split, "caption": f"a {mood} {thing} moves {number}"}
                 for mood, thing in (("happy", "man"), ("sad", "dog"))]
    (folder / "captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    (folder / "nothing.yaml").write_text("{}")
    params.apply(folder / "nothing.yaml", OVERRIDES, folder / "params.yaml")
    (folder / "nothing.yaml").unlink()
    return folder


def run(project: Path, stage: str, limits: Limits = Limits()) -> Ended:
    return Running(project, stage, limits).end()


def content(project: Path) -> dict[str, bytes]:
    """All that the stages made, hidden files too, but what differs from run to run: summaries, and locks."""
    return {str(path.relative_to(project)): path.read_bytes() for room in ROOMS
            for path in sorted((project / room).rglob("*"))
            if path.is_file() and path.suffix != ".lock" and path.parent != project / "reports" / DATASET / "stages"}


@cache
def _graph() -> dict[str, dict[str, Any]]:
    """The nodes of dvc.yaml with their deps and outs, for the tiny data set; code is left out."""
    tree = {name: node for file in ("sample/dvc.yaml", "dvc.yaml")
            for name, node in yaml.safe_load((ROOT / file).read_text())["stages"].items()}
    nodes: dict[str, dict[str, Any]] = {}
    for name, node in tree.items():
        items = node.get("foreach")
        if items is None:
            nodes[name] = _resolved(node, {})
            continue
        for key in items:
            values = {"key": key, "item": key}
            if isinstance(items, dict):
                values |= {f"item.{part}": _filled(text, {}) for part, text in items[key].items()}
            nodes[f"{name}@{key}"] = _resolved(node["do"], values)
    return nodes


def _resolved(node: dict[str, Any], values: dict[str, str]) -> dict[str, Any]:
    def paths(entries: list[Any]) -> list[Path]:
        names = [next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries]
        return [Path(_filled(name, values)) for name in names]

    return {"deps": [path for path in paths(node["deps"]) if path.parts[0] not in ("stages", "pipeline")],
            "outs": paths([*node.get("outs", ()), *node.get("metrics", ())])}


def _filled(text: str, values: dict[str, str]) -> str:
    while "${" in text:
        key = text.partition("${")[2].partition("}")[0]
        value: Any = values.get(key)
        if value is None:
            value = _parameters()
            for part in key.split("."):
                value = value[part]
        text = text.replace(f"${{{key}}}", str(value))
    return text


@cache
def _parameters() -> dict[str, Any]:
    return params.load(OVERRIDES, ROOT / "params.yaml").model_dump(mode="json")


def deps(stage: str) -> list[Path]:
    """What a stage reads, relative to the project, its code aside."""
    found: list[Path] = _graph()[stage]["deps"]
    return found


def outs(stage: str) -> list[Path]:
    found: list[Path] = _graph()[stage]["outs"]
    return found


def nodes() -> set[str]:
    return set(_graph())


def files(project: Path, paths: list[Path]) -> Iterator[Path]:
    """The files behind files and folders, relative to the project."""
    for path in paths:
        found = [project / path] if (project / path).is_file() else sorted((project / path).rglob("*"))
        yield from (file.relative_to(project) for file in found if file.is_file())


def remove(project: Path, paths: list[Path]) -> None:
    """As DVC does with a stage's outs before it runs."""
    for path in paths:
        if (project / path).is_dir():
            shutil.rmtree(project / path)
        else:
            (project / path).unlink(missing_ok=True)


@cache
def _context() -> Any:
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(SUPPORT), *sys.path])
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fault_imports"])
    return context


def _run(project: Path, command: list[str], limits: Limits, mark: str, writers: list[Any]) -> None:
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)    # a shell lets what it runs in the background ignore it
    os.chdir(project)
    os.environ["SPECTRUM_TEST_RUN"] = mark
    for number, writer in enumerate(writers, start=1):
        os.dup2(writer.fileno(), number)
        writer.close()
    if not limits.java:
        programs.java = lambda: None        # type: ignore[assignment]
    if not limits.as_root:
        _give_up_capabilities()
    if limits.file_size is not None:        # as where a quota ends; what is printed goes through pipes
        resource.setrlimit(resource.RLIMIT_FSIZE, (limits.file_size, limits.file_size))
    module = f"stages.{command[0]}"
    sys.modules.pop(module, None)       # runpy warns of one that was imported
    sys.argv = [module, *command[1:]]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _give_up_capabilities() -> None:
    """Permissions bind root, too, once it may no longer pass over them."""
    class Header(ctypes.Structure):
        _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]

    header, none = Header(0x20080522, 0), (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None).capset(ctypes.byref(header), none) != 0:
        raise OSError("capset failed")
