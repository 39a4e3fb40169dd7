"""Every experiment that trains nothing, two at a time, and a page that leads to all of them."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from wherefore import pages
from wherefore.errors import Error
from wherefore.experiments import run
from wherefore.experiments.lab import Settings
from wherefore.experiments.result import PHOTOGRAPHS
from wherefore.pages import Section, Verdict
from wherefore.pages.building import STAND_IN
from wherefore.pages.parts import Link, Links
from wherefore.progress import track
from wherefore.registry import EXPERIMENTS
from wherefore.saving import can_be_made

LEAD = (
    "The evaluations of the Grad-CAM paper, rerun by `wherefore experiment all`. Every claim is printed with its "
    "numbers, whether it holds here or not."
)
Say = Callable[[str], None]


def in_order() -> list[str]:
    """The names of the experiments in the order of the paper's sections."""
    return sorted(EXPERIMENTS, key=lambda name: EXPERIMENTS[name].about["section"])


def evaluations() -> list[str]:
    """The names of the experiments that train nothing, those that take longest first."""
    some = [(entry.about["minutes"], name) for name, entry in EXPERIMENTS.items() if not entry.about.get("trains")]
    return [name for _, name in sorted(some, reverse=True)]


def run_all(settings: Settings, out: str | Path, say: Say = print) -> list[dict[str, Any]]:
    """The JSON of each experiment, in the order of the paper; their pages lie in ``out``, ``index.html`` leads to them.

    ``say`` gets a line for each that is done. What could not be done on the data that was given is said there, and has
    ``error`` in place of rows. Stopped and started again, it goes on where it was.
    """
    folder, names = can_be_made(out), evaluations()
    found: dict[str, dict[str, Any]] = {}
    for name, report, seconds in track(_done(names, settings, folder), len(names), "experiments"):
        found[name] = report
        say(f"{name}: {_tally(report)} ({seconds:.0f} s)")
    write_index(folder)
    return [found[name] for name in in_order() if name in found]


def _done(names: Sequence[str], settings: Settings, folder: Path) -> Iterator[tuple[str, dict[str, Any], float]]:
    """What came out of each, as it comes; two at a time on a CPU, where small networks use one core each."""
    several = min(2, os.cpu_count() or 1) if settings.device in (None, "cpu") else 1
    with ProcessPoolExecutor(several, multiprocessing.get_context("spawn")) as workers:
        waiting = {workers.submit(_one, name, settings, folder): name for name in names}
        for future in as_completed(waiting):
            yield waiting[future], *future.result()


def _one(name: str, settings: Settings, folder: Path) -> tuple[dict[str, Any], float]:
    begun = time.monotonic()
    try:
        report = run(name, settings, folder)
        report.save(folder)
        found = report.json()
    except Error as error:
        found = {"experiment": name, "data": settings.data, "error": str(error), "rows": [], "verdicts": []}
    return found, time.monotonic() - begun


def _tally(report: dict[str, Any]) -> str:
    if "error" in report:
        return f"not done: {report['error']}"
    held = sum(each["holds"] for each in report["verdicts"])
    return f"{len(report['rows'])} rows, {held} of {len(report['verdicts'])} claims hold"


def write_index(folder: str | Path) -> Path:
    """Writes the page that leads to all experiments whose results lie in a folder; its path."""
    folder = Path(folder)
    reports = [json.loads(path.read_text()) for name in in_order() if (path := folder / f"{name}.json").is_file()]
    comparable = any(report["comparable"] for report in reports)
    facts = {"data": ", ".join(dict.fromkeys(report["data"] for report in reports))}
    sections = [_section(report) for report in reports]
    return pages.write(
        folder, "The paper's evaluations", LEAD, sections, facts, PHOTOGRAPHS if comparable else STAND_IN
    )


def _section(report: dict[str, Any]) -> Section:
    """What the page says of one experiment."""
    entry = EXPERIMENTS[report["experiment"]]
    verdicts = [Verdict(each["claim"], each["holds"], each["numbers"]) for each in report["verdicts"]]
    words = f"{entry.summary} Section {entry.about['section']} of the paper; up to {report['n']} pictures."
    link = Link(f"{report['experiment']}/index.html", "Tables, charts and pictures")
    return Section(entry.about["title"], words, *verdicts, Links([link]))
