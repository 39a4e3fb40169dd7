"""How it is measured: interleaved rounds of CPU time, and the peak memory of a process of one's own."""

from __future__ import annotations

import gc
import random
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from wherefore.bench.contestants import FORWARD, OURS, Contestant, field
from wherefore.bench.rows import ALL, Row

Turn = Callable[[], AbstractContextManager[Callable[[], object]]]
Samples = dict[int, tuple[float, float]]  # round -> CPU seconds, wall seconds

FEWEST, MOST = 4, 22  # rounds, the first of them to warm up


@dataclass(frozen=True)
class Figure:
    """A contestant's ratio to the plain forward: the median over rounds, the lowest and the highest of them.

    ``detail`` holds what lies behind it: the ratio of wall times and milliseconds, or megabytes.
    """

    ratio: float
    low: float
    high: float
    rounds: int
    detail: dict[str, float]


@dataclass(frozen=True)
class Result:
    """A row with its figures by contestant, and notes on those that are missing."""

    row: Row
    figures: dict[str, Figure]
    notes: list[str]

    def to_json(self) -> dict[str, Any]:
        """The result as plain values, the row's name among them."""
        return {"name": self.row.name, **asdict(self)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Result:
        """The result that `to_json` wrote."""
        figures = {name: Figure(**figure) for name, figure in values["figures"].items()}
        return cls(Row.from_json(values["row"]), figures, list(values["notes"]))


# -------------------------------------------------------------------------------------------- time


def timed(row: Row, seconds: float) -> Result:
    """The figures of one ``time`` row, from as many rounds as fit into ``seconds`` (at least four)."""
    torch.manual_seed(0)
    net, images = row.subject.model().net, torch.randn(row.batch, 3, row.size, row.size)
    classes = None if row.classes == ALL else range(row.classes)

    @contextmanager
    def turn(contestant: Contestant) -> Iterator[Callable[[], object]]:
        with contestant(net, row.subject.layer) as call:
            yield partial(call, images, classes)

    contestants, notes = field(row)
    turns = {name: partial(turn, contestant) for name, contestant in contestants.items()}
    samples = interleaved(turns, seconds, notes)
    return Result(row, figures(samples), notes)


def interleaved(turns: Mapping[str, Turn], seconds: float, notes: list[str]) -> dict[str, Samples]:
    """The CPU and wall seconds of each contestant in each round; every round in another order.

    A peer that has used up half of ``seconds`` sits out the rounds that remain; one that fails is out, with a note.
    """
    gc.collect()
    gc.freeze()  # the imports are no garbage: collecting before each turn then costs nothing
    samples: dict[str, Samples] = {name: {} for name in turns}
    order, started = random.Random(0), 0.0
    sampled(turns[FORWARD])  # a slow peer plays in the first round only: its floor must not be a cold one
    for number in range(MOST):
        if number == 1:
            started = time.perf_counter()  # the first round may compile
        if number >= FEWEST and time.perf_counter() - started > seconds:
            break
        playing = [name for name in samples if name in (FORWARD, OURS) or _spent(samples[name]) <= seconds / 2]
        for name in order.sample(playing, len(playing)):
            try:
                samples[name][number] = sampled(turns[name])
            except Exception as error:
                if name == FORWARD:
                    raise
                notes.append(f"{name} failed: {type(error).__name__}: {str(error).strip().partition(chr(10))[0]}")
                del samples[name]
    gc.unfreeze()
    return samples


def sampled(turn: Turn) -> tuple[float, float]:
    """The CPU seconds and wall seconds of one turn."""
    with turn() as work:  # hooks are set and removed outside of the time that is taken
        gc.collect()
        cpu, wall = time.process_time(), time.perf_counter()
        result = work()
        sample = time.process_time() - cpu, time.perf_counter() - wall
        del result
    return sample


def _spent(samples: Samples) -> float:
    return sum(wall for _, wall in samples.values())


def figures(samples: Mapping[str, Samples]) -> dict[str, Figure]:
    """The ratios to the forward of the same round; the first warms up, and counts only where it is the only one."""
    floor, result = samples[FORWARD], {}
    for name, own in samples.items():
        rounds = sorted(own)[1:] or sorted(own)
        ratios = [own[n][0] / floor[n][0] for n in rounds]
        wall = statistics.median(own[n][1] / floor[n][1] for n in rounds)
        detail = {"wall": wall, "ms": 1000 * statistics.median(own[n][1] for n in rounds)}
        result[name] = Figure(statistics.median(ratios), min(ratios), max(ratios), len(rounds), detail)
    return result


# -------------------------------------------------------------------------------------------- memory


def peak(row: Row, name: str) -> dict[str, float]:
    """The megabytes that one contestant needs beyond network and images: ``once``, and after ``repeated`` calls.

    Meant for a process of its own: the peak of a process never sinks.
    """
    torch.manual_seed(0)
    net, images = row.subject.model().net, torch.randn(row.batch, 3, row.size, row.size)
    contestants, _ = field(row)
    with contestants[name](net, row.subject.layer) as call:
        start, peaks = resident(), []
        for _ in range(row.count):
            call(images, range(row.classes))
            peaks.append(highest() - start)
    return {"once": peaks[0], "repeated": peaks[-1]}


def compared(row: Row, peaks: Mapping[str, Mapping[str, float]], notes: list[str]) -> Result:
    """The figures of a ``memory`` row from the peaks of its contestants: the worse of one call and of repeated ones."""
    floor, found = peaks[FORWARD], {}
    for name, own in peaks.items():
        ratios = [own[key] / floor[key] for key in ("once", "repeated")]
        found[name] = Figure(max(ratios), min(ratios), max(ratios), row.count, {f"MB {k}": v for k, v in own.items()})
    return Result(row, found, notes)


def resident() -> float:
    """The memory of this process in megabytes, now (where the system does not say: its peak)."""
    return _status("VmRSS") or highest()


def highest() -> float:
    """The peak memory of this process in megabytes."""
    # Linux hands ru_maxrss down from the parent at exec, so it is only the second choice.
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return _status("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _status(key: str) -> float | None:
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((float(line.split()[1]) / 1024 for line in lines if line.startswith(f"{key}:")), None)
