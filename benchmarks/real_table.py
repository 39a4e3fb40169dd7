"""The table of docs/methods.md out of the results of real_pictures.py."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch

from wherefore import __version__
from wherefore.metrics import accuracy, hits, interval, localized

START, END = "<!-- figures: written by benchmarks/real_pictures.py -->", "<!-- end of figures -->"
BASELINE = "*no network*"
FEWEST = 5  # pictures in a row of the table
SIDE = 227  # of the pictures with boxes
Results = dict[tuple[str, str, str], dict[str, Any]]  # (model, row, task) to picture to what was found


def write_table(
    path: Path, results: Path, weights: dict[str, str], order: list[str], pixel_methods: set[str], pictures: Any
) -> None:
    """Puts the figures between the two marks of a Markdown file; what stands around them stays."""
    found = _read(results)
    parts = [f"wherefore {__version__}, torch {torch.__version__}, CPU, seed 0.\n"]
    for model, sha in weights.items():
        lines = [_baseline(pictures)]
        for name in order:
            smooth = name in pixel_methods
            lines.append(_line(found, model, name, "boxes", "smoothed, threshold" if smooth else ""))
            if smooth:
                lines.append(_line(found, model, name, "grabcut", "GrabCut"))
        head = (
            "| method | box | localization % | area % | n | pointing %, 15 px | pointing %, exact | n | no evidence |"
        )
        table = [head, "| --- | --- | --- | --- | --- | --- | --- | --- | --- |", *filter(None, lines)]
        parts.append(f"## {model}\n\nWeights sha256 {sha[:16]}.\n\n" + "\n".join(table) + "\n")
        parts += [f"{name}: {text}\n" for name, text in _refused(found, model)]
    _put(path, "\n".join(parts))


def _read(results: Path) -> Results:
    found: Results = {}
    for line in results.read_text().splitlines() if results.exists() else []:
        one = json.loads(line)
        found.setdefault((one["model"], one["row"], one["task"]), {})[one["picture"]] = one
    return found


def _refused(found: Results, model: str) -> list[tuple[str, str]]:
    return sorted(
        {
            (k[1], one["refused"])
            for k, rows in found.items()
            if k[0] == model
            for one in rows.values()
            if "refused" in one
        }
    )


def _line(found: Results, model: str, name: str, task: str, how: str) -> str:
    """One row of the table; an empty string for what was measured on too few pictures to tell anything."""
    boxes = [one for one in found.get((model, name, task), {}).values() if "iou" in one]
    points = [one for one in found.get((model, name, "points"), {}).values() if "outcomes" in one]
    if len(boxes) < FEWEST:
        return ""
    right = [float(one["iou"] >= 0.5) for one in boxes]
    same = found.get((model, "grad-cam", "boxes"), {})
    beside = [float(same[one["picture"]]["iou"] >= 0.5) for one in boxes if one["picture"] in same]
    cell = _percent(fmean(right), interval(right))
    if beside and len(beside) < len(same):
        cell += f" (grad-cam {100 * fmean(beside):.1f})"
    cell += f" | {100 * fmean(map(_area, boxes)):.0f}"
    if task == "grabcut":
        return f"| {name} | {how} | {cell} | {len(boxes)} | | | | |"
    empty = f"{sum(one['empty'] for one in boxes)} of {len(boxes)}"
    outcomes = [o for one in points for o in one["outcomes"]]
    if outcomes:
        empty += f", {sum(o['empty'] for o in outcomes)} of {len(outcomes)}"
    pointing = _pointing(points, found.get((model, "grad-cam", "points"), {}))
    return f"| {name} | {how} | {cell} | {len(boxes)} | {pointing} | {empty} |"


def _pointing(points: Sequence[dict[str, Any]], same: dict[str, Any]) -> str:
    """Three cells: the mean over categories within 15 pixels and on the pixel, and how many there are."""
    if not points:
        return "| |"
    cells = []
    beside = [same[one["picture"]] for one in points if one["picture"] in same]
    for key in ("near", "exact"):

        def mean(some: Sequence[Any], key: str = key) -> float:
            return accuracy((o["category"], o[key]) for one in some for o in one["outcomes"]).by_class

        cells.append(_percent(mean(points), interval(points, statistic=mean)))
        if beside and len(beside) < len(same):
            cells[-1] += f" (grad-cam {100 * mean(beside):.1f})"
    pairs = sum(len(one["outcomes"]) for one in points)
    return f"{cells[0]} | {cells[1]} | {pairs} in {len(points)}"


def _baseline(pictures: Any) -> str:
    """What the whole picture as a box, and its middle as the point, would reach."""
    right = [float(localized((0, 0, SIDE - 1, SIDE - 1), one["boxes"])) for one in pictures.boxes.values()]
    points = []
    for name in pictures.masked:
        outcomes = []
        for category in pictures.present(name):
            mask = pictures.mask(name, category)
            middle = mask.shape[1] // 2, mask.shape[0] // 2
            outcomes.append({"category": category, "near": hits(middle, mask), "exact": hits(middle, mask, 0)})
        points.append({"picture": name, "outcomes": outcomes})
    cell = _percent(fmean(right), interval(right))
    return f"| {BASELINE} | whole picture; its middle | {cell} | 100 | {len(right)} | {_pointing(points, {})} | |"


def _area(one: dict[str, Any]) -> float:
    """The share of the picture that a box covers."""
    x0, y0, x1, y1 = one["box"]
    return float((x1 - x0 + 1) * (y1 - y0 + 1) / SIDE**2)


def _percent(share: float, ends: tuple[float, float]) -> str:
    low, high = np.multiply(100, ends)
    return f"{100 * share:.1f} [{low:.1f}, {high:.1f}]"


def _put(path: Path, figures: str) -> None:
    text = path.read_text() if path.exists() else f"# Methods on real pictures\n\n{START}\n{END}\n"
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    path.write_text(f"{before}{START}\n\n{figures}\n{END}{after}")
