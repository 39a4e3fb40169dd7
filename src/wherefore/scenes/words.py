"""The words for what is in a world: how things are named, where they are, what the place is called.

A position or a relation is only said with a margin, so that nobody who sees the picture would dispute it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from wherefore.scenes.world import Thing

PLURALS = {
    "fish": "fish",
    "cactus": "cacti",
    "person": "people",
    "piece of furniture": "pieces of furniture",
}
NUMBERS = {2: "two", 3: "three", 4: "four"}
# Groups of which the backdrop of a place shows something itself: houses, trees, grass, seaweed.
BACKDROPS = {"street": "building", "forest": "plant", "meadow": "plant", "underwater": "plant"}


class Setting(NamedTuple):
    """How a place is called."""

    view: str  # the place itself
    on: str  # things are there ...
    over: str = ""  # ... or well above it, where that is something else,
    sky: float = 0.0  # which is surely so above this height


SETTINGS = {
    "street": Setting("a street", "on a street", "over a street", 0.5),
    "sea": Setting("a view of the sea", "at sea", "over the sea", 0.3),
    "underwater": Setting("an underwater scene", "under water"),
    "beach": Setting("a beach", "on a beach", "over a beach", 0.26),
    "forest": Setting("a forest", "in a forest"),
    "meadow": Setting("a meadow", "in a meadow", "over a meadow", 0.3),
    "mountain": Setting("a mountain landscape", "in the mountains"),
    "desert": Setting("a desert", "in the desert", "over the desert", 0.3),
    "snow": Setting("a snowy landscape", "in the snow", "over the snow", 0.34),
    "room": Setting("a room", "in a room"),
}
GROUND = 0.66  # what reaches below this height surely stands or hovers before the ground
SPOTS = {
    "left": "on the left",
    "right": "on the right",
    "top": "at the top",
    "bottom": "at the bottom",
    "middle": "in the middle",
}
RELATIONS = {"left": "to the left of", "right": "to the right of", "top": "above", "bottom": "below"}
FAR, NEAR = 0.2, 0.1  # in shares of the side: surely aside, and surely in the middle
TEXTURE, COLOUR = ("texture",), ("colour",)
BOTH = TEXTURE + COLOUR
# Too thin, or with spots of their own: nobody could tell their texture from the picture.
UNREADABLE = ("bicycle", "butterfly", "flower")


def plural(noun: str) -> str:
    """The noun in the plural."""
    if noun in PLURALS:
        return PLURALS[noun]
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")


def article(words: str) -> str:
    """The words with their article, as they sound."""
    return f"an {words}" if words[0] in "aeiou" else f"a {words}"


def counted(number: int, noun: str, before: str = "", after: str = "") -> str:
    """One with its article, more with their number; ``before`` and ``after`` stand around the noun."""
    if number == 1:
        return article(before + noun + after)
    return f"{NUMBERS[number]} {before}{plural(noun)}{after}"


def joined(words: Sequence[str]) -> str:
    """One, two and three."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def texture(thing: Thing) -> str:
    """The texture of a thing, "" where it cannot be told from the picture."""
    return "" if thing.category in UNREADABLE else thing.texture


def named(things: Sequence[Thing], looks: Sequence[str] = ()) -> str:
    """Things of one category, with those of the looks that they share: a red dog, a person in a striped shirt.

    That they are plain is only said along with a colour.
    """
    seen = [{texture(thing) if look == "texture" else thing.colour for thing in things} for look in looks]
    shared = [word for words in seen if len(words) == 1 for word in words if word]
    return looking(len(things), things[0].category, [] if shared == ["plain"] else shared)


def looking(number: int, noun: str, looks: Sequence[str]) -> str:
    """So many of a kind that look like this: a striped red dog, two people in striped shirts."""
    before, after = " ".join([*looks, ""]), ""
    if noun == "person" and looks:  # of a person the colour and the texture are the shirt's
        before, after = "", " in " + (article(f"{before}shirt") if number == 1 else f"{before}shirts")
    return counted(number, noun, before, after)


def subject(category: str) -> str:
    """What has the looks of the only thing of a category: of a person it is the shirt."""
    return "the shirt of the person" if category == "person" else f"the {category}"


def member(group: str) -> str:
    """The word for one of a group."""
    return "piece of furniture" if group == "furniture" else group


def grouped(thing: Thing, place: str) -> str:
    """The word for a thing's group, or its own where the backdrop shows more of that group."""
    return thing.category if thing.kind.group == BACKDROPS.get(place) else member(thing.kind.group)


def listed(things: Sequence[Thing], looks: Sequence[str] = ()) -> str:
    """All of the things, those of a category together."""
    return joined([named([t for t in things if t.category == c], looks) for c in each_once(t.category for t in things)])


def side(right: float, down: float) -> str:
    """The side to which something is surely off, left, right, top or bottom; "" where that could be disputed."""
    across = abs(right) > abs(down)
    more, less = (abs(right), abs(down)) if across else (abs(down), abs(right))
    if more < FAR or more < 2 * less:
        return ""
    if across:
        return "right" if right > 0 else "left"
    return "bottom" if down > 0 else "top"


def spot(thing: Thing) -> str:
    """Where in the picture a thing is: a side, middle, or "" where that could be disputed."""
    right, down = thing.x - 0.5, thing.y - 0.5
    return "middle" if max(abs(right), abs(down)) <= NEAR else side(right, down)


def relation(one: Thing, other: Thing) -> str:
    """How one thing lies to the other: to the left of, above ...; "" where that could be disputed."""
    return RELATIONS.get(side(one.x - other.x, one.y - other.y), "")


def setting(things: Iterable[Thing], place: str) -> str:
    """The place as it is said of all of the things: on a street, over a street; "" where that could be disputed."""
    words, ends = SETTINGS[place], [thing.reach[3] for thing in things]
    if not words.over or min(ends) >= GROUND:
        return words.on
    return words.over if max(ends) <= words.sky else ""


def placed(words: str, things: Sequence[Thing], place: str) -> str:
    """Words about things together with their place."""
    where = setting(things, place)
    return f"{words} {where}" if where else f"{SETTINGS[place].view} with {words}"


def each_once(items: Iterable[str]) -> list[str]:
    """The items, each once, in their order."""
    return list(dict.fromkeys(items))
