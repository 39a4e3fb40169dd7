"""Does Grad-CAM find what is there in pictures that fool the network? Section 6.2 of the paper, Fig. 7.

The paper names no attack: ours is PGD with a target (protocols: section I), a class that is not in the picture. Every
attacked picture is written as a file of 8 bits, read again, and judged by what the network says of that file.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from wherefore.batch.store import Row as Kept
from wherefore.datasets import Array, Dataset, Sample, matched
from wherefore.diagnosis.attacks import BOUNDS, STEPS, SURE, attack, fed, probabilities, scores
from wherefore.experiments.lab import Lab
from wherefore.experiments.result import Result
from wherefore.experiments.showing import pictured
from wherefore.experiments.tables import Row, claim, need, row, table
from wherefore.explainer import Explainer
from wherefore.explanation import Explanation
from wherefore.imaging import peak
from wherefore.metrics.agreement import spearman
from wherefore.metrics.pointing import hits
from wherefore.metrics.summary import Summary, summary
from wherefore.pages import Figure, Figures, Section, Verdict
from wherefore.registry import EXPERIMENTS
from wherefore.saving import file_name, made, write_whole
from wherefore.types import Model

NETWORKS = ("vgg",)
METHOD = "grad-cam"
CLEAN, FOOLED = "clean pictures", "attacked pictures"
ABSENT = "the two classes it now sees"
DRAWN = 4
WORDS = (
    "Of the classes that are in a picture: whether the highest point of the map lies on a thing of the class, and "
    "which share of the map's evidence does. Beside them the maps of the class that the network was made to see and of "
    "the next: there is nothing of the kind, so that what little they have on the things may be chance (`area`: which "
    "share of the picture the things are)."
)


@EXPERIMENTS("adversarial", title="Pictures that fool the network", section="6.2", minutes=4)
def adversarial(lab: Lab) -> Result:
    """Whether the maps of what is in a picture stay on it when the network is made to see something else."""
    dataset = lab.dataset("pair")
    numbers = lab.numbers(dataset, 200, 4, lambda sample: len({each.category for each in sample.instances}) > 1)
    need(numbers, f"{dataset.spec} has no pictures with two classes and their boxes: give scenes, voc:DIR or coco:DIR.")
    rows: list[Row] = []
    claims: list[Verdict] = []
    shown: list[Figures] = []
    checked: dict[str, Any] = {}
    for model in lab.networks(*NETWORKS):
        lab.fitting(model, [METHOD], dataset)
        work = Attacking(model, dataset, lab.folder / "attacked" / file_name(model.name), lab.settings.seed)
        kept = lab.measured(f"attacks {model.name}", work.about, dataset, numbers, work)
        fooled = [each for each in kept if each["after"] > SURE and verified(model, work.folder, each)]
        need(fooled, f"{model.name} withstood every attack: nothing can be said of maps.")
        checked[model.name] = {"attacked": len(kept), "fooled": len(fooled), "read again above": SURE}
        figures = figures_of(fooled)
        rows += [row(METHOD, f, network=model.name, pictures=of, measure=what) for (of, what), f in figures.items()]
        claims += _claims(model, figures)
        shown.append(_gallery(model, dataset, work.folder, fooled))
    settings = {"attack": f"PGD, steps of 1, {STEPS} for each bound of {BOUNDS}, of 255", "checked": checked}
    return Result(rows, claims, _sections(rows, claims, shown), settings)


class Attacking:
    """What attacks samples and measures the maps before and after, for `wherefore.batch.rows.rows`."""

    def __init__(self, model: Model, dataset: Dataset, folder: Path, seed: int) -> None:
        assert model.classes is not None
        self.model, self.folder, self.seed = model, folder, seed
        self.outputs = matched(dataset.classes, model.classes)
        self.why = Explainer(model, METHOD, fit="squash")

    @property
    def about(self) -> dict[str, Any]:
        """All that its rows depend on, but the data."""
        own = {"model": self.model.name, "weights_sha256": self.model.weights_sha256}
        return {**own, "method": METHOD, "sure": SURE, "bounds": BOUNDS, "steps": STEPS, "seed": self.seed}

    def __call__(self, samples: Sequence[Sample]) -> list[list[Kept]]:
        pictures = [fed(self.model, each.image) for each in samples]
        targets = [self._absent(each) for each in samples]
        attacks = attack(self.model, pictures, targets)
        return [[self._row(*each)] for each in zip(samples, pictures, targets, attacks, strict=True)]

    def _absent(self, sample: Sample) -> int:
        """A class that is not in the picture, by chance."""
        there = {number for label in sample.labels for number in self.outputs.get(label, ())}
        every = [number for number in range(len(self.model.classes or ())) if number not in there]
        return random.Random(f"{self.seed} {sample.name}").choice(every)

    def _row(self, sample: Sample, clean: Image.Image, target: int, found: Any) -> Kept:
        path = made(self.folder) / f"{file_name(sample.name)}.png"
        content = BytesIO()
        found.picture.save(content, "PNG")
        write_whole(path, content.getvalue())
        fooled = read(path)
        values = scores(self.model, [clean, fooled])
        likely = probabilities(self.model, values)
        present = [
            (label, max(self.outputs[label], key=lambda c: float(values[0, c])))
            for label in sample.labels
            if label in self.outputs and sample.of(label)
        ]
        known = {target, *(c for label in sample.labels for c in self.outputs.get(label, ()))}
        second = next(c for c in values[1].argsort(descending=True).tolist() if c not in known)
        e = self.why([clean, fooled], torch.tensor([[c for _, c in present] + [target, second]]).expand(2, -1))
        before, after = (list(e.placed(i)) for i in range(2))
        masks = [shrunk(sample.mask(label), clean.size) for label, _ in present]
        things = np.logical_or.reduce(masks)
        return {
            "file": path.name,
            "target": target,
            "second": second,
            "bound": found.bound,
            "steps": found.steps,
            "before": float(likely[0, target]),
            "after": float(likely[1, target]),
            "labels": [label for label, _ in present],
            "classes": [c for _, c in present],
            "p clean": [float(likely[0, c]) for _, c in present],
            "p fooled": [float(likely[1, c]) for _, c in present],
            "hit clean": [pointed(h, m) for h, m in zip(before, masks, strict=False)],
            "hit fooled": [pointed(h, m) for h, m in zip(after, masks, strict=False)],
            "energy clean": [share(h, m) for h, m in zip(before, masks, strict=False)],
            "energy fooled": [share(h, m) for h, m in zip(after, masks, strict=False)],
            "rank": [spearman(a, b) for a, b in zip(before[: len(masks)], after, strict=False)],
            "absent": [share(h, things) for h in after[-2:]],
            "areas": [float(m.mean()) for m in masks],
            "area": float(things.mean()),
        }


def read(path: Path) -> Image.Image:
    """The attacked picture in a file."""
    with Image.open(path) as image:
        return image.convert("RGB")


def verified(model: Model, folder: Path, kept: Kept) -> bool:
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
    positive = heat.double().clamp(min=0).numpy()
    return float(positive[mask].sum() / positive.sum()) if positive.any() else 0.0


def figures_of(kept: Sequence[Kept]) -> dict[tuple[str, str], Summary]:
    """The figures by which pictures and what was measured; every picture counts once."""

    def mean(key: str) -> Summary:
        return summary([float(np.mean(each[key])) for each in kept])

    found = {}
    for of, key in ((CLEAN, "clean"), (FOOLED, "fooled")):
        found[of, "probability of what is there"] = mean(f"p {key}")
        found[of, "peak on what is there"] = mean(f"hit {key}")
        found[of, "evidence on what is there"] = mean(f"energy {key}")
    found[CLEAN, "probability of what is not there"] = mean("before")
    found[FOOLED, "probability of what is not there"] = mean("after")
    found[FOOLED, f"evidence of {ABSENT} on what is there"] = mean("absent")
    found[FOOLED, "rank correlation with the clean map"] = mean("rank")
    found[FOOLED, "area of each thing"] = mean("areas")
    found[FOOLED, "area of the things"] = mean("area")
    found[FOOLED, "bound, of 255"] = mean("bound")
    return found


def _claims(model: Model, figures: Mapping[tuple[str, str], Summary]) -> list[Verdict]:
    fooled = {what: figure for (of, what), figure in figures.items() if of == FOOLED}
    away, there = f"evidence of {ABSENT} on what is there", "evidence on what is there"
    return [
        claim(
            f"On {model.name}, made to see what is not there, maps of what is there keep to it",
            fooled,
            [there, "area of each thing"],
        ),
        claim(
            f"On {model.name} the maps of {ABSENT} lie on the things no more than by their area",
            fooled,
            ["area of the things", away],
        ),
    ]


def _gallery(model: Model, dataset: Dataset, folder: Path, kept: Sequence[Kept]) -> Figures:
    """As Fig. 7: the picture, the attacked one, the maps of what is there, and of the two classes it now sees."""
    names, figures = model.classes or (), []
    for each in kept[:DRAWN]:
        sample, fooled = dataset[each["number"]], read(folder / each["file"])
        classes = [*each["classes"][:2], each["target"], each["second"]]
        e = Explainer(model, METHOD, fit="squash")([fooled], classes)
        likely = probabilities(model, scores(model, [fed(model, sample.image), fooled]))
        figures.append(Figure(sample.image.convert("RGB"), sample.name, _told(names, classes, likely[0])))
        figures.append(Figure(fooled, f"changed by up to {each['bound']} of 255", _told(names, classes, likely[1])))
        figures += [
            pictured(_one(e, i), f"{names[c]}, attacked picture", f"p {likely[1, c]:.4f}")
            for i, c in enumerate(classes)
        ]
    return Figures(figures, 6, model.name, "Maps of the attacked picture: of what is there, then of what it now sees.")


def _one(e: Explanation, target: int) -> Explanation:
    from dataclasses import replace

    assert isinstance(e.maps, Tensor)
    part = slice(target, target + 1)
    return replace(
        e,
        maps=e.maps[:, part],
        scores=e.scores[:, part],
        classes=e.classes[:, part],
        probabilities=e.probabilities[:, part],
        targets=[row[part] for row in e.targets],
        marks=[],
    )


def _told(names: Sequence[str], classes: Sequence[int], likely: Tensor) -> str:
    return ", ".join(f"{names[c]} {likely[c]:.4f}" for c in classes[:3])


def _sections(rows: Sequence[Row], claims: Sequence[Verdict], shown: Sequence[Figures]) -> list[Section]:
    columns = {"network": "network", "pictures": "pictures", "measure": "measure"}
    return [
        Section("What the paper shows, here", *claims),
        Section("Pictures", *shown),
        Section("Before and after", WORDS, table(rows, columns, "value", share=False)),
    ]
