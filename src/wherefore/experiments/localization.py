"""Weakly supervised localization: section 4.1 and Table 1 of the paper (protocols: section D).

A picture is right among the first k where a class that is in it is among the network's first k and the box of its map
overlaps one of that class's with an IoU of at least 0.5. Boxes of classes that are not in the picture are wrong
wherever they lie, so that no others are needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from wherefore.batch.maps import Seen
from wherefore.datasets import Dataset
from wherefore.errors import Error
from wherefore.experiments.charts import dots
from wherefore.experiments.lab import Lab, annotated
from wherefore.experiments.result import Result
from wherefore.experiments.showing import drawn, gallery
from wherefore.experiments.tables import Row, claim, need, paper_of, refused, row, table, where
from wherefore.metrics.localization import (
    Rule,
    box_iou,
    grabcut_box,
    max_box_accuracy,
    mean_box,
    share_box,
    smoothed_box,
    sweep,
)
from wherefore.metrics.summary import Summary, bootstrapped, summary
from wherefore.pages import Figure, Figures, Section, Verdict
from wherefore.registry import EXPERIMENTS
from wherefore.types import Model

LEAST = 0.5  # the IoU of a right box
SWEPT = tuple(round(0.05 * i, 2) for i in range(1, 20))  # thresholds, shares of the maximum
TIMES = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)  # the mean of a map, of which the best is chosen on other pictures
CROPS = {"squash": False, "ten crops": True}
NETWORKS = ("vgg", "alexnet", "googlenet", "vgg-cam")
METHODS = ("grad-cam", "cam", "c-mwp", "gradient")
# Table 1: network, method, and how many guesses there are -> localization error.
PAPER = {
    ("vgg", "gradient", "top-1"): 0.6112,
    ("vgg", "gradient", "top-5"): 0.5146,
    ("vgg", "c-mwp", "top-1"): 0.7092,
    ("vgg", "c-mwp", "top-5"): 0.6304,
    ("vgg", "grad-cam", "top-1"): 0.5651,
    ("vgg", "grad-cam", "top-5"): 0.4641,
    ("vgg-cam", "cam", "top-1"): 0.5720,
    ("vgg-cam", "cam", "top-5"): 0.4514,
    ("alexnet", "c-mwp", "top-1"): 0.926,
    ("alexnet", "c-mwp", "top-5"): 0.892,
    ("alexnet", "grad-cam", "top-1"): 0.683,
    ("alexnet", "grad-cam", "top-5"): 0.566,
    ("googlenet", "grad-cam", "top-1"): 0.6009,
    ("googlenet", "grad-cam", "top-5"): 0.4934,
    ("googlenet", "cam", "top-1"): 0.6009,
    ("googlenet", "cam", "top-5"): 0.4934,
    ("vgg", "classification", "top-1"): 0.3038,
    ("vgg", "classification", "top-5"): 0.1089,
    ("vgg-cam", "classification", "top-1"): 0.3340,
    ("vgg-cam", "classification", "top-5"): 0.1220,
    ("alexnet", "classification", "top-1"): 0.442,
    ("alexnet", "classification", "top-5"): 0.208,
    ("googlenet", "classification", "top-1"): 0.319,
    ("googlenet", "classification", "top-5"): 0.113,
}


class Boxes(NamedTuple):
    """How a box is made of a map, in words and as a rule; ``plain``: whether the paper's column stands beside it."""

    words: str
    rule: Rule
    plain: bool = True


NO_BOX, BEST = Boxes("", share_box), Boxes("the best threshold", share_box, False)
WHERE_BOXES = "give imagenet:DIR, voc:DIR, coco:DIR, or boxes in folder:DIR's labels.csv."
SHARE = [
    Boxes("15 % of the maximum", share_box),
    Boxes("20 % of the maximum", partial(share_box, threshold=0.2), False),
]
RULES = {
    "grad-cam": SHARE,
    "cam": [SHARE[1]._replace(plain=True), SHARE[0]._replace(plain=False)],  # CAM's own threshold
    "c-mwp": SHARE,
    "gradient": [
        Boxes("smoothed, 15 % of the maximum", smoothed_box),
        Boxes("smoothed, 20 % of the maximum", partial(smoothed_box, threshold=0.2), False),
        Boxes("GrabCut", grabcut_box, False),
    ],
}


@EXPERIMENTS("localization", title="Weakly supervised localization", section="4.1, Table 1", minutes=4)
def localization(lab: Lab) -> Result:
    """How often the box of a map misses the object: localization errors for methods, networks and crops."""
    dataset = lab.dataset("single")
    numbers = lab.numbers(dataset, 300, 24, fits=annotated)
    rows: list[Row] = []
    figures: dict[tuple[str, str], Summary] = {}
    shown: dict[str, list[Seen]] = {}
    for model in lab.networks(*NETWORKS):
        for crops, methods in _ways(lab, model, dataset).items():
            kept: list[Seen] = []
            for method in methods:
                kept = list(lab.seen(model, method, dataset, numbers, tencrop=CROPS[crops]))
                need(any(each.sample.instances for each in kept), f"{dataset.spec} has no boxes: {WHERE_BOXES}")
                found = {boxes: errors(kept, boxes.rule) for boxes in _rules(lab, model, method, crops, numbers)}
                rows += [line for boxes, each in found.items() for line in _rows(model, method, crops, boxes, each)]
                if crops == "squash":
                    plain = next(boxes for boxes in found if boxes.plain)
                    figures[model.name, method], shown[f"{model.name} {method}"] = found[plain]["top-1"], kept[:3]
                    rows += _rows(model, method, crops, BEST, best_threshold(kept)) if method != "gradient" else []
            rows += _rows(model, "classification", crops, NO_BOX, classification(kept)) if kept else []
    verdicts = _verdicts(figures, [model.name for model in lab.networks(*NETWORKS)])
    return Result(rows, verdicts, _sections(rows, verdicts, shown, lab), {"least IoU": LEAST})


def _ways(lab: Lab, model: Model, dataset: Dataset) -> dict[str, list[str]]:
    """Which methods are measured in which crops; ten crops take ten times as long, too long for pixel methods."""
    found = {"squash": lab.fitting(model, METHODS, dataset)}
    if lab.takes_crops(model):
        found["ten crops"] = [method for method in found["squash"] if method != "gradient"]
    return found


def _rules(lab: Lab, model: Model, method: str, crops: str, numbers: Sequence[int]) -> list[Boxes]:
    """How boxes are made of the maps of a method."""
    return [*RULES[method], *(mean_rules(lab, model, crops, numbers) if method == "c-mwp" else [])]


def mean_rules(lab: Lab, model: Model, crops: str, taken: Sequence[int]) -> list[Boxes]:
    """c-MWP's own rule: so many times the mean of the map, as many as are best on other pictures than those taken.

    None where there are no other pictures with boxes.
    """
    try:
        dataset, numbers = lab.others("single", taken, 100, 24)
    except Error as error:
        lab.refused[f"{model.name} c-mwp, times the mean"] = str(error)
        return []
    kept = list(lab.seen(model, "c-mwp", dataset, numbers, tencrop=CROPS[crops]))
    if not any(each.sample.instances for each in kept):
        lab.refused[f"{model.name} c-mwp, times the mean"] = f"the {dataset.split} part of {dataset.spec} has no boxes."
        return []
    known = {times: errors(kept, partial(mean_box, times=times))["GT-known error"].value for times in TIMES}
    best = min(known, key=lambda times: known[times])
    return [Boxes(f"{best:g} times the mean", partial(mean_box, times=best), False)]


def errors(kept: Sequence[Seen], rule: Rule) -> dict[str, Summary]:
    """The localization errors top-1, top-5 and with the class taken as known, over pictures whose boxes count."""
    found: dict[str, list[float]] = {"top-1": [], "top-5": [], "GT-known error": []}
    for each in kept:
        overlaps = box_iou(each.explanation, [each.sample], rule=rule)[0].tolist()
        counted = [(r["place"], iou >= LEAST) for r, iou in zip(each.rows, overlaps, strict=True) if iou == iou]
        for name, most in (("top-1", 1), ("top-5", 5)):
            right = any(place < most and hit for place, hit in counted)
            found[name].append(float(not right) if counted else np.nan)
        found["GT-known error"].append(1 - float(np.mean([hit for _, hit in counted])) if counted else np.nan)
    evidence = [float(v) for each in kept for v in each.explanation.evidence[0]]
    return {name: summary(values, evidence) for name, values in found.items()}


def best_threshold(kept: Sequence[Seen]) -> dict[str, Summary]:
    """The localization accuracies ``MaxBoxAcc`` and ``MaxBoxAccV2``: those at the threshold that is best here."""
    swept = [sweep(each.explanation, [each.sample], SWEPT)[0].nanmean(0).numpy() for each in kept]
    n = sum(not np.isnan(one).any() for one in swept)
    return {
        name: bootstrapped(lambda times, least=least: max_box_accuracy(swept, least, times), len(swept), n)  # type: ignore[misc]
        for name, least in (("MaxBoxAcc", (0.5,)), ("MaxBoxAccV2", (0.3, 0.5, 0.7)))
    }


def classification(kept: Sequence[Seen]) -> dict[str, Summary]:
    """The classification errors ``top-1`` and ``top-5``, over all pictures."""
    best = [min(r["place"] for r in each.rows) for each in kept]
    return {f"top-{most}": summary([float(place >= most) for place in best]) for most in (1, 5)}


def _rows(model: Model, method: str, crops: str, boxes: Boxes, found: Mapping[str, Summary]) -> list[Row]:
    return [
        row(
            method,
            figure,
            paper_of(PAPER, model.name, method, error) if boxes.plain else None,
            network=model.name,
            crops=crops,
            box=boxes.words,
            measure=error,
        )
        for error, figure in found.items()
    ]


def _verdicts(figures: dict[tuple[str, str], Summary], networks: Sequence[str]) -> list[Verdict]:
    first = networks[0]
    own = {method: figure for (network, method), figure in figures.items() if network == first}
    found = []
    if {"grad-cam", "gradient", "c-mwp"} <= set(own):
        words = f"On {first}, Grad-CAM's boxes err least, then the gradient's, then c-MWP's (top-1)"
        found.append(claim(words, own, ["grad-cam", "gradient", "c-mwp"], "lower"))
    weak, strong = (next((n for n in networks if n.endswith(name)), None) for name in ("alexnet", ":vgg"))
    if weak and strong:
        pair = {n: figures[n, "grad-cam"] for n in (weak, strong)}
        found.append(claim("Grad-CAM on the better network localizes better", pair, [strong, weak], "lower"))
    return found


def _sections(
    rows: Sequence[Row], verdicts: Sequence[Verdict], shown: dict[str, list[Seen]], lab: Lab
) -> list[Section]:
    columns = {"name": "method", "network": "network", "box": "box"}
    parts = [
        Section("What the paper claims, here", *verdicts),
        Section("Pictures", _gallery(shown)),
    ]
    for crops in dict.fromkeys(each["crops"] for each in rows):
        some = where(rows, crops=crops)
        tables = [
            table(where(some, measure=error), columns, title, f"{title}, {crops}.")
            for error, title in (("top-1", "top-1 error"), ("top-5", "top-5 error"), ("GT-known error",) * 2)
        ]
        tables += [
            table(found, columns, f"{name}: right boxes", "The threshold that is best on these very pictures.")
            for name in ("MaxBoxAcc", "MaxBoxAccV2")
            if (found := where(some, measure=name))
        ]
        chart = [each for each in where(some, measure="top-1") if each["name"] != "classification"]
        names = [f"{each['network'].removeprefix('scenes:')}: {each['name']}, {each['box']}" for each in chart]
        figure = Figure(dots(chart, "top-1 localization error", names), f"Top-1 localization error, {crops}")
        parts.append(Section(f"Errors, {crops}", Figures([figure], 1), *tables))
    return [*parts, *([Section("What does not go together", *refused(lab.refused))] if lab.refused else [])]


def _gallery(shown: dict[str, list[Seen]]) -> Figures:
    def draw(name: str, each: Seen) -> Figure:
        method = each.explanation.method
        boxes = next(boxes for boxes in RULES[method] if boxes.plain)
        overlap = float(box_iou(each.explanation, [each.sample], rule=boxes.rule)[0, 0])
        box = boxes.rule(each.sample.image, next(each.explanation.placed(0)))
        label = each.explanation.targets[0][0]
        return drawn(each, 0, box, each.sample.boxes(label), f"IoU {overlap:.2f}", f"{name}: {label}")

    first = next(iter(shown)).split(" ")[0]
    some = {name: each for name, each in shown.items() if name.split(" ")[0] == first}
    return gallery(some, draw, 3, "", "White: the box of the map. Blue: that of the object.")
