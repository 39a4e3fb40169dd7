"""Bars on stderr for what takes longer than two seconds; none where that is no terminal."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import ProgressColumn, TaskID

T = TypeVar("T")
PATIENCE = 2.0  # seconds before a bar appears
PERIOD = 600.0  # seconds back over which the rate is taken: what comes from a cluster comes minutes apart


def track(items: Iterable[T], total: int, what: str, steps: Callable[[T], int] = lambda _: 1) -> Iterator[T]:
    """The items one by one, with a bar once they have taken two seconds; bars at one time stand below each other.

    ``steps`` says how many of the ``total`` an item is.
    """
    if _Bars.shown is None and not sys.stderr.isatty():  # while bars are shown rich holds stderr
        yield from items
        return
    bars, bar = _Bars.enter(what, total)
    try:
        for item in items:
            yield item
            bars.advance(bar, steps(item))
    finally:
        bars.leave(bar)


class _Bars:
    """All that is tracked at present in one display, since a second one would write over the first."""

    shown: _Bars | None = None
    lock = threading.RLock()  # a generator that is thrown away may end anywhere, also inside

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _rate(), TimeRemainingColumn())
        self.progress = Progress(*columns, console=Console(stderr=True), transient=True, speed_estimate_period=PERIOD)
        self.begun: dict[TaskID, float] = {}  # the bars, and when

    @classmethod
    def enter(cls, what: str, total: int) -> tuple[_Bars, TaskID]:
        """The display, made by the first to come, and a bar in it."""
        with cls.lock:
            bars = cls.shown = cls.shown or cls()
            bar = bars.progress.add_task(what, total=total, visible=False)
            bars.begun[bar] = time.monotonic()
            return bars, bar

    def advance(self, bar: TaskID, steps: int) -> None:
        """Some steps of a bar; those that have been waited for long enough are shown."""
        with self.lock:
            self.progress.advance(bar, steps)
            due = [each for each, begun in self.begun.items() if time.monotonic() - begun > PATIENCE]
            for each in due:
                self.progress.update(each, visible=True)
            if due and not self.progress.live.is_started:
                self.progress.start()

    def leave(self, bar: TaskID) -> None:
        """Takes a bar away, and the display with the last."""
        with self.lock:
            del self.begun[bar]
            self.progress.remove_task(bar)
            if not self.begun:
                _Bars.shown = None
                if self.progress.live.is_started:
                    self.progress.stop()


def _rate() -> ProgressColumn:
    """The column that says how many steps are done in a second."""
    from rich.progress import ProgressColumn, Task
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.speed or 0.0
            return Text(f"{speed:,.0f}/s" if speed >= 100 else f"{speed:.3g}/s" if speed else "")

    return Rate()
