"""The maps of all units of a layer in the pictures of a data set: kept on disk, with what follows from them alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from wherefore.batch.maps import NOWHERE, of_network
from wherefore.batch.rows import SLICE, rows
from wherefore.batch.store import Row, Store
from wherefore.capture import Capture
from wherefore.concepts.quantiles import High
from wherefore.datasets import Dataset, Sample
from wherefore.errors import Error
from wherefore.explainer import Explainer
from wherefore.subjects import Picture
from wherefore.types import Model

SHARE = 0.005  # of its positions a unit's mask holds
TOP = 5  # pictures that are remembered of each unit
LARGEST = torch.finfo(torch.float16).max


class Place(NamedTuple):
    """The number of a sample, and with which others its maps are kept."""

    number: int
    beside: list[int]


@dataclass(frozen=True)
class Recorded:
    """The maps of K units in pictures, on disk, and what was found in them.

    ``thresholds`` ``(K,)``: the value that each unit exceeds at 0.5 % of all positions of all pictures. ``tops``: for
    each unit the names of the five pictures with its highest activations, as far as it fires there. ``about``: all
    that the maps depend on. ``places``: where each sample is, by its name.
    """

    dataset: Dataset
    layer: str
    about: dict[str, Any]
    thresholds: Tensor
    tops: list[list[str]]
    places: Mapping[str, Place] = field(repr=False)
    store: Store = field(repr=False)
    _read: dict[str, Row] = field(default_factory=dict, repr=False)  # the rows that were read last

    def maps(self, name: str) -> Tensor:
        """The maps ``(K, h, w)`` of a sample, of float16."""
        if name not in self._read:
            self._read.clear()
            self._read.update({row["sample"]: row for row in self.store.read(self.places[name].beside) or ()})
        return _unpacked(self._read[name])

    def sample(self, name: str) -> Sample:
        """The sample of that name."""
        found: Sample = self.dataset[self.places[name].number]
        return found

    def mask(self, name: str, unit: int, size: tuple[int, int]) -> Tensor:
        """Where one unit's map of a sample, enlarged to ``size``, exceeds its threshold: ``(*size)`` of bool.

        A single place may be above it and nothing of the enlarged map be: then it is that place, its share of ``size``.
        """
        own = self.maps(name)[unit]
        [found] = masks(own[None], self.thresholds[unit : unit + 1], size)
        return found if bool(found.any()) else _highest(own, size)

    @property
    def shown(self) -> dict[str, list[int]]:
        """By the names of the samples in which any unit fires most, the numbers of those units; in their order."""
        found: dict[str, list[int]] = {name: [] for name in self.places}
        for unit, names in enumerate(self.tops):
            for name in names:
                found[name].append(unit)
        return {name: units for name, units in found.items() if units}


def masks(maps: Tensor, thresholds: Tensor, size: tuple[int, int]) -> Tensor:
    """Where each unit's map ``(K, h, w)``, enlarged bilinearly, exceeds its threshold: ``(K, *size)`` of bool."""
    large = F.interpolate(maps[None].float(), size, mode="bilinear", align_corners=False)[0]
    found: Tensor = large > thresholds.float()[:, None, None]
    return found


def _highest(heat: Tensor, size: tuple[int, int]) -> Tensor:
    """The pixels ``(*size)`` that the highest place of a map ``(h, w)`` takes."""
    (height, width), (rows, columns) = heat.shape, size
    y, x = divmod(int(heat.argmax()), width)
    found = torch.zeros(size, dtype=torch.bool)
    found[y * rows // height : -(-(y + 1) * rows // height), x * columns // width : -(-(x + 1) * columns // width)] = 1
    return found


def record(model: Model, dataset: Dataset, numbers: Sequence[int], folder: Path, layer: str | None = None) -> Recorded:
    """The maps of all units of a layer, by default that which is explained, kept in ``folder`` as float16.

    The network sees each picture whole, squashed. What is there is not done again. Raises `Error` where no picture
    can be read, or the layer has no map of pictures.
    """
    recording = Recording(model, layer)
    data = {"data": dataset.spec, "split": dataset.split, "fingerprint": dataset.fingerprint}
    about = {**of_network(model), "layer": recording.layer, **data}
    store, found, places = Store(folder, "units", about), None, {}
    beside = {n: list(numbers[i // SLICE * SLICE : i // SLICE * SLICE + SLICE]) for i, n in enumerate(numbers)}
    for row in rows(dataset, numbers, recording, store, "units' maps"):
        if not row.get("error"):
            found = found or _Found(row["shape"], len(numbers))
            found.add(row["sample"], _unpacked(row))
            places[row["sample"]] = Place(row["number"], beside[row["number"]])
    if found is None:
        raise Error(f"no picture of {dataset.spec} can be read: `wherefore datasets {dataset.spec}` says why.")
    thresholds = found.high.value()
    return Recorded(dataset, recording.layer, about, thresholds, found.tops(thresholds), places, store)


class Recording:
    """What turns samples into the maps of all units of a layer, for `wherefore.batch.rows.rows`."""

    def __init__(self, model: Model, layer: str | None) -> None:
        self.why = Explainer(model, "grad-cam", layer, fit="squash")
        self.layer = self.why.layer_of(self.why.reader.example()).name

    def __call__(self, samples: Sequence[Sample]) -> list[list[Row]]:
        maps = self.maps(samples)
        kept = maps.clamp(-LARGEST, LARGEST).half().cpu()  # else infinite, and thresholds between two of them NaN
        return [[{"shape": list(each.shape), "values": each.numpy().tobytes()}] for each in kept]

    def maps(self, samples: Sequence[Sample]) -> Tensor:
        """The maps ``(B, K, h, w)`` of samples. Raises `Error` for a layer that has no map of pictures."""
        batch = self.why.batch_of([self.why.prepare(Picture(each.name, each.image, NOWHERE)) for each in samples])
        layer = self.why.layer_of(batch)
        net, images = self.why.fed(batch)
        with Capture(net, layer.name) as seen:
            seen(images)
            maps: Tensor = layer.grid(seen.activations)
        if maps.ndim != 4:
            raise Error(f"the layer {layer.name} has no map of pictures: take another.")
        return maps


class _Found:
    """What is gathered from the maps as they pass: the high values of each unit, and where it fires most."""

    def __init__(self, shape: list[int], count: int) -> None:
        self.shape, (units, height, width) = shape, shape
        self.high = High(units, count * height * width, SHARE)
        self.names: list[str] = []
        self.most, self.which = torch.empty(units, 0), torch.empty(units, 0, dtype=torch.long)

    def add(self, name: str, maps: Tensor) -> None:
        if list(maps.shape) != self.shape:
            raise Error("the maps of the layer differ in size from picture to picture: take pictures of one size.")
        values = maps.float().flatten(1)
        self.high.add(values)
        self.names.append(name)
        most = torch.cat([self.most, values.amax(1, keepdim=True)], 1)
        which = torch.cat([self.which, torch.full((len(most), 1), len(self.names) - 1)], 1)
        order = most.sort(dim=1, descending=True, stable=True).indices[:, :TOP]
        self.most, self.which = most.gather(1, order), which.gather(1, order)

    def tops(self, thresholds: Tensor) -> list[list[str]]:
        """The names of the pictures in which each unit fires most."""
        fires = self.most > thresholds[:, None]
        return [
            [self.names[i] for i, there in zip(some, fire, strict=True) if there]
            for some, fire in zip(self.which.tolist(), fires.tolist(), strict=True)
        ]


def _unpacked(row: Row) -> Tensor:
    """The maps ``(K, h, w)`` of a picture, float16."""
    return torch.from_numpy(np.frombuffer(row["values"], np.float16).copy()).reshape(row["shape"])
