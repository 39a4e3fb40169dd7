"""Choosing: which pictures of a data set a study shows, at random by its seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from wherefore.datasets import Dataset, Sample
from wherefore.errors import Error
from wherefore.progress import track
from wherefore.study.networks import Network

CATCHES = 2
MEASURED = 500  # pictures that the accuracy of two networks is measured on
SOUGHT = 100  # drawn pictures that are looked at for each one that is wanted; of others all


@dataclass(frozen=True)
class Chosen:
    """Pictures for the items and for the catch trials, and among how many they were found.

    ``accuracy`` of networks by name, where it was measured: how often their first class is among the labels.
    """

    shown: list[Sample]
    catches: list[Sample]
    looked: int
    accuracy: dict[str, float] = field(default_factory=dict)


class Search:
    """Samples of a data set in random order. Those that cannot be read are passed over: `wherefore datasets` says why.

    ``looked`` counts the others. Of a drawn world, which has no end, `SOUGHT` are looked at for each that is wanted.
    """

    def __init__(self, dataset: Dataset, wanted: int, seed: int) -> None:
        self.dataset, self.looked = dataset, 0
        order = random.Random(seed).sample(range(len(dataset)), len(dataset))
        self.order = order[: SOUGHT * wanted] if dataset.drawn else order

    def __call__(self, fits: Callable[[Sample], bool]) -> Iterator[Sample]:
        """Those that fit; only these are decoded."""
        expected = min(len(self.order), MEASURED)  # mostly so many are enough
        for number in track(self.order, expected, "looking at pictures"):
            try:
                sample: Sample = self.dataset[number]
                found = fits(sample) and sample.image is not None
            except Error:
                continue
            self.looked += 1
            if found:
                yield sample

    def too_few(self, found: int, what: str, needed: int, advice: str) -> Error:
        """What is said where not enough were found."""
        return Error(
            f"{self.dataset.spec} ({self.dataset.split}) has {found} {what} among the {self.looked} that were looked "
            f"at, and {needed} are needed: {advice}."
        )


def of_two_categories(dataset: Dataset, network: Network, pictures: int, seed: int) -> Chosen:
    """Pictures of exactly two annotated categories, difficult ones counted, and of one for the catch trials.

    The network knows them all. Raises `Error` where there are too few.
    """
    search = Search(dataset, pictures + CATCHES, seed)
    wanted = {2: pictures, 1: CATCHES}
    found: dict[int, list[Sample]] = {2: [], 1: []}

    def missing(sample: Sample) -> bool:
        count = len(sample.labels)
        return count in wanted and len(found[count]) < wanted[count] and network.known.issuperset(sample.labels)

    for sample in search(missing):
        found[len(sample.labels)].append(sample)
        if all(len(found[count]) == wanted[count] for count in wanted):
            return Chosen(found[2], found[1], search.looked)
    if len(found[2]) < pictures:
        what = f"pictures with exactly two categories, both known to {network.name},"
        raise search.too_few(len(found[2]), what, pictures, "give fewer --pairs, or other --data")
    what = f"pictures with one category, known to {network.name},"
    raise search.too_few(len(found[1]), what, CATCHES, "the catch trials are such pictures, so give other --data")


def recognised(dataset: Dataset, networks: Sequence[Network], pictures: int, seed: int) -> Chosen:
    """Pictures of which both networks say the same class first, and rightly; and how often each is right.

    Right is a class among the labels (protocols: section G2). Those for the catch trials have one label, so that there
    is one thing to be seen. Raises `Error` where there are too few.
    """
    found, catches, right, asked = list[Sample](), list[Sample](), [0] * len(networks), 0
    search = Search(dataset, pictures + CATCHES, seed)
    for sample in search(lambda each: all(net.known.intersection(each.labels) for net in networks)):
        said = [net.said(sample) for net in networks]
        asked += 1
        right = [count + bool(each) for count, each in zip(right, said, strict=True)]
        if said[0] and len({*said}) == 1:
            if len(found) < pictures:
                found.append(sample)
            elif len(catches) < CATCHES and len(sample.labels) == 1:
                catches.append(sample)
        if asked >= MEASURED and len(catches) == CATCHES:
            break
    what = f"that {' and '.join(net.name for net in networks)} both recognise, with the same answer,"
    if len(found) < pictures:
        raise search.too_few(len(found), f"pictures {what}", pictures, "give fewer --pairs, or other --data")
    if len(catches) < CATCHES:
        advice = "they are for the catch trials; give fewer --pairs, or other --data"
        raise search.too_few(len(catches), f"further pictures with one category {what}", CATCHES, advice)
    accuracy = {net.name: count / asked for net, count in zip(networks, right, strict=True)}
    return Chosen(found, catches, search.looked, accuracy)
