"""Two networks side by side: what `wherefore compare` does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wherefore.batch.maps import Asked, Seen
from wherefore.batch.maps import seen as restored
from wherefore.datasets import Dataset
from wherefore.datasets.matching import matched
from wherefore.diagnosis.comparing import Pair, pair, together
from wherefore.errors import Error
from wherefore.experiments.lab import Lab, Settings
from wherefore.experiments.result import Report, Result, number
from wherefore.experiments.showing import drawn
from wherefore.experiments.tables import Row, claim, need, refused, row, table, unchanged, where
from wherefore.guard import one_thread
from wherefore.metrics.measuring import NAN
from wherefore.metrics.summary import Summary, difference, summary
from wherefore.pages import Card, Cards, Figure, Section, Verdict
from wherefore.progress import track
from wherefore.saving import can_be_made, write_json
from wherefore.types import Model

METHOD, EVEN = "grad-cam", "an even map"
SHOWN = 100  # pictures on the page
SIDE = 224  # pixels of a picture on a card
FEWEST = 6  # annotated pictures that a verdict takes: of five, all for one network is by chance once in 16 times
SAME, ALIKE, ALIKE_SAME = "answers agree", "rank correlation of their maps", "rank correlation where answers agree"
SHARED, RIGHT, ENERGY, HIT = (
    "overlap of their maps",
    "first answer right",
    "share of the map on the object",
    "peak on it",
)
Models = tuple[Model, Model]


@dataclass(frozen=True)
class Comparison:
    """Two networks on the same pictures: what is measured of all, and picture by picture."""

    report: Report
    images: Sequence[dict[str, Any]]

    def json(self) -> dict[str, Any]:
        """What ``wherefore compare --json`` prints."""
        found = self.report.json()
        return {"networks": found["settings"]["networks"], **found, "images": self.images}

    def save(self, folder: str | Path) -> Path:
        """Writes ``compare/index.html`` and ``compare.json`` into a folder; the path of the page."""
        page = self.report.save(folder)
        write_json(Path(folder) / f"{self.report.name}.json", self.json())
        return page


def compare(models: Models, dataset: Dataset, out: str | Path, limit: int | None = None, seed: int = 0) -> Comparison:
    """Two networks on the pictures of a data set (or on so many of them, drawn by the seed), side by side.

    Nothing is written but the rows that are kept under ``out``: stopped and started again, it goes on where it was.
    Both see the whole picture squashed. Raises `Error` for networks without names of classes, and where no picture can
    be read.
    """
    lab = Lab(Settings(dataset.spec, limit=limit, seed=seed), can_be_made(out))
    first, second = (lab.take(model) for model in distinct(models))
    chosen = sorted(lab.numbers(dataset, len(dataset), len(dataset)))
    small = all(model.name.startswith("scenes:") for model in models)
    with one_thread() if small else nullcontext():
        pairs = _pairs(lab, (first, second), dataset, chosen)
        need(pairs, f"no picture of {dataset.spec} can be read: {_why(lab)}")
        for model in (first, second):
            lab.fitting(model, [METHOD], dataset)
        rows, verdicts = measured((first.name, second.name), pairs)
        order = sorted(pairs, key=lambda each: each.alike)
        sections = _sections(lab, (first, second), dataset, order, rows, verdicts)
    images = [_image(each, (first.name, second.name)) for each in order]
    result = Result(rows, verdicts, sections, {"method": METHOD})
    lead = f"{first.name} and {second.name}: what they say of the same pictures, and where they look."
    about = "Two networks side by side", lead, dataset.spec, len(pairs), dataset.comparable, lab.on_scenes
    return Comparison(Report("compare", *about, {**lab.said(), **result.settings}, lab.problems, result), images)


def distinct(models: Models) -> Models:
    """Two networks with two names: of one name, the second is numbered."""
    first, second = models
    return models if first.name != second.name else (first, replace(second, name=f"{second.name} (2)"))


def _why(lab: Lab) -> str:
    return ", ".join(lab.problems) or "there are none."


def _pairs(lab: Lab, models: Models, dataset: Dataset, chosen: Sequence[int]) -> list[Pair]:
    one, other = models
    for model in models:
        need(model.classes, f"{model.name} has no names for its classes: give it wf.Model(net, classes=...).")
    first, second = (lab.seen(model, METHOD, dataset, chosen, _asked(lab, model, dataset)) for model in models)
    common = in_common(one, other)
    return [pair(*both, common) for both in track(together(first, second), len(chosen), "comparing")]


def _asked(lab: Lab, model: Model, dataset: Dataset) -> Asked:
    """The answer, and the classes that are there; the answer alone of a network that has none of them."""
    try:
        return lab.asked("answer", dataset, model)
    except Error as error:
        lab.refused[f"{model.name}, annotated classes"] = str(error)
        return Asked("answer", {})


def in_common(one: Model, other: Model) -> dict[int, tuple[int, ...]] | None:
    """For each output of a network those of the other that mean the same; None where none do."""
    names, theirs = tuple(one.classes or ()), tuple(other.classes or ())
    if names == theirs:
        return {i: (i,) for i in range(len(names))}
    try:
        found = matched(names, theirs)
    except Error:
        return None
    return {i: found[name] for i, name in enumerate(names) if name in found}


# -------------------------------------------------------------------------------------------- numbers


def measured(names: tuple[str, str], pairs: Sequence[Pair]) -> tuple[list[Row], list[Verdict]]:
    """The rows and the verdicts over all pictures; without annotation those of agreement alone."""
    same = [NAN if each.same is None else float(each.same) for each in pairs]
    empty = [0.0 if each.ranks != each.ranks else 1.0 for each in pairs]
    both = {
        SAME: summary(same),
        ALIKE: summary([each.ranks for each in pairs], empty),
        ALIKE_SAME: summary([each.ranks if each.same else NAN for each in pairs]),
        SHARED: summary([each.shared for each in pairs], empty),
    }
    rows = [row("both", figure, network="", measure=what) for what, figure in both.items() if figure.n]
    each_of = {
        RIGHT: [summary([NAN if p.right[i] is None else float(bool(p.right[i])) for p in pairs]) for i in (0, 1)],
        ENERGY: [summary([p.energy(i) for p in pairs], _evidence(pairs, i)) for i in (0, 1)],
        HIT: [summary([p.hit(i) for p in pairs]) for i in (0, 1)],
    }
    area = summary([each.area for each in pairs])
    for what, two in each_of.items():
        rows += [row(METHOD, f, network=n, measure=what) for n, f in zip(names, two, strict=True) if f.n]
        rows += _difference(names, two, what)
        if what == ENERGY and area.n:
            rows.append(row(EVEN, area, network="", measure=what))
    return [*rows, *_regions(names, pairs)], [_verdict(names, each_of[ENERGY])] if area.n else []


def _regions(names: tuple[str, str], pairs: Sequence[Pair]) -> Iterator[Row]:
    """The share of each network's maps of the labels on every named region, their difference, and the region's area."""
    for region in sorted({region for each in pairs for region in each.parts[0]}):
        some = [each.parts for each in pairs if region in each.parts[0]]
        two = [summary([p[i][region].energy for p in some], [p[i][region].evidence for p in some]) for i in (0, 1)]
        what = f"share of the map on `{region}`"
        yield from (row(METHOD, f, network=n, measure=what) for n, f in zip(names, two, strict=True))
        yield from _difference(names, two, what)
        yield row(EVEN, summary([p[0][region].area for p in some]), network="", measure=what)


def _difference(names: tuple[str, str], two: Sequence[Summary], what: str) -> list[Row]:
    """The difference of two networks, paired by picture; none where no picture has both figures."""
    found = difference(*two)
    return [row("difference", found, network=f"{names[0]} - {names[1]}", measure=what)] if found.n else []


def _evidence(pairs: Sequence[Pair], which: int) -> list[float]:
    return [each.evidence for p in pairs for each in p.looked[which].values()]


def _verdict(names: tuple[str, str], figures: Sequence[Summary]) -> Verdict:
    """Which of the two looks at the object: the one with more of its maps on it."""
    known = dict(zip(names, figures, strict=True))
    same = unchanged("Both look at the object equally", known, *names)
    if same is not None:
        return same
    one, other = sorted(names, key=lambda name: known[name].value, reverse=True)
    found = claim(f"{one} looks at the object more than {other} does", known, [one, other])
    return found if figures[0].n >= FEWEST else replace(found, clear=False)


def _image(each: Pair, names: tuple[str, str]) -> dict[str, Any]:
    """A picture as JSON can hold it."""
    first = [rows[0] for rows in each.rows]
    answers = [
        {
            "network": name,
            "answer": row["category"] or row["name"],
            "probability": row["probability"],
            "right": right,
            "energy": number(each.energy(i)),
            "pointing": number(each.hit(i)),
            "regions": {region: number(found.energy) for region, found in each.parts[i].items()},
        }
        for i, (name, row, right) in enumerate(zip(names, first, each.right, strict=True))
    ]
    alike = {"spearman": number(each.ranks), "iou": number(each.shared)}
    return {"image": first[0]["sample"], "same": each.same, **alike, "networks": answers}


# -------------------------------------------------------------------------------------------- the page


def _sections(
    lab: Lab, models: Models, dataset: Dataset, order: Sequence[Pair], rows: Sequence[Row], verdicts: Sequence[Verdict]
) -> list[Section]:
    columns = {"measure": "measured", "name": "of", "network": "network"}
    agree = where(rows, name="both")
    own = [each for each in rows if each["name"] != "both"]
    words = (
        "A map is that of the class which the network answers; ranks and overlap (IoU of what is above 15 % of the "
        "maximum) compare it with the other's, which may be of another class."
    )
    object_words = (
        "The maps here are those of the classes that are annotated, the same for both; what is on the object is so by "
        "its mask, else by its box. A map without evidence lies nowhere. On named regions lie the maps of the labels."
    )
    parts = [Section("Which looks at the object?", *verdicts, object_words, table(own, columns, "value", share=False))]
    shown = track(order[:SHOWN], len(order[:SHOWN]), "drawing pictures")
    cards = Cards([_card(models, dataset, each) for each in shown], 4)
    which = f"The {len(cards.cards)} of {len(order)}" if len(order) > SHOWN else "All of them, those"
    return [
        *(parts if own else []),
        Section("Do they agree?", words, table(agree, {"measure": "measured"}, "value", share=False)),
        Section("Pictures", f"{which} where they differ most first: two answers, then the least alike maps.", cards),
        *([Section("What does not go together", *refused(lab.refused))] if lab.refused else []),
    ]


def _card(models: Models, dataset: Dataset, each: Pair) -> Card:
    """A picture: the map of each network's answer, and of each what else was asked of it (see `_beside`)."""
    seen = [next(restored(dataset, rows, m, _settings())) for rows, m in zip(each.rows, models, strict=True)]
    figures = [_figure(model, one, 0) for model, one in zip(models, seen, strict=True)]
    beside = [_beside(one, other) for one, other in (seen, seen[::-1])]
    figures += [_figure(m, one, t) for m, one, t in zip(models, seen, beside, strict=True) if t is not None]
    said = [one.explanation.targets[0][0] for one in seen]
    facts: dict[str, str | float | None] = {
        "likeness of the maps": number(each.ranks),
        "overlap of the maps": number(each.shared),
        **(
            {f"more on the object, by {models[0].name}": number(each.energy(0) - each.energy(1))}
            if each.looked[0]
            else {}
        ),
        "answers": "not comparable" if each.same is None else "agree" if each.same else "differ",
        **{f"answer of {model.name}": answer for model, answer in zip(models, said, strict=True)},
    }
    title = said[0] if each.same else " or ".join(said)
    return Card(f"{title}?", figures, facts, _told(each, models))


def _told(each: Pair, models: Models) -> str:
    said = [each.rows[0][0]["sample"]]
    if each.ranks == each.ranks:
        said.append(f"the maps correlate by {each.ranks:.2f} and overlap by {each.shared:.2f}")
    if each.looked[0]:
        energies = " and ".join(f"{100 * each.energy(i):.0f} % ({models[i].name})" for i in (0, 1))
        said.append(f"on {', '.join(each.looked[0])} lie {energies}")
    return "; ".join(said) + "."


def _settings() -> dict[str, Any]:
    return {"method": METHOD, "layer": None, "fit": "squash", "options": {}}


def _beside(seen: Seen, other: Seen) -> int | None:
    """What is shown of a network beside its answer: its map of the other's, else of another annotated class."""
    answer, *more = seen.explanation.targets[0]
    wanted = other.explanation.targets[0][0]
    if not more:
        return None
    return 1 + more.index(wanted) if wanted in more else None if wanted != answer else 1


def _figure(model: Model, seen: Seen, target: int) -> Figure:
    name = seen.explanation.targets[0][target]
    true = seen.sample.boxes(name)
    found = drawn(seen, target, None, true, f"{model.name}, p {seen.rows[target]['probability']:.3f}", f"{name}?")
    found.picture.thumbnail((SIDE, SIDE))
    return found
