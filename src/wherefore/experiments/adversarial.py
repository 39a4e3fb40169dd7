"""Does Grad-CAM find what is there in pictures that fool the network? Section 6.2 of the paper, Fig. 7.

The paper names no attack: ours is PGD with a target (protocols: section I), a class that is not in the picture. Every
attacked picture is written as a file of 8 bits, read again, and judged by what the network says of that file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from wherefore.batch.store import Row as Kept
from wherefore.datasets import Dataset, Sample
from wherefore.diagnosis.attacks import BOUNDS, STEPS, SURE, fed, probabilities, scores
from wherefore.diagnosis.fooling import METHOD, UNLIKELY, Attacking, Outputs, read, verified
from wherefore.experiments.lab import Lab
from wherefore.experiments.result import Result
from wherefore.experiments.showing import SIDE, pictured
from wherefore.experiments.tables import Row, claim, need, row, table
from wherefore.explainer import Explainer
from wherefore.explanation import Explanation
from wherefore.metrics.resampling import wilson
from wherefore.metrics.summary import Summary, summary
from wherefore.pages import Figure, Figures, Section, Verdict
from wherefore.progress import track
from wherefore.registry import EXPERIMENTS
from wherefore.types import Model

NETWORKS = ("vgg",)
CLEAN, FOOLED = "clean pictures", "attacked pictures"
ABSENT, SUCCESS = "the two classes it now sees", "attacks that succeed"
DRAWN = 4
PICTURES = {  # of the first kind of which there are some: at least so many classes that the network has, with boxes
    "two classes with boxes": (2, True),
    "a class with boxes": (1, True),
    "two labels, no boxes": (2, False),
    "a label, no boxes": (1, False),
}
WORDS = (
    "Of the classes that are in a picture: whether the highest point of the map lies on a thing of the class, and "
    "which share of the map's evidence does. Beside them the maps of the class that the network was made to see and of "
    "the next: there is nothing of the kind, so that what little they have on the things may be chance (`area`: which "
    "share of the picture the things are)."
)
UNBOXED = (
    "The data set says what is in its pictures, and not where: of maps it is known how much they change, not more."
)
RULE = (
    "The class that is not there is drawn by lot from those that are no label (nor, of ILSVRC's classes, another kind "
    "of the same thing, as far as that is listed: a dog for a dog) and to which the network gives the clean picture a "
    f"probability below {UNLIKELY}: what is there without a label, and what looks like it, is likelier than that."
)


@EXPERIMENTS("adversarial", title="Pictures that fool the network", section="6.2", minutes=4)
def adversarial(lab: Lab) -> Result:
    """Whether the maps of what is in a picture stay on it when the network is made to see something else."""
    dataset = lab.dataset("pair")
    rows: list[Row] = []
    claims: list[Verdict] = []
    shown: list[Figures] = []
    checked: dict[str, Any] = {}
    for model in lab.networks(*NETWORKS):
        kept, folder, which = _attacked(lab, model, dataset)
        files = track(kept, len(kept), "reading attacked pictures")
        fooled = [each for each in files if each["after"] > SURE and verified(model, folder, each)]
        need(fooled, f"{model.name} withstood every attack: nothing can be said of maps.")
        counts = {"attacked": len(kept), "fooled": len(fooled), "read again above": SURE}
        checked[model.name] = {"pictures": which, **counts}
        figures = figures_of(fooled)
        success = Summary(len(fooled) / len(kept), *wilson(len(fooled), len(kept)), len(kept))
        rows.append(row("attack", success, network=model.name, pictures=CLEAN, measure=SUCCESS))
        rows += [row(METHOD, f, network=model.name, pictures=of, measure=what) for (of, what), f in figures.items()]
        claims += _claims(model, figures)
        shown.append(_gallery(model, dataset, folder, fooled))
    settings = {"attack": f"PGD, steps of 1, {STEPS} for each bound of {BOUNDS}, of 255", "checked": checked}
    return Result(rows, claims, _sections(rows, claims, shown), settings)


def _attacked(lab: Lab, model: Model, dataset: Dataset) -> tuple[list[Kept], Path, str]:
    """The rows of attacked pictures, the folder that these are in, and which kind of pictures they are."""
    lab.fitting(model, [METHOD], dataset)
    outputs = lab.asked("labels", dataset, model).outputs
    numbers, which = _chosen(lab, dataset, outputs)
    need(numbers, f"no picture of {dataset.spec} has a label that {model.name} has a class for: give such pictures.")
    work = Attacking(model, outputs, dataset, lab.folder / "attacked", lab.settings.seed)
    kept = lab.measured(f"attacks {model.name}", work.about, dataset, numbers, work, work.whole)
    return kept, work.folder, which


def _chosen(lab: Lab, dataset: Dataset, outputs: Outputs) -> tuple[list[int], str]:
    """Which samples are attacked, and what kind they are: of the first kind of which there are any."""
    for kind, (least, boxed) in PICTURES.items():

        def fits(sample: Sample, least: int = least, boxed: bool = boxed) -> bool:
            known = [name for name in sample.labels if name in outputs]
            return sum(bool(sample.of(name)) or not boxed for name in known) >= least

        numbers = lab.numbers(dataset, 200, 4, fits)
        if numbers:
            return numbers, kind
    return [], ""


def figures_of(kept: Sequence[Kept]) -> dict[tuple[str, str], Summary]:
    """The figures by which pictures and what was measured, as far as there are some; every picture counts once."""

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
    return {key: figure for key, figure in found.items() if figure.n}


def _claims(model: Model, figures: Mapping[tuple[str, str], Summary]) -> list[Verdict]:
    fooled = {what: figure for (of, what), figure in figures.items() if of == FOOLED}
    away, there = f"evidence of {ABSENT} on what is there", "evidence on what is there"
    if there not in fooled:
        return []
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
    most = max(len(each["classes"][:2] + each["sees"]) for each in kept)
    full = [each for each in kept if len(each["classes"][:2] + each["sees"]) == most]
    for each in full[:DRAWN]:
        sample, fooled = dataset[each["number"]], read(folder / each["file"])
        classes = [*each["classes"][:2], *each["sees"]]
        e = Explainer(model, METHOD, fit="squash")([fooled], classes)
        clean = fed(model, sample.image)
        likely = probabilities(model, scores(model, [clean, fooled]))
        figures.append(Figure(_small(clean), sample.name, _told(names, classes, likely[0])))
        figures.append(
            Figure(_small(fooled), f"changed by up to {each['bound']} of 255", _told(names, classes, likely[1]))
        )
        figures += [
            pictured(_one(e, i), f"{names[c]}, attacked picture", f"p {likely[1, c]:.4f}")
            for i, c in enumerate(classes)
        ]
    words = "Maps of the attacked picture: of what is there, then of what it now sees."
    return Figures(figures, 2 + most, model.name, words)


def _small(picture: Image.Image) -> Image.Image:
    small = picture.convert("RGB")
    small.thumbnail((SIDE, SIDE))
    return small


def _one(e: Explanation, target: int) -> Explanation:
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
        Section("What the paper shows, here", *claims, *([] if claims else [UNBOXED]), RULE),
        Section("Pictures", *shown),
        Section("Before and after", *([WORDS] if claims else []), table(rows, columns, "value", share=False)),
    ]
