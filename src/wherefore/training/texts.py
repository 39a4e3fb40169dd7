"""What is said and asked of the pictures that networks with words are trained on, in numbers of words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from wherefore.scenes.language import captions, questions
from wherefore.scenes.phrasing import phrasings
from wherefore.scenes.words import SPOTS, spot, texture
from wherefore.scenes.world import CATEGORIES, COLOURS, PLACES, TEXTURES, World, imagine
from wherefore.speech import padded
from wherefore.training.data import Array
from wherefore.training.recipes import Mix
from wherefore.vocabulary import Vocabulary

# How often each of a scene's five captions is drawn: the one that names everything most often, so that a network that
# says what is likeliest says much.
SHARES = (0.15, 0.45, 0.2, 0.1, 0.1)
PLACES_A_SIDE = 12  # of the last maps of the scaled networks
MIDDLE = 0.6  # the share of a thing's extent that it fills for sure
LONGEST = 24  # words of a caption, and of a question
SAMPLED = 3000  # scenes of each count whose texts the vocabulary is taken from


@cache
def worlds(split: str, objects: int | None, count: int) -> tuple[World, ...]:
    """The worlds of the first ``count`` scenes of a split with so many objects."""
    return tuple(imagine(number, split, objects) for number in range(count))


def of_mix(split: str, mix: Mix) -> list[World]:
    """The worlds of all scenes of a mix, in its order."""
    return [world for objects, count in mix for world in worlds(split, objects, count)]


def spoken(mix: Mix, name: str) -> Vocabulary:
    """The words of the training captions, of which each occurs more than five times (Karpathy and Fei-Fei 2015)."""
    some = tuple((objects, SAMPLED) for objects, _ in mix)
    return Vocabulary.of((c for world in of_mix("train", some) for c in captions(world)), 6, LONGEST, name)


def asked(mix: Mix, name: str) -> tuple[Vocabulary, tuple[str, ...]]:
    """The words of the training questions in all trained ways, and their answers."""
    some = tuple((objects, SAMPLED) for objects, _ in mix)
    every = [question for world in of_mix("train", some) for question in questions(world)]
    ways = (way for question in every for way in phrasings(question).trained)
    answers = sorted({question.answer for question in every}, key=lambda a: (not a.isdigit(), a))
    return Vocabulary.of(ways, 1, LONGEST, name), tuple(answers)


def parts(world: World) -> Array:
    """What is at each of 12x12 places of the picture: numbers of category, colour and texture, ``(3, 12, 12)``.

    -1 where nothing is for sure: outside of the middle of things, and for textures that cannot be told.
    """
    found = np.full((3, PLACES_A_SIDE, PLACES_A_SIDE), -1, np.int8)
    middles = (np.arange(PLACES_A_SIDE) + 0.5) / PLACES_A_SIDE
    for thing in world.things:  # the nearest last: it covers others
        x0, y0, x1, y1 = thing.reach
        across, down = (abs(middles - c) < MIDDLE * r for c, r in ((thing.x, (x1 - x0) / 2), (thing.y, (y1 - y0) / 2)))
        seen = TEXTURES.index(thing.texture) if texture(thing) else -1
        values = CATEGORIES.index(thing.category), [*COLOURS].index(thing.colour), seen
        found[:, down[:, None] & across] = np.array(values, np.int8)[:, None]
    return found


def facts(world: World) -> Array:
    """What is true of the whole picture, `FACTS` numbers 0 and 1, whatever is said of it.

    Of every category whether it is there, in each colour, each texture that can be told, and on each side; the place.
    """
    there = np.zeros((len(CATEGORIES), 1 + len(COLOURS) + len(TEXTURES) + len(SPOTS)), np.uint8)
    for thing in world.things:
        row, seen, side = there[CATEGORIES.index(thing.category)], texture(thing), spot(thing)
        row[0] = row[1 + [*COLOURS].index(thing.colour)] = 1
        if seen:
            row[1 + len(COLOURS) + TEXTURES.index(seen)] = 1
        if side:
            row[1 + len(COLOURS) + len(TEXTURES) + [*SPOTS].index(side)] = 1
    return np.concatenate([there.ravel(), np.eye(len(PLACES), dtype=np.uint8)[PLACES.index(world.place)]])


FACTS = len(CATEGORIES) * (1 + len(COLOURS) + len(TEXTURES) + len(SPOTS)) + len(PLACES)


def all_facts(worlds: Sequence[World]) -> Array:
    """`facts` of every world, ``(N, FACTS)``."""
    return np.stack([facts(world) for world in worlds])


def all_parts(worlds: Sequence[World]) -> Array:
    """`parts` of every world, ``(N, 3, 12, 12)``."""
    return np.stack([parts(world) for world in worlds])


class Drawn(NamedTuple):
    """What goes with n pictures in a step."""

    texts: Tensor  # (n each, L), 0 behind the last word
    answers: Tensor  # of questions, (n each,); captions have none


@dataclass(frozen=True)
class Captions:
    """The captions of pictures in words' numbers."""

    of: Sequence[Sequence[list[int]]]

    @classmethod
    def read(cls, worlds: Sequence[World], vocabulary: Vocabulary) -> Captions:
        """All captions of worlds."""
        return cls([[vocabulary.numbers(c, strict=False) for c in captions(w)] for w in worlds])

    def drawn(self, rows: Iterable[int], each: int, dice: np.random.Generator) -> Drawn:
        """``each`` captions of every picture by chance."""
        rows = [*rows]
        which = dice.choice(len(SHARES), (len(rows), each), p=SHARES)
        chosen = [self.of[row][way] for row, ways in zip(rows, which, strict=True) for way in ways]
        return Drawn(padded(chosen, 0), torch.empty(0))


@dataclass(frozen=True)
class Questions:
    """The questions of pictures in words' numbers, in all their trained ways, and the numbers of their answers."""

    of: Sequence[Sequence[tuple[Sequence[list[int]], int, str]]]

    @classmethod
    def read(cls, worlds: Sequence[World], vocabulary: Vocabulary, answers: Sequence[str]) -> Questions:
        """All questions of worlds that have one of the answers."""
        numbers = {answer: number for number, answer in enumerate(answers)}
        known: dict[str, list[int]] = {}

        def read(text: str) -> list[int]:
            if text not in known:
                known[text] = vocabulary.numbers(text)
            return known[text]

        return cls(
            [
                [
                    ([read(way) for way in phrasings(question).trained], numbers[question.answer], question.kind)
                    for question in questions(world)
                    if question.answer in numbers
                ]
                for world in worlds
            ]
        )

    def drawn(self, rows: Iterable[int], each: int, dice: np.random.Generator) -> Drawn:
        """``each`` questions of every picture by chance, and their answers.

        All kinds of question come about equally often, whatever there are more of; so do their ways.
        """
        texts, answers, rows = [], [], [*rows]
        for row in rows:
            every = self.of[row]
            kinds = [kind for _, _, kind in every]
            shares = np.array([1 / kinds.count(kind) for kind in kinds])
            for number in dice.choice(len(every), each, p=shares / shares.sum()):
                ways, answer, _ = every[number]
                texts.append(ways[dice.integers(len(ways))])
                answers.append(answer)
        return Drawn(padded(texts, 0), torch.tensor(answers))
