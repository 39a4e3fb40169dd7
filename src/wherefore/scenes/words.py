"""The words for what is in a world: how things are named, where they are, what the place is called.

A position or a relation is only said with a margin, so that nobody who sees the picture would dispute it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from wherefore.scenes.world import Thing

PLURALS = {
    "bus": "buses",
    "fish": "fish",
    "butterfly": "butterflies",
    "cactus": "cacti",
    "person": "people",
    "piece of furniture": "pieces of furniture",
}
NUMBERS = {2: "two", 3: "three", 4: "four"}
# Of each place: what is said of things on the ground, of things well above it, and of the place itself.
SETTINGS = {
    "street": ("on a street", "over a street", "a street"),
    "sea": ("at sea", "over the sea", "a view of the sea"),
    "underwater": ("under water", "under water", "an underwater scene"),
    "beach": ("on a beach", "over a beach", "a beach"),
    "forest": ("in a forest", "in a forest", "a forest"),
    "meadow": ("in a meadow", "over a meadow", "a meadow"),
    "mountain": ("in the mountains", "in the mountains", "a mountain landscape"),
    "desert": ("in the desert", "over the desert", "a desert"),
    "snow": ("in the snow", "over the snow", "a snowy landscape"),
    "room": ("in a room", "in a room", "a room"),
}
GROUND = (0.5, 0.66)  # what ends above the first floats; what reaches below the second stands
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


def plural(noun: str) -> str:
    """The noun in the plural."""
    return PLURALS.get(noun, noun + "s")


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


def named(things: Sequence[Thing], looks: Sequence[str] = ()) -> str:
    """Things of one category, with those of the looks that they share: a red dog, two people in striped clothes.

    That they are plain is only said along with a colour.
    """
    shared = [getattr(things[0], look) for look in looks if len({getattr(t, look) for t in things}) == 1]
    shared = [] if shared == ["plain"] else shared
    before, after = " ".join([*shared, ""]), ""
    if things[0].category == "person" and shared:
        before, after = "", f" in {before}clothes"
    return counted(len(things), things[0].category, before, after)


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
    standing, floating, _ = SETTINGS[place]
    ends = [thing.reach[3] for thing in things]
    if standing == floating or min(ends) >= GROUND[1]:
        return standing
    return floating if max(ends) <= GROUND[0] else ""


def placed(words: str, things: Sequence[Thing], place: str) -> str:
    """Words about things together with their place."""
    where = setting(things, place)
    return f"{words} {where}" if where else f"{SETTINGS[place][2]} with {words}"


def each_once(items: Iterable[str]) -> list[str]:
    """The items, each once, in their order."""
    return list(dict.fromkeys(items))
