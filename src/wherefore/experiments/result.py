"""Result: what came out of an experiment, as JSON and as a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wherefore import __version__, pages
from wherefore.pages import Section, Table, Verdict
from wherefore.pages.building import STAND_IN
from wherefore.saving import made, write_json

OTHERS = "These are not the paper's pictures: numbers on them are not the paper's numbers."
PHOTOGRAPHS = (
    "Numbers depend on weights, on how pictures were prepared and on which were taken: see the foot of the page."
)


@dataclass(frozen=True)
class Result:
    """The rows of an experiment's table, its claims, and the page that shows them.

    Each row has a ``name`` (a method's registry name), ``value``, ``low`` and ``high`` (its 95 % interval) and
    ``paper``, the paper's figure on its own data, None where it gives none. ``lists``: what the JSON has besides, by
    name, too long for a page.
    """

    rows: Sequence[dict[str, Any]]
    verdicts: Sequence[Verdict]
    sections: Sequence[Section]
    settings: dict[str, Any] = field(default_factory=dict)
    lists: dict[str, Sequence[dict[str, Any]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """A result, and what it is a result of."""

    name: str
    title: str
    lead: str
    data: str
    n: int
    comparable: bool
    on_scenes: bool
    settings: dict[str, Any]
    problems: dict[str, dict[str, Any]]
    result: Result

    def json(self) -> dict[str, Any]:
        """What ``wherefore experiment NAME --json`` prints."""
        return {
            "experiment": self.name,
            "version": __version__,
            "data": self.data,
            "n": self.n,
            "comparable": self.comparable,
            "settings": self.settings,
            "rows": [plain(row) for row in self.result.rows],
            "verdicts": [
                {"claim": each.claim, "holds": each.holds, "clear": each.clear, "numbers": each.numbers}
                for each in self.result.verdicts
            ],
            "problems": self.problems,
            **self.result.lists,
        }

    def save(self, folder: str | Path) -> Path:
        """Writes ``NAME/index.html`` with its figures and ``NAME.json`` into a folder; the path of the page."""
        folder = made(folder)
        write_json(folder / f"{self.name}.json", self.json())
        held = self.on_scenes or self.comparable or any(row.get("paper") is not None for row in self.result.rows)
        notice = notice_of(self.on_scenes, self.comparable) if held else ""  # else there is nothing to hold it against
        facts = {"data": self.data, "n": str(self.n), **{k: _fact(v) for k, v in self.settings.items()}}
        sections = [*self.result.sections, *_problems(self.problems)]
        return pages.write(folder / self.name, self.title, self.lead, sections, facts, notice)


def notice_of(on_scenes: bool, comparable: bool) -> str:
    """What stands beside the title of a page: what its pictures are not."""
    return STAND_IN if on_scenes else PHOTOGRAPHS if comparable else OTHERS


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row as JSON can hold it: no NaN, numbers to six digits."""
    return {key: number(value) for key, value in row.items()}


def number(value: Any) -> Any:
    """A value as JSON can hold it: a float to six digits, None for NaN and infinity."""
    if not isinstance(value, float):
        return value
    return None if value != value or abs(value) == float("inf") else float(f"{value:.6g}")


def _fact(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {each}" for key, each in value.items())
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _problems(problems: dict[str, dict[str, Any]]) -> list[Section]:
    """What was wrong with the data, where anything was."""
    if not problems:
        return []
    cells = [[kind, str(each["count"]), ", ".join(each["first"])] for kind, each in problems.items()]
    return [Section("What was wrong with the data", Table(["problem", "pictures", "the first of them"], cells))]
