"""What is said and asked of a world: captions, phrases, questions with answers.

Only what can be told from the picture is said. A position or a relation needs a margin; "the dog" is the only dog;
a "no" names no colour and no texture that is like the true one; nothing is asked about a group of things of which the
backdrop shows some itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

from wherefore.scenes.words import (
    BACKDROPS,
    BOTH,
    COLOUR,
    FAR,
    SETTINGS,
    SPOTS,
    TEXTURE,
    article,
    counted,
    each_once,
    grouped,
    joined,
    listed,
    named,
    placed,
    plural,
    relation,
    setting,
    spot,
    subject,
    texture,
)
from wherefore.scenes.world import CATEGORIES, COLOURS, NEVER, TEXTURES, Dice, Thing, World

T = TypeVar("T")
# What may be taken for each other, as colours in warm or dim light, or go by the same name: no question is answered
# with no because of the difference.
ALIKE = (
    {"red", "orange", "pink", "brown"},
    {"orange", "yellow", "brown"},
    {"pink", "purple"},
    {"blue", "purple"},
    {"white", "grey", "yellow"},
    {"green", "yellow"},
    {"white", "pink"},
    {"grey", "brown"},
    {"striped", "zigzag"},
    {"house", "lighthouse"},
)


@dataclass(frozen=True)
class Question:
    """A question, its answer, what kind of question it is, and the numbers of the things that the answer is about.

    ``kind`` is one of kind, colour, texture, count, where, place, exists, check (of a colour or a texture), relation.
    ``about`` holds what a person would have to look at: where there is no such thing, everything that there is.
    It is None where the answer is about the place. ``answer`` is a single word, or a digit.
    """

    text: str
    answer: str
    kind: str
    about: tuple[int, ...] | None


# ------------------------------------------------------------------------------------------------ captions


def captions(world: World) -> tuple[str, ...]:
    """Five different captions, all true, each a line in lower case with a full stop.

    A short one, one that names all things, one that says where or how something is, one that counts, one of the place.
    """
    dice = Dice(world.seed + " captions")
    said: list[str] = []
    for ways in (_short, _whole, _where, _counting, _view):
        said.append(next(words for words in _shuffled(dice, ways(world)) if words not in said))
    return tuple(words + "." for words in said)


def _shuffled(dice: Dice, items: Iterable[T]) -> list[T]:
    """The items in an order by chance."""
    return sorted(items, key=lambda _: dice.random())


def _short(world: World) -> list[str]:
    """One thing and the place."""
    ways = [placed(named([thing], look), [thing], world.place) for thing in world.things for look in (COLOUR, TEXTURE)]
    return [words for words in ways if words not in _whole(world)]


def _whole(world: World) -> list[str]:
    """All things and the place, the nearest first; of one or two things all looks, of more only the colours."""
    looks = BOTH if len(world.things) < 3 else COLOUR
    return [placed(listed(world.things[::-1], looks), world.things, world.place)]


def _where(world: World) -> list[str]:
    """How one thing lies to another; else where one is in the picture; else how one looks."""
    pairs = [(one, other) for one in world.things for other in world.things if relation(one, other)]
    spots = [f"{named([thing], COLOUR)} {SPOTS[spot(thing)]} of the picture" for thing in world.things if spot(thing)]
    related = [placed(_related(one, other), [one, other], world.place) for one, other in pairs]
    return (
        related or spots or [_described(t) for _, t in _alone(world)] or [f"a picture of {listed(world.things, BOTH)}"]
    )


def _related(one: Thing, other: Thing) -> str:
    """A thing, its relation and the other thing."""
    second = f"another {one.category}" if one.category == other.category else named([other], COLOUR)
    return f"{named([one], COLOUR)} {relation(one, other)} {second}"


def _described(thing: Thing) -> str:
    """How a thing looks, in a sentence."""
    return f"{subject(thing.category)} is {thing.colour}" + (
        "" if texture(thing) in ("", "plain") else f" and {texture(thing)}"
    )


def _counting(world: World) -> list[str]:
    """How many things there are, by the words for their groups."""
    where = setting(world.things, world.place) or "in the picture"
    groups = [grouped(thing, world.place) for thing in world.things]
    # The most first: "there are" is right before two cats and a dog.
    counts = sorted(((groups.count(group), group) for group in each_once(groups)), key=lambda count: -count[0])
    words = joined([counted(number, group) for number, group in counts])
    ways = [f"there {'are' if counts[0][0] > 1 else 'is'} {words} {where}"]
    if len(world.things) > 1:
        ways.append(f"there are {counted(len(world.things), 'object')} {where}")
    return ways


def _view(world: World) -> list[str]:
    """The place, and what is there."""
    view, things = SETTINGS[world.place].view, world.things
    looks = [TEXTURE] if len(things) == 1 else [(), TEXTURE] if len(things) == 2 else [()]
    ways = [f"{before} {listed(things, look)}" for look in looks for before in (f"{view} with", "a picture of")]
    return [*ways, f"{view} with {counted(len(things), 'object')}"] if len(things) > 1 else ways


# ------------------------------------------------------------------------------------------------ phrases


def phrases(world: World) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Phrases about parts of the picture, and the numbers of the things that each is about.

    Two or three about each thing, one about each pair of neighbours, and those about the things of a category or group.
    """
    dice = Dice(world.seed + " phrases")
    found = [phrase for i, thing in enumerate(world.things) for phrase in _of_one(i, thing, world.place)]
    for pair in _neighbours(world):
        one, other = (world.things[i] for i in (pair if dice.chance(0.5) else pair[::-1]))
        found.append((_related(one, other) if relation(one, other) else listed([one, other], COLOUR), pair))
    found += [(counted(len(about), word), about) for word, about in _crowds(world)]
    return tuple(dict.fromkeys(found))


def _of_one(i: int, thing: Thing, place: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """A thing with all of its looks, with its place, and, where it is clear, where it is in the picture."""
    where = setting([thing], place)
    yield named([thing], BOTH), (i,)
    yield f"{named([thing], COLOUR)} {where}" if where else named([thing], COLOUR if texture(thing) else ()), (i,)
    if spot(thing):
        yield f"{named([thing])} {SPOTS[spot(thing)]}", (i,)


def _neighbours(world: World) -> list[tuple[int, int]]:
    """Pairs of which one is the nearest of the other."""

    def nearest(i: int) -> int:
        here = world.things[i]
        others = [j for j in range(len(world.things)) if j != i]
        return min(others, key=lambda j: math.dist((here.x, here.y), (world.things[j].x, world.things[j].y)))

    everything = range(len(world.things)) if len(world.things) > 1 else ()
    return sorted({(min(i, nearest(i)), max(i, nearest(i))) for i in everything})


def _crowds(world: World) -> Iterator[tuple[str, tuple[int, ...]]]:
    """What two or more things are together: their category, and their group."""
    for words in ([t.category for t in world.things], [grouped(t, world.place) for t in world.things]):
        for word in each_once(words):
            if words.count(word) > 1:
                yield word, tuple(i for i, other in enumerate(words) if other == word)


# ------------------------------------------------------------------------------------------------ questions


def questions(world: World) -> tuple[Question, ...]:
    """Questions with their answers, no text twice; as many yes as no, but for chance in the kind relation."""
    dice = Dice(world.seed + " questions")
    kinds = (_what_kind, _what_looks, _where_is, _how_many, _is_there, _is_it, _is_it_where)
    place = Question("what place is this?", world.place, "place", None)
    return (*(question for ask in kinds for question in ask(world, dice)), place)


def _of(world: World, category: str) -> tuple[int, ...]:
    """The numbers of the things of a category."""
    return tuple(i for i, thing in enumerate(world.things) if thing.category == category)


def _alone(world: World) -> list[tuple[int, Thing]]:
    """The things that are the only ones of their category, so that "the dog" is clear."""
    return [(i, thing) for i, thing in enumerate(world.things) if len(_of(world, thing.category)) == 1]


def _absent(world: World, dice: Dice, number: int) -> list[str]:
    """Some categories that are not there, and of which the backdrop shows nothing."""
    absent = [c for c in CATEGORIES if (c, world.place) not in NEVER]
    absent = [c for c in absent if all(c in _unlike(here) for here in world.categories)]
    return _shuffled(dice, absent)[:number]


def _what_kind(world: World, _: Dice) -> Iterator[Question]:
    """What a thing is, asked by its group, as an object, or by where it is."""
    for group in each_once(thing.kind.group for thing in world.things):
        about = tuple(i for i, thing in enumerate(world.things) if thing.kind.group == group)
        names = {world.things[i].category for i in about}
        if len(names) == 1 and group != "person" and group != BACKDROPS.get(world.place):
            yield Question(f"what kind of {group} is there?", names.pop(), "kind", about)
    if len(world.things) == 1:
        yield Question("what object is there?", world.things[0].category, "kind", (0,))
    for i, thing in enumerate(world.things):
        where = spot(thing)
        rest = [other for j, other in enumerate(world.things) if j != i]
        ahead = all(_towards(where, thing) - _towards(where, other) >= FAR for other in rest)
        if where and ahead and where not in map(spot, rest):
            yield Question(f"what object is {SPOTS[where]}?", thing.category, "kind", (i,))


def _towards(where: str, thing: Thing) -> float:
    """How far a thing is towards a side, or towards the middle."""
    right, down = thing.x - 0.5, thing.y - 0.5
    return {"left": -right, "right": right, "top": -down, "bottom": down}.get(where, -max(abs(right), abs(down)))


def _what_looks(world: World, _: Dice) -> Iterator[Question]:
    """What colour and what texture."""
    for i, thing in _alone(world):
        yield Question(f"what colour is {subject(thing.category)}?", thing.colour, "colour", (i,))
        if texture(thing):
            yield Question(f"what pattern does {subject(thing.category)} have?", thing.texture, "texture", (i,))


def _where_is(world: World, _: Dice) -> Iterator[Question]:
    """Where in the picture."""
    for i, thing in _alone(world):
        if spot(thing):
            yield Question(f"where is the {thing.category}?", spot(thing), "where", (i,))


def _how_many(world: World, dice: Dice) -> Iterator[Question]:
    """How many of each category and larger group, of one category that is not there, and of all."""
    everything = tuple(range(len(world.things)))
    asked = {category: _of(world, category) for category in world.categories} | dict(_crowds(world))
    for word, about in asked.items():
        yield Question(f"how many {plural(word)} are there?", str(len(about)), "count", about)
    for category in _absent(world, dice, 1):
        yield Question(f"how many {plural(category)} are there?", "0", "count", everything)
    yield Question("how many objects are there?", str(len(everything)), "count", everything)


def _is_there(world: World, dice: Dice) -> Iterator[Question]:
    """Whether there is one of a category; for each yes a no."""
    for category in world.categories:
        yield Question(f"is there {article(category)}?", "yes", "exists", _of(world, category))
    for category in _absent(world, dice, len(world.categories)):
        yield Question(f"is there {article(category)}?", "no", "exists", tuple(range(len(world.things))))


def _is_it(world: World, dice: Dice) -> Iterator[Question]:
    """Whether a thing has a colour and a texture: by chance one of them is the true one; else two colours."""
    for i, thing in _alone(world):
        false = dice.pick(_unlike(thing.colour)), dice.pick(_unlike(thing.texture))
        asked = ((thing.colour, "yes"), (false[1], "no"))
        if not texture(thing):
            asked = ((thing.colour, "yes"), (false[0], "no"))
        elif dice.chance(0.5):
            asked = ((false[0], "no"), (thing.texture, "yes"))
        for look, answer in asked:
            yield Question(f"is {subject(thing.category)} {look}?", answer, "check", (i,))


@cache
def _unlike(word: str) -> tuple[str, ...]:
    """The colours, textures or categories that nobody would take for the one that the word names."""
    (words,) = (words for words in (tuple(COLOURS), TEXTURES, CATEGORIES) if word in words)
    return tuple(other for other in words if other != word and not any({word, other} <= group for group in ALIKE))


def _is_it_where(world: World, dice: Dice) -> Iterator[Question]:
    """Whether a thing is to the left of another, above it ...: asked as it is, or the other way round."""
    alone = _alone(world)
    for (i, one), (j, other) in ((a, b) for a in alone for b in alone if a[0] < b[0]):
        if dice.chance(0.5):
            (i, one), (j, other) = (j, other), (i, one)
        how, true = relation(one, other), dice.chance(0.5)
        first, second = (one, other) if true else (other, one)
        if how:
            text = f"is the {first.category} {how} the {second.category}?"
            yield Question(text, "yes" if true else "no", "relation", (i, j))
