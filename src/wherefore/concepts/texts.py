"""Naming units by text, where no concepts are labelled: another method than Network Dissection.

A network of pictures and texts, such as CLIP, scores prompts on what each unit fires on in its top pictures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from wherefore.batch.maps import NOWHERE, of_network
from wherefore.batch.rows import rows
from wherefore.batch.store import Row, Store
from wherefore.concepts.dissect import Dissection
from wherefore.concepts.names import TEXT, Named
from wherefore.concepts.recording import Recorded
from wherefore.datasets import Sample
from wherefore.errors import Error
from wherefore.explainer import Explainer
from wherefore.guard import prepared
from wherefore.imaging import box
from wherefore.subjects import Picture
from wherefore.types import Model

MARGIN = 0.5  # of a crop's longer side, around it: such networks know things by what is around them


def by_text(recorded: Recorded, namer: Model) -> Dissection:
    """The names of units by the prompts that are the classes of ``namer``.

    A crop is a square around the largest part of a unit's mask in one of its five top pictures, half as large again on
    each side. The name is the prompt whose mean score over the unit's crops exceeds that over the crops of all units
    most; a unit that fires nowhere has none. Scores are kept beside the maps. Raises `Error` for a network without
    names of classes.
    """
    if not namer.classes:
        raise Error(f"{namer.name} compares nothing with words: give a CLIP-like network and prompts.")
    prompts = [str(each) for each in namer.classes]
    about = {**recorded.about, "pictures": [*recorded.places], "namer": of_network(namer), "prompts": prompts}
    store = Store(recorded.store.folder.parent, "texts", about)
    numbers = [recorded.places[name].number for name in recorded.shown]
    found = rows(recorded.dataset, numbers, Naming(recorded, namer), store, "units' crops")
    scored = [(row["unit"], row["scores"]) for row in found if not row.get("error")]
    thresholds = recorded.thresholds.tolist()
    names = best(scored, prompts, len(thresholds))
    units = [Named(i, each, TEXT, math.nan, thresholds[i]) for i, each in enumerate(names)]
    return Dissection(units, {}, recorded)


def best(scored: Sequence[tuple[int, Sequence[float]]], prompts: Sequence[str], units: int) -> list[str]:
    """The name of each unit, from the scores of prompts on crops; '' for a unit without crops."""
    if not scored:
        return [""] * units
    scores = torch.tensor([each for _, each in scored], dtype=torch.float64)
    above, of = scores - scores.mean(0), torch.tensor([unit for unit, _ in scored])
    return [
        prompts[int(above[of == unit].mean(0).argmax())] if bool((of == unit).any()) else "" for unit in range(units)
    ]


class Naming:
    """What scores prompts on the crops of samples, for `wherefore.batch.rows.rows`: a row for each unit's crop."""

    def __init__(self, recorded: Recorded, namer: Model) -> None:
        self.recorded, self.units, self.why = recorded, recorded.shown, Explainer(namer, fit="squash")

    def __call__(self, samples: Sequence[Sample]) -> list[list[Row]]:
        return [self._of(each) for each in samples]

    def _of(self, sample: Sample) -> list[Row]:
        units, picture = self.units[sample.name], sample.image
        crops = [crop(picture, self.recorded.mask(sample.name, unit, picture.size[::-1])) for unit in units]
        batch = self.why.batch_of([self.why.prepare(Picture(sample.name, each, NOWHERE)) for each in crops])
        net, images = self.why.fed(batch)
        with prepared(self.why.net), torch.no_grad():
            scores = self.why.choose("all", net(images)).scores.float()
        return [{"unit": unit, "scores": row} for unit, row in zip(units, scores.tolist(), strict=True)]


def crop(picture: Image.Image, mask: Tensor) -> Image.Image:
    """The square around the largest part of a mask ``(H, W)``, with its margin, as far as the picture reaches."""
    x0, y0, x1, y1 = box(mask.float(), 0.5)
    half = (0.5 + MARGIN) * max(x1 + 1 - x0, y1 + 1 - y0)
    x, y, (width, height) = (x0 + x1 + 1) / 2, (y0 + y1 + 1) / 2, picture.size
    left, top, right, bottom = max(0.0, x - half), max(0.0, y - half), min(width, x + half), min(height, y + half)
    return picture.crop((math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom)))
