"""Explanations as rows and back: the maps of a data set are computed once, kept small, and measured as often as wanted.

A row is one map: which sample, which class, its score and place in the network's order, and the map itself at the
layer's resolution in float16, in shares of its largest absolute value (protocols: section 0).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wherefore.batch.crops import CROPS, canvas, crops, merged
from wherefore.batch.store import Row
from wherefore.classes import class_scores
from wherefore.datasets import Dataset, Sample
from wherefore.errors import Error
from wherefore.explainer import Explainer
from wherefore.explanation import Explanation
from wherefore.guard import prepared
from wherefore.imaging import Preprocess
from wherefore.inputs import Input
from wherefore.outputs import select
from wherefore.subjects import Picture
from wherefore.types import Model, Patches

NOWHERE = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Asked:
    """Which classes are explained of each sample: those in it (``labels``), the ``first`` or ``top5``, or more.

    The first are those that the network predicts; ``both`` are the top 5 and the labels, ``answer`` the first and the
    labels.
    ``outputs`` are the network's classes that stand for each category (`datasets.matching`); of several it is the one
    with the highest score.
    """

    what: str
    outputs: Mapping[str, Sequence[int]]

    @property
    def about(self) -> dict[str, Any]:
        """All that it depends on."""
        return {"asked": self.what, "outputs": {category: list(classes) for category, classes in self.outputs.items()}}

    def of(self, sample: Sample, scores: Tensor) -> list[tuple[str, int]]:
        """Categories and class indices, for scores ``(C,)``; predicted classes that are no category are called ''."""
        wanted = [
            (category, max(self.outputs[category], key=lambda c: float(scores[c])))
            for category in sample.labels
            if category in self.outputs
        ]
        if self.what == "labels":
            return wanted
        names = {c: category for category, classes in self.outputs.items() for c in classes}
        most = 1 if self.what in ("first", "answer") else min(5, len(scores))
        first = [(names.get(c, ""), c) for c in scores.topk(most).indices.tolist()]
        return first + [each for each in wanted if self.what in ("both", "answer") and each not in first]


class Explaining:
    """What turns samples into rows of maps, for `wherefore.batch.rows.rows`.

    ``known``: the scores of samples by name, from another method on the same network; what is found is added.
    """

    def __init__(self, why: Explainer, asked: Asked, known: dict[str, Tensor] | None = None) -> None:
        self.why, self.asked, self.known = why, asked, {} if known is None else known

    def __call__(self, samples: Sequence[Sample]) -> list[list[Row]]:
        inputs = [self.why.prepare(Picture(each.name, each.image, NOWHERE)) for each in samples]
        if any(each.name not in self.known for each in samples):
            self.known |= zip([each.name for each in samples], scored(self.why, inputs), strict=True)
        scores = [self.known[each.name] for each in samples]
        wanted = [self.asked.of(sample, s) for sample, s in zip(samples, scores, strict=True)]
        most = max(len(each) for each in wanted)
        if not most:
            return [[] for _ in samples]
        # A batch has as many targets for each picture: those with fewer repeat one, which is left out again.
        padded = [[c for _, c in (each or [("", 0)])] for each in wanted]
        e = self.why.on(inputs, [each + each[-1:] * (most - len(each)) for each in padded])
        return [[_row(e, b, t, wanted[b][t][0], scores[b]) for t in range(len(wanted[b]))] for b in range(len(samples))]


def scored(why: Explainer, inputs: Sequence[Input]) -> list[Tensor]:
    """The scores ``(C,)`` of all classes for each input; of one output for two named classes both."""
    found: list[Tensor] = []
    with prepared(why.net), torch.no_grad():
        for batch in why.reader.together(inputs, 8):
            net, images = why.fed(batch)
            found += class_scores(select(net(images), why.output), why.model.classes).float().cpu()
    return found


def _row(e: Explanation, b: int, t: int, category: str, scores: Tensor) -> Row:
    """What is kept of the map of a class."""
    return {**of_map(e, b, t, category), "place": _place(scores, int(e.classes[b, t]))}


def of_map(e: Explanation, b: int, t: int, category: str) -> Row:
    """What is kept of one map."""
    picture = e.pictures[b]
    assert isinstance(picture, Picture)
    return {
        **_about(picture, category, e.targets[b][t], int(e.classes[b, t])),
        "score": float(e.scores[b, t]),
        "probability": float(e.probabilities[b, t]),
        "input": list(e.input_sizes[b]),
        "filled": list(e.filled[b] if e.filled else (1.0, 1.0)),
        "patches": [e.patches.size, e.patches.stride] if e.patches else None,
        **packed(e.maps[b][t]),
    }


def _about(picture: Picture, category: str, name: str, target: int) -> Row:
    """Which picture and which target a row is of."""
    return {
        "width": picture.size[0],
        "height": picture.size[1],
        "region": [float(v) for v in picture.region],
        "category": category,
        "target": target,
        "name": name,
    }


def _place(order: Tensor, target: int) -> int:
    """The place of a class among all, 0 the first."""
    return int((order > order[target]).sum())


class TenCrop(Explaining):
    """What turns samples into rows of maps as `Explaining` does, each of them those of its ten crops (`batch.crops`).

    Probabilities, and the order of the classes, are those of the mean over crops; so is the score.
    """

    def __init__(self, why: Explainer, asked: Asked, known: dict[str, Tensor] | None = None) -> None:
        super().__init__(why, asked, known)
        own = why.model.preprocess
        if not isinstance(own, Preprocess) or not isinstance(own.crop, int):
            raise Error(f"ten crops are squares, and {why.model.name} is not known to look at these.")
        self.side = own.crop
        self.squashed = replace(own, squash=True, crop=canvas(own.crop))

    def __call__(self, samples: Sequence[Sample]) -> list[list[Row]]:
        return [self._rows(each) for each in samples]

    def _rows(self, sample: Sample) -> list[Row]:
        picture = Picture(sample.name, sample.image, (0.0, 0.0, float(sample.size[0]), float(sample.size[1])))
        inputs = [Input(crop, picture) for crop in crops(self.squashed(sample.image), self.side)]
        if sample.name not in self.known:
            self.known[sample.name] = torch.stack(scored(self.why, inputs))
        scores = self.known[sample.name]
        likely = (scores.sigmoid() if self.why.model.multilabel else scores.softmax(1)).mean(0)
        wanted = self.asked.of(sample, likely)
        if not wanted:
            return []
        e, side = self.why.on(inputs, [[c for _, c in wanted]] * CROPS), canvas(self.side)
        return [
            {
                **_about(picture, category, e.targets[0][t], c),
                "place": _place(likely, c),
                "score": float(scores[:, c].mean()),
                "probability": float(likely[c]),
                "input": [side, side],
                "filled": [1.0, 1.0],
                "crop": self.side,
                **packed(torch.stack([maps[t] for maps in e.maps])),
            }
            for t, (category, c) in enumerate(wanted)
        ]


def packed(heat: Tensor) -> Row:
    """A map as columns: its grid, its largest absolute value, and float16 shares of that."""
    values = heat.detach().float().cpu().numpy()
    top = float(np.abs(values).max(initial=0.0))
    shares = (values / top if top > 0 else values).astype(np.float16)
    return {"grid": list(values.shape), "scale": top, "map": shares.tobytes()}


def unpacked(row: Row) -> Tensor:
    """The map ``(*grid)`` that columns hold; of ten crops the merged one."""
    shares = np.frombuffer(row["map"], np.float16).astype(np.float32).reshape(row["grid"])
    maps = torch.from_numpy(shares * np.float32(row["scale"]))
    return merged(maps, row["crop"]) if row.get("crop") else maps


@dataclass(frozen=True)
class Seen:
    """What was kept of one sample: the sample, the rows of its maps, and the explanation that they make.

    In the explanation, targets have the names of the data set's categories where they stand for one. Of a network that
    answers questions it is what was kept of one question.
    """

    sample: Sample
    rows: list[Row]
    explanation: Explanation


def seen(dataset: Dataset, kept: Sequence[Row], model: Model, settings: dict[str, Any]) -> Iterator[Seen]:
    """The explanations that rows make, sample by sample, and question by question; without a map there is none."""
    for (number, _), group in groupby(kept, key=lambda row: (row["number"], row.get("question") and row["about"])):
        found = [row for row in group if row.get("map") is not None]
        if found:
            sample = dataset[number]
            yield Seen(sample, found, restored(sample, found, model, settings))


def restored(sample: Sample, rows: Sequence[Row], model: Model, settings: dict[str, Any]) -> Explanation:
    """The explanation of one picture that its rows make; pixel methods without their signed pixels."""
    first = rows[0]
    if first.get("question") is not None:
        settings = {**settings, "question": first["question"]}
    picture = Picture(sample.name, lambda: sample.image, tuple(first["region"]))
    return Explanation(
        maps=torch.stack([unpacked(row) for row in rows])[None],
        scores=torch.tensor([[row["score"] for row in rows]]),
        targets=[[row["category"] or row["name"] for row in rows]],
        classes=torch.tensor([[row["target"] for row in rows]]),
        probabilities=torch.tensor([[row["probability"] for row in rows]]),
        pictures=[picture],
        input_sizes=[tuple(first["input"])],
        model=model,
        settings=settings,
        patches=Patches(*first["patches"]) if first.get("patches") else None,
        filled=[(first["filled"][0], first["filled"][1])],
    )


def about(why: Explainer, asked: Mapping[str, Any], dataset: Dataset) -> dict[str, Any]:
    """All that the rows of maps depend on; ``asked`` says what is explained of a sample."""
    return {
        **of_network(why.model),
        "method": why.method,
        "layer": why.layer,
        "fit": why.fit,
        "options": why.options,
        **of_data(dataset),
        **asked,
    }


def of_network(model: Model) -> dict[str, Any]:
    """What the answers and the activations of a network depend on, but the pictures."""
    from wherefore import __version__

    own = {"model": model.name, "weights_sha256": model.weights_sha256, "preprocess": repr(model.preprocess)}
    return {"version": __version__, **own}


def of_data(dataset: Dataset) -> dict[str, Any]:
    """What rows depend on of a data set: which it is, and whether its files are still the same."""
    about = {"data": dataset.spec, "split": dataset.split}
    return about if dataset.drawn else {**about, "files": dataset.fingerprint}
