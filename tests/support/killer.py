"""For tests of workers: a process is killed when some part of the work begins, once."""

import os
import signal
from pathlib import Path
from typing import Any

from distributed import WorkerPlugin


class Killer(WorkerPlugin):
    """Kills the worker that begins a part of this name, or process `number`; `flag` is a file that tells that it did.
    """

    def __init__(self, part: str, flag: Path, number: int | None = None) -> None:
        self.name = part
        self._part, self._flag, self._number = part, flag, number

    def setup(self, worker: Any) -> None:
        pass

    def transition(self, key: Any, start: str, finish: str, **_: Any) -> None:
        if finish == "executing" and str(key).endswith(f"-{self._part}") and not self._flag.exists():
            self._flag.touch()
            os.kill(self._number or os.getpid(), signal.SIGKILL)
