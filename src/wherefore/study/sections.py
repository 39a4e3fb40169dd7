"""Sections of a study's page: what was said, method against method, models, agreement, workers, sides, power."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from wherefore.experiments.charts import curves, dots
from wherefore.experiments.tables import THEIRS
from wherefore.metrics.resampling import wilson
from wherefore.pages import Figure, Figures, Section, Table, Verdict
from wherefore.study import clusters
from wherefore.study.plan import Rating
from wherefore.study.scores import ALPHA, Contrast

if TYPE_CHECKING:  # which builds the page of these
    from wherefore.study.report import Report

MARK = "SIMULATED workers, not people"
BINS = 8  # parts of a worker's order of trials
# Section 5.1 and 5.2 of the paper: the first is better than the second.
CLAIMS = {
    ("guided-grad-cam", "guided-backprop"): "Guided Grad-CAM {} than Guided Backpropagation.",
    ("deconv-grad-cam", "deconvnet"): "Deconvolution Grad-CAM {} than Deconvolution.",
}
BETTER = {
    "class-discrimination": "tells people more often which class it is of",
    "trust": "shows people more plainly which network is better",
}


def sections(report: Report) -> list[Section]:
    """All sections of a study's page, in their order."""
    return [
        _methods(report),
        _contrasts(report),
        _model(report),
        _agreement(report),
        _workers(report),
        _course(report),
        _sides(report),
        Section("How large the study is", f"{report.power}", "It was simulated from set numbers, without any answer."),
        Section("What the intervals assume", *_assumed(report)),
    ]


# -------------------------------------------------------------------------------------------- what was said


def _methods(report: Report) -> Section:
    scores = report.scores
    header = ["method", f"{scores.measure} (95 %)", "as if independent", "design effect", "n"]
    header += ["paper" if report.comparable else THEIRS]
    rows = []
    for name, figure in scores.methods.items():
        effect, paper = scores.design_effect(name), scores.paper.get(name)
        row = [f"`{name}`", _with(report, figure.value, *scores.ends(name)), _between(report, *scores.naive(name))]
        row += ["" if effect != effect else f"{effect:.1f}", str(figure.n)]
        rows.append([*row, "" if paper is None else _plain(report, paper, 2)])
    naive = "Wilson's interval" if report.plan.kind == "class-discrimination" else "1.96 standard errors"
    caption = (
        "Intervals are over workers and pictures (two-way cluster bootstrap, 10,000 draws). "
        f"As if independent: {naive}, which is too narrow. "
        "Design effect: how many times the variance is what it would be of independent answers."
    )
    title = "What the simulated workers answered" if report.simulated else "What people answered"
    asked = {
        "class-discrimination": "Which of two categories is depicted? Accuracy is the share of right answers; "
        "chance is 50 %.",
        "trust": "Which of two networks is more reliable, by its map? From -2 to +2, plus for the one that is more "
        "accurate; 0 is no preference.",
    }
    verdicts = [] if report.simulated else [_verdict(report, each) for each in scores.contrasts if _claimed(each)]
    note = ["No claim is judged: simulated workers answer as they were set to."] if report.simulated else []
    return Section(
        title, asked[report.plan.kind], *note, *verdicts, Table(header, rows, _marked(report, caption)),
        _figure(report, dots(_dotted(report), _marked_label(report, _axis(report))), f"{scores.measure} by method"),
    )  # fmt: skip


def _dotted(report: Report) -> list[dict[str, float | str | None]]:
    rows: list[dict[str, float | str | None]] = []
    for name, figure in report.scores.methods.items():
        low, high = report.scores.ends(name)
        row = {"value": figure.value, "low": low, "high": high, "paper": report.scores.paper.get(name)}
        scale = 100 if report.plan.kind == "class-discrimination" else 1
        rows.append({"name": name, **{key: None if value is None else value * scale for key, value in row.items()}})
    return rows


def _contrasts(report: Report) -> Section:
    header = ["one", "other", "difference (95 %)", "p (Holm)", "paper" if report.comparable else THEIRS]
    rows = [
        [f"`{each.one}`", f"`{each.other}`", _signed(report, each), _p(each.p),
         "" if each.paper is None else _plain(report, each.paper, 2, "+")]
        for each in report.scores.contrasts
    ]  # fmt: skip
    caption = (
        f"Paired: workers and pictures are drawn for both methods at once. p is corrected for {len(rows)} "
        "contrasts (Holm 1979); the intervals are not."
    )
    clear = [i for i, each in enumerate(report.scores.contrasts) if each.clear]
    if not rows:
        return Section("Method against method", "There is one method alone.")
    return Section("Method against method", Table(header, rows, _marked(report, caption), clear))


def _claimed(each: Contrast) -> bool:
    return (each.one, each.other) in CLAIMS and each.gap.n > 0


def _verdict(report: Report, each: Contrast) -> Verdict:
    claim = CLAIMS[each.one, each.other].format(BETTER[report.plan.kind])
    return Verdict(claim, each.gap.value > 0, f"Difference {_signed(report, each)}, p {_p(each.p)}.", each.clear)


# -------------------------------------------------------------------------------------------- models, agreement


def _model(report: Report) -> Section:
    model = report.model
    parts: list[str | Table] = [model.assumes]
    if model.problem:
        return Section("By a model", *parts, f"Nothing is to be read from it. {model.problem}")
    if model.spreads:
        said = ", ".join(f"of {name}s {value:.2f}" for name, value in model.spreads.items())
        parts.append(f"Standard deviation in log-odds {said}.")
    if model.methods:
        rows = [[f"`{m['name']}`", _with(report, m["value"], m["low"], m["high"])] for m in model.methods]
        parts.append(Table(["method", f"{report.scores.measure} (95 %)"], rows, _marked(report, "It converged.")))
    rows = [
        [f"`{c['one']}`", f"`{c['other']}`", f"{c['value']:+.2f} ({c['low']:+.2f} to {c['high']:+.2f})", _p(c["p"])]
        for c in model.contrasts
    ]
    caption = _marked(report, "It converged. p is corrected by Holm's method.")
    return Section("By a model", *parts, Table(["one", "other", "log-odds (95 %)", "p (Holm)"], rows, caption))


def _agreement(report: Report) -> Section:
    level = "right and wrong" if report.plan.kind == "class-discrimination" else "the five answers, as an order"
    rows = []
    for name in report.scores.names:
        value, low, high = report.scores.agreement(name)
        ends = "" if low != low else f" ({low:.2f} to {high:.2f})"
        rows.append([f"`{name}`", "undefined" if value != value else f"{value:.2f}{ends}"])
    return Section(
        "How far workers agree",
        f"Krippendorff's alpha of {level}: 1 is full agreement about each item, 0 what chance gives.",
        Table(["method", "alpha (95 %)"], rows, _marked(report, "Intervals draw pictures with repetition.")),
    )


# -------------------------------------------------------------------------------------------- workers


def _workers(report: Report) -> Section:
    sifted, rules = report.sifted, report.plan.rules
    said = (
        f"The plan leaves out who failed {rules.catches_failed} catch trials or took less than {rules.fastest_ms} ms, "
        f"as a median. That is {len(sifted.left_out)} of {sifted.workers + len(sifted.left_out)} workers. "
        f"{sifted.unfinished} of those who are kept did not go through to the end: what they answered counts. "
        f"{sifted.surplus} surplus answers do not count, as they came after their slots were given to others."
    )
    parts: list[str | Table | Figures] = [said]
    if sifted.apart:
        parts.append(f"{sifted.apart} answers of simulated workers in the database are left out: they are not people.")
    if sifted.left_out:
        rows = [[each.worker[:8], each.why, str(each.ratings)] for each in sifted.left_out]
        parts.append(Table(["worker", "why", "answers left out"], rows, _marked(report, "Left out by the plan.")))
    parts.append(_figure(report, _ability(report), f"{report.scores.measure} of each worker"))
    return Section("Workers", *parts)


def _ability(report: Report) -> Image.Image:
    """The mean of each worker, the lowest first, with the interval of independent answers."""
    by_worker = defaultdict(list)
    for each in report.scores.ratings:
        by_worker[each.worker].append(each.value)
    found = sorted((float(np.mean(mine)), *_alone(report, mine)) for mine in by_worker.values())
    places, (means, lows, highs) = list(range(1, len(found) + 1)), zip(*found, strict=True)
    line = f"a worker's {report.scores.measure}"
    label = _marked_label(report, "workers, the lowest first")
    return curves({line: (places, means)}, label, _axis(report, short=True), bands={line: (lows, highs)})


def _alone(report: Report, values: Sequence[float]) -> tuple[float, float]:
    if report.plan.kind == "class-discrimination":
        return wilson(sum(values), len(values))
    half = 1.96 * float(np.std(values)) / len(values) ** 0.5
    return float(np.mean(values)) - half, float(np.mean(values)) + half


# -------------------------------------------------------------------------------------------- order, time, sides


def _course(report: Report) -> Section:
    figures = [
        (_by_position(report), f"{report.scores.measure} over a worker's trials"),
        (_times(report), "time to answer"),
        (_arrivals(report), "answers as they came in"),
    ]
    medians = {
        name: median([each.rt_ms for each in report.scores.ratings if each.method == name]) / 1000
        for name, figure in report.scores.methods.items()
        if figure.n
    }
    said = ", ".join(f"`{name}` {value:.1f} s" for name, value in medians.items())
    shown = [Figure(chart, caption, MARK if report.simulated else "") for chart, caption in figures]
    return Section("Over the course of the study", f"Median time to answer: {said}.", Figures(shown, columns=2))


def _by_position(report: Report) -> Image.Image:
    """The mean of all answers by their place in the workers' order, in eight parts."""
    ratings = report.scores.ratings
    longest = 1 + max(each.position for each in ratings)
    parts = defaultdict(list)
    for each in ratings:
        parts[each.position * BINS // longest].append(each)
    places = [float(np.mean([each.position + 1 for each in parts[i]])) for i in sorted(parts)]
    values = [[each.value for each in parts[i]] for i in sorted(parts)]
    lows, highs = zip(*(_alone(report, own) for own in values), strict=True)
    line = "all methods"
    return curves(
        {line: (places, [float(np.mean(own)) for own in values])},
        _marked_label(report, "trial"), _axis(report, short=True), bands={line: (lows, highs)},
    )  # fmt: skip


def _times(report: Report) -> Image.Image:
    shares = np.linspace(0.01, 0.95, 48)
    lines = {}
    for name, figure in report.scores.methods.items():
        if figure.n:
            own = [each.rt_ms / 1000 for each in report.scores.ratings if each.method == name]
            lines[name] = (np.quantile(own, shares).tolist(), (100 * shares).tolist())
    fastest = report.plan.rules.fastest_ms / 1000
    label = _marked_label(report, "seconds")
    return curves(lines, label, "% of answers given by then", marks=[(fastest, "left out, as a median")])


def _arrivals(report: Report) -> Image.Image:
    """How many answers there were by when, in hours after the first."""
    times = sorted(datetime.fromisoformat(each.answered_at) for each in report.scores.ratings)
    hours = [(each - times[0]).total_seconds() / 3600 for each in times]
    unit, scale = ("hours", 1) if hours[-1] >= 2 else ("minutes", 60)
    label = _marked_label(report, f"{unit} after the first")
    return curves({"answers": ([h * scale for h in hours], list(range(1, len(hours) + 1)))}, label, "answers")


def _sides(report: Report) -> Section:
    sides, two = report.scores.sides, report.plan.kind == "class-discrimination"
    what = "share of answers on the left" if two else "how much the left picture was favoured, -2 to 2"
    test = "exact binomial test of one half" if two else "sign-flip test by worker"
    level = 100 if two else 1
    rows = [
        {"name": name, "value": figure.value * level, "low": figure.low * level, "high": figure.high * level}
        for name, figure in {"all": sides.figure, **sides.by_method}.items()
    ]
    found = "People leaned to one side" if not report.simulated else "The workers leaned to one side"
    word = found if sides.p < ALPHA else "No leaning to one side is seen"
    said = _with(report, sides.figure.value, sides.figure.low, sides.figure.high, plus=False)
    chart = dots(rows, _marked_label(report, f"{what}{', %' if two else ''}"))
    flipped = Counter(each.flipped for each in report.scores.ratings)[True] / len(report.scores.ratings)
    return Section(
        "Left and right",
        f"Which option comes first is drawn anew for everyone, so that a leaning favours no method. {word}: {what} "
        f"{said}, p {_p(sides.p)} ({test}). {100 * flipped:.0f} % of trials were shown the other way round.",
        _figure(report, chart, what.partition(",")[0]),
    )


def _assumed(report: Report) -> list[str]:
    text = [" ".join(part.split()) for part in (clusters.__doc__ or "").split("\n\n")[1:3]]
    return [part.replace("``", "`") for part in text] + [
        "Ratings of one worker are alike, and so are those of one picture; who was asked and what was shown are each "
        "taken for a random sample. With few workers or pictures, intervals are rough; of fewer than two there is none."
    ]


# -------------------------------------------------------------------------------------------- words


def _figure(report: Report, chart: Image.Image, caption: str) -> Figures:
    return Figures([Figure(chart, caption, MARK if report.simulated else "")], columns=2)


def _marked(report: Report, caption: str) -> str:
    return f"{MARK}. {caption}" if report.simulated else caption


def _marked_label(report: Report, label: str) -> str:
    return f"{label}\n{MARK}" if report.simulated else label


def _axis(report: Report, short: bool = False) -> str:
    if report.plan.kind == "class-discrimination":
        return "accuracy" if short else "accuracy, %"
    return "score" if short else "reliability, -2 to 2: plus for the better network"


def _plain(report: Report, value: float, digits: int = 1, sign: str = "") -> str:
    if report.plan.kind == "class-discrimination":
        return f"{100 * value:{sign}.{digits}f} %"
    return f"{value:+.2f}"


def _with(report: Report, value: float, low: float, high: float, plus: bool = True) -> str:
    """A figure with its interval, in words."""
    if value != value:
        return "no answers"
    ends = "no interval" if low != low else _between(report, low, high)
    return f"{_plain(report, value)} ({ends})"


def _between(report: Report, low: float, high: float) -> str:
    if low != low:
        return ""
    if report.plan.kind == "class-discrimination":
        return f"{100 * low:.1f} to {100 * high:.1f}"
    return f"{low:+.2f} to {high:+.2f}"


def _signed(report: Report, each: Contrast) -> str:
    """A difference with its interval; in points, where the figures are per cent."""
    gap, two = each.gap, report.plan.kind == "class-discrimination"
    if gap.value != gap.value:
        return "no answers"
    scale, form = (100, "+.1f") if two else (1, "+.2f")
    ends = "no interval" if gap.low != gap.low else f"{gap.low * scale:{form}} to {gap.high * scale:{form}}"
    return f"{gap.value * scale:{form}}{' points' if two else ''} ({ends})"


def _p(p: float) -> str:
    return "undefined" if p != p else "< 0.001" if p < 0.001 else f"{p:.3f}"
