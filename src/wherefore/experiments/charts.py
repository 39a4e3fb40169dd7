"""Charts for the pages of experiments: values with their intervals beside the paper's, and curves."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from PIL import Image

from wherefore.errors import Error

INK, OURS, THEIRS, GRID = "#1d2430", "#2f6fd0", "#c4561a", "#d8dde6"
SERIES = ("#2f6fd0", "#c4561a", "#1f8a5b", "#8a3fb5", "#a7850a", "#c22f5f", "#3b97a8", "#6b7280")
WIDTH = 7.2  # inches, at 150 dots


def dots(rows: Sequence[Mapping[str, Any]], label: str, names: Sequence[str] = (), log: bool = False) -> Image.Image:
    """A row of the table per line: its value, its interval as a whisker, and the paper's value as an open diamond.

    ``label`` says what is measured; ``names`` are those of the lines, by default each row's own. ``log``: on a scale of
    powers of ten.
    """
    figure, axes = _axes(0.7 + 0.3 * len(rows))
    for line, row in enumerate(rows):
        value, low, high = (row.get(key) for key in ("value", "low", "high"))
        if value is not None and value == value:
            if low is not None and low == low:
                axes.plot([low, high], [line, line], color=OURS, linewidth=2, solid_capstyle="round")
            axes.plot([value], [line], "o", color=OURS, markersize=7, label="here" if line == 0 else None)
        if row.get("paper") is not None:
            axes.plot([row["paper"]], [line], "D", markersize=7, markerfacecolor="white", markeredgecolor=THEIRS)
    if log:
        axes.set_xscale("log")
    axes.set_yticks(range(len(rows)), list(names) or [str(row["name"]) for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel(label + ("\ndiamonds: the paper's, on its own data" if _any(rows) else ""))
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    return _drawn(figure)


def curves(
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    x: str,
    y: str,
    marks: Iterable[tuple[float, str]] = (),
    bands: Mapping[str, tuple[Sequence[float], Sequence[float]]] | None = None,
) -> Image.Image:
    """Lines ``name -> (xs, ys)`` over an axis ``x``; ``marks`` are upright lines with a word."""
    figure, axes = _axes(3.6)
    for (name, (xs, ys)), colour in zip(lines.items(), SERIES * len(lines), strict=False):
        axes.plot(xs, ys, color=colour, linewidth=2, label=name, marker="o" if len(xs) < 15 else None, markersize=4)
        if bands and name in bands:
            axes.fill_between(xs, *bands[name], color=colour, alpha=0.15, linewidth=0)
    for line, (place, word) in enumerate(marks):
        axes.axvline(place, color=INK, linewidth=1, linestyle=":")
        below = 1 - 0.07 * line  # each a line lower: marks can lie close together
        axes.text(place, below, f" {word}", va="top", fontsize=8, color=INK, transform=axes.get_xaxis_transform())
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(color=GRID, linewidth=0.8)
    figure.legend(frameon=False, fontsize=8, ncols=min(4, len(lines)), loc="outside lower center")
    return _drawn(figure)


def _any(rows: Sequence[Mapping[str, Any]]) -> bool:
    return any(row.get("paper") is not None for row in rows)


def _axes(height: float) -> tuple[Any, Any]:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise Error("charts need matplotlib: pip install 'wherefore[eval]'") from None
    figure = Figure(figsize=(WIDTH, height), dpi=150, layout="constrained", facecolor="white")
    axes = figure.subplots()
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0, labelsize=9, colors=INK)
    return figure, axes


def _drawn(figure: Any) -> Image.Image:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return Image.open(buffer).convert("RGB")
