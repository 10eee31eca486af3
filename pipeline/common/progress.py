"""Progress of long work: a bar with rate and remaining time on a terminal, a line now and then in a log."""

import sys
import time
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pipeline.common.terminal import Output, for_people, line

_LOG_EVERY = 15.0  # seconds between lines where there is no terminal


def ignore(*_: Any) -> None:
    """The listener of those who do not listen."""


class Bar:
    """`with Bar("extract", total=560, unit="videos", inner="frames") as bar: bar.advance(8, inner=64)`.

    `inner` is what each unit is made of, whose rate is shown, too.
    """

    def __init__(self, title: str, total: float, unit: str, inner: str = "") -> None:
        self.title, self.total, self.unit, self.inner = title, total, unit, inner
        self.done, self.inner_done = 0.0, 0
        self._earlier = 0.0     # done before this run
        self._note = ""
        self._started = self._logged = time.monotonic()
        self._console = Console(stderr=True)
        self._live = self._console.is_terminal and for_people()
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(), TextColumn("{task.fields[note]}"),
            console=self._console, disable=not self._live,
        )
        self._task = self._bar.add_task(title, total=total, rate="", note="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._bar.stop()
        if kind is None and not self._live:
            self._log()

    def advance(self, count: float = 1, fresh: bool = True, note: str | None = None, inner: int = 0) -> None:
        """`count` more are done, parts of a unit included; what is not `fresh` was done by an earlier run, and is no
        part of the rate. `note` stands behind the bar (failures so far, the last score) until there is another."""
        self.done, self.inner_done = round(self.done + count, 6), self.inner_done + inner    # a sum of parts is whole
        self._earlier += 0 if fresh else count
        self._note = self._note if note is None else note
        self._bar.update(self._task, completed=self.done, rate=self._rates(), note=self._note)
        now = time.monotonic()
        if not self._live and now - self._logged > _LOG_EVERY:
            self._logged = now
            self._log()

    def _rates(self) -> str:
        seconds = max(time.monotonic() - self._started, 1e-6)
        rates = f"{_number((self.done - self._earlier) / seconds)} {self.unit}/s"
        return rates + (f", {_number(self.inner_done / seconds)} {self.inner}/s" if self.inner else "")

    def _log(self) -> None:
        if Output.quiet or not self.total:
            return
        seconds = time.monotonic() - self._started
        fresh = self.done - self._earlier
        left = f", {max(self.total - self.done, 0) * seconds / fresh:.0f} s left" if fresh > 0 else ""
        text = (f"{self.title}: {round(self.done, 2):g}/{self.total} {self.unit}, {self._rates()}{left}"
                + (f", {self._note}" if self._note else ""))
        print(line("progress", text, title=self.title, done=round(self.done, 2), total=self.total, unit=self.unit),
              file=sys.stderr, flush=True)


class Steps(Bar):
    """`with Steps("evaluate", 3) as steps: steps.begin("captions"); …; steps.begin("scores"); …`"""

    def __init__(self, title: str, count: int) -> None:
        super().__init__(title, count, "steps")
        self._running = 0

    def begin(self, what: str) -> None:
        """The step before is done, and `what` is next."""
        self.advance(self._running, note=what)
        self._running = 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if kind is None:
            self.advance(self._running, note="")
        super().__exit__(kind, error, trace)


def _number(rate: float) -> str:
    return f"{rate:.0f}" if rate >= 100 else f"{rate:.3g}"
