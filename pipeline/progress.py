"""Progress of long work: a bar with rate and remaining time on a terminal, a line now and then in a log."""

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_LOG_EVERY = 15.0  # seconds between lines where there is no terminal


class Bar:
    """`with Bar("extract", total=560, unit="videos") as bar: bar.advance(8, "2 failed")`."""

    def __init__(self, title: str, total: int, unit: str) -> None:
        self.title, self.total, self.unit = title, total, unit
        self.done = 0
        self._started = self._logged = time.monotonic()
        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(), TextColumn("{task.fields[note]}"),
            console=self._console, disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task(title, total=total, rate="", note="")

    def __enter__(self) -> "Bar":
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._bar.stop()
        if kind is None and not self._console.is_terminal:
            self._log("")

    def advance(self, count: int = 1, note: str = "") -> None:
        """`count` more are done; `note` stands behind the bar (failures so far, the last score)."""
        self.done += count
        self._bar.update(self._task, advance=count, rate=f"{self._rate():.1f} {self.unit}/s", note=note)
        now = time.monotonic()
        if not self._console.is_terminal and now - self._logged > _LOG_EVERY:
            self._logged = now
            self._log(note)

    def _rate(self) -> float:
        return self.done / max(time.monotonic() - self._started, 1e-6)

    def _log(self, note: str) -> None:
        rate = self._rate()
        remaining = (self.total - self.done) / rate if rate > 0 else 0.0
        print(f"{self.title}: {self.done}/{self.total} {self.unit}, {rate:.1f}/s, {remaining:.0f} s left"
              + (f", {note}" if note else ""), file=sys.stderr, flush=True)
