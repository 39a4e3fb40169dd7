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
from wherefore.experiments.result import notice_of
from wherefore.pages import Section, Verdict
from wherefore.pages.parts import Link, Links
from wherefore.progress import track
from wherefore.registry import EXPERIMENTS
from wherefore.saving import can_be_made, made, write_json

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

    ``say`` gets a line for each that is done. What could not be done on the data that was given has ``error`` in place
    of rows, in the JSON and on the page. Stopped and started again, it goes on where it was.
    """
    folder, names = can_be_made(out), evaluations()
    found: dict[str, dict[str, Any]] = {}
    for name, report, seconds in track(_done(names, settings, folder), len(names), "experiments"):
        found[name] = report
        say(f"{name}: {_tally(report)} ({seconds:.0f} s)")
    reports = [found[name] for name in in_order() if name in found]
    write_index(folder, reports)
    return reports


def _done(names: Sequence[str], settings: Settings, folder: Path) -> Iterator[tuple[str, dict[str, Any], float]]:
    """What came out of each, as it comes; two at a time on a CPU, where small networks use one core each."""
    several = min(2, os.cpu_count() or 1) if settings.small and settings.device in (None, "cpu") else 1
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
    except Exception as error:  # one that fails must not take the others with it; Error or not, its words are printed
        words = str(error) if isinstance(error, Error) else f"{type(error).__name__}: {error}"
        about = {"data": settings.data, "n": 0, "comparable": False, "settings": {}}
        found = {"experiment": name, **about, "error": words, "rows": [], "verdicts": [], "problems": {}}
        write_json(made(folder) / f"{name}.json", found)
    return found, time.monotonic() - begun


def _tally(report: dict[str, Any]) -> str:
    if "error" in report:
        return f"not done: {report['error']}"
    held = sum(each["holds"] for each in report["verdicts"])
    return f"{len(report['rows'])} rows, {held} of {len(report['verdicts'])} claims hold"


def write_index(folder: str | Path, reports: Sequence[dict[str, Any]] | None = None) -> Path:
    """Writes the page that leads to the experiments of ``reports``, by default all whose JSON lies there; its path."""
    folder = Path(folder)
    reports = [each for name in in_order() if (each := _read(folder / f"{name}.json"))] if reports is None else reports
    data = list(dict.fromkeys(report["data"] for report in reports))
    scenes = all(name.startswith("scenes") for name in data)
    notice = notice_of(scenes, not scenes and all(report["comparable"] for report in reports))
    sections = [_section(report) for report in reports]
    return pages.write(folder, "The paper's evaluations", LEAD, sections, {"data": ", ".join(data)}, notice)


def _read(path: Path) -> dict[str, Any]:
    """A report that was written; empty where there is none, or a damaged one."""
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found


def _section(report: dict[str, Any]) -> Section:
    """What the page says of one experiment."""
    entry = EXPERIMENTS[report["experiment"]]
    title, section = entry.about["title"], entry.about["section"]
    if "error" in report:
        return Section(title, f"{entry.summary} {_where(section)}", f"Not done on {report['data']}: {report['error']}")
    verdicts = [
        Verdict(each["claim"], each["holds"], each["numbers"], each.get("clear", True)) for each in report["verdicts"]
    ]
    words = f"{entry.summary} {_where(section)} Up to {report['n']} pictures of {report['data']}."
    link = Link(f"{report['experiment']}/index.html", "Tables, charts and pictures")
    return Section(title, words, *verdicts, Links([link]))


def _where(section: str) -> str:
    """Which part of the paper, or which other one, an experiment is about."""
    return f"Section {section} of the paper." if section[0].isdigit() or section[:2] == "G," else f"({section})"
