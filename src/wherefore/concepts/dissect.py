"""Network Dissection: what each unit of a layer looks for, named by the concept whose pixels it fires on.

Bau et al. (2017), as its code does it (protocols J). Three passes over the pictures, each kept as rows and resumed:
the maps of all units, their thresholds, and how the units' masks overlap with the labels.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wherefore.batch.rows import rows
from wherefore.batch.store import Row, Store
from wherefore.concepts.names import NAMED, TEXT, Named
from wherefore.concepts.recording import Recorded, masks, record
from wherefore.datasets import Concepts, Dataset, Sample, Unreadable
from wherefore.errors import Error
from wherefore.types import Model

Values = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Dissection:
    """The names of the units of a layer.

    ``units``: one `Named` for each unit, in their order. ``iou``: for each concept, by its kind and name, the IoU with
    each unit ``(K,)``; none where units were named by text. ``recorded``: their maps.
    """

    units: list[Named]
    iou: Mapping[tuple[str, str], Values]
    recorded: Recorded = field(repr=False)

    def named(self, least: float = NAMED) -> list[Named]:
        """The units whose overlap is at least so large, the largest first; of names by text all."""
        by_text = [each for each in self.units if each.category == TEXT and each.name]
        return by_text + sorted((each for each in self.units if each.iou >= least), key=lambda each: -each.iou)

    def report(self) -> dict[str, Any]:
        """What was found, as plain values."""
        named = self.named()
        about = {key: value for key, value in self.recorded.about.items() if key != "fingerprint"}
        said = [{**each._asdict(), "iou": None if each.category == TEXT else each.iou} for each in self.units]
        counts = {"pictures": len(self.recorded.places), "named": len(named), "concepts": self.concepts}
        return {**about, **counts, "by_text": TEXT in self.kinds, "units": said}

    @property
    def concepts(self) -> int:
        """How many names its units have."""
        return len({each.name for each in self.named()})

    @property
    def kinds(self) -> dict[str, list[Named]]:
        """The named units of each kind of concept, the largest overlap first."""
        found: dict[str, list[Named]] = defaultdict(list)
        for each in self.named():
            found[each.category].append(each)
        return dict(found)


def dissect(
    model: Model, dataset: Dataset, numbers: Sequence[int], folder: Path, layer: str | None = None
) -> Dissection:
    """The names of the units of a layer by the concepts that are labelled in pictures.

    T_k is the value that unit k exceeds at 0.5 % of all positions of all pictures, M_k(x) where its map, enlarged
    bilinearly to the size of the labels, does; IoU(k, c) = I / (sum_{x in X} |M_k(x)| + sum_x |L_c(x)| - I), with
    I = sum_x |M_k(x) and L_c(x)| and X the pictures with any label of the kind that c mostly is. The network sees the
    whole picture. Maps are kept in ``folder`` as float16; what is there is not done again. Raises `Error` for pictures
    without labelled concepts.
    """
    _check(dataset, numbers)
    return labelled(record(model, dataset, numbers, folder, layer), numbers)


def _check(dataset: Dataset, numbers: Sequence[int]) -> None:
    """Raises `Error` for data without concepts before all its maps are made, by the first sample that can be read."""
    for number in numbers:
        try:
            sample: Sample = dataset[number]
        except Error:
            continue
        if sample.labelled is None:
            raise Error(_unlabelled(dataset))
        return


def _unlabelled(dataset: Dataset) -> str:
    return f"{dataset.spec} has no labelled concepts: give scenes or broden:DIR, or name units by text (--prompts)."


def labelled(recorded: Recorded, numbers: Sequence[int], exchanged: bool = False) -> Dissection:
    """The names of units whose maps are recorded; with ``exchanged`` by the labels of other pictures: by chance."""
    dataset, about = recorded.dataset, {**recorded.about, "thresholds": recorded.thresholds.tolist()}
    store = Store(recorded.store.folder.parent, "overlaps", {**about, "exchanged": exchanged})
    iou = iou_of(rows(dataset, numbers, Counting(recorded, exchanged), store, "units' masks"))
    if not iou:
        raise Error(_unlabelled(dataset))
    return Dissection(named(iou, recorded.thresholds), iou, recorded)


class Counting:
    """What counts how units' masks overlap with what pixels of samples show, for `wherefore.batch.rows.rows`.

    ``exchanged``: with what those of the next sample show.
    """

    def __init__(self, recorded: Recorded, exchanged: bool = False) -> None:
        self.recorded, self.exchanged = recorded, exchanged

    def __call__(self, samples: Sequence[Sample]) -> list[list[Row]]:
        shown = [each.concepts for each in samples]
        if self.exchanged:
            shown = [*shown[1:], shown[0] if len(shown) > 1 else ()]
        return [[self._of(each.name, concepts)] for each, concepts in zip(samples, shown, strict=True)]

    def _of(self, name: str, concepts: Sequence[Concepts]) -> Row:
        if len({each.where.shape for each in concepts}) > 1:
            raise Unreadable(Path(name), "has labels of several sizes, where one is needed")
        if name not in self.recorded.places:  # the network could not be fed it
            return {"names": []}
        return overlaps(self.recorded.maps(name), self.recorded.thresholds, concepts)


def overlaps(maps: Tensor, thresholds: Tensor, concepts: Sequence[Concepts]) -> Row:
    """How many pixels of a picture each unit's mask shares with each label, and how many each of them has.

    ``names`` of labels, ``pixels`` of each, ``shared`` the bytes of (labels, units) of int32; ``areas`` those of the
    masks; ``kinds``, ``of`` and ``covered``: which share of the picture a label covers as which kind.
    """
    shown: dict[str, Values] = {}
    covered: dict[tuple[str, str], float] = {}
    for kind, name, here in labels(concepts):
        shown[name] = shown[name] | here if name in shown else here
        covered[kind, name] = covered.get((kind, name), 0.0) + float(here.mean())
    if not shown:
        return {"names": []}
    where = torch.from_numpy(np.stack([*shown.values()]))
    large = masks(maps, thresholds, (where.shape[1], where.shape[2])).flatten(1).float()
    where = where.flatten(1).float()
    return {
        "names": [*shown],
        "pixels": where.sum(1).int().tolist(),
        "shared": (where @ large.T).int().numpy().tobytes(),
        "areas": large.sum(1).int().numpy().tobytes(),
        "kinds": [kind for kind, _ in covered],
        "of": [name for _, name in covered],
        "covered": [*covered.values()],
    }


def labels(concepts: Sequence[Concepts]) -> Iterator[tuple[str, str, Values]]:
    """Kind and name of each label that a picture bears, and where, ``(h, w)`` of bool."""
    for each in concepts:
        for number in np.unique(each.where[each.where > 0]).tolist():
            yield each.kind, each.names[number - 1], each.where == number


def iou_of(counted: Iterable[Row]) -> dict[tuple[str, str], Values]:
    """The IoU ``(K,)`` of all units with each label, by the kind that it mostly is and its name.

    Of a unit's mask those pictures count that bear any label of that kind.
    """
    shared: dict[str, Any] = defaultdict(int)
    pixels: dict[str, int] = defaultdict(int)
    areas: dict[str, Any] = defaultdict(int)  # by kind
    covered: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))  # by label and kind
    for row in counted:
        if not row.get("names"):
            continue
        area = np.frombuffer(row["areas"], np.int32).astype(np.int64)
        both = np.frombuffer(row["shared"], np.int32).astype(np.int64).reshape(-1, len(area))
        for name, count, own in zip(row["names"], row["pixels"], both, strict=True):
            shared[name] += own
            pixels[name] += count
        for kind in set(row["kinds"]):
            areas[kind] += area
        for kind, name, share in zip(row["kinds"], row["of"], row["covered"], strict=True):
            covered[name][kind] += share
    mostly = {name: max(kinds, key=lambda kind: kinds[kind]) for name, kinds in covered.items()}
    return {
        (mostly[name], name): shared[name] / np.maximum(areas[mostly[name]] + pixels[name] - shared[name], 1)
        for name in sorted(shared)
    }


def named(iou: Mapping[tuple[str, str], Values], thresholds: Tensor) -> list[Named]:
    """Each unit with the label that its mask overlaps most with."""
    keys, values = [*iou], np.stack([*iou.values()])
    best = values.argmax(0)
    return [
        Named(unit, keys[b][1], keys[b][0], float(values[b, unit]), float(thresholds[unit]))
        for unit, b in enumerate(best.tolist())
    ]
