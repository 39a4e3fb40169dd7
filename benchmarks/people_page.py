"""Writes docs/people.md, and the pictures in it, from what `python benchmarks/people.py` has measured."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from people import LEAST, LOOKED_AT, NETWORKS, RESULTS, SEEDS, SETTINGS
from PIL import Image

from wherefore.saving import write_whole
from wherefore.scenes.people import Cue, figure, visible
from wherefore.training.people import COUNTS

DOCS = Path(__file__).parent.parent / "docs"
Row = dict[str, Any]
BLUE, RED, GREY = "#2a6fdb", "#d1495b", "#6b7280"


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


def ends(values: Sequence[float]) -> str:
    """A mean with its interval, in points."""
    mean, low, high = (100 * value for value in values)
    return f"{mean:+.1f} ({low:+.1f} to {high:+.1f})"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def swept(done: Row) -> str:
    """The table of the sweep."""
    rows = []
    for point in done["curve"]:
        here = [r for r in done["sweep"] if r["visible"] == point["visible"] and r["network"] == NETWORKS[0]]
        name, worst = min(
            ((k, fmean(r["groups"][k] for r in here)) for k in here[0]["groups"]), key=lambda each: each[1]
        )
        each = ", ".join(f"{100 * gap:.1f}" for gap in point["gaps"])
        mark = " **chosen**" if point["visible"] == done["chosen"] else ""
        accuracies = [percent(point[key]) for key in ("biased", "balanced")]
        rows.append(
            [f"{point['visible']}{mark}", *accuracies, f"{100 * point['gap']:.1f}", each, f"{name} {percent(worst)}"]
        )
    return table(("visible", "biased", "balanced", "gap", "gap by seed", "worst group, biased"), rows)


def tested(report: Row) -> str:
    """The table of accuracies on test pictures."""
    names = list(report["rows"][0]["groups"])
    rows = [
        [f"{row['network']}, seed {row['seed']}", percent(row["accuracy"]), *(percent(row["groups"][n]) for n in names)]
        for row in report["rows"]
    ]
    return table(("network", "all", *names), rows)


def looked(report: Row) -> str:
    """The table of where they look."""
    parts = ("hair", "face", "clothes", "stethoscope", "arms", "clipboard", "background")
    rows = [["share of the area", percent(report["area"]["hair"] + report["area"]["face"])]]
    rows[0] += [*(percent(report["area"][part]) for part in parts), ""]
    for row in report["rows"]:
        low, high = row["intervals"]["head"]
        head = f"{percent(row['energy']['head'])} ({percent(low)} to {percent(high)})"
        turned = percent(row["energy"]["turned"])
        rows.append(
            [f"{row['network']}, seed {row['seed']}", head, *(percent(row["energy"][p]) for p in parts), turned]
        )
    return table(("network", "hair and face", *parts, "turned by other hair"), rows)


def verdict(differences: Sequence[Sequence[float]]) -> str:
    """Whether a difference is above 0 beyond chance in every seed."""
    sure = sum(low > 0 for _, low, _ in differences)
    told = "; ".join(ends(each) for each in differences)
    return (
        f"**{'holds' if sure == len(differences) else 'does not hold'}** in {sure} of {len(differences)} seeds: {told}"
    )


Place = Callable[[float, float], tuple[float, float]]


def plot(points: Sequence[Row], rows: Sequence[Row], marked: float) -> str:
    """The curve as SVG: accuracy of both networks over how visible the clothes are."""
    low = min(0.6, min(row["accuracy"] for row in rows))

    def at(v: float, accuracy: float) -> tuple[float, float]:
        return 70 + 470 * (v - 0.3) / 0.8, 30 + 250 * (1 - accuracy) / (1 - low)

    drawn = axes(points, at, low, marked)
    for name, colour in (("balanced", BLUE), ("biased", RED)):
        each = [at(row["visible"], row["accuracy"]) for row in rows if row["network"] == f"people-{name}"]
        drawn += line(name, colour, [at(point["visible"], point[name]) for point in points], each)
    style = 'font-family="system-ui, sans-serif" font-size="13" fill="#374151"'
    whole = '<rect width="640" height="340" fill="#fff"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 340" {style}>{whole}{"".join(drawn)}</svg>\n'


def axes(points: Sequence[Row], at: Place, low: float, marked: float) -> list[str]:
    """The lines and numbers behind a curve; a dashed line at the setting that was chosen."""
    x = at(marked, 1)[0]
    drawn = [f'<line x1="{x:.1f}" x2="{x:.1f}" y1="30" y2="280" stroke="{GREY}" stroke-dasharray="3 4"/>']
    for tenth in range(math.ceil(10 * low), 11):
        y = at(0.3, tenth / 10)[1]
        drawn.append(f'<line x1="70" x2="540" y1="{y:.1f}" y2="{y:.1f}" stroke="#e5e7eb"/>')
        drawn.append(f'<text x="60" y="{y + 4:.1f}" text-anchor="end">{10 * tenth} %</text>')
    for point in points:
        x = at(point["visible"], 1)[0]
        drawn.append(f'<text x="{x:.1f}" y="300" text-anchor="middle">{point["visible"]}</text>')
    return [*drawn, '<text x="305" y="324" text-anchor="middle">how visible the clothes are</text>']


def line(name: str, colour: str, mean: list[tuple[float, float]], each: list[tuple[float, float]]) -> list[str]:
    """A curve through means, with a dot for every network, and its name at the end."""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in mean)
    dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.2" fill="{colour}" fill-opacity=".6"/>' for x, y in each]
    x, y = mean[-1]
    curve = f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2.5"/>'
    return [curve, *dots, f'<text x="{x + 12:.1f}" y="{y + 4:.1f}" fill="{colour}">{name}</text>']


def sheet(chosen: float) -> Image.Image:
    """Ten people with plain clothes, the same ten at the chosen setting, and these with other hair."""
    found = Image.new("RGB", (10 * 96, 3 * 96))
    for i in range(10):
        plain, shown = (
            figure(i, "dev", size=96, cue=cue) for cue in (Cue((0.9, 1.0), (0.4, 0.5), 0.1), visible(chosen))
        )
        for row, each in enumerate((plain, shown, shown.swapped)):
            found.paste(each.image, (96 * i, 96 * row))
    return found


def main() -> None:
    done = json.loads(RESULTS.read_text())
    report = done["report"]
    filled = {
        "@sweep@": swept(done), "@tested@": tested(report), "@looked@": looked(report), "@gap@": verdict(report["gap"]),
        "@head@": verdict(report["head"]), "@chosen@": str(done["chosen"]), "@settings@": str(len(SETTINGS)),
        "@seeds@": str(len(SEEDS)), "@least@": f"{LEAST:.2f}", "@looked at@": str(LOOKED_AT),
        "@train@": f"{COUNTS['train']:,}", "@dev@": f"{COUNTS['dev']:,}", "@test@": f"{COUNTS['test']:,}",
    }  # fmt: skip
    text = (Path(__file__).parent / "people_page.md").read_text()
    for name, value in filled.items():
        text = text.replace(name, value)
    write_whole(DOCS / "people.md", text.encode())
    write_whole(DOCS / "people.svg", plot(done["curve"], done["sweep"], done["chosen"]).encode())
    sheet(done["chosen"]).save(DOCS / "people.png", optimize=True)


if __name__ == "__main__":
    main()
