"""Scenes as a data set: every number is a picture, drawn when it is asked for, and everything about it is known."""

from __future__ import annotations

from functools import partial

import numpy as np

from wherefore.datasets.sample import Array, Asked, Concepts, Dataset, Instance, Sample
from wherefore.errors import Error
from wherefore.registry import DATASETS
from wherefore.scenes import Scene, people, scene
from wherefore.scenes.annotated import CONCEPTS, ENDINGS
from wherefore.scenes.language import Question
from wherefore.scenes.world import CATEGORIES, COUNTS, SPLITS

ENDLESS = 100_000  # scenes have no end; a list must have one
SIDE, FIGURE_SIDE = 128, 64  # pixels
FIGURES = 2000  # people of a split
PARTS = {"hair": ("hair",), "face": ("face",), "clothing": ("clothes", "arms", "stethoscope")}  # sleeves bare the arms


class Scenes(Dataset):
    """Scenes of a split, ``side`` pixels wide and high; with ``objects`` those that show so many things."""

    name = "scenes"
    classes = CATEGORIES
    drawn = True

    def __init__(self, split: str = "test", objects: int | None = None) -> None:
        self.split, self.objects = split, objects
        self.side = SIDE
        counts = {count: name for name, count in COUNTS.items()}
        self.spec = "scenes" if objects is None else f"scenes:{counts[objects]}"

    def __len__(self) -> int:
        return ENDLESS

    def sample(self, number: int) -> Sample:
        return of_scene(scene(number, self.split, self.objects, self.side))


class People(Dataset):
    """Drawn doctors and nurses, ``side`` pixels wide and high, half of each with long hair; ``swapped``: each of them
    with the other hair."""

    name = "scenes"
    classes = people.LABELS
    drawn = True

    def __init__(self, split: str = "test", swapped: bool = False) -> None:
        self.split, self.swapped, self.side = split, swapped, FIGURE_SIDE
        self.spec = "scenes:people, other hair" if swapped else "scenes:people"

    def __len__(self) -> int:
        return FIGURES

    def sample(self, number: int) -> Sample:
        each = people.figure(number, self.split, size=self.side)
        each = each.swapped if self.swapped else each
        return Sample(
            f"people {self.split} {number}",
            lambda: each.image,
            (each.label,),
            boxed=False,
            known_size=(each.size, each.size),
            group=f"{each.hair} hair",
            parted=partial(_parts, each),
        )


def _parts(each: people.Figure) -> dict[str, Array]:
    """What is tied to the label by chance, part by part, and what tells it."""
    return {name: np.logical_or.reduce([each.masks[part] for part in parts]) for name, parts in PARTS.items()}


def of_scene(each: Scene) -> Sample:
    """What is known of a scene that data sets know of their pictures."""
    instances = tuple(
        Instance(thing.category, tuple(box), partial(_mask, each, i), each.flags[i].difficult)
        for i, (thing, box) in enumerate(zip(each.things, each.boxes.tolist(), strict=True))
    )
    return Sample(
        each.name,
        lambda: each.image,
        each.labels,
        instances,
        lambda: _segmentation(each),
        each.captions,
        known_size=(each.size, each.size),
        regions=each.regions,
        questions=tuple(_asked(each, question) for question in each.questions),
        labelled=partial(_concepts, each),
    )


def _mask(each: Scene, number: int) -> Array:
    found: Array = each.masks[number]
    return found


def _asked(each: Scene, question: Question) -> Asked:
    looked = partial(_looked, each, question) if each.looked_at(question).any() else None
    return Asked(question.text, question.answer, question.kind, (question.answer,), looked=looked)


def _looked(each: Scene, question: Question) -> tuple[Array, ...]:
    return tuple(grey.astype(np.float32) / np.float32(255) for grey in each.sharpened(question))


def _concepts(each: Scene) -> tuple[Concepts, ...]:
    found = ((kind, *each.concepts(kind)) for kind in CONCEPTS)
    return tuple(
        Concepts(kind, tuple(name + ENDINGS.get(kind, "") for name in names), where) for kind, names, where in found
    )


def _segmentation(each: Scene) -> Array:
    classes = np.zeros((each.size, each.size), np.uint8)
    for thing, mask in zip(each.things, each.masks, strict=True):
        classes[mask] = 1 + CATEGORIES.index(thing.category)
    return classes


@DATASETS("scenes", names="scenes, scenes:single (or pair, three, four, people)")
def scenes(where: str, split: str = "test") -> Scenes | People:
    """The drawn world of the package, fully annotated; a stand-in.

    ``scenes:people`` are doctors and nurses with short and long hair, for audits of bias.
    """
    if where and where not in (*COUNTS, "people"):
        raise Error(f"scenes come as scenes or scenes:{', scenes:'.join((*COUNTS, 'people'))}, not scenes:{where}.")
    if split not in SPLITS:
        raise Error(f"scenes have the splits {', '.join(SPLITS)}, not {split!r}.")
    if where == "people":
        return People(split)
    return Scenes(split, COUNTS[where] if where else None)
