r"""The tables of docs/results.md, from what `wherefore experiment` wrote.

    wherefore experiment all --out results                        # on scenes, about twenty minutes
    wherefore experiment segmentation --out results               # trains; it says its own time
    python benchmarks/real_data.py --data ../shared/data --out real
    wherefore experiment localization --data imagenet:real/imagenet --model mobilenet_v2 ... --out photographs
    wherefore audit --data manifest:real/people/list.csv --model mobilenet_v2 ... --out people
    python benchmarks/results.py "Scenes=results" "Photographs, mobilenet_v2=photographs" \
        "Photographs with and without people, mobilenet_v2=people"

What stands before and after the marks in docs/results.md stays as it is.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wherefore.experiments.everything import in_order
from wherefore.registry import EXPERIMENTS

PAGE = Path(__file__).parent.parent / "docs" / "results.md"
START, END = "<!-- figures: written by benchmarks/results.py -->", "<!-- end of figures -->"
PLAIN = {"name", "value", "low", "high", "n", "degenerate", "paper"}
Row = dict[str, Any]
SHOWN: dict[str, Callable[[Row], bool]] = {  # of long tables the rows that are printed; the rest is in the JSON
    "localization": lambda row: row["measure"] in ("top-1", "GT-known error") and not row["box"].startswith("20"),
    "pointing": lambda row: row["over"] == "classes" and row["tolerance"] != "on the thing",
    "sanity": lambda row: row["measure"] == "spearman of sizes" and row["randomised"] == "cascading",
    "layers": lambda row: row["measure"] in ("localization", "class separation"),
    "failures": lambda row: not row["name"].startswith("story"),
    "bias": lambda row: row["n"] >= 10 and ", " not in row["network"],  # of the shipped networks, nothing withheld
    "sanity-labels": lambda row: row["measure"] in ("accuracy", "spearman of sizes"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", help="heading=folder of results")
    parts = []
    for given in parser.parse_args().folders:
        heading, _, folder = given.rpartition("=")
        found = [Path(folder) / f"{name}.json" for name in in_order()]
        parts.append(f"## {heading}\n")
        parts += [section(json.loads(path.read_text())) for path in found if path.is_file()]
    before, _, rest = PAGE.read_text().partition(START)
    PAGE.write_text(f"{before}{START}\n\n" + "\n".join(parts) + f"\n{END}{rest.partition(END)[2]}")


def section(report: dict[str, Any]) -> str:
    """What an experiment said: its claims, and its table."""
    entry = EXPERIMENTS[report["experiment"]]
    networks = ", ".join(f"{name} ({sha[:16]})" for name, sha in report["settings"]["networks"].items()) or "its own"
    pictures = ", ".join(f"{count} of {name}" for name, count in report["settings"]["pictures"].items())
    lines = [f"### {entry.about['title']}", "", f"`wherefore experiment {report['experiment']}`: {entry.summary}"]
    lines += [f"Pictures: {pictures}. Networks (weights' sha256): {networks}.", ""]
    lines += [f"* **{word(each)}**: {each['claim']}. {each['numbers']}"
              for each in report["verdicts"]]  # fmt: skip
    for name, found in report["settings"].get("findings", {}).items():
        lines += [f"* {name}: {sentence}" for sentence in found or ["no bias is claimed."]]
    rows = [row for row in report["rows"] if SHOWN.get(report["experiment"], lambda _: True)(row)]
    summary = f"<details><summary>{len(rows)} rows of {len(report['rows'])}</summary>"
    return "\n".join([*lines, "", summary, "", *table(rows, report["comparable"]), "", "</details>"]) + "\n"


def word(verdict: dict[str, Any]) -> str:
    """Whether a claim holds, and whether that may be chance."""
    return ("holds" if verdict["holds"] else "does not hold") + ("" if verdict["clear"] else ", may be chance")


def table(rows: list[Row], comparable: bool) -> list[str]:
    """Rows as a table, with the columns that any of them has."""
    about = list(dict.fromkeys(key for row in rows for key in row if key not in PLAIN))
    theirs = any(row["paper"] is not None for row in rows)
    header = ["name", *about, "value (95 %)", "n", "no evidence"]
    header += ["paper" if comparable else "paper, on its own data"] if theirs else []
    lines = [f"| {' | '.join(header)} |", "|" + " --- |" * len(header)]
    for row in rows:
        cells = [row["name"], *(str(row.get(key, "")) for key in about), interval(row), row["n"], row["degenerate"]]
        cells += ["" if row["paper"] is None else f"{row['paper']:.4g}"] if theirs else []
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def interval(row: Row) -> str:
    """A value with its interval."""
    if row["value"] is None:
        return "undefined"
    if 0 < abs(row["value"]) < 5e-4:
        return f"{row['value']:.0e}"
    return f"{row['value']:.3f}" + ("" if row["low"] is None else f" ({row['low']:.3f} to {row['high']:.3f})")


if __name__ == "__main__":
    main()
