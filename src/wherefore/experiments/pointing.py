"""The pointing game: does the highest point of a map lie on the thing? Section 4.3 of the paper (protocols: section F).

A point hits that is closer to the class's pixels, on VOC to its boxes, than a tolerance: 15 pixels since Zhang et al.
(2016), whose pictures have 500 on their longer side. Classes whose things are all flagged as difficult are not asked
for. The difficult subset are classes that cover less than a quarter of the picture and are not alone in it. The paper's
own game, in which maps may be rejected, is `rejection`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

from torch import Tensor

from wherefore.batch.maps import Seen
from wherefore.datasets import Dataset
from wherefore.experiments.charts import dots
from wherefore.experiments.lab import Lab, annotated
from wherefore.experiments.result import Result
from wherefore.experiments.showing import drawn, gallery
from wherefore.experiments.tables import Row, between, claim, kind, need, refused, row, table, where
from wherefore.imaging import peak
from wherefore.metrics.localization import smoothed
from wherefore.metrics.measuring import Case, cases
from wherefore.metrics.pointing import difficult, distance, region
from wherefore.metrics.summary import Summary, pooled, summary_by_class
from wherefore.pages import Figure, Figures, Section, Verdict
from wherefore.registry import EXPERIMENTS

NETWORKS = ("vgg", "resnet", "googlenet")
LAYERED = ("excitation", "c-mwp", "grad-cam")
PIXELS = ("gradient", "deconvnet", "guided-backprop", "guided-grad-cam")  # smoothed before their peak is taken
CENTRE = "center"  # of the picture, whatever is in it
SHOWN = ("gradient", "guided-backprop", "c-mwp", "grad-cam")
TOLERANCES: dict[str, Callable[[tuple[int, int]], float]] = {  # of a picture's size
    "15 px": lambda size: 15,
    "3 % of the longer side": lambda size: 0.03 * max(size),  # what 15 pixels are of VOC's 500
    "on the thing": lambda size: 0,
}
WHY = (
    " That is what 15 pixels are of VOC's 500; on a scene of 128 they would be an eighth of its side, and a point well "
    "beside the thing would be right."
)
SUBSETS = ("all", "difficult")
ALIKE = 0.02  # about equal, as TorchRay has Grad-CAM and c-MWP on ResNet-50
VOC, COCO = "TorchRay, VOC 2007 test", "TorchRay, COCO 2014 val"
PICTURES = {("voc", 4952): VOC, ("coco", 40504): COCO}  # no other list of theirs is as long
THEIRS = {"vgg": "VGG-16", "resnet": "ResNet-50"}
NOTHING = "Methods are compared with each other on VGG-16 and ResNet-50 alone: nothing is claimed of other networks."
# TorchRay's pointing.csv: network, data, method -> accuracy on all and on the difficult, the mean over classes.
REFERENCE = {
    ("", VOC, "center"): (0.696, 0.424),
    ("vgg", VOC, "gradient"): (0.763, 0.569),
    ("vgg", VOC, "deconvnet"): (0.675, 0.442),
    ("vgg", VOC, "guided-backprop"): (0.759, 0.530),
    ("vgg", VOC, "excitation"): (0.771, 0.566),
    ("vgg", VOC, "c-mwp"): (0.799, 0.665),
    ("vgg", VOC, "grad-cam"): (0.866, 0.740),
    ("resnet", VOC, "c-mwp"): (0.907, 0.821),
    ("resnet", VOC, "grad-cam"): (0.904, 0.823),
    ("vgg", COCO, "c-mwp"): (0.497, 0.443),
    ("vgg", COCO, "grad-cam"): (0.542, 0.490),
    ("resnet", COCO, "c-mwp"): (0.585, 0.536),
    ("resnet", COCO, "grad-cam"): (0.573, 0.523),
}


class Shot(NamedTuple):
    """Where the point of one map went: of which category, whether that is difficult, and what it hits."""

    category: str
    difficult: bool
    evidence: float
    hits: dict[str, bool]  # by tolerance


Game = Sequence[Sequence[Shot]]  # those of each picture
Find = Callable[[Tensor], Sequence[int]]


@EXPERIMENTS("pointing", title="The pointing game", section="4.3", minutes=4)
def pointing(lab: Lab) -> Result:
    """How often the highest point of a map lies on what was asked for, for methods, networks and tolerances."""
    dataset = lab.dataset()
    numbers = lab.numbers(dataset, 300, 24, annotated)
    need(numbers, f"{dataset.spec} says nowhere what is where: give voc:DIR or coco:DIR.")
    headline, boxes = headline_of(lab), in_boxes(dataset)
    rows: list[Row] = []
    figures: dict[tuple[str, str, str], Summary] = {}  # by network, method and subset
    shown: dict[str, list[Seen]] = {}
    first, *others = lab.networks(*NETWORKS)
    for model in (first, *others):
        for method in lab.fitting(model, [*LAYERED, *PIXELS], dataset):
            kept = list(lab.seen(model, method, dataset, numbers))
            if not rows:
                rows += _rows(CENTRE, "", _figures(shots(kept, middle, boxes), headline), dataset)
            found = _figures(shots(kept, finder(method), boxes), headline)
            rows += _rows(method, model.name, found, dataset)
            figures |= {
                (model.name, method, s): f for (s, t, over), f in found.items() if (t, over) == (headline, "classes")
            }
            if model is first:
                shown[method] = kept[:12]
    verdicts = _verdicts(figures, [model.name for model in (first, *others)])
    settings = {"headline tolerance": headline, "where things are": "boxes" if boxes else "masks, else boxes"}
    sections = _sections(rows, verdicts, _gallery(shown, headline, boxes), headline, lab)
    return Result(rows, verdicts, sections, settings)


def headline_of(lab: Lab) -> str:
    """The tolerance that claims are judged by: on scenes, of 128 pixels, the same share of a picture as 15 of 500."""
    return "3 % of the longer side" if lab.on_scenes else "15 px"


def in_boxes(dataset: Dataset) -> bool:
    """Whether things are where their boxes are, also where there are masks: VOC's game."""
    return dataset.name == "voc"


def finder(method: str) -> Find:
    """How the point of a map ``(H, W)`` is found: its peak, of pixel methods that of the smoothed map."""
    return (lambda heat: peak(smoothed(heat))) if method in PIXELS else peak


def middle(heat: Tensor) -> tuple[int, int]:
    """The middle of a map ``(H, W)``, whatever it holds."""
    return heat.shape[1] // 2, heat.shape[0] // 2


def asked(each: Seen) -> Iterator[tuple[int, Case]]:
    """The targets that are asked for of a sample, each with its number: not those that are difficult throughout."""
    for _, target, case in cases(each.explanation, [each.sample]):
        if not case.sample.only_difficult(case.category):
            yield target, case


def shot(case: Case, find: Find, boxes: bool = False) -> Shot:
    """Where the point of a map goes; things are where their masks are, or their ``boxes``."""
    away = distance(case.found(find), region(case.sample, case.category, boxes))
    hits = {words: away == 0 or away < reach(case.sample.size) for words, reach in TOLERANCES.items()}
    return Shot(case.category, difficult(case.sample, case.category), float(case.heat.max()), hits)


def shots(kept: Sequence[Seen], find: Find, boxes: bool = False) -> list[list[Shot]]:
    """Where the points of the maps of each picture go."""
    return [[shot(case, find, boxes) for _, case in asked(each)] for each in kept]


def _figures(game: Game, headline: str) -> dict[tuple[str, str, str], Summary]:
    """The accuracies by subset, tolerance, and over what the mean is taken; without the subsets that are empty."""
    found = {}
    for subset in SUBSETS:
        some = [[shot for shot in one if subset == "all" or shot.difficult] for one in game]
        if not any(some):
            continue
        evidence, names = [s.evidence for one in some for s in one], [[s.category for s in one] for one in some]
        for tolerance in TOLERANCES:
            hits = [[shot.hits[tolerance] for shot in one] for one in some]
            found[subset, tolerance, "classes"] = summary_by_class(hits, names, evidence)
            if tolerance == headline:
                found[subset, tolerance, "pairs"] = pooled([sum(h) for h in hits], [len(h) for h in hits], evidence)
    return found


def _rows(method: str, network: str, found: Mapping[tuple[str, str, str], Summary], dataset: Dataset) -> list[Row]:
    source, like = published(dataset), "" if network.startswith("scenes:") else kind(network)
    known = REFERENCE.get((like, source, method)) if like or method == CENTRE else None
    rows = []
    for (subset, tolerance, over), figure in found.items():
        about: dict[str, Any] = {"network": network, "subset": subset, "tolerance": tolerance, "over": over}
        if known and (tolerance, over) == ("15 px", "classes"):
            about |= {"reference": known[SUBSETS.index(subset)]}
            about |= {"source": ", ".join([source, *([THEIRS[like]] if like else [])])}
        rows.append(row(method, figure, **about))
    return rows


def published(dataset: Dataset) -> str:
    """Which data of TorchRay's figures a data set is: the very list, of the real classes; '' for any other."""
    return PICTURES.get((dataset.name, len(dataset)), "") if dataset.comparable else ""


def _verdicts(figures: Mapping[tuple[str, str, str], Summary], networks: Sequence[str]) -> list[Verdict]:
    """What is claimed of VGG-16 and of ResNet-50; of other networks nothing is."""
    found = []
    for network, subset in product(networks, SUBSETS):
        pair = {m: figures[network, m, subset] for m in ("grad-cam", "c-mwp") if (network, m, subset) in figures}
        if len(pair) < 2:
            continue
        if kind(network) == "resnet":
            words = f"On {network} Grad-CAM and c-MWP point equally well, within {100 * ALIKE:.0f} points ({subset})"
            found.append(between(words, pair, "grad-cam", "c-mwp", -ALIKE, ALIKE))
        elif kind(network) == "vgg":
            words = f"On {network} Grad-CAM points better than c-MWP ({subset})"
            found.append(claim(words, pair, ["grad-cam", "c-mwp"]))
    return found


def _sections(
    rows: Sequence[Row], verdicts: Sequence[Verdict], pictures: Figures, headline: str, lab: Lab
) -> list[Section]:
    columns = {"name": "method", "network": "network"}
    if any("reference" in each for each in rows):
        columns["reference"] = "TorchRay"
    why = f"Claims are judged with a tolerance of {headline}." + (WHY if lab.on_scenes else "")
    said = [*verdicts, why] if verdicts else [NOTHING]
    parts = [Section("What the paper claims, here", *said), Section("Pictures", pictures)]
    for subset in SUBSETS:
        some = where(rows, subset=subset, tolerance=headline, over="classes")
        if not some:
            continue
        names = [f"{each['network'].removeprefix('scenes:')}: {each['name']}".removeprefix(": ") for each in some]
        figure = Figure(dots(some, "accuracy, the mean over classes", names), f"Pointing game, {subset} classes")
        order = sorted(TOLERANCES, key=lambda tolerance: tolerance != headline)
        by = {t: where(rows, subset=subset, tolerance=t, over="classes") for t in order}
        tables = [table(own, columns, f"accuracy, {t}", f"Tolerance: {t}. Mean over classes.") for t, own in by.items()]
        parts.append(Section(f"Accuracy, {subset} classes", Figures([figure], 1), *tables))
    return [*parts, *([Section("What does not go together", *refused(lab.refused))] if lab.refused else [])]


def _gallery(shown: Mapping[str, Sequence[Seen]], headline: str, boxes: bool) -> Figures:
    def draw(method: str, each: Seen) -> Figure:
        target, case = next(asked(each))
        note = "hit" if shot(case, finder(method), boxes).hits[headline] else "miss"
        point, true = case.found(finder(method)), each.sample.boxes(case.category)
        return drawn(each, target, None, true, note, f"{method}: {case.category}", point)

    some = {method: [each for each in shown[method] if any(asked(each))] for method in SHOWN if method in shown}
    words = "The ring is the point of the map; the boxes are those of what was asked for."
    return gallery(some, draw, 3, "", words)
