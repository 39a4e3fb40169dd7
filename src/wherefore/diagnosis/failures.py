"""Failures: where a network's first answer is wrong, what it looked at then, and whether it saw the right thing too.

Section 6.1 of Selvaraju et al. (2020; protocols: section I). A picture is a failure where the class with the highest
score is none of those that are in it; its true class is that one of them with the highest score.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from torch import Tensor

from wherefore.batch.asking import Ask, Asks
from wherefore.batch.maps import NOWHERE, Seen, scored
from wherefore.batch.store import Row
from wherefore.concepts.names import Named
from wherefore.concepts.units import weigh
from wherefore.datasets import Sample
from wherefore.diagnosis.stories import Array, unit
from wherefore.explainer import Explainer
from wherefore.metrics.localization import best_iou, true_boxes
from wherefore.metrics.measuring import NAN
from wherefore.subjects import Picture

TOP = 5
THRESHOLD = 0.15  # of a map's maximum: what it marks
TOLD = 3  # units of a story


@dataclass(frozen=True)
class Failure:
    """A picture whose first answer is wrong: what was ``said`` of it, and its true ``label``, with their probabilities.

    ``place`` is that of the label in the network's order, 0 the first. ``overlap`` is the IoU of what the maps of both
    mark; ``found`` and ``misled`` are the IoUs of the boxes of the label's map and of the answer's with the label's
    true box. NaN where a map is empty, and where there is no true box.
    """

    number: int
    sample: str
    label: str
    said: str
    probability: float
    true_probability: float
    place: int
    overlap: float
    found: float
    misled: float

    @property
    def close(self) -> bool:
        """Whether the true class is among the first five."""
        return self.place < TOP


# -------------------------------------------------------------------------------------------- what is worked out


class Answering:
    """What says of samples how a network answers, for `wherefore.batch.rows.rows`; a sample without a class has no row.

    ``outputs`` are the network's classes that stand for each category (`datasets.matching`).
    """

    def __init__(self, why: Explainer, outputs: Mapping[str, Sequence[int]]) -> None:
        self.why, self.outputs = why, outputs
        self.categories = {c: category for category, classes in outputs.items() for c in classes}

    def __call__(self, samples: Sequence[Sample]) -> list[list[Row]]:
        inputs = [self.why.prepare(Picture(each.name, each.image, NOWHERE)) for each in samples]
        return [self._rows(each, scores) for each, scores in zip(samples, scored(self.why, inputs), strict=True)]

    def _rows(self, sample: Sample, scores: Tensor) -> list[Row]:
        model, there = self.why.model, [(c, name) for name in sample.labels for c in self.outputs.get(name, ())]
        if not there:
            return []
        true, label = max(there, key=lambda each: float(scores[each[0]]))
        said = int(scores.argmax())
        likely = scores.sigmoid() if model.multilabel else scores.softmax(0)
        known = model.classes[said] if model.classes else str(said)
        return [
            {
                "output": said,
                "category": self.categories.get(said, ""),
                "said": self.categories.get(said, known),
                "probability": float(likely[said]),
                "true": true,
                "label": label,
                "true_probability": float(likely[true]),
                "place": int((scores > scores[true]).sum()),
                "wrong": said not in {c for c, _ in there},
            }
        ]


def both_classes(wrong: Mapping[str, Row]) -> Asks:
    """The class that a network takes each failure for, and the true one; ``wrong`` by the names of the samples."""

    def of(sample: Sample) -> list[Ask]:
        row = wrong[sample.name]
        return [Ask(row["output"], 0, row["category"]), Ask(row["true"], 1, row["label"])]

    return Asks("the first answer, and the class that is there", of)


class Contributing:
    """What says of failures how much each unit adds to the map of the wrong answer, for `wherefore.batch.rows.rows`."""

    def __init__(self, why: Explainer, wrong: Mapping[str, Row]) -> None:
        self.why, self.wrong = why, wrong

    def __call__(self, samples: Sequence[Sample]) -> list[list[Row]]:
        return [[{"units": self._units(each).tobytes()}] for each in samples]

    def _units(self, sample: Sample) -> Array:
        fed = self.why.prepare(Picture(sample.name, sample.image, NOWHERE))
        found = weigh(self.why, self.why.batch_of([fed]), [[self.wrong[sample.name]["output"]]])
        return found.contributions[0].float().numpy()


def measured(seen: Seen, row: Row) -> Failure:
    """What the maps of a failure say: that of the wrong answer and that of the true class, in this order."""
    e, truths = seen.explanation, true_boxes(seen.sample, row["label"]) if seen.sample.boxed else []
    said, true = e.heats(0)
    other, own = e.boxes(THRESHOLD)[0].tolist()
    lit = [bool(heat.max() > 0) for heat in (said, true)]
    return Failure(
        row["number"],
        row["sample"],
        row["label"],
        row["said"],
        row["probability"],
        row["true_probability"],
        row["place"],
        overlap(said, true),
        best_iou(own, truths) if lit[1] else 0.0 if truths else NAN,
        best_iou(other, truths) if lit[0] else 0.0 if truths else NAN,
    )


def overlap(one: Tensor, other: Tensor, threshold: float = THRESHOLD) -> float:
    """The IoU of what two maps ``(H, W)`` mark, each above a share of its own maximum; NaN where one is empty."""
    tops = [float(heat.max()) for heat in (one, other)]
    if min(tops) <= 0:
        return NAN
    a, b = (heat >= threshold * top for heat, top in zip((one, other), tops, strict=True))
    return float((a & b).sum() / (a | b).sum())


# -------------------------------------------------------------------------------------------- what is told


class Story(NamedTuple):
    """Failures that have one cause in common: which, of how many, what is most often taken for what, which units spoke.

    ``units`` are those that add most to the maps of the wrong answers, and add anything, the most first.
    """

    failures: tuple[Failure, ...]
    total: int
    confusion: tuple[str, str, int]
    units: tuple[int, ...]

    def told(self, names: Sequence[Named] = ()) -> str:
        """The story as one sentence, with the names of its units where they have any."""
        count = len(self.failures)
        share = f"{count} of {self.total} failures ({100 * count / self.total:.0f} %)"
        return f"{share}: {self._taken()}{self._looked(names)}."

    def _taken(self) -> str:
        """What is taken for what, and how often."""
        (label, said, often), count = self.confusion, len(self.failures)
        alike = sum(failure.said == said for failure in self.failures)
        if often == 1:
            many = alike > max(1, count / 10)  # of fewer it would be said as if they were what the group is about
            more = f"{alike} are taken for {said}, such as {label}" if many else f"{label} taken for {said}"
            return more if many or count == 1 else f"{more}, and others"
        more = f", and {said} is the answer to {alike}" if alike > often else ""
        return f"most often {label} is taken for {said} ({often} times{more})"

    def _looked(self, names: Sequence[Named]) -> str:
        if not self.units:
            return ""
        numbers = f"unit{'s' * (len(self.units) > 1)} {', '.join(map(str, self.units))}"
        known = dict.fromkeys(names[unit].plain for unit in self.units if names and names[unit].has_name)
        return f"; it looked at {', '.join(known)} ({numbers})" if known else f"; what spoke for it was {numbers}"


def stories(failures: Sequence[Failure], contributions: Array, of: Array) -> list[Story]:
    """The failures of each group, the largest first; ``contributions`` ``(N, K)`` and ``of`` ``(N,)`` are theirs."""
    points = unit(contributions)
    found = []
    for group in range(int(of.max()) + 1 if len(of) else 0):
        own = [failure for failure, its in zip(failures, of, strict=True) if its == group]
        answers, confused = Counter(each.said for each in own), Counter((each.label, each.said) for each in own)
        label, said = max(confused, key=lambda two: (confused[two], answers[two[1]]))
        means = points[of == group].mean(0)
        units = [int(k) for k in np.argsort(-means, kind="stable")[:TOLD] if means[k] > 0]
        found.append(Story(tuple(own), len(failures), (label, said, confused[label, said]), tuple(units)))
    return found
