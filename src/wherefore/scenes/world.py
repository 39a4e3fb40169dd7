"""What is where in a scene: the words of the drawn world, and worlds imagined from a number.

A world says everything that a picture will show and depends on nothing but its seed, so annotations are the same on
every machine. Compositions (category, place, colour) are split, not only numbers: what a test scene shows was never
seen in that place and that colour by a network trained on scenes of the training split.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from operator import index
from typing import TypeVar

from wherefore.errors import Error
from wherefore.registry import unknown

T = TypeVar("T")
VERSION = 1  # of the drawn world: another number means other pictures, and networks trained anew

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (206, 44, 48),
    "orange": (240, 134, 32),
    "yellow": (244, 209, 54),
    "green": (66, 158, 68),
    "blue": (48, 96, 200),
    "purple": (132, 66, 168),
    "pink": (240, 134, 178),
    "brown": (130, 82, 46),
    "grey": (128, 130, 134),
    "white": (238, 236, 230),
}
TEXTURES = ("plain", "striped", "dotted", "checkered", "zigzag")


@dataclass(frozen=True)
class Kind:
    """What is true of all things of a category."""

    group: str  # animal, vehicle, furniture, plant, building, person
    homes: tuple[str, ...]  # the places where it belongs
    extent: tuple[float, float]  # half of its width and height, in units of its size; the larger is 1
    stands: str = "ground"  # ground, air, water: where in the picture it is found
    upright: bool = True  # it leans by a few degrees at most; others take any small angle
    material: str = ""  # of its body


KINDS: dict[str, Kind] = {
    "car": Kind("vehicle", ("street", "desert"), (1.0, 0.55), material="metal"),
    "bus": Kind("vehicle", ("street",), (1.0, 0.72), material="metal"),
    "bicycle": Kind("vehicle", ("street", "forest"), (1.0, 0.68), material="metal"),
    "boat": Kind("vehicle", ("sea",), (0.92, 1.0), "water", material="wood"),
    "airplane": Kind("vehicle", ("mountain", "sea"), (1.0, 0.5), "air", False, material="metal"),
    "dog": Kind("animal", ("meadow", "room", "beach"), (1.0, 0.85), material="fur"),
    "cat": Kind("animal", ("room",), (0.8, 1.0), material="fur"),
    "bird": Kind("animal", ("forest", "beach"), (1.0, 0.8), "air", material="feathers"),
    "fish": Kind("animal", ("underwater",), (1.0, 0.58), "water", False, material="scales"),
    "butterfly": Kind("animal", ("meadow", "forest"), (0.95, 0.8), "air", False, material="wing"),
    "elephant": Kind("animal", ("desert", "meadow"), (1.0, 0.8), material="hide"),
    "chair": Kind("furniture", ("room", "beach"), (0.62, 1.0), material="wood"),
    "table": Kind("furniture", ("room",), (1.0, 0.62), material="wood"),
    "lamp": Kind("furniture", ("room",), (0.52, 1.0), material="fabric"),
    "tree": Kind("plant", ("meadow", "mountain", "snow"), (0.72, 1.0), material="leaves"),
    "flower": Kind("plant", ("meadow", "forest"), (0.62, 1.0), material="petals"),
    "cactus": Kind("plant", ("desert",), (0.68, 1.0), material="leaves"),
    "house": Kind("building", ("snow", "mountain"), (1.0, 0.95), material="plaster"),
    "lighthouse": Kind("building", ("sea", "beach"), (0.42, 1.0), material="plaster"),
    "person": Kind("person", ("street", "snow", "beach", "mountain"), (0.5, 1.0), material="fabric"),
}
CATEGORIES = tuple(KINDS)
PLACES = ("street", "sea", "underwater", "beach", "forest", "meadow", "mountain", "desert", "snow", "room")
# The backdrop of a place shows something of the kind itself: nothing could be said of such a thing that is surely true.
NEVER = {("tree", "forest"), ("house", "street")}
SPLITS = ("train", "dev", "test")
PREFIX = "scenes:"  # of names of scenes, wherever a picture is wanted
COUNTS = {"single": 1, "pair": 2, "three": 3, "four": 4}  # objects, as names of scenes say it


class Dice:
    """Chances that are the same everywhere: of `random.Random` only ``random()`` is promised not to change."""

    def __init__(self, seed: str) -> None:
        self.random = random.Random(seed).random

    def between(self, low: float, high: float) -> float:
        """A number from low to high."""
        return low + (high - low) * self.random()

    def chance(self, share: float) -> bool:
        """True in that share of throws."""
        return self.random() < share

    def whole(self, low: int, high: int) -> int:
        """One of low, low + 1 ... high."""
        return low + int(self.random() * (high - low + 1))

    def pick(self, items: Sequence[T]) -> T:
        """One of the items."""
        return items[int(self.random() * len(items))]


@dataclass(frozen=True)
class Thing:
    """One object: what it is, how it looks and where it is, in shares of the picture's side."""

    category: str
    colour: str
    texture: str
    x: float  # its centre
    y: float
    size: float  # half of its longer side
    angle: float = 0.0  # degrees, clockwise
    flip: bool = False
    stretch: float = 1.0  # of the width
    shear: float = 0.0

    @property
    def kind(self) -> Kind:
        """What is true of all of its category."""
        return KINDS[self.category]

    @property
    def reach(self) -> tuple[float, float, float, float]:
        """A box around it before it is turned: x0, y0, x1, y1 in shares of the side."""
        wide, high = self.kind.extent[0] * self.size * self.stretch, self.kind.extent[1] * self.size
        return self.x - wide, self.y - high, self.x + wide, self.y + high


@dataclass(frozen=True)
class Light:
    """How a picture is lit: brightness, warmth (above 0 redder), a gradient across it, and grain in grey levels."""

    gain: float = 1.0
    warmth: float = 0.0
    angle: float = 0.0
    slope: float = 0.0
    grain: float = 0.0


@dataclass(frozen=True)
class World:
    """Everything that a picture shows: the place and its things, the farthest first."""

    seed: str
    place: str
    things: tuple[Thing, ...]
    light: Light
    split: str = "test"
    number: int = 0
    objects: int | None = None  # as many were asked for; None: any number

    @property
    def name(self) -> str:
        """What the scene is called; the test split and any number of objects go without saying."""
        counts = [word for word, count in COUNTS.items() if count == self.objects]
        return PREFIX + "/".join([*([self.split] if self.split != "test" else []), *counts, str(self.number)])

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """The categories of its things, each once, as `CATEGORIES` orders them."""
        here = {thing.category for thing in self.things}
        return tuple(c for c in CATEGORIES if c in here)

    def at_home(self, thing: Thing) -> bool:
        """Whether a thing belongs to this place."""
        return self.place in thing.kind.homes


def composition_split(category: str, place: str, colour: str) -> str:
    """The split that alone shows things of this category, in this place, in this colour.

    Of the ten colours eight are for training, one for development, one for testing, other ones in each place.
    """
    turn = 3 * CATEGORIES.index(category) + PLACES.index(place) + list(COLOURS).index(colour)
    return {0: "test", 5: "dev"}.get(turn % 10, "train")


def imagine(number: int, split: str = "test", objects: int | None = None) -> World:
    """World ``number`` of a split, with 1 to 4 objects, or as many as asked for.

    One object: any size. Two: of different categories. More: a category may come twice.
    Raises `Error` for a number below 0, an unknown split, or more than 4 objects.
    """
    if split not in SPLITS:
        raise Error(unknown("split of scenes", split, SPLITS))
    number = whole(number, 0, 10**15, "scenes are numbered from {} to {}")
    if objects is not None:
        objects = whole(objects, 1, 4, "a scene has {} to {} objects")
    seed = f"scenes {VERSION} {split} {objects or 'any'} {number}"
    dice = Dice(seed)
    count = objects or dice.pick((1, 1, 2, 2, 2, 3, 3, 4))
    first = dice.pick(CATEGORIES)
    place = _place(dice, first)
    categories = [first]
    while len(categories) < count:
        again = count > 2 and dice.chance(0.3)
        categories.append(dice.pick(categories) if again else _another(dice, categories, place))
    placed = _placed(dice, [_thing(dice, c, place, split, count) for c in categories], place)
    things = tuple(sorted(placed, key=lambda thing: thing.reach[3]))  # the nearest stands lowest and is drawn last
    return World(seed, place, things, _light(dice), split, number, objects)


def whole(number: int, low: int, high: int, words: str) -> int:
    """A whole number from low to high; else an `Error` in these words."""
    try:
        found = index(number)
    except TypeError:
        found = low - 1
    if not low <= found <= high:
        raise Error(words.format(low, f"{high:,}") + f", not {str(number)[:20]}.")
    return found


def _place(dice: Dice, category: str) -> str:
    """A place where the category belongs, or, for a third, one where it does not."""
    homes = KINDS[category].homes
    others = [p for p in PLACES if p not in homes and (category, p) not in NEVER]
    return dice.pick(homes) if dice.chance(0.65) else dice.pick(others)


def _another(dice: Dice, taken: Sequence[str], place: str) -> str:
    """A category that is not there yet, in half of the cases one that belongs to the place."""
    free = [c for c in CATEGORIES if c not in taken and (c, place) not in NEVER]
    fitting = [c for c in free if place in KINDS[c].homes]
    return dice.pick(fitting) if fitting and dice.chance(0.5) else dice.pick(free)


def _thing(dice: Dice, category: str, place: str, split: str, count: int) -> Thing:
    """A thing that this split may show in this place; nowhere yet."""
    colour = dice.pick([c for c in COLOURS if composition_split(category, place, c) == split])
    texture = "plain" if dice.chance(0.4) else dice.pick(TEXTURES[1:])
    smallest, largest = {1: (0.17, 0.44), 2: (0.15, 0.28)}.get(count, (0.13, 0.2))
    lean = 7 if KINDS[category].upright else 22
    return Thing(
        category,
        colour,
        texture,
        x=0.5,
        y=0.5,
        size=dice.between(smallest, largest),
        angle=dice.between(-lean, lean),
        flip=dice.chance(0.5),
        stretch=dice.between(0.88, 1.12),
        shear=dice.between(-0.08, 0.08),
    )


def _placed(dice: Dice, things: list[Thing], place: str) -> list[Thing]:
    """The things side by side; where there is no room for one after some tries, it is drawn a little smaller."""
    placed: list[Thing] = []
    for thing in things:
        while True:
            tries = [_somewhere(dice, thing, place) for _ in range(12)]
            free = [t for t in tries if all(_covered(t, other) < 0.18 for other in placed)]
            if free:
                placed.append(free[0])
                break
            thing = replace(thing, size=thing.size * 0.93)
    return placed


def _somewhere(dice: Dice, thing: Thing, place: str) -> Thing:
    """The thing at a spot where one of its kind may be; up to a tenth of it may lie beyond the border."""
    wide, high = (0.9 * extent * thing.size for extent in thing.kind.extent)
    x = dice.between(wide, 1 - wide)
    if place == "underwater" or dice.chance(0.15):
        y = dice.between(high, 1 - high)
    elif thing.kind.stands == "air":
        y = dice.between(high, max(high, 0.62 - 0.5 * high))
    else:
        y = dice.between(max(high, 0.66 - high), 1 - high)
    return replace(thing, x=x, y=min(max(y, high), 1 - high))


def _covered(one: Thing, other: Thing) -> float:
    """The share of the smaller of two boxes that the other covers."""
    a, b = one.reach, other.reach
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    smaller = min((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b))
    return max(0.0, wide) * max(0.0, high) / smaller


def _light(dice: Dice) -> Light:
    """Daylight of some kind; in one picture of eight it is dim."""
    gain = dice.between(0.6, 0.75) if dice.chance(0.125) else dice.between(0.86, 1.12)
    return Light(gain, dice.between(-0.06, 0.06), dice.between(0, 360), dice.between(0, 0.22), dice.between(0, 14))
