"""Charts of a study's page; each says on itself where its answers are of simulated workers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from wherefore.experiments.charts import curves, dots
from wherefore.metrics.resampling import wilson

if TYPE_CHECKING:  # which builds the page of these
    from wherefore.study.report import Report

MARK = "SIMULATED workers, not people"
BINS = 8  # parts of a worker's order of trials


def methods(report: Report) -> Image.Image:
    """The figure of each method with its interval, and the paper's."""
    rows = []
    for name, figure in report.scores.methods.items():
        row = {"value": figure.value, "low": figure.low, "high": figure.high, "paper": report.scores.paper.get(name)}
        rows.append(
            {"name": name, **{key: None if value is None else value * _scale(report) for key, value in row.items()}}
        )
    words = "accuracy, %" if report.two else "reliability, -2 to 2: plus for the better network"
    return dots(rows, _label(report, words))


def workers(report: Report) -> Image.Image:
    """The mean of each worker, the lowest first, with the interval of independent answers."""
    by_worker = defaultdict(list)
    for each in report.scores.ratings:
        by_worker[each.worker].append(each.value)
    found = sorted((_mean(report, mine), *_ends(report, mine)) for mine in by_worker.values())
    places, (means, lows, highs) = list(range(1, len(found) + 1)), zip(*found, strict=True)
    line = f"a worker's {report.scores.measure}"
    return curves(
        {line: (places, means)}, _label(report, "workers, the lowest first"), _axis(report), bands={line: (lows, highs)}
    )


def positions(report: Report) -> Image.Image:
    """The mean of all answers by their place in the workers' order, in eight parts."""
    ratings = report.scores.ratings
    longest = 1 + max(each.position for each in ratings)
    parts = defaultdict(list)
    for each in ratings:
        parts[each.position * BINS // longest].append(each)
    places = [float(np.mean([each.position + 1 for each in parts[i]])) for i in sorted(parts)]
    values = [[each.value for each in parts[i]] for i in sorted(parts)]
    lows, highs = zip(*(_ends(report, own) for own in values), strict=True)
    line = "all methods, with the interval of independent answers"
    means = [_mean(report, own) for own in values]
    return curves({line: (places, means)}, _label(report, "trial"), _axis(report), bands={line: (lows, highs)})


def times(report: Report) -> Image.Image:
    """Which share of each method's answers was given by when."""
    shares = np.linspace(0.01, 0.95, 48)
    lines = {}
    for name, figure in report.scores.methods.items():
        if figure.n:
            own = [each.rt_ms / 1000 for each in report.scores.ratings if each.method == name]
            lines[name] = (np.quantile(own, shares).tolist(), (100 * shares).tolist())
    fastest = report.plan.rules.fastest_ms / 1000
    marks = [(fastest, "a lower median is left out")]
    return curves(lines, _label(report, "seconds"), "% of answers given by then", marks)


def arrivals(report: Report) -> Image.Image:
    """How many answers there were by when, after the first."""
    when = sorted(datetime.fromisoformat(each.answered_at) for each in report.scores.ratings)
    hours = [(each - when[0]).total_seconds() / 3600 for each in when]
    unit, scale = ("hours", 1) if hours[-1] >= 2 else ("minutes", 60)
    places = [hour * scale for hour in hours]
    return curves(
        {"answers": (places, list(range(1, len(when) + 1)))}, _label(report, f"{unit} after the first"), "answers"
    )


def sides(report: Report) -> Image.Image:
    """How far answers lean to the left, of all and by method."""
    what = "answers on the left, %" if report.two else "how much the left picture was favoured, -2 to 2"
    figures = {"all": report.scores.sides.figure, **report.scores.sides.by_method}
    scale = _scale(report)
    rows = [
        {"name": name, "value": each.value * scale, "low": each.low * scale, "high": each.high * scale}
        for name, each in figures.items()
    ]
    return dots(rows, _label(report, what))


def _label(report: Report, words: str) -> str:
    return f"{words}\n{MARK}" if report.simulated else words


def _axis(report: Report) -> str:
    return "accuracy, %" if report.two else "score, -2 to 2"


def _scale(report: Report) -> float:
    return 100.0 if report.two else 1.0


def _mean(report: Report, values: Sequence[float]) -> float:
    return float(np.mean(values)) * _scale(report)


def _ends(report: Report, values: Sequence[float]) -> tuple[float, float]:
    """The interval that takes answers for independent."""
    if report.two:
        low, high = wilson(sum(values), len(values))
        return 100 * low, 100 * high
    half = 1.96 * float(np.std(values)) / len(values) ** 0.5
    return float(np.mean(values)) - half, float(np.mean(values)) + half
