"""What every method costs: the side claim of Fig. 1, that Grad-CAM is orders of magnitude cheaper than occlusion.

A ratio is the CPU time of an explanation, from prepared picture to raw map, over that of the plain forward on the same
picture in the same round; each picture is a round, in which the methods take their turns in another order.
"""

from __future__ import annotations

import gc
import random
from collections.abc import Callable, Sequence
from contextlib import nullcontext

import numpy as np
import torch

from wherefore.batch.store import Row as Kept
from wherefore.bench.measure import Turn, sampled
from wherefore.datasets import Array, Sample
from wherefore.experiments.charts import dots
from wherefore.experiments.lab import Lab
from wherefore.experiments.result import Result
from wherefore.experiments.tables import Row, need, refused, row, table, where
from wherefore.explainer import Explainer
from wherefore.methods.perturbation import forget
from wherefore.metrics.summary import Summary, bootstrapped
from wherefore.pages import Figure, Figures, Section, Verdict
from wherefore.registry import EXPERIMENTS, METHODS
from wherefore.types import Model

NETWORKS = ("vgg", "resnet")
FORWARD = "forward"
LEAST = 10.0  # how many times cheaper an order of magnitude is
WARMING = 2  # turns of each before the first round


class Timing:
    """What times methods on samples, for `wherefore.batch.rows.rows`: a row for each, and for the plain forward."""

    def __init__(self, model: Model, methods: Sequence[str]) -> None:
        self.ways = {name: Explainer(model, name, fit="squash") for name in methods}
        self.order, self.warm = random.Random(0), False

    def __call__(self, samples: Sequence[Sample]) -> list[list[Kept]]:
        calls = [self._calls(each) for each in samples]
        for call in calls[0].values() if not self.warm else ():
            for _ in range(WARMING):
                call()
        self.warm = True
        gc.collect()
        gc.freeze()  # what is there is no garbage: collecting before each turn then costs nothing
        try:
            return [self._round(each) for each in calls]
        finally:
            gc.unfreeze()

    def _calls(self, sample: Sample) -> dict[str, Callable[[], object]]:
        """What is timed on a sample; the classes are those with the highest score."""
        first = next(iter(self.ways.values()))
        net, images = first.fed(first.reader.batches(sample.image, 1)[0])

        def forward() -> object:
            with torch.inference_mode():
                return net(images)

        def explained(why: Explainer) -> Callable[[], object]:
            [prepared] = why.reader.read(sample.image)

            def call() -> object:
                forget()  # occlusion knows pictures that it has seen
                return why.on([prepared])

            return call

        return {FORWARD: forward, **{name: explained(why) for name, why in self.ways.items()}}

    def _round(self, calls: dict[str, Callable[[], object]]) -> list[Kept]:
        found = []
        for name in self.order.sample(list(calls), len(calls)):
            cpu, wall = sampled(_turn(calls[name]))
            found.append({"method": name, "cpu": cpu, "wall": wall})
        return found


def _turn(call: Callable[[], object]) -> Turn:
    return lambda: nullcontext(call)


@EXPERIMENTS("timing", title="What every method costs", section="Fig. 1", minutes=2)
def timing(lab: Lab) -> Result:
    """How much longer every method takes than running the network alone."""
    on_cpu = (lab.settings.device or "cpu").partition(":")[0] == "cpu"
    need(on_cpu, f"times are those of the CPU, not of {lab.settings.device}: leave the device out.")
    dataset = lab.dataset("single")
    numbers = lab.numbers(dataset, 16, 4)
    rows: list[Row] = []
    verdicts = []
    for model in lab.networks(*NETWORKS):
        methods = lab.fitting(model, list(METHODS), dataset)
        about = {"model": model.name, "weights_sha256": model.weights_sha256, "methods": methods, "warming": WARMING}
        kept = lab.measured(f"timing {model.name}", about, dataset, numbers, Timing(model, methods))
        need(kept, f"no picture of {dataset.spec} can be read.")
        seconds = {
            name: np.array([each["cpu"] for each in kept if each["method"] == name]) for name in [FORWARD, *methods]
        }
        rows += sorted((_row(model, name, seconds) for name in methods), key=lambda each: each["value"])
        if {"grad-cam", "occlusion"} <= set(methods):
            verdicts.append(_verdict(model, seconds))
    return Result(rows, verdicts, _sections(rows, verdicts, lab), {"threads": 1, "batch": 1})


def median(values: Array) -> Summary:
    """The median over rounds, with its bootstrap interval."""
    return bootstrapped(lambda times: float(np.median(np.repeat(values, times.astype(int)))), len(values))


def _row(model: Model, name: str, seconds: dict[str, Array]) -> Row:
    figure = median(seconds[name] / seconds[FORWARD])
    milliseconds = 1000 * float(np.median(seconds[name]))
    return row(name, figure, None, network=model.name, cost=METHODS[name].about["cost"], milliseconds=milliseconds)


def _verdict(model: Model, seconds: dict[str, Array]) -> Verdict:
    figure = median(seconds["occlusion"] / seconds["grad-cam"])
    words = f"On {model.name}, Grad-CAM is at least an order of magnitude cheaper than occlusion"
    numbers = f"occlusion takes {figure.value:.1f} times as long ({figure.low:.1f} to {figure.high:.1f})."
    return Verdict(words, figure.value >= LEAST, numbers)


def _sections(rows: Sequence[Row], verdicts: Sequence[Verdict], lab: Lab) -> list[Section]:
    parts = [Section("What the paper claims, here", *verdicts)]
    if lab.on_scenes:
        words = (
            "These networks are small: one forward takes milliseconds, and what any explanation costs beside it weighs "
            "more than on the networks of the papers, for which see `wherefore bench`."
        )
        parts[0] = Section(parts[0].title, *verdicts, words)
    for network in dict.fromkeys(each["network"] for each in rows):
        own = where(rows, network=network)
        chart = Figure(dots(own, "times the plain forward", log=True), f"CPU time on {network}, batch 1, one thread")
        caption = "Ratio: CPU time over the plain forward's, the median over pictures."
        columns = {"name": "method", "cost": "does"}
        parts.append(Section(network, Figures([chart], 1), table(own, columns, "ratio", caption, share=False)))
    return [*parts, *([Section("What does not go together", *refused(lab.refused))] if lab.refused else [])]
