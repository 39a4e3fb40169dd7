"""What comes out: the table, and the JSON with everything behind it."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from wherefore.bench.contestants import OURS
from wherefore.bench.measure import Figure, Result
from wherefore.bench.rows import PEERS, Row
from wherefore.saving import made, write_json

HEADER = ["row", "ours", "low to high", "budget", "verdict", *PEERS, "n"]
PACKAGES = ["wherefore", "torch", "torchvision", "timm", "grad-cam", "captum", "torchcam"]


@dataclass(frozen=True)
class Report:
    """The results of one run, and the machine that they were taken on."""

    results: list[Result]
    machine: dict[str, Any]

    def table(self) -> str:
        """The results as a Markdown table: ratios to the plain forward pass, ours beside the budget and the peers."""
        lines = [line for result in self.results for line in _lines(result)]
        notes = list(dict.fromkeys(note for result in self.results for note in result.notes))
        facts = ", ".join(f"{key} {value}" for key, value in self.machine.items())
        return "\n".join([_markdown([HEADER, *lines]), "", *(f"- {note}" for note in notes), f"- {facts}"])

    def to_json(self) -> dict[str, Any]:
        """Every figure as plain values."""
        verdicts = [line[4] for result in self.results for line in _lines(result)]
        counts = {word: sum(v.startswith(word) for v in verdicts) for word in ("holds", "missed")}
        return {"machine": self.machine, **counts, "rows": [result.to_json() for result in self.results]}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Report:
        """The report that `to_json` wrote."""
        return cls([Result.from_json(row) for row in values["rows"]], values["machine"])

    def save(self, folder: Path) -> None:
        """Writes ``bench.json`` and ``bench.md`` into a folder."""
        write_json(made(folder) / "bench.json", self.to_json())
        (folder / "bench.md").write_text(self.table() + "\n")


def machine() -> dict[str, Any]:
    """What the figures depend on: processor, cores, versions, date."""
    import torch

    versions = {name: _version(name) for name in PACKAGES}
    return {
        "processor": _processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **{name: version for name, version in versions.items() if version},
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


# -------------------------------------------------------------------------------------------- lines


def _lines(result: Result) -> list[list[str]]:
    """A result's lines of the table; a second one where the row also says how far below a peer ours must be."""
    row, figures = result.row, result.figures
    own, peers = figures.get(OURS), [figures.get(name) for name in PEERS]
    lines = [
        [
            row.name,
            f"{own.ratio:.3f}" if own else "",
            f"{own.low:.2f} to {own.high:.2f}" if own else "",
            f"<= {row.most:.2f}" if row.most else "",
            _verdict(own.ratio if own else None, row.most),
            *(f"{peer.ratio:.2f}" if peer else "" for peer in peers),
            str(own.rounds) if own else "",
        ]
    ]
    return [*lines, _times(row, row.least, own, figures.get(row.than))] if row.least else lines


def _times(row: Row, least: float, own: Figure | None, peer: Figure | None) -> list[str]:
    """The line that says how many times faster than a peer ours is, or with how many times less memory it does."""
    words = {
        "time": f"times faster than {row.than}",
        "memory": f"times less memory than {row.than}",
        "folder": f"times faster than {row.than}'s loop",
    }
    times = peer.ratio / own.ratio if peer and own else None
    shown, rounds = (f"{times:.3f}", str(peer.rounds)) if times and peer else ("", "")
    verdict = _verdict(-times if times else None, -least)
    return [words[row.kind], shown, "", f">= {least:.2f}", verdict, "", "", "", rounds]


def _verdict(value: float | None, most: float | None) -> str:
    """Holds or missed, and by how much; no budget, no verdict."""
    if most is None:
        return ""
    if value is None:
        return "not measured"
    return "holds" if value <= most else f"missed by {max(value - most, 0.001):.3f}"


def _markdown(lines: list[list[str]]) -> str:
    """Lines of cells in columns; the first column is words, the others are numbers."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADER))]
    rules = ["-" * width if i == 0 else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    aligned = [
        [c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))]
        for line in lines
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in [aligned[0], rules, *aligned[1:]])
