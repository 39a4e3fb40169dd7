"""What the paper claims beside its tables: sections 3 and 7 and the appendix (protocols: sections A and N).

Two identities, to float precision; that what speaks against a class lies on the picture's other objects; and that ReLUs
with the rule of guided backprop lose what tells classes apart. The latter two are asked of pictures that show several
categories, each of them in turn.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from wherefore.batch import maps
from wherefore.batch.maps import Seen
from wherefore.datasets import Dataset, Sample
from wherefore.experiments.ablations import meets_relus
from wherefore.experiments.charts import dots
from wherefore.experiments.contrasts import (
    BACKGROUND,
    ELSEWHERE,
    MARKED,
    NAMED,
    OTHERS,
    PARTS,
    area,
    covering,
    energy_on,
    peak_on,
    separations,
    values,
)
from wherefore.experiments.identities import IDENTITIES, deviations
from wherefore.experiments.lab import Lab
from wherefore.experiments.result import Result
from wherefore.experiments.showing import drawn
from wherefore.experiments.tables import Row, claim, need, refused, row, table, unchanged, where
from wherefore.explainer import Explainer
from wherefore.metrics.localization import smoothed
from wherefore.metrics.summary import Summary, bootstrapped, summary
from wherefore.pages import Figure, Figures, Section, Verdict
from wherefore.registry import EXPERIMENTS
from wherefore.types import Model

FLOAT = 1e-5  # of the largest value: what float32 keeps of a sum over channels
PEAK, ENERGY, AREA = "peak", "energy", "area"
PLACES = {PEAK: peak_on, ENERGY: energy_on, AREA: area}
RISES = "score rises when covered"
SEPARATION, ASTRAY = "class separation", "peak on the other objects"
PLAIN, GUIDED, DECONV, PIXELS = (
    "Grad-CAM",
    "guided ReLUs above the layer",
    "deconvnet ReLUs above the layer",
    "guided backprop, to the pixels",
)
RULES: dict[str, tuple[str, dict[str, Any]]] = {
    PLAIN: ("grad-cam", {}),
    GUIDED: ("grad-cam", {"backward": "guided"}),
    DECONV: ("grad-cam", {"backward": "deconv"}),
    PIXELS: ("guided-backprop", {}),
}
IDENTICAL = (
    "Behind average pooling and one linear layer with weights w the mean gradient alpha of a channel is w / Z, Z the "
    "number of places: Grad-CAM is CAM. And the map of what speaks for a class less that of what speaks against it is "
    "the signed sum S of channels. Gradients are those of autograd, for the top-5 classes of each picture."
)
PLACED = "Peak: the map is highest there. Energy: its share of the map. Area: its share of the picture."
COVERED = "Covered is what exceeds half of the map's maximum, and as much moved to where it hides least of the things."
SEPARATED = "1 - the rank correlation of the maps for two classes: 0 says that a method does not tell them apart."
Figured = dict[tuple[str, str], Summary]  # by measure, and by what it is measured on or with


@EXPERIMENTS("claims", title="What the paper claims beside its tables", section="3, 7, appendix", minutes=3)
def claims(lab: Lab) -> Result:
    """Two identities of Grad-CAM, where what speaks against a class lies, and what guided ReLUs do to classes."""
    dataset = lab.dataset("pair")
    first, *others = lab.networks("vgg", "googlenet", "resnet")
    outputs = lab.asked("labels", dataset, first).outputs

    def several(sample: Sample) -> bool:
        return len(outputs.keys() & {thing.category for thing in sample.instances}) > 1

    numbers = lab.numbers(dataset, 200, 24, several)
    need(numbers, f"{dataset.spec} has no pictures with two categories of {first.name}'s: give voc:DIR or coco:DIR.")
    rows, verdicts = _identities(lab, dataset, numbers[: max(1, len(numbers) // 4)])
    opposed = {model.name: list(lab.seen(model, "counterfactual", dataset, numbers)) for model in (first, *others)}
    for model in (first, *others):
        found = _against(lab, model, dataset, numbers, opposed[model.name])
        rows += _rows("counterfactual", model.name, found)
        verdicts += _on_the_others(model.name, found)
    rules = _ruled(lab, first, dataset, numbers, opposed[first.name][0].sample)
    told = {rule: _apart(rule, kept) for rule, kept in rules.items()}
    for rule, found in told.items():
        rows += _rows(RULES[rule][0], first.name, found)
    verdicts += _lost(first.name, told)
    return Result(rows, verdicts, _sections(rows, verdicts, opposed[first.name], rules, lab))


def _rows(method: str, network: str, found: Figured) -> list[Row]:
    return [row(method, f, network=network, measure=measure, on=on) for (measure, on), f in found.items()]


# -------------------------------------------------------------------------------------------- identities


def _identities(lab: Lab, dataset: Dataset, numbers: Sequence[int]) -> tuple[list[Row], list[Verdict]]:
    """How far each identity is from true on each network, at most; whether it holds on all to float precision."""
    figures: dict[str, dict[str, Summary]] = defaultdict(dict)
    for model in lab.networks("vgg", "alexnet", "googlenet", "resnet", "vgg-cam"):
        about = {"model": model.name, "weights_sha256": model.weights_sha256, "preprocess": repr(model.preprocess)}
        kept = lab.measured("identities", about, dataset, numbers, deviations(model))
        for identity in IDENTITIES:
            found = np.array([each[identity] for each in kept if each[identity] is not None], np.float64)
            if len(found):
                figures[identity][model.name] = bootstrapped(partial(_largest, found), len(found))
    rows = [
        row("grad-cam", figure, network=network, measure=identity, on="largest deviation, of the largest value")
        for identity, own in figures.items()
        for network, figure in own.items()
    ]
    return rows, [_exact(identity, own) for identity, own in figures.items()]


def _largest(found: np.ndarray[Any, Any], times: np.ndarray[Any, Any]) -> float:
    return float(found[times > 0].max())


def _exact(identity: str, figures: Mapping[str, Summary]) -> Verdict:
    said = ", ".join(f"{network} {figure.value:.1g}" for network, figure in figures.items())
    return Verdict(
        f"{identity} to float precision, on every network that it applies to",
        all(figure.value < FLOAT for figure in figures.values()),
        f"Largest deviations, of the largest value: {said}.",
    )


# -------------------------------------------------------------------------------------------- what speaks against


def _against(lab: Lab, model: Model, dataset: Dataset, numbers: Sequence[int], kept: Sequence[Seen]) -> Figured:
    """Where what speaks against classes lies, how large the parts are, and what covering it does to the scores."""
    evidence = _evidence(kept)
    found = {
        (measure, part): summary(values(kept, partial(function, part=part)), evidence)
        for measure, function in PLACES.items()
        for part in PARTS
    }
    why = Explainer(model, "counterfactual", fit="squash")
    about = maps.about(why, lab.asked("labels", dataset, model).about, dataset)
    rises: dict[int, list[Row]] = defaultdict(list)
    for each in lab.measured("covering", about, dataset, numbers, covering(why, kept)):
        rises[each["number"]].append(each)
    own = [rises[each.rows[0]["number"]] for each in kept]
    for what in (MARKED, ELSEWHERE):
        found[RISES, what] = summary([[float(one[what] > 0) for one in some] for some in own], evidence)
    return found


def _on_the_others(network: str, found: Figured) -> list[Verdict]:
    peaks = {part: found[PEAK, part] for part in PARTS}
    shares = {"their share of its energy": found[ENERGY, OTHERS], "of the picture": found[AREA, OTHERS]}
    rises = {what: found[RISES, what] for what in (MARKED, ELSEWHERE)}
    rest = (
        f"On the background: {found[PEAK, BACKGROUND].value:.3f} of the peaks, {found[ENERGY, BACKGROUND].value:.3f} "
    )
    rest += "of the energy."
    speaks = f"On {network} what speaks against a class"
    covers = f"On {network} covering what speaks against a class raises its score more often than as much elsewhere"
    return [
        claim(
            f"{speaks} is strongest on the other objects more often than on the class's own",
            peaks,
            [OTHERS, NAMED],
            extra=rest,
        ),
        claim(f"{speaks} lies on the other objects more than their area would have it", shares, list(shares)),
        claim(covers, rises, list(rises)),
    ]


# -------------------------------------------------------------------------------------------- guided ReLUs


def _ruled(lab: Lab, model: Model, dataset: Dataset, numbers: Sequence[int], sample: Sample) -> dict[str, list[Seen]]:
    """Maps with each rule that changes something on this network."""
    methods = lab.fitting(model, ["grad-cam", "guided-backprop"], dataset)
    rectifies = meets_relus(model, sample.image)
    return {
        rule: list(lab.seen(model, method, dataset, numbers, **options))
        for rule, (method, options) in RULES.items()
        if method in methods and (rectifies or not options)
    }


def _apart(rule: str, kept: Sequence[Seen]) -> Figured:
    """How well the maps of one rule tell the classes of a picture apart."""
    evidence, smooth = _evidence(kept), smoothed if rule == PIXELS else None
    astray = values(kept, partial(peak_on, part=OTHERS, smooth=smooth))
    return {(SEPARATION, rule): summary(separations(kept), evidence), (ASTRAY, rule): summary(astray, evidence)}


def _lost(network: str, told: Mapping[str, Figured]) -> list[Verdict]:
    apart, astray = ({rule: found[measure, rule] for rule, found in told.items()} for measure in (SEPARATION, ASTRAY))
    found = []
    for rule in (rule for rule in told if rule != PLAIN):
        same = f"On {network} {rule} change nothing in how alike maps of two classes are"
        words = f"On {network} maps of two classes are more alike with {rule} than with Grad-CAM"
        found.append(unchanged(same, apart, PLAIN, rule) or claim(words, apart, [PLAIN, rule]))
        same = f"On {network} {rule} change nothing in how often peaks stray to the other objects"
        words = f"On {network} peaks stray to the other objects more often with {rule} than with Grad-CAM"
        found.append(unchanged(same, astray, PLAIN, rule) or claim(words, astray, [PLAIN, rule], "lower"))
    return found


def _evidence(kept: Sequence[Seen]) -> list[float]:
    return [value for each in kept for value in each.explanation.evidence[0].tolist()]


# -------------------------------------------------------------------------------------------- the page


def _sections(
    rows: Sequence[Row],
    verdicts: Sequence[Verdict],
    opposed: Sequence[Seen],
    rules: Mapping[str, Sequence[Seen]],
    lab: Lab,
) -> list[Section]:
    exact = [
        table(some, {"network": "network"}, each, share=False)
        for each in IDENTITIES
        if (some := where(rows, measure=each))
    ]
    told = {"on": "maps", "name": "method"}
    parts = [
        Section("What the paper claims, here", *verdicts),
        Section("Identities", IDENTICAL, *exact),
        _against_section(rows, opposed),
        Section(
            "ReLUs with another rule",
            _compared(rules),
            table(where(rows, measure=SEPARATION), told, SEPARATION, SEPARATED, share=False),
            table(where(rows, measure=ASTRAY), told, ASTRAY, "Of pixel methods the peak of the smoothed map."),
        ),
    ]
    return [*parts, *([Section("What does not go together", *refused(lab.refused))] if lab.refused else [])]


def _against_section(rows: Sequence[Row], opposed: Sequence[Seen]) -> Section:
    places = [each for measure in PLACES for each in where(rows, measure=measure)]
    on_others = where(places, on=OTHERS)
    chart = dots(on_others, "share", [f"{each['network']}: {each['measure']}" for each in on_others])
    columns = {"measure": "measure", "on": "on", "network": "network"}
    return Section(
        "What speaks against a class",
        _opposed(opposed),
        Figures([Figure(chart, "What speaks against a class: how much of it lies on the other objects")], 1),
        table(places, columns, "share", PLACED),
        table(where(rows, measure=RISES), columns, "share", COVERED),
    )


def _opposed(kept: Sequence[Seen]) -> Figures:
    figures = [
        drawn(each, t, None, each.sample.boxes(name), f"peak on {_lies(each, t)}", f"against {name}")
        for each in kept[:2]
        for t, name in enumerate(each.explanation.targets[0][:2])
    ]
    return Figures(figures, 4, "", "The box is that of the class that it speaks against; the ring is the peak.")


def _lies(each: Seen, target: int) -> str:
    """On which part of its picture a map is highest."""
    on = {part: values([each], partial(peak_on, part=part))[0][target].item() for part in PARTS}
    return next((part for part, value in on.items() if value == 1), "nothing")


def _compared(rules: Mapping[str, Sequence[Seen]]) -> Figures:
    figures = [
        drawn(kept[0], t, None, kept[0].sample.boxes(name), "", f"{rule}: {name}")
        for rule, kept in rules.items()
        for t, name in enumerate(kept[0].explanation.targets[0][:2])
    ]
    return Figures(
        figures, 4, "", "One picture, two classes. The box is that of the class asked for; the ring is the peak."
    )
