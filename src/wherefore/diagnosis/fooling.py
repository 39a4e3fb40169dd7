"""Pictures with labels, attacked: which class a network is made to see there, and what its maps do before and after.

Section 6.2 of Selvaraju et al. (2020; protocols: section I). Every attacked picture is written as a file of 8 bits, and
what is said of it is said of what is read from there again.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Collection, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from wherefore.batch.maps import of_data, of_network
from wherefore.batch.store import Row
from wherefore.datasets import Array, Dataset, Sample
from wherefore.datasets.matching import kin
from wherefore.diagnosis.attacks import BOUNDS, STEPS, SURE, Attacked, attack, fed, probabilities, scores
from wherefore.errors import Error
from wherefore.explainer import Explainer
from wherefore.imaging import peak
from wherefore.metrics.agreement import spearman
from wherefore.metrics.energy import shares
from wherefore.metrics.measuring import NAN
from wherefore.metrics.pointing import hits
from wherefore.saving import file_name, made, write_whole
from wherefore.types import Model

METHOD = "grad-cam"
UNLIKELY = 1e-3  # below it a class without a label is taken to be not in the picture
LOOKED = ("hit clean", "hit fooled", "energy clean", "energy fooled", "absent", "areas")
Outputs = Mapping[str, Sequence[int]]


class Attacking:
    """What attacks samples and measures the maps before and after, for `wherefore.batch.rows.rows`.

    ``outputs`` are the network's classes that stand for each category (`datasets.matching`). Where a picture has boxes,
    what is there is what they are of; else its labels, and nothing is said of where the maps lie. Attacked pictures lie
    in ``folder``, one of its own below ``root`` for all that they depend on.
    """

    def __init__(self, model: Model, outputs: Outputs, dataset: Dataset, root: Path, seed: int) -> None:
        self.model, self.outputs, self.dataset, self.seed = model, outputs, dataset, seed
        self.why = Explainer(model, METHOD, fit="squash")
        digest = hashlib.sha256(repr(self.about).encode()).hexdigest()[:12]
        self.folder = root / f"{file_name(model.name)}-{digest}"

    @property
    def about(self) -> dict[str, Any]:
        """All that its rows and its files depend on."""
        attacks = {"sure": SURE, "unlikely": UNLIKELY, "bounds": BOUNDS, "steps": STEPS, "seed": self.seed}
        return {**of_network(self.model), **of_data(self.dataset), "method": METHOD, **attacks}

    def whole(self, row: Row) -> bool:
        """Whether a row that was kept still has its file; else the picture is attacked again."""
        return not row.get("file") or (self.folder / row["file"]).is_file()

    def __call__(self, samples: Sequence[Sample]) -> list[list[Row]]:
        pictures = [fed(self.model, each.image) for each in samples]
        likely = probabilities(self.model, scores(self.model, pictures))
        targets = [self._absent(*each) for each in zip(samples, likely, strict=True)]
        attacks = attack(self.model, pictures, targets)
        return [[self._row(*each)] for each in zip(samples, pictures, targets, attacks, strict=True)]

    def _absent(self, sample: Sample, likely: Tensor) -> int:
        found = absent(likely, self._kin(sample), random.Random(f"{self.seed} {sample.name}"))
        if found is None:
            raise Error(f"{self.model.name} has no class that is not in the picture: take a network of more classes.")
        return found

    def _row(self, sample: Sample, clean: Image.Image, target: int, found: Attacked) -> Row:
        path = self._file(sample, found)
        fooled = read(path)
        values = scores(self.model, [clean, fooled])
        likely = probabilities(self.model, values)
        labels, boxed = self._there(sample)
        classes = [max(self.outputs[label], key=lambda c: float(values[0, c])) for label in labels]
        known = {target, *self._kin(sample)}
        sees = [target, *[c for c in values[1].argsort(descending=True).tolist() if c not in known][:1]]
        e = self.why([clean, fooled], torch.tensor([classes + sees]).expand(2, -1))
        masks = [shrunk(sample.mask(label), clean.size) for label in boxed]
        return {
            "file": path.name,
            "target": target,
            "sees": sees,
            "bound": found.bound,
            "steps": found.steps,
            "before": float(likely[0, target]),
            "after": float(likely[1, target]),
            "labels": labels,
            "classes": classes,
            "p clean": [float(likely[0, c]) for c in classes],
            "p fooled": [float(likely[1, c]) for c in classes],
            **_looked(list(e.placed(0)), list(e.placed(1)), len(classes), masks),
        }

    def _there(self, sample: Sample) -> tuple[list[str], list[str]]:
        """What is there, as far as the network has classes for it; and which of it has boxes."""
        known = [label for label in sample.labels if label in self.outputs]
        boxed = [label for label in known if sample.of(label)]
        return boxed or known, boxed

    def _kin(self, sample: Sample) -> set[int]:
        """All classes of the network that a label means, and those that are of one kind with them."""
        return kin((c for label in sample.labels for c in self.outputs.get(label, ())), self.model.classes or ())

    def _file(self, sample: Sample, found: Attacked) -> Path:
        digest = hashlib.sha256(sample.name.encode()).hexdigest()[:8]  # names that are alike in their letters
        content = BytesIO()
        found.picture.save(content, "PNG")
        return write_whole(made(self.folder) / f"{file_name(sample.name)}-{digest}.png", content.getvalue())


def absent(likely: Tensor, there: Collection[int], dice: random.Random) -> int | None:
    """A class that is not in a picture, by chance; None where every class is ``there``.

    That a class is no label does not make it absent: the picture may show a second thing, or what looks like the first.
    So it is one to which the network gives the clean picture a probability below `UNLIKELY`, ``likely`` ``(C,)``; where
    there is none, the least likely.
    """
    others = [c for c in range(len(likely)) if c not in there]
    dice.shuffle(others)
    least = min(others, key=lambda c: float(likely[c]), default=None)
    return next((c for c in others if likely[c] < UNLIKELY), least)


def _looked(before: Sequence[Tensor], after: Sequence[Tensor], count: int, masks: Sequence[Array]) -> Row:
    """What the maps of ``count`` classes that are there do, before and after, and those of what is seen instead."""
    found = {"rank": [spearman(a, b) for a, b in zip(before[:count], after, strict=False)]}
    if not masks:
        nothing = [NAN]
        return {**found, **dict.fromkeys(LOOKED, nothing), "area": NAN}
    things = np.logical_or.reduce(masks)
    for of, heats in (("clean", before), ("fooled", after)):
        found[f"hit {of}"] = [pointed(h, m) for h, m in zip(heats, masks, strict=False)]
        found[f"energy {of}"] = [share(h, m) for h, m in zip(heats, masks, strict=False)]
    found["absent"] = [share(h, things) for h in after[count:]]
    return {**found, "areas": [float(m.mean()) for m in masks], "area": float(things.mean())}


def read(path: Path) -> Image.Image:
    """The attacked picture in a file."""
    with Image.open(path) as image:
        return image.convert("RGB")


def verified(model: Model, folder: Path, kept: Row) -> bool:
    """Whether the network, shown the file, still sees what it was made to see."""
    path = folder / kept["file"]
    if not path.is_file():
        return False
    return float(probabilities(model, scores(model, [read(path)]))[0, kept["target"]]) > SURE


def shrunk(mask: Array, size: tuple[int, int]) -> Array:
    """A mask at another size, by its nearest pixels."""
    return np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))


def pointed(heat: Tensor, mask: Array) -> float:
    """1 where the highest point of a map with evidence lies on the mask, else 0."""
    return float(bool((heat > 0).any()) and hits(peak(heat), mask, 0))


def share(heat: Tensor, mask: Array) -> float:
    """The share of a map's positive evidence on the mask; 0 where there is none."""
    return float(np.nan_to_num(shares(heat, {"there": mask})["there"]))
