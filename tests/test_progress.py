"""Bars on a terminal: late, below each other, and gone in the end."""

from __future__ import annotations

import io
import sys
import threading
import time

import pytest

from wherefore import progress
from wherefore.progress import track


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal in the place of stderr (from within a test: pytest has its own before), and no patience."""
    for name in ("NO_COLOR", "TERM", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    fake = Terminal()
    monkeypatch.setattr(sys, "stderr", fake)
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    return fake


def rows() -> list[str]:
    """What the display that is shown at present consists of."""
    bars = progress._Bars.shown
    assert bars is not None and bars.progress.live.is_started
    return [task.description for task in bars.progress.tasks if task.visible]


def test_nothing_without_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    assert list(track(range(3), 3, "pictures")) == [0, 1, 2] and progress._Bars.shown is None
    assert capsys.readouterr() == ("", "")


def test_what_is_done_at_once_shows_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = terminal(monkeypatch)
    monkeypatch.setattr(progress, "PATIENCE", 60.0)
    for _ in track(range(3), 3, "pictures"):
        list(track(range(3), 3, "methods"))
    assert shown.getvalue() == "" and progress._Bars.shown is None


def test_nested_bars_stand_below_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = terminal(monkeypatch)
    seen = []
    for _ in track(range(2), 2, "pictures"):
        for _ in track(range(2), 2, "methods"):
            for i in track(range(2), 2, "channels"):
                if i:
                    seen.append(rows())
    assert seen == [["pictures", "methods", "channels"]] * 4
    assert progress._Bars.shown is None
    assert "channels" in shown.getvalue()


def test_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten steps every half second are twenty a second, also where items are several steps, and minutes apart."""
    for items, wait, steps, rate in ((8, 0.5, 10, "20/s"), (3, 90.0, 9, "0.1/s"), (5, 0.004, 5, "1,250/s")):
        shown, clock = terminal(monkeypatch), [1000.0]
        monkeypatch.setattr(time, "monotonic", lambda clock=clock: clock[0])
        bars = None
        for i in track(range(items), items * steps, "pictures", lambda _, steps=steps: steps):
            bars = progress._Bars.shown
            assert bars is not None
            bars.progress.get_time = lambda clock=clock: clock[0]
            clock[0] += wait
            if i == items - 1:
                [task] = bars.progress.tasks
                assert task.completed == (items - 1) * steps
                assert str(bars.progress.columns[3].render(task)) == rate  # type: ignore[union-attr]
        assert bars and "pictures" in shown.getvalue()


def test_a_loop_that_is_left_takes_its_bar_along(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal(monkeypatch)
    for _ in track(range(2), 2, "pictures"):
        inner = track(range(9), 9, "methods")
        next(inner), next(inner)
        assert rows() == ["pictures", "methods"]
        inner.close()
        assert rows() == ["pictures"]
    assert progress._Bars.shown is None
    with pytest.raises(ZeroDivisionError):
        for i in track(range(3), 3, "again"):
            1 / (1 - i)
    assert progress._Bars.shown is None


def test_threads_share_the_display(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal(monkeypatch)
    done: list[int] = []

    def work(number: int) -> None:
        for i in track(range(50), 50, f"part {number}"):
            done.append(i)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == sorted([*range(50)] * 6) and progress._Bars.shown is None
