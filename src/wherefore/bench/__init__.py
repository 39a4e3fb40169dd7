"""``wherefore bench``: what an explanation costs, as a ratio to the network's plain forward pass, beside its peers.

Everything is a ratio within one run, so that figures of different machines can be compared. Rows of one network share
a process in which the contestants take turns; peaks of memory are each taken in a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from wherefore.bench.contestants import FORWARD, field
from wherefore.bench.measure import Result, compared
from wherefore.bench.report import Report, machine
from wherefore.bench.rows import FULL, QUICK, Row

__all__ = ["FULL", "QUICK", "Report", "Result", "Row", "run"]

# Threads that spin while they wait would be counted as time that is used.
QUIET = {"OMP_WAIT_POLICY": "passive"}
# glibc keeps what is freed in a heap, whose size differs from run to run by a quarter for the plain forward already;
# with this every large block goes back at once, and the peak is what was alive.
AT_ONCE = {"MALLOC_MMAP_THRESHOLD_": "131072"}
SECONDS = {True: 14.0, False: 60.0}  # for each row of a quick and of a full run


def run(quick: bool = False, out: Path | None = None, rows: Sequence[Row] | None = None) -> Report:
    """The report of a quick or full run; ``report.table()`` is what to print.

    With ``out``, ``bench.json`` and ``bench.md`` are written there, anew after every row: a run that is cut short
    leaves what it has measured. Progress is shown on stderr where that is a terminal.
    """
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    chosen = list(rows if rows is not None else QUICK if quick else FULL)
    report, console = Report([], machine()), Console(stderr=True)
    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(chosen[0].name, total=len(chosen))
        for following, result in zip([*chosen[1:], None], measured(chosen, SECONDS[quick]), strict=True):
            report.results.append(result)
            progress.update(task, advance=1, description=following.name if following else "")
            if out is not None:
                report.save(out)
    return report


def measured(rows: Sequence[Row], seconds: float) -> Iterator[Result]:
    """The results of rows, in their order; neighbours that time one network share a process."""
    for (kind, _), group in groupby(rows, key=lambda row: (row.kind, row.subject)):
        if kind == "memory":
            yield from map(_memory, group)
            continue
        together = list(group)
        answers = worker({"rows": [row.to_json() for row in together], "seconds": seconds})
        for row, answer in zip(together, answers, strict=True):
            failed = "error" in answer
            yield Result(row, {}, [f"{row.name}: {answer['error']}"]) if failed else Result.from_json(answer)


def _memory(row: Row) -> Result:
    """A ``memory`` row: one process for each contestant."""
    contestants, notes = field(row)
    peaks: dict[str, Any] = {}
    for name in contestants:
        (answer,) = worker({"rows": [row.to_json()], "contestant": name}, **({} if row.heap else AT_ONCE))
        if "error" in answer:
            notes.append(f"{row.name}, {name}: {answer['error']}")
        else:
            peaks[name] = answer
    return compared(row, peaks, notes) if FORWARD in peaks else Result(row, {}, notes)


def worker(job: dict[str, Any], **environment: str) -> Iterator[dict[str, Any]]:
    """What a fresh process answers to each row of a job: plain values, with ``error`` where it could not."""
    command, missing = [sys.executable, "-m", "wherefore.bench", json.dumps(job)], len(job["rows"])
    with subprocess.Popen(
        command, env={**os.environ, **QUIET, **environment}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                missing -= 1
                yield json.loads(line)
        except BaseException:
            process.kill()
            raise
    yield from [{"error": f"the process ended with status {process.returncode}"}] * missing
