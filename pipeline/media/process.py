"""A program whose output is pixels or samples and whose messages are lines: neither can make the other wait.

There is no shell: arguments are a list. The program belongs to the process group of the decoder process, which is
ended as a whole when a video's time is over (pipeline/media/decoder.py); its memory is limited as the decoder's own is.
"""

import queue
import subprocess
import threading
from collections.abc import Sequence

FILE = "the file"       # among the arguments; its name could be mistaken for an option or, in messages, for a message
_LONGEST = 1 << 14      # bytes of a message; what is beyond comes as another line


class Process:
    """A running program; `close` ends it. Where its arguments say FILE, it reads the file at `path`."""

    def __init__(self, arguments: Sequence[str], path: str) -> None:
        with open(path, "rb") as file:  # noqa: PTH123
            number = file.fileno()
            self._process = subprocess.Popen(
                [f"file:/dev/fd/{number}" if argument == FILE else argument for argument in arguments],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=(number,))
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._drain = threading.Thread(target=self._read_lines, daemon=True)
        self._drain.start()

    def line(self) -> str | None:
        """The next message; None when all were read and the program has ended."""
        line = self._lines.get()
        if line is None:
            self._lines.put(None)
        return line

    def read(self, size: int) -> bytes:
        """`size` bytes of its output; less where it ends before."""
        assert self._process.stdout is not None
        return self._process.stdout.read(size)

    def wait(self) -> int:
        """Its exit status, negative where a signal ended it; only once its output is read."""
        return self._process.wait()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._drain.join()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def _read_lines(self) -> None:
        assert self._process.stderr is not None
        while line := self._process.stderr.readline(_LONGEST):
            self._lines.put(line.decode(errors="replace"))
        self._lines.put(None)
