"""The decoder process: a JSON line a job on stdin; on stdout a header's length, a JSON header, raw bytes.

The first message means that it is ready: its libraries are loaded.

It leads a process group of its own, to which the ffmpeg program belongs too, so that both can be ended together.
"""

import contextlib
import json
import os
import queue
import signal
import struct
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, BinaryIO

import numpy as np

from pipeline import media
from pipeline.media import sampling
from pipeline.media.track import Tally, Unreadable

HEADER = struct.Struct("<I")
_NOTHING = np.zeros(0, np.uint8)       # of an item that is a time alone
_MAX_MEMORY = 8 << 30           # bytes of address space of a decoder process


def serve() -> None:
    """Answers jobs until stdin closes. What libraries print goes to stderr, not into the answers."""
    _limit_memory()
    out = os.fdopen(os.dup(1), "wb", buffering=1 << 20)
    os.dup2(2, 1)
    jobs: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_jobs, args=(sys.stdin.buffer, jobs), daemon=True).start()
    with contextlib.suppress(BrokenPipeError):      # the parent is gone
        _send(out, {"is": "ready"})
        while True:
            answer(out, jobs.get())
    os._exit(0)     # at once: the other thread waits for a line, with which Python could not end in peace


def answer(out: BinaryIO, job: dict[str, Any]) -> None:
    """Does a job: items and an end, or an error."""
    items: Iterator[tuple[float, Any]]
    tally = Tally()
    try:
        if job["do"] == "probe":
            _send(out, {"is": "end", "probe": asdict(media.probe(job["path"]))})
            return
        part = job.get("part")
        if job["do"] == "frames":
            items = media.frames(job["path"], sampling.of(job["sampling"]), job["backend"], tally, part)
        elif job["do"] == "cuts":
            items = ((time, _NOTHING) for time in media.cuts(job["path"], job["start"], job["end"]))
        else:
            items = media.sound(job["path"], job["n"], job["window"], job["rate"], job["backend"], tally, part)
        for time, array in items:
            _send(out, {"is": "item", "time": time, "shape": array.shape, "dtype": array.dtype.str},
                  array.data.cast("B"))
        _send(out, {"is": "end", "share": tally.share, "reason": tally.reason})
    except Unreadable as error:
        _send(out, {"is": "error", "reason": str(error)})
    except (MemoryError, ValueError, OSError) as error:
        _send(out, {"is": "error", "reason": f"{type(error).__name__}: {error}"})


def _send(out: BinaryIO, header: dict[str, Any], body: bytes | memoryview = b"") -> None:
    text = json.dumps({**header, "bytes": len(body)}).encode()
    out.write(HEADER.pack(len(text)) + text)
    out.write(body)
    out.flush()


def _jobs(lines: BinaryIO, jobs: "queue.SimpleQueue[dict[str, Any]]") -> None:
    """Reads jobs until the parent is gone; then ends the process immediately, even inside a codec that hangs."""
    for line in lines:
        jobs.put(json.loads(line))
    if os.getpgid(0) == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


def _limit_memory() -> None:
    if sys.platform == "linux":
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        limit = _MAX_MEMORY if hard == resource.RLIM_INFINITY else min(hard, _MAX_MEMORY)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
