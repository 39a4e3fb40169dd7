"""Do maps depend on the labels that a network learned: the data randomization test of Adebayo et al. 2018.

One small network is trained twice from the same first weights: on pictures with their labels, and on the same pictures
with these labels shuffled, which can only be learnt by heart. A map that explains what was learnt differs between them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wherefore.batch.store import Row as Kept
from wherefore.datasets import Array, Dataset, Sample
from wherefore.experiments.charts import dots
from wherefore.experiments.lab import Lab
from wherefore.experiments.result import Result
from wherefore.experiments.sanity import METHODS, SIZES, WORDS
from wherefore.experiments.showing import large, pictured
from wherefore.experiments.tables import Row, need, row, table, where
from wherefore.explainer import Explainer
from wherefore.metrics.likeness import LIKENESSES, likenesses
from wherefore.metrics.summary import Summary, summary
from wherefore.models import scaled
from wherefore.models.zoo import moved
from wherefore.pages import Figure, Figures, Section, Verdict
from wherefore.registry import EXPERIMENTS
from wherefore.sanity import again
from wherefore.saving import made
from wherefore.scenes.world import CATEGORIES
from wherefore.segmenting.pictures import fed, taken
from wherefore.segmenting.recipes import SCENES, Schedule
from wherefore.segmenting.training import Objective, fit
from wherefore.training.data import Pictures, Wanted, drawn
from wherefore.types import Model

SIDE = 64  # of the pictures that the networks see
TRUE, SHUFFLED = "true labels", "shuffled labels"
BY_HEART = 0.95  # of the training pictures are named right: as in the paper
DEPENDS = 0.5  # below this rank correlation a map depends on what was learnt
SHOWN = METHODS[:2]  # in the gallery
QUICKLY = "With `--quick` the networks learn a few pictures: it shows that everything runs, and means little."
INTRODUCTION = (
    "Two networks with the same first weights learn the same pictures in the same order, one with their labels and one "
    "with these labels shuffled. Maps are for the true label of pictures that neither has seen, on both networks."
)


@dataclass(frozen=True)
class Size:
    """How many pictures are learnt and for how long, and on how many others accuracy is measured."""

    pictures: int
    held_out: int
    schedule: Schedule


FULL = Size(1000, 200, Schedule(steps=900, drop=700, lr=5e-3, batch=32))
QUICK = Size(60, 40, Schedule(steps=60, drop=45, lr=5e-3, batch=20))


@EXPERIMENTS(
    "sanity-labels", title="Sanity checks: shuffled labels", section="Adebayo et al. 2018", minutes=4, trains=True
)
def labels(lab: Lab) -> Result:
    """How alike maps of a network are to those of one that learned shuffled labels by heart."""
    settings = lab.settings
    need(settings.data == "scenes", "sanity-labels learns scenes by heart: leave --data out.")
    need(settings.model is None, "sanity-labels trains its own networks: leave --model out.")
    size = QUICK if settings.quick else FULL
    dataset = lab.dataset("single")
    numbers = lab.numbers(dataset, 50, 6)
    lessons, held_out = lessons_of(size, settings.seed), singles("dev", size.held_out)
    models = {name: trained(lab, name, lesson, size.schedule) for name, lesson in lessons.items()}
    weights = {name: model.weights_sha256 for name, model in models.items()}
    lab.fitting(models[TRUE], METHODS, dataset)  # says at which layer
    kept = lab.measured("sanity-labels", {"networks": weights, "methods": METHODS}, dataset, numbers, Comparing(models))
    figures = {(method, measure): _figure(kept, method, measure) for method in METHODS for measure in LIKENESSES}
    right = {name: summary(hits(models[name].net, lesson)) for name, lesson in lessons.items()}
    unseen = {name: summary(hits(model.net, held_out)) for name, model in models.items()}
    rows = [*_accuracies("training", right), *_accuracies("held out", unseen)]
    rows += [row(method, figure, None, measure=measure) for (method, measure), figure in figures.items()]
    verdicts = _verdicts({method: figures[method, SIZES] for method in METHODS}, right)
    first = list(dict.fromkeys(each["number"] for each in kept))[:3]
    said = {"training pictures": size.pictures, "steps": size.schedule.steps, "depends below": DEPENDS}
    sections = _sections(rows, verdicts, _pictures(models, dataset, first), settings.quick)
    return Result(rows, verdicts, sections, {**said, "networks": weights})


# -------------------------------------------------------------------------------------------- what is learnt


def singles(split: str, count: int) -> Pictures:
    """The first ``count`` scenes of one thing of a split, and what is in them."""
    pictures, categories, _ = drawn(_wanted(split, count))
    return Pictures([pictures], categories)


def _wanted(split: str, count: int) -> Wanted:
    return Wanted(split, 1, count, SCENES.preprocess(SIDE))


def lessons_of(size: Size, seed: int) -> dict[str, Pictures]:
    """The training pictures with their labels, and with these labels in an order that the seed decides."""
    pictures = singles("train", size.pictures)
    order = np.random.default_rng(seed).permutation(size.pictures)
    return {TRUE: pictures, SHUFFLED: replace(pictures, labels=pictures.labels[order])}


def untrained(seed: int) -> nn.Module:
    """A VGG for pictures of 64 pixels with random weights; without dropout, which hinders learning by heart."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return scaled.initialised(scaled.Vgg(len(CATEGORIES), scaled.PEOPLE, side=4, hidden=64, dropout=0.0))


def trained(lab: Lab, name: str, lesson: Pictures, schedule: Schedule) -> Model:
    """The network after the whole schedule; kept in the lab's folder, from where a stopped training goes on."""
    seed = lab.settings.seed
    model = moved(Model(untrained(seed), CATEGORIES, SCENES.preprocess(SIDE), name=name), lab.settings.device)
    key = _wanted("train", len(lesson)).key
    path = made(lab.folder / "labels") / f"{name.replace(' ', '-')}-{key}-{seed}.pt"
    fit(model.net, naming(lesson), len(lesson), schedule, path, seed, _say)
    return model


def naming(lesson: Pictures) -> Objective:
    """The mean cross-entropy of pictures with one label each."""

    def objective(net: nn.Module, rows: Array) -> Tensor:
        scores = _scores(net, lesson, rows)
        return F.cross_entropy(scores, torch.from_numpy(lesson.labels[rows]).to(scores))

    return objective


def hits(net: nn.Module, pictures: Pictures) -> list[bool]:
    """Whether the class with the highest score is that of the label, for each picture."""
    found: list[bool] = []
    with torch.inference_mode():
        for rows in np.array_split(np.arange(len(pictures)), -(-len(pictures) // 100)):
            best = _scores(net, pictures, rows).argmax(1).cpu().numpy()
            found += (best == pictures.labels[rows].argmax(1)).tolist()
    return found


def _scores(net: nn.Module, pictures: Pictures, rows: Array) -> Tensor:
    scores: Tensor = net(fed(taken(pictures, rows, next(net.parameters()).device), SCENES, SIDE))
    return scores


def _say(line: str) -> None:
    print(line, file=sys.stderr)


# -------------------------------------------------------------------------------------------- how alike the maps are


class Comparing:
    """What compares the maps of two networks, for `wherefore.batch.rows.rows`: a row for each method."""

    def __init__(self, models: Mapping[str, Model]) -> None:
        self.ways = [Explainer(models[TRUE], method, fit="squash") for method in METHODS]
        self.other = models[SHUFFLED].net

    def __call__(self, samples: Sequence[Sample]) -> list[list[Kept]]:
        found: list[list[Kept]] = [[] for _ in samples]
        for why in self.ways:
            e = why([each.image for each in samples], [_target(each) for each in samples])
            other = again(e, self.other)
            evidence = torch.minimum(e.evidence, other.evidence)[:, 0].tolist()
            for image, rows in enumerate(found):
                [likeness] = likenesses(e, other, image)
                rows.append({"method": why.method, "evidence": evidence[image], **likeness})
        return found


def _target(sample: Sample) -> list[int]:
    [label] = sample.labels
    return [CATEGORIES.index(label)]


def _figure(kept: Sequence[Kept], method: str, measure: str) -> Summary:
    own = where(kept, method=method)
    return summary([each[measure] for each in own], [each["evidence"] for each in own])


def _accuracies(pictures: str, figures: Mapping[str, Summary]) -> Iterator[Row]:
    return (row(name, figure, None, measure="accuracy", pictures=pictures) for name, figure in figures.items())


# -------------------------------------------------------------------------------------------- what is said of it


def _verdicts(figures: Mapping[str, Summary], right: Mapping[str, Summary]) -> list[Verdict]:
    """Whether labels were learnt by heart, and which methods pass; figures are rank correlations of sizes."""
    words = f"Both networks name over {100 * BY_HEART:.0f} % of their training pictures as they were taught"
    reached = ", ".join(f"{name} {100 * figure.value:.1f} %" for name, figure in right.items())
    found = [Verdict(words, min(figure.value for figure in right.values()) > BY_HEART, f"{reached}.")]
    for name, passes, words in (
        ("grad-cam", True, "Grad-CAM passes: its maps depend on the labels that were learnt"),
        ("guided-backprop", False, "Guided backprop fails: its pictures stay alike whatever the labels"),
    ):
        figure = figures[name]
        empty = f", {figure.degenerate} of {figure.n} pairs with a map without evidence" if figure.degenerate else ""
        numbers = f"{SIZES} {figure}{empty}; depends below {DEPENDS:g}."
        found.append(Verdict(words, (figure.value < DEPENDS) == passes, numbers))
    return found


def _sections(rows: Sequence[Row], verdicts: Sequence[Verdict], pictures: Figures, quick: bool) -> list[Section]:
    criterion = (
        f"Fixed beforehand: a map depends on the labels that were learnt where its mean {WORDS[SIZES]} between the two "
        f"networks is below {DEPENDS:g}."
    )
    alike = [each for each in rows if each["measure"] in LIKENESSES]
    measures = "; ".join(f"{name}: {words}" for name, words in WORDS.items())
    charts = [Figure(dots(where(alike, measure=m), m), f"Between the two networks: {WORDS[m]}") for m in LIKENESSES]
    accuracies, learnt = where(rows, measure="accuracy"), {"name": "network", "pictures": "pictures"}
    chance = f"By chance {100 / len(CATEGORIES):.0f} % of pictures that were held out are named right."
    return [
        Section("What the paper claims, here", INTRODUCTION, *([QUICKLY] if quick else []), *verdicts, criterion),
        Section("Pictures", pictures),
        Section(
            "How alike the maps are",
            Figures(charts, 1),
            table(alike, {"name": "method", "measure": "measure"}, "likeness", f"{measures}.", share=False),
        ),
        Section("What the networks have learnt", table(accuracies, learnt, "named right", chance)),
    ]


def _pictures(models: Mapping[str, Model], dataset: Dataset, numbers: Sequence[int]) -> Figures:
    """Each picture beside its maps by some methods, on the network of true labels and on that of shuffled ones."""
    figures = []
    for number in numbers:
        sample = dataset[number]
        for method in SHOWN:
            e = Explainer(models[TRUE], method, fit="squash")(sample.image, [_target(sample)])
            if method == SHOWN[0]:
                figures.append(Figure(large(e)[0].pictures[0].image, sample.labels[0], sample.name))
            figures += [pictured(e, method, TRUE), pictured(again(e, models[SHUFFLED].net), method, SHUFFLED)]
    return Figures(figures, 1 + 2 * len(SHOWN))
