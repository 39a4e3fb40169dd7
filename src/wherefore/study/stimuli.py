"""Stimuli: the items of a study and their pictures, as section 5 of the paper has them.

Class discrimination (5.1): of pictures with exactly two annotated categories, the map of each category by each method;
which of the two is depicted? Trust (5.2): of pictures that two networks recognise, the maps of both; which network is
more reliable? What the paper leaves open is decided as in protocols, section G: both categories of 45 pictures, one
network in class discrimination, 90 pictures in trust.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from wherefore import __version__
from wherefore.datasets import Dataset, Sample, opened
from wherefore.errors import Error
from wherefore.progress import track
from wherefore.registry import METHODS
from wherefore.study.choosing import Chosen, of_two_categories, recognised
from wherefore.study.design import Design
from wherefore.study.networks import Network, network
from wherefore.study.plan import LIKERT, Item, Plan, needed, possible
from wherefore.study.rendering import PERCENTILE, SIDE, drawn, noise, photograph
from wherefore.study.texts import texts

PHOTOGRAPH, NOISE = "photograph", "noise"  # what catch trials show, in the place of a method


@dataclass(frozen=True)
class Stimuli:
    """A plan and what belongs to it: its pictures as PNG files by name, and what they were made from by name."""

    plan: Plan
    files: dict[str, bytes]
    samples: dict[str, Sample]


def stimuli(design: Design) -> Stimuli:
    """The plan of a study with all its pictures; the same for the same design, data and weights.

    Raises `Error` before any map is made where there are too few pictures, or the numbers cannot be met.
    """
    design = design.whole()
    for method in design.methods:
        METHODS[method]  # an unknown one is refused before networks are loaded
    dataset = opened(design.data, design.split)
    networks = _networks(design, dataset)
    if design.kind == "class-discrimination":
        chosen = of_two_categories(dataset, networks[0], design.pairs // 2, design.seed)
    else:
        chosen = recognised(dataset, networks, design.pairs, design.seed)
        networks.sort(key=lambda each: -chosen.accuracy[each.name])  # the better first; of equals the one given first
    items = _Items(design, dataset, networks)
    asked = items.discriminating(chosen) if design.kind == "class-discrimination" else items.trusting(chosen)
    catches = items.photographs(chosen) if design.kind == "class-discrimination" else items.noises(chosen)
    trials = needed(len(asked), design.ratings, max(1, design.people))
    possible(asked, design.ratings, design.people, trials)
    files = {name: draw() for name, draw in track(items.draws.items(), len(items.draws), "drawing maps")}
    plan = Plan(
        name=f"{design.kind}, {' and '.join(each.name for each in networks)}, {design.data}",
        kind=design.kind,
        seed=design.seed,
        items=tuple(asked),
        catches=tuple(catches),
        ratings=design.ratings,
        workers=design.people,
        trials=trials,
        texts=texts(design.kind, trials + len(catches)),
        source=_source(design, dataset, networks, chosen, items.empty),
    )
    return Stimuli(plan, files, {each.name: each for each in (*chosen.shown, *chosen.catches)})


def _networks(design: Design, dataset: Dataset) -> list[Network]:
    """The networks of a design, under names that differ."""
    weights: Sequence[str | None] = design.weights or [None] * len(design.models)
    found = [network(name, file, dataset, design.device) for name, file in zip(design.models, weights, strict=True)]
    if len({each.name for each in found}) == len(found):
        return found
    own = [each.model.weights_sha256 for each in found]
    if len({*own}) < len(found):
        raise Error(f"{found[0].name} is given twice with the same weights: give two networks that differ.")
    named = [replace(each.model, name=f"{each.name} {sha[:8]}") for each, sha in zip(found, own, strict=True)]
    return [Network(model, each.asked.outputs) for model, each in zip(named, found, strict=True)]


def _source(
    design: Design, dataset: Dataset, networks: Sequence[Network], chosen: Chosen, empty: Counter[str]
) -> dict[str, Any]:
    """Where the pictures are from, and all that they depend on."""
    return {
        "wherefore": __version__,
        "data": design.data,
        "split": design.split,
        "comparable": dataset.comparable,
        "networks": {each.name: each.model.weights_sha256 for each in networks},
        "layers": {each.name: each.layers for each in networks},
        "methods": list(design.methods),
        "pairs": design.pairs,
        "pictures": {"looked at": chosen.looked, "shown": len(chosen.shown)},
        **({"accuracy": chosen.accuracy} if chosen.accuracy else {}),
        "empty maps": dict(empty),
        "settings": {"fit": "squash", "side": SIDE, "percentile": PERCENTILE},
        "seed": design.seed,
    }


class _Items:
    """What makes items: names that tell nothing, and what draws each file, when all is known to be in order."""

    def __init__(self, design: Design, dataset: Dataset, networks: Sequence[Network]) -> None:
        self.methods, self.networks, self.categories = design.methods, networks, dataset.classes
        self.dice = random.Random(f"names {design.seed}")
        self.draws: dict[str, Callable[[], bytes]] = {}
        self.empty: Counter[str] = Counter()  # maps that are 0 everywhere, by method

    def discriminating(self, chosen: Chosen) -> list[Item]:
        """Each category of each picture by each method, to be told from the other."""
        return [
            self._item(sample, method, category, sample.labels, [self._map(0, method, sample, category)], category)
            for method in self.methods
            for sample in chosen.shown
            for category in sample.labels
        ]

    def trusting(self, chosen: Chosen) -> list[Item]:
        """What both networks say of each picture by each method, of the better network and of the other."""
        models = tuple(each.name for each in self.networks)
        items = []
        for method in self.methods:
            for sample in chosen.shown:
                category = self.networks[0].said(sample)
                maps = [self._map(n, method, sample, category) for n in range(len(models))]
                items.append(self._item(sample, method, category, LIKERT, maps, models=models))
        return items

    def photographs(self, chosen: Chosen) -> list[Item]:
        """Catch trials of class discrimination: plain photographs of one category, and another to choose from."""
        items = []
        for sample in chosen.catches:
            [category] = sample.labels
            known = [name for name in self.categories if name in self.networks[0].known]
            other = self.dice.choice([name for name in known if name != category])
            options = [name for name in known if name in (category, other)]
            draw = partial(photograph, sample.image)
            items.append(self._item(sample, PHOTOGRAPH, category, options, [draw], category, catch=True))
        return items

    def noises(self, chosen: Chosen) -> list[Item]:
        """Catch trials of trust: a map of the better network, and the same with its pixels shuffled."""
        items = []
        for sample in chosen.catches:
            category, seed = self.networks[0].said(sample), self.dice.getrandbits(32)
            pair = [self._map(0, self.methods[0], sample, category, at) for at in (None, seed)]
            models = (self.networks[0].name, NOISE)
            items.append(self._item(sample, NOISE, category, LIKERT, pair, LIKERT[0], models, catch=True))
        return items

    def _map(self, number: int, method: str, sample: Sample, category: str, shuffled: int | None = None) -> Any:
        """What draws the map of a category, or one whose pixels are shuffled by a seed."""

        def draw() -> bytes:
            pixels = self.networks[number].map(method, sample, category)
            self.empty[method] += not pixels.any()
            return drawn(pixels if shuffled is None else noise(pixels, shuffled))

        return draw

    def _item(
        self,
        sample: Sample,
        method: str,
        category: str,
        options: Sequence[str],
        draws: Sequence[Callable[[], bytes]],
        truth: str = "",
        models: tuple[str, ...] = (),
        catch: bool = False,
    ) -> Item:
        files = tuple(f"{self._name()}.png" for _ in draws)
        self.draws |= zip(files, draws, strict=True)
        return Item(self._name(), sample.name, method, category, files, tuple(options), truth, models, catch)

    def _name(self) -> str:
        """A name of which nothing can be read; that two of 64 bits are the same does not happen."""
        return f"{self.dice.getrandbits(64):016x}"
