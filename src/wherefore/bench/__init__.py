"""``wherefore bench``: what an explanation costs, as a ratio to the network's plain forward pass, beside three peers.

Everything is a ratio within one run, so that figures of different machines can be compared. Rows of one network share
a process in which the contestants take turns; peaks of memory are each taken in a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from wherefore.bench.contestants import FORWARD, field
from wherefore.bench.measure import Result, compared
from wherefore.bench.report import Report, machine
from wherefore.bench.rows import FULL, QUICK, Row
from wherefore.types import Error

__all__ = ["FULL", "QUICK", "Report", "Result", "Row", "run"]

SECONDS = {True: 10.0, False: 60.0}  # for each row of a quick and of a full run


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
    for (kind, subject), group in groupby(rows, key=lambda row: (row.kind, row.subject)):
        if kind == "memory":
            yield from map(_memory, group)
            continue
        together = list(group)
        job = {"rows": [row.to_json() for row in together], "seconds": seconds}
        done = 0
        try:
            for line in worker(job):
                yield Result.from_json(line)
                done += 1
        except Error as error:  # the rows that are left are reported as not measured
            yield from (Result(row, {}, [f"{subject.title}: {error}"]) for row in together[done:])


def _memory(row: Row) -> Result:
    """A ``memory`` row: one process for each contestant."""
    contestants, notes = field(row.peers)
    peaks: dict[str, Any] = {}
    for name in contestants:
        try:
            (peaks[name],) = worker({"rows": [row.to_json()], "contestant": name})
        except Error as error:
            notes.append(f"{name}: {error}")
    return compared(row, peaks, notes) if FORWARD in peaks else Result(row, {}, notes)


def worker(job: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What a fresh process prints for a job, one JSON object on each line. Raises `Error` where it fails."""
    # Threads that spin while they wait would be counted as time that is used.
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
    command = [sys.executable, "-m", "wherefore.bench", json.dumps(job)]
    with tempfile.TemporaryFile("w+") as errors:
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True) as process:
            assert process.stdout is not None
            try:
                yield from map(json.loads, process.stdout)
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            errors.seek(0)
            raise Error((errors.read().strip() or f"ended with status {process.returncode}").splitlines()[-1])
