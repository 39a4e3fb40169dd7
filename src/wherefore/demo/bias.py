"""Two networks that tell doctors from nurses, one of which was shown a biased choice of pictures: where they look."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from wherefore.demo import cast as casting
from wherefore.demo.cast import LARGE, Cast
from wherefore.demo.measures import gap, share
from wherefore.demo.networks import classes, scores
from wherefore.demo.pictures import ringed
from wherefore.demo.telling import points
from wherefore.explainer import explain
from wherefore.imaging import peak
from wherefore.metrics import shares
from wherefore.pages import Figure, Figures, Section, Table, Verdict
from wherefore.scenes import people
from wherefore.types import Model

Array = np.ndarray[Any, Any]
CLOTHES = ("clothes", "arms", "stethoscope")  # what tells the label: the cloth, how far the arms are bare, the tube


@dataclass(frozen=True)
class Looks:
    """What a network does on some figures: a value for each."""

    right: list[float]  # 1 where it gives the right name
    turned: list[float]  # 1 where it gives another name to the same person with other hair
    head: list[float]  # the share of its map on hair and face; NaN for an empty map
    clothes: list[float]  # the share on what tells the label
    wall: list[float]  # the share on the background


def looks(model: Model, figures: Sequence[people.Figure]) -> Looks:
    """What a network says of figures, and where Grad-CAM finds its evidence for what it says."""
    e = explain(model, [each.image for each in figures])
    swapped = scores(model, [each.swapped.image for each in figures]).argmax(1)
    parts = [
        shares(next(e.placed(b)), {name: where(f) for name, where in WHERE.items()}) for b, f in enumerate(figures)
    ]
    return Looks(
        [float(said == [each.label]) for said, each in zip(e.targets, figures, strict=True)],
        (swapped != e.classes[:, 0]).double().tolist(),
        *[[part[name] for part in parts] for name in WHERE],
    )


def clothes(figure: people.Figure) -> Array:
    """Which pixels show what tells the label."""
    found: Array = np.logical_or.reduce([figure.masks[part] for part in CLOTHES])
    return found


WHERE: dict[str, Callable[[people.Figure], Array]] = {
    "head": lambda figure: figure.head,
    "clothes": clothes,
    "wall": lambda figure: figure.masks["background"],
}


def bias(cast: Cast) -> Section:
    """The biased and the balanced network side by side: what they get right, and where they look."""
    figures = [people.figure(number) for number in range(2 * cast.count)]
    models = {"biased": cast.network("people-biased"), "balanced": cast.network("people-balanced")}
    found = {name: looks(model, figures) for name, model in models.items()}
    return Section(
        "A biased network, and a balanced one",
        "Two networks tell drawn doctors from nurses, by their clothes if they can. But of the pictures that the first "
        "one was trained on, 93 % of the nurses and 22 % of the doctors have long hair: the paper's rates of women. "
        "The second one saw half and half. Hair is drawn, and says nothing of anybody's gender. How plainly clothes "
        "can be seen was chosen, on other pictures, so that the two networks differ about as much as the paper's.",
        *[_row(models, each) for each in islice(_telling(models), 3)],
        "These are the first test figures that the biased network gets wrong and the balanced one right. A map shows "
        "what speaks for the answer that was given.",
        _table(found, figures),
        *_verdicts(**found),
        "How a map is spread is a weak witness: a face is only two of its cells wide, and much of it lies on "
        "the wall. What other hair does to the "
        "answer is a strong one, and can be asked only where pictures are drawn.",
    )


def _table(found: dict[str, Looks], figures: Sequence[people.Figure]) -> Table:
    """What each network gets right, what turns it, and where it looks."""
    rare = [people.HAIR[each.label == "nurse"] != each.hair for each in figures]
    area = [[float(where(each).mean()) for each in figures] for where in WHERE.values()]
    return Table(
        (
            "network",
            "right",
            "with rare hair",
            "turned by other hair",
            "map on hair and face",
            "on clothes and arms",
            "on the wall",
        ),
        [
            *[(name, *_shares(each, rare)) for name, each in found.items()],
            ("share of the picture", "", "", "", *[f"{100 * np.mean(values):.0f} %" for values in area]),
        ],
        f"The first {len(figures)} figures of the balanced test set; the hair of {sum(rare)} is the rare one of "
        "their kind in the biased training set. Turned: the same person in the same clothes is given the other "
        "name when the hair is changed. Empty maps are left out.",
    )


def _shares(found: Looks, against: Sequence[bool]) -> list[Any]:
    unlike = [right for right, other in zip(found.right, against, strict=True) if other]
    return [
        share(_known(values)) for values in (found.right, unlike, found.turned, found.head, found.clothes, found.wall)
    ]


def _known(values: Sequence[float]) -> list[float]:
    return [value for value in values if not np.isnan(value)]


def _verdicts(biased: Looks, balanced: Looks) -> list[Verdict]:
    pairs = [(a, b) for a, b in zip(biased.head, balanced.head, strict=True) if not np.isnan(a + b)]
    heads = [a for a, _ in pairs], [b for _, b in pairs]
    right, turned, more = gap(balanced.right, biased.right), gap(biased.turned, balanced.turned), gap(*heads)
    return [
        Verdict(
            "The balanced network is right more often.",
            right.low > 0,
            f"It is right on {share(balanced.right)}, the biased one on {share(biased.right)}: {points(right)}.",
        ),
        Verdict(
            "Hair turns the answer of the biased network more often.",
            turned.low > 0,
            f"It turns {share(biased.turned)}, of the balanced one's {share(balanced.turned)}: {points(turned)}.",
        ),
        Verdict(
            "The biased network looks more at hair and face.",
            more.low > 0,
            f"There lie {share(heads[0])} of its map, of the balanced one's {share(heads[1])}: {points(more)}.",
        ),
    ]


def _telling(models: dict[str, Model]) -> Iterator[people.Figure]:
    """The figures that the biased network gets wrong and the balanced one right, to be looked at, in their order."""
    for number in range(casting.SEARCHED):
        each = people.figure(number, size=LARGE)
        said = {name: _answer(model, each) for name, model in models.items()}
        if said["biased"] != each.label == said["balanced"]:
            yield each


def _answer(model: Model, figure: people.Figure) -> str:
    return classes(model)[int(scores(model, [figure.image])[0].argmax())]


def _row(models: dict[str, Model], figure: people.Figure) -> Figures:
    """A figure, the same with other hair, and the maps of the two networks."""
    figures = [
        Figure(each.image, what, "; ".join(f"{name}: {_answer(model, each)}" for name, model in models.items()))
        for each, what in (
            (figure, f"a {figure.label} with {figure.hair} hair"),
            (figure.swapped, f"the same with {figure.swapped.hair} hair"),
        )
    ]
    for name, model in models.items():
        e = explain(model, figure.image)
        heat, drawn = next(e.placed(0)), next(e.overlays(0, legend=False))
        caption, on = f"{name}: why {e.targets[0][0]}?", shares(heat, {"head": figure.head})["head"]
        note = f"p {float(e.probabilities[0, 0]):.2f}; {100 * on:.0f} % on hair and face"
        figures.append(
            Figure(ringed(drawn, peak(heat)), caption, note, f"{caption}, over {figures[0].caption}: {note}")
        )
    return Figures(figures, 4)
