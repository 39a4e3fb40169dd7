"""Rows of an experiment as JSON and as a table with the paper's figure beside ours; orderings as claims."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from wherefore.errors import Error
from wherefore.metrics.summary import Summary, Verdict, difference, ordering
from wherefore.pages import Share, Table
from wherefore.pages import Verdict as Claim

Row = dict[str, Any]
THEIRS = "paper, on its own data"
# What the papers' networks are called where they come from, and what they are called here.
KINDS = {
    "vgg16": "vgg",
    "vgg16-cam": "vgg-cam",
    "alexnet": "alexnet",
    "googlenet": "googlenet",
    "resnet50": "resnet",
    "neuraltalk2": "captioner",
    "show-and-tell": "show-and-tell",
    "lu2015": "vqa",
}


def row(name: str, figure: Summary, paper: float | None = None, **about: Any) -> Row:
    """A row of an experiment: a method's registry name, what else it is of, the figure, and the paper's."""
    return {"name": name, **about, **figure.row(), "paper": paper}


def table(
    rows: Sequence[Row],
    columns: Mapping[str, str],
    value: str,
    caption: str = "",
    share: bool = True,
    marked: Callable[[Row], bool] | None = None,
) -> Table:
    """Rows as a table: ``columns`` are keys of theirs under their headings, then ``value``, n, and the paper's figure.

    ``share``: whether values are shares, 0 to 1, to be drawn as bars; else they are printed as they are.
    """
    header = [*columns.values(), value, "n", *([THEIRS] if any(r["paper"] is not None for r in rows) else [])]
    cells: list[list[str | Share]] = []
    for each in rows:
        first: list[str | Share] = [str(each.get(key, "")) for key in columns]
        paper = [] if len(header) == len(columns) + 2 else [_said(each["paper"], share)]
        cells.append([*first, cell(each, share), str(each["n"]), *paper])
    empty = sum(each["degenerate"] for each in rows)
    words = f"{caption} " if caption else ""
    words += "Brackets: bootstrap 95 % intervals over pictures (1,000 draws)."
    words += f" Maps without evidence, in all rows: {empty}." if empty else ""
    chosen = [i for i, each in enumerate(rows) if marked and marked(each)]
    return Table(header, cells, words, chosen)


def cell(each: Row, share: bool) -> str | Share:
    """The figure of a row with its interval, as it stands in a table."""
    value, low, high = each["value"], each["low"], each["high"]
    if value is None:
        return "undefined"
    if low is None:
        return _said(value, share)
    if share:
        return Share(value, low, high)
    form = ".3f" if abs(value) >= 0.001 or not value else ".1e"
    return f"{value:{form}} ({low:{form}} to {high:{form}})"


def _said(value: float | None, share: bool) -> str:
    """A figure in words; shares as per cent, as they stand in the table."""
    if value is None:
        return ""
    return f"{100 * value:.1f}\N{NO-BREAK SPACE}%" if share else f"{value:.3g}"


def claim(
    words: str, figures: Mapping[str, Summary], expected: Sequence[str], better: str = "higher", extra: str = ""
) -> Claim:
    """Whether figures over the same pictures are in the order that the paper found, the best first, with numbers."""
    found = ordering(figures, expected, better)
    clear = all(s.clear for s in found.steps) if found.holds else any(s.clear and not s.holds for s in found.steps)
    return Claim(words, found.holds, numbers(found) + (f" {extra}" if extra else ""), clear)


def unchanged(words: str, figures: Mapping[str, Summary], one: str, other: str) -> Claim | None:
    """That two figures are the same whichever pictures are drawn, with numbers; None where they are not."""
    gap = difference(figures[one], figures[other])
    if gap.value or gap.drawn.any():
        return None
    return Claim(words, True, f"{one} {figures[one].value:.3f}, {other} the same in every draw of pictures.")


def between(
    words: str, figures: Mapping[str, Summary], one: str, other: str, low: float, high: float = math.inf
) -> Claim:
    """Whether a figure exceeds another over the same pictures by ``low`` to ``high``, with numbers."""
    gap = difference(figures[one], figures[other])
    clear = (gap.low >= low and gap.high <= high) or gap.high < low or gap.low > high
    said = (f"{name} {figures[name].value:.3f}" for name in (one, other))
    chance = "" if clear else ", which may be chance"
    return Claim(words, low <= gap.value <= high, f"{', '.join(said)} (difference {gap}{chance}).", clear)


def numbers(found: Verdict) -> str:
    """The numbers of an ordering, pair by pair."""
    said = []
    for better, worse, gap in found.steps:
        one, other = (f"{name} {found.figures[name].value:.3f}" for name in (better, worse))
        chance = "" if gap.low > 0 or gap.high < 0 else ", which may be chance"
        said.append(f"{one}, {other} (difference {gap}{chance})")
    return "; ".join(said) + "."


def where(rows: Sequence[Row], **wanted: Any) -> list[Row]:
    """The rows that say these things."""
    return [each for each in rows if all(each.get(key) == value for key, value in wanted.items())]


def paper_of(figures: Mapping[Any, float], *key: Any) -> float | None:
    """The paper's figure under a key whose first part is the `kind` of a network."""
    name, *rest = key
    return figures.get((kind(str(name)), *rest))


def kind(network: str) -> str:
    """Which of the papers' networks one is: vgg (their VGG-16), vgg-cam, alexnet, googlenet, resnet (ResNet-50),
    captioner (NeuralTalk2), show-and-tell, vqa (Lu et al. 2015).

    Those for scenes stand for what they are small copies of. '' for any other: vgg19, and vgg16_bn, for the papers' has
    no batch normalisation.
    """
    source, _, name = network.rpartition(":")
    return name if source == "scenes" else KINDS.get(name.partition(".")[0], "")


def refused(sentences: Mapping[str, str]) -> list[str]:
    """What networks and methods do not go together, as paragraphs."""
    return [f"Left out: {who}: {why}" for who, why in sentences.items()]


def need(condition: Any, sentence: str) -> None:
    """Raises `Error` with the sentence unless the condition holds."""
    if not condition:
        raise Error(sentence)
