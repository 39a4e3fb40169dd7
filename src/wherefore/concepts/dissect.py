"""Network Dissection: what each unit of a layer looks for, named by the concept whose pixels it fires on.

Bau et al. (2017), as its code does it (protocols J). Three passes over the pictures, each kept as rows and resumed:
the maps of all units, their thresholds, and how the units' masks overlap with the labels.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from wherefore.batch.rows import SLICE, rows
from wherefore.batch.store import Row, Store
from wherefore.capture import Capture
from wherefore.concepts.quantiles import High
from wherefore.datasets import Concepts, Dataset, Sample
from wherefore.errors import Error
from wherefore.explainer import Explainer
from wherefore.saving import write_whole
from wherefore.subjects import Picture
from wherefore.types import Model

SHARE = 0.005  # of its positions a unit's mask holds
NAMED = 0.05  # the least IoU of a name in the paper; 0.04 in Network Dissection
Values = np.ndarray[Any, Any]
NOWHERE = (0.0, 0.0, 0.0, 0.0)
COLUMNS = ("unit", "name", "category", "iou", "threshold")


class Named(NamedTuple):
    """A unit and the concept that its mask overlaps most with: its name, its kind, the IoU, the unit's threshold."""

    unit: int
    name: str
    category: str
    iou: float
    threshold: float


@dataclass(frozen=True)
class Dissection:
    """The names of the units of a layer.

    ``units``: one `Named` for each unit, in their order. ``iou``: for each concept, by its kind and name, the IoU with
    each unit ``(K,)``. ``pictures``: how many were used. ``layer``: whose units they are.
    """

    units: list[Named]
    iou: Mapping[tuple[str, str], Values]
    pictures: int
    layer: str

    def named(self, least: float = NAMED) -> list[Named]:
        """The units whose overlap is at least so large."""
        return [each for each in self.units if each.iou >= least]

    def write(self, path: Path) -> None:
        """A CSV file: unit, name, category, iou, threshold."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([u.unit, u.name, u.category, f"{u.iou:.6g}", f"{u.threshold:.9g}"] for u in self.units)
        write_whole(path, text.getvalue().encode())


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
    recording = Recording(model, layer)
    about = {**recording.about, "data": dataset.spec, "split": dataset.split, "fingerprint": dataset.fingerprint}
    maps = Store(folder, "units", about)
    thresholds, slices = _thresholds(rows(dataset, numbers, recording, maps, "units' maps"), numbers, dataset)
    counted = Store(folder, "overlaps", {**about, "thresholds": thresholds.tolist()})
    iou = iou_of(rows(dataset, numbers, Counting(maps, slices, thresholds), counted, "units' masks"))
    if not iou:
        raise Error(f"{dataset.spec} has no labelled concepts: give scenes or broden:DIR.")
    return Dissection(named(iou, thresholds), iou, len(slices), recording.layer)


def _thresholds(
    recorded: Iterable[Row], numbers: Sequence[int], dataset: Dataset
) -> tuple[Tensor, dict[str, list[int]]]:
    """The threshold of each unit, and with which others the maps of each sample are kept, by its name."""
    high, shape = None, None
    slices: dict[str, list[int]] = {}
    of = {n: list(numbers[i // SLICE * SLICE : i // SLICE * SLICE + SLICE]) for i, n in enumerate(numbers)}
    for row in recorded:
        if row.get("error"):
            continue
        if high is None:
            shape, (units, height, width) = row["shape"], row["shape"]
            high = High(units, len(numbers) * height * width, SHARE)
        if row["shape"] != shape:
            raise Error("the maps of the layer differ in size from picture to picture: take pictures of one size.")
        high.add(unpacked(row).float().flatten(1))
        slices[row["sample"]] = of[row["number"]]
    if high is None:
        raise Error(f"no picture of {dataset.spec} can be read.")
    return high.value(), slices


# -------------------------------------------------------------------------------------------- the maps of all units


class Recording:
    """What turns samples into the maps of all units of a layer, for `wherefore.batch.rows.rows`."""

    def __init__(self, model: Model, layer: str | None) -> None:
        self.why = Explainer(model, "grad-cam", layer, fit="squash")
        self.layer = layer or ""

    @property
    def about(self) -> dict[str, Any]:
        """All that its rows depend on, but the data."""
        model = self.why.model
        return {"model": model.name, "weights_sha256": model.weights_sha256, "layer": self.layer}

    def __call__(self, samples: Sequence[Sample]) -> list[list[Row]]:
        batch = self.why.batch_of([self.why.prepare(Picture(each.name, each.image, NOWHERE)) for each in samples])
        layer = self.why.layer_of(batch)
        self.layer = layer.name
        net, images = self.why.fed(batch)
        with Capture(net, layer.name) as seen:
            seen(images)
            maps = layer.grid(seen.activations)
        if maps.ndim != 4:
            raise Error(f"the layer {layer.name} has no map of pictures: take another.")
        return [[{"shape": list(each.shape), "values": each.half().cpu().numpy().tobytes()}] for each in maps]


def unpacked(row: Row) -> Tensor:
    """The maps ``(K, h, w)`` of a picture, float16."""
    return torch.from_numpy(np.frombuffer(row["values"], np.float16).copy()).reshape(row["shape"])


def masks(maps: Tensor, thresholds: Tensor, size: tuple[int, int]) -> Tensor:
    """Where each unit's map ``(K, h, w)``, enlarged bilinearly, exceeds its threshold: ``(K, *size)`` of bool."""
    large = F.interpolate(maps[None].float(), size, mode="bilinear", align_corners=False)[0]
    found: Tensor = large > thresholds.float()[:, None, None]
    return found


# -------------------------------------------------------------------------------------------- overlaps


class Counting:
    """What counts how the units' masks overlap with what the pixels of samples show, for `wherefore.batch.rows.rows`.

    The maps are those that were kept: ``slices`` says by the name of a sample with which others.
    """

    def __init__(self, maps: Store, slices: Mapping[str, list[int]], thresholds: Tensor) -> None:
        self.maps, self.slices, self.thresholds = maps, slices, thresholds
        self.read: tuple[list[int], dict[str, Row]] = [], {}

    def __call__(self, samples: Sequence[Sample]) -> list[list[Row]]:
        return [[overlaps(unpacked(self._of(each)), self.thresholds, each.concepts)] for each in samples]

    def _of(self, sample: Sample) -> Row:
        numbers = self.slices[sample.name]
        if self.read[0] != numbers:
            self.read = numbers, {row["sample"]: row for row in self.maps.read(numbers) or ()}
        return self.read[1][sample.name]


def overlaps(maps: Tensor, thresholds: Tensor, concepts: Sequence[Concepts]) -> Row:
    """How many pixels of a picture each unit's mask shares with each label, and how many each of them has.

    ``names`` of labels, ``pixels`` of each, ``shared`` the bytes of (labels, units) of int32; ``areas`` those of the
    masks; ``kinds``, ``of`` and ``covered``: which share of the picture a label covers as which kind.
    """
    if not concepts:
        return {"names": []}
    size = concepts[0].where.shape
    if any(each.where.shape != size for each in concepts):
        raise Error("the labels of a picture come in several sizes: one is needed.")
    large = masks(maps, thresholds, (size[0], size[1])).flatten(1).float()
    shown: dict[str, Values] = {}
    covered: dict[tuple[str, str], float] = {}
    for kind, name, here in labels(concepts):
        shown[name] = shown[name] | here if name in shown else here
        covered[kind, name] = covered.get((kind, name), 0.0) + float(here.mean())
    where = torch.from_numpy(np.stack([*shown.values()])).flatten(1).float()
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
