"""A bar on stderr for what takes longer than two seconds; none where that is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
PATIENCE = 2.0  # seconds before a bar appears


def track(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """The items one by one, with a bar once they have taken two seconds."""
    if not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar, started = Progress(*columns, console=Console(stderr=True), transient=True), time.monotonic()
    task = bar.add_task(what, total=total)
    try:
        for item in items:
            yield item
            bar.advance(task)
            if not bar.live.is_started and time.monotonic() - started > PATIENCE:
                bar.start()
    finally:
        if bar.live.is_started:
            bar.stop()
