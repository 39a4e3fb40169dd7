"""Sections of a study's page: what was said, method against method, models, agreement, workers, sides, power."""

from __future__ import annotations

from collections import Counter
from statistics import median
from typing import TYPE_CHECKING

from PIL import Image

from wherefore.experiments.tables import THEIRS
from wherefore.pages import Figure, Figures, Section, Table, Verdict
from wherefore.study import charts, clusters
from wherefore.study.scores import ALPHA, Contrast

if TYPE_CHECKING:  # which builds the page of these
    from wherefore.study.report import Report

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
        Section("What the intervals assume", *clusters.ASSUMES),
    ]


# -------------------------------------------------------------------------------------------- what was said


def _methods(report: Report) -> Section:
    scores = report.scores
    header = ["method", f"{scores.measure} (95 %)", "as if independent", "design effect", "n"]
    header += ["paper" if report.comparable else THEIRS]
    rows = []
    for name, figure in scores.methods.items():
        effect, paper = scores.design_effect(name), scores.paper.get(name)
        row = [f"`{name}`", _with(report, figure.value, *figure.ends), _between(report, *scores.naive(name))]
        row += ["" if effect != effect else f"{effect:.1f}", str(figure.n)]
        rows.append([*row, "" if paper is None else _plain(report, paper, 2)])
    naive = "Wilson's interval" if report.two else "1.96 standard errors"
    caption = (
        f"As Table 2 of the paper, {scores.measure}. "
        "Intervals are over workers and pictures (two-way cluster bootstrap, 10,000 draws). "
        f"As if independent: {naive}, which is usually too narrow. "
        "With few workers ours is widened further (Student's t). "
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
        _figure(charts.methods(report), f"{scores.measure.capitalize()} by method"),
    )  # fmt: skip


def _contrasts(report: Report) -> Section:
    header = ["one", "other", "difference (95 %)", "p (Holm)", "paper" if report.comparable else THEIRS]
    rows = [
        [f"`{each.one}`", f"`{each.other}`", _signed(report, each), _p(each.p),
         "" if each.paper is None else _gap(report, each.paper, 2)]
        for each in report.scores.contrasts
    ]  # fmt: skip
    caption = (
        "Paired: workers and pictures are drawn for both methods at once. p is corrected for how many contrasts "
        "there are (Holm 1979), the intervals are not."
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
    level = "right and wrong" if report.two else "the five answers, as an order"
    rows = []
    for name in report.scores.names:
        value, low, high = report.scores.agreement[name]
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
        f"as a median. That is {len(sifted.left_out)} of {sifted.workers + len(sifted.left_out)} workers."
    )
    parts: list[str | Table | Figures] = [said]
    if sifted.unfinished:
        parts.append(f"Workers who did not go through to the end: {sifted.unfinished}. What they answered counts.")
    if sifted.surplus:
        parts.append(f"Answers left out as their slots had been given to others: {sifted.surplus}.")
    if sifted.apart:
        parts.append(f"Answers of simulated workers left out, as they are not people: {sifted.apart}.")
    if sifted.left_out:
        rows = [[each.worker[:8], each.why, str(each.ratings)] for each in sifted.left_out]
        parts.append(Table(["worker", "why", "answers left out"], rows, _marked(report, "Left out by the plan.")))
    parts.append(_figure(charts.workers(report), f"{report.scores.measure.capitalize()} of each worker"))
    return Section("Workers", *parts)


# -------------------------------------------------------------------------------------------- order, time, sides


def _course(report: Report) -> Section:
    medians = {
        name: median([each.rt_ms for each in report.scores.ratings if each.method == name]) / 1000
        for name, figure in report.scores.methods.items()
        if figure.n
    }
    said = ", ".join(f"`{name}` {value:.1f} s" for name, value in medians.items())
    return Section(
        "Over the course of the study", f"Median time to answer: {said}.",
        _figure(charts.positions(report), f"{report.scores.measure.capitalize()} over a worker's trials"),
        _figure(charts.times(report), "Time to answer"),
        _figure(charts.arrivals(report), "Answers as they came in"),
    )  # fmt: skip


def _sides(report: Report) -> Section:
    sides, two = report.scores.sides, report.two
    what = "share of answers on the left" if two else "how much the left picture was favoured (-2 to 2)"
    test = "exact binomial test of one half" if two else "sign-flip test by worker"
    found = "People leaned to one side" if not report.simulated else "The workers leaned to one side"
    word = found if sides.p < ALPHA else "No leaning to one side is seen"
    said = _with(report, sides.figure.value, sides.figure.low, sides.figure.high)
    flipped = Counter(each.flipped for each in report.scores.ratings)[True] / len(report.scores.ratings)
    return Section(
        "Left and right",
        f"Which option comes first is drawn anew for everyone, so that a leaning favours no method. {word}: {what} is "
        f"{said}, p {_p(sides.p)} ({test}). {100 * flipped:.0f} % of trials were shown the other way round.",
        _figure(charts.sides(report), "Left and right"),
    )


# -------------------------------------------------------------------------------------------- words


def _figure(chart: Image.Image, caption: str) -> Figures:
    return Figures([Figure(chart, caption)], columns=1)


def _marked(report: Report, caption: str) -> str:
    return f"{charts.MARK}. {caption}" if report.simulated else caption


def _plain(report: Report, value: float, digits: int = 1) -> str:
    return f"{100 * value:.{digits}f} %" if report.two else f"{value:+.2f}"


def _with(report: Report, value: float, low: float, high: float) -> str:
    """A figure with its interval, in words."""
    if value != value:
        return "no answers"
    ends = "no interval" if low != low else _between(report, low, high)
    return f"{_plain(report, value)} ({ends})"


def _between(report: Report, low: float, high: float) -> str:
    if low != low:
        return ""
    if report.two:
        return f"{100 * low:.1f} to {100 * high:.1f}"
    return f"{low:+.2f} to {high:+.2f}"


def _signed(report: Report, each: Contrast) -> str:
    """A difference with its interval."""
    gap = each.gap
    if gap.value != gap.value:
        return "no answers"
    scale, form = (100, "+.1f") if report.two else (1, "+.2f")
    ends = "no interval" if gap.low != gap.low else f"{gap.low * scale:{form}} to {gap.high * scale:{form}}"
    return f"{_gap(report, gap.value)} ({ends})"


def _gap(report: Report, value: float, digits: int = 1) -> str:
    """A difference: in points, where the figures are per cent."""
    return f"{100 * value:+.{digits}f} points" if report.two else f"{value:+.2f}"


def _p(p: float) -> str:
    return "undefined" if p != p else "< 0.001" if p < 0.001 else f"{p:.3f}"
