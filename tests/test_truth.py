"""What captions claim: those of a scene are true of it, planted falsehoods are found, what is no caption is untrue."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product

import pytest

from test_language import holds
from wherefore.scenes.language import captions, phrases
from wherefore.scenes.truth import Checked, Tally, checked, claims
from wherefore.scenes.words import NUMBERS, RELATIONS, SETTINGS, SPOTS, plural
from wherefore.scenes.world import CATEGORIES, COLOURS, SPLITS, TEXTURES, Light, Thing, World, imagine

WORLDS = [imagine(n, split, objects) for n, split, objects in product(range(20), SPLITS, (None, 1, 2, 3, 4))]
GROUPS = {"animal": "animal", "vehicle": "vehicle", "plant": "plant", "building": "building"}
GROUPS |= {"furniture": "piece of furniture"}
LOOKS = f"(?:{'|'.join((*COLOURS, *TEXTURES))})"


def a_world(*things: Thing, place: str = "street") -> World:
    return World("by hand", place, things, Light())


CAR = Thing("car", "red", "striped", x=0.2, y=0.8, size=0.18)
DOG = Thing("dog", "blue", "plain", x=0.7, y=0.8, size=0.18)
MAN = Thing("person", "green", "dotted", x=0.7, y=0.25, size=0.18)
CAT = Thing("cat", "blue", "zigzag", x=0.48, y=0.5, size=0.1)


# ------------------------------------------------------------------------------------------------ what is true


def test_captions_are_true_of_their_scene() -> None:
    for world in WORLDS:
        for caption in captions(world):
            assert checked(caption, world).true, (caption, world)


def test_phrases_are_true_of_what_they_are_about() -> None:
    for world in WORLDS:
        for phrase, about in phrases(world):
            assert checked(phrase, replace(world, things=tuple(world.things[i] for i in about))).true, (phrase, world)


def test_neither_commas_nor_full_stops_nor_capitals_count() -> None:
    for caption in (c for world in WORLDS[:60] for c in captions(world)):
        assert claims(caption.replace(",", "").rstrip(".").upper()) == claims(caption)


def test_everything_that_a_caption_names_is_counted() -> None:
    for world in WORLDS:
        short, whole, _, counting, view = (checked(caption, world) for caption in captions(world))
        assert short.things == Tally(1, 1)
        for each in (whole, counting, view):
            assert each.things == Tally(len(world.things), len(world.things))


# ------------------------------------------------------------------------------------------------ by hand

BY_HAND = (
    # caption, then claimed and right: things, counts, looks, where; understood
    ("a striped red car and a blue cat on a street", (2, 1), (0, 0), (3, 2), (1, 1), True),
    ("a street with two blue dogs and a person in a red shirt", (3, 2), (1, 0), (3, 1), (1, 1), True),
    ("a blue dog to the left of a red car in a room", (2, 2), (0, 0), (2, 2), (2, 0), True),
    ("a person in a green shirt over a street", (1, 1), (0, 0), (1, 1), (1, 1), True),
    ("a person in a green shirt on a street", (1, 1), (0, 0), (1, 1), (1, 0), True),
    ("there are two animals and a vehicle in the picture", (3, 2), (2, 1), (0, 0), (0, 0), True),
    ("there are three objects in the picture", (3, 3), (1, 1), (0, 0), (0, 0), True),
    ("the shirt of the person is green and striped", (1, 1), (1, 1), (2, 1), (0, 0), True),
    ("the car is red", (1, 1), (1, 1), (1, 1), (0, 0), True),
    ("a red car on the left of the picture", (1, 1), (0, 0), (1, 1), (1, 0), True),  # as much at the bottom
    ("a red a dog", (1, 1), (0, 0), (0, 0), (0, 0), False),
    ("red dogs a cat on a street", (2, 1), (0, 0), (0, 0), (1, 1), False),
    ("a dog above", (1, 1), (0, 0), (0, 0), (0, 0), False),
)


@pytest.mark.parametrize(("caption", "things", "counts", "looks", "where", "understood"), BY_HAND)
def test_tallies_by_hand(
    caption: str,
    things: tuple[int, int],
    counts: tuple[int, int],
    looks: tuple[int, int],
    where: tuple[int, int],
    understood: bool,
) -> None:
    tallies = (Tally(*things), Tally(*counts), Tally(*looks), Tally(*where))
    found = checked(caption, a_world(CAR, DOG, MAN))
    assert found == Checked(*tallies, understood)
    assert found.true == (understood and all(claimed == right for claimed, right in tallies))


TWINS = a_world(DOG, replace(DOG, colour="red", x=0.2), place="room")


@pytest.mark.parametrize(
    ("caption", "true"),
    [
        ("a dog and a red dog in a room", True),  # whichever is taken first
        ("a red dog and a dog in a room", True),
        ("a red dog and a red dog in a room", False),
        ("a blue dog to the right of another dog", True),
        ("a dog to the left of another dog", True),
        ("a red dog to the right of another dog", False),
        ("a dog above another dog", False),
        ("a dog to the left of another cat", False),
        ("two dogs", True),
        ("two animals in a room", True),
        ("two blue dogs", False),
        ("a dog in a room", True),
        ("there is a dog in a room", False),  # there are two
        ("there is an animal in the picture", False),
        ("the dog is red", False),  # which one?
        ("three dogs", False),
        ("two dogs and an object", False),
    ],
)
def test_each_thing_that_is_named_is_another_one(caption: str, true: bool) -> None:
    found = checked(caption, TWINS)
    assert found.true == true and found.understood == ("cat" not in caption)


def test_a_number_may_be_right_where_the_looks_are_not() -> None:
    found = checked("two blue dogs", TWINS)
    assert (found.counts, found.looks) == (Tally(1, 1), Tally(2, 1))


def test_two_red_ones_of_three_are_two_red_ones() -> None:
    three = a_world(CAT, replace(CAT, x=0.1), replace(CAT, x=0.9, colour="red"))
    assert checked("two blue cats", three).true and checked("two blue cats and a red cat", three).true
    assert not checked("two cats", three).true and not checked("two red cats", three).true


def test_only_what_can_be_told_is_right() -> None:
    flower = replace(CAT, category="flower", colour="red")
    assert checked("a red flower", a_world(flower)).true
    assert checked("a zigzag red flower", a_world(flower)).looks == Tally(2, 1)
    assert checked("a plant", a_world(flower)).true
    assert not checked("a plant", a_world(flower, place="forest")).true  # one of many
    assert not checked("a cat above a dog", a_world(CAT, replace(CAT, category="dog", y=0.6))).true  # by too little


# ------------------------------------------------------------------------------------------------ what is false


def falsehoods(text: str, world: World) -> Iterator[tuple[str, str]]:
    """The text with one thing changed so that it is false whatever it means, and which tally must show it."""

    def put(old: str, news: list[str], kind: str) -> Iterator[tuple[str, str]]:
        for match in re.finditer(rf"\b{old}\b", text):
            for new in news[:2]:
                yield kind, spelled(text[: match.start()] + new + text[match.end() :])

    def absent(words: object, here: set[str]) -> list[str]:
        free = [word for word in words if word not in here]  # type: ignore[attr-defined]
        return random.Random(text).sample(free, len(free))

    colours, textures = ({getattr(t, look) for t in world.things} for look in ("colour", "texture"))
    for colour in colours:
        yield from put(colour, absent(COLOURS, colours), "looks")
    for texture in textures:
        yield from put(texture, absent(TEXTURES, textures), "looks")
    for old, new in swaps(world):
        if not (old == "person" and "shirt" in text):
            counted = rf"\b((?:{'|'.join(NUMBERS.values())}) (?:{LOOKS} )*){plural(old)}\b"  # as of two red fish
            changed = re.sub(rf"\b{old}\b", new, re.sub(counted, rf"\1{plural(new)}", text))
            if changed != text:
                yield "things", spelled(changed)
    for number in NUMBERS.values():  # several are always all of them
        yield from put(f"{number}(?! with)", [n for n in NUMBERS.values() if n != number], "counts")
    if match := re.match("there is an? (piece of furniture|[a-z]+)", text):
        yield "counts", f"there are two {plural(match[1])}{text[match.end() :]}"
    yield from misplaced(text, world, put)


def swaps(world: World) -> Iterator[tuple[str, str]]:
    """Nouns for what is there, and others for what is not."""
    groups = {thing.kind.group for thing in world.things}
    for group, other in product(GROUPS, GROUPS):
        if group in groups and other not in groups:
            yield GROUPS[group], GROUPS[other]
    for category in world.categories:
        strange = [c for c in CATEGORIES if c not in world.categories and c != "person"]
        yield category, strange[len(world.seed + category) % len(strange)]


def misplaced(
    text: str, world: World, put: Callable[[str, list[str], str], Iterator[tuple[str, str]]]
) -> Iterator[tuple[str, str]]:
    """Other places; and where each category is there once, other sides and relations."""
    here = SETTINGS[world.place]
    others = [SETTINGS[place] for place in SETTINGS if place != world.place]
    yield from put(f"{here.view} with", [f"{other.view} with" for other in others[len(text) % 8 :]], "where")
    yield from put(here.on, [other.on for other in others[len(text) % 8 :]], "where")
    if here.over:
        yield from put(here.over, [other.on for other in others], "where")
    if len(world.categories) == len(world.things):
        for words in (SPOTS, RELATIONS):
            for said in words.values():
                yield from put(said, [other for other in words.values() if other != said], "where")
    if len(world.things) == 1 and here.over:
        yield from put(here.over, [here.on], "where")
        yield from put(here.on, [here.over], "where")


def spelled(text: str) -> str:
    """The text with a or an, as it sounds."""
    return re.sub(r"\b(an?) (?=(\w))", lambda m: "an " if m[2] in "aeiou" else "a ", text)


def test_every_planted_falsehood_is_found() -> None:
    planted = dict.fromkeys(("things", "counts", "looks", "where"), 0)
    for world in WORLDS[::2]:
        for caption in captions(world):
            for kind, false in falsehoods(caption, world):
                found = checked(false, world)
                assert found.understood and not found.true, (false, world)
                tally = getattr(found, kind)
                assert tally.right < tally.claimed, (kind, false, found)
                if kind in ("looks", "where"):
                    assert found.things.right == found.things.claimed, (false, found)
                planted[kind] += 1
    assert min(planted.values()) > 100, planted


def test_a_falsehood_costs_as_much_as_it_says() -> None:
    world = a_world(CAR, DOG, MAN)
    true = checked("a striped red car to the left of a blue dog on a street", world)
    assert (true.things, true.looks, true.where) == (Tally(2, 2), Tally(3, 3), Tally(2, 2))
    for false, kind in (
        ("a dotted red car to the left of a blue dog on a street", "looks"),
        ("a striped red car to the left of a pink dog on a street", "looks"),
        ("a striped red car above a blue dog on a street", "where"),
        ("a striped red car to the left of a blue dog at sea", "where"),
    ):
        found, tally = checked(false, world), getattr(true, kind)
        assert found == replace(true, **{kind: Tally(tally.claimed, tally.right - 1)})


def test_captions_of_other_scenes_are_mostly_untrue() -> None:
    others = [(c, w) for told, w in zip(WORLDS, WORLDS[5:], strict=False) for c in captions(told)]  # as many things
    found = [checked(caption, world) for caption, world in others]
    assert all(each.understood for each in found)
    assert sum(each.true for each in found) / len(found) < 0.1
    assert sum(each.things.right for each in found) / sum(each.things.claimed for each in found) < 0.4


def test_what_is_true_also_holds_by_another_parser() -> None:
    """That of the tests of the language has a grammar of its own; it takes each noun by itself.

    It wants "the car is red" to say that it is striped, too.
    """
    told = [(c, w) for told, w in zip(WORLDS, WORLDS[5:], strict=False) for c in captions(told)]
    told += [(f, w) for w in WORLDS[::8] for c in captions(w) for _, f in falsehoods(c, w)]
    for caption, world in told:
        if checked(caption, world).true and not caption.startswith("the "):
            assert holds(caption.rstrip("."), world), (caption, world)


# ------------------------------------------------------------------------------------------------ what is no caption


@pytest.mark.parametrize(
    "text",
    [
        "", "?!", "colourless green ideas", "a", "dog", "dogs and cars", "a dog a car", "a dog and",
        "a elephant", "an dog", "a dogs", "two dog", "a green person", "a person in a shirt",
        "people in a red shirt", "a dog in a shirt", "there is two dogs in the picture",
        "there are a dog in the picture", "there is", "a dog in a room in a room", "a room with a dog in a room",
        "a room", "a picture of", "a picture of a dog in the picture", "a dog above", "a dog above two cars",
        "above a dog", "a dog above a car below a cat", "another dog", "a picture of another dog",
        "a dog above another cat", "the dog", "the dog is", "the red dog is red", "the person is red",
        "the dog is red and blue", "a red striped dog", "a red blue dog", "a dog honestly", "five dogs",
        "a dog on the left of the picture in a room",
    ],
)  # fmt: skip
def test_what_is_no_caption_is_not_true(text: str) -> None:
    assert not claims(text).understood and not checked(text, a_world(DOG, place="room")).true


def test_shuffled_captions_are_not_understood() -> None:
    """Few orders of the words of a caption make another."""
    dice, understood, number = random.Random(0), 0, 0
    for caption in (captions(world)[1].rstrip(".") for world in WORLDS):
        words = dice.sample(caption.split(), len(caption.split()))
        number, understood = number + 1, understood + claims(" ".join(words)).understood
    assert understood / number < 0.05
