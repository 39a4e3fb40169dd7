"""What a caption claims, held against the world that it is about.

The captions and phrases of `language` are understood, with or without commas and full stop. Of other words, such as
those of a network that says "a red a dog", the nouns still count, but nothing that is not understood is true.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import NamedTuple

from wherefore.scenes.words import (
    NUMBERS,
    RELATIONS,
    SETTINGS,
    SPOTS,
    each_once,
    grouped,
    looking,
    member,
    plural,
    relation,
    setting,
    spot,
    subject,
    texture,
)
from wherefore.scenes.world import CATEGORIES, COLOURS, KINDS, TEXTURES, Thing, World
from wherefore.vocabulary import tokens

NOUNS = (*each_once([*CATEGORIES, *(member(kind.group) for kind in KINDS.values())]), "object")
# What a caption consists of, by signs: N a thing, M several, O another, D the thing and its looks, I there is,
# A there are, V a view with, P a picture of, R a relation, S a spot, W a place, H in the picture, & and.
LIST, PAIR = "[NM](?:[NM]*&[NM])?", "NR[NO]"
GRAMMAR = re.compile(f"[VP]?(?:{LIST}|{PAIR})|(?:{LIST}|{PAIR})W|{LIST}S|(?:I(?=N)|A(?=M)){LIST}[WH]?|D")


@dataclass(frozen=True)
class Named:
    """Things that a caption names with one noun.

    ``noun`` is the singular of a category or a group, or object. ``exact`` if there are said to be no more of them:
    two dogs, the dog, there is a dog. ``looks`` are colours and textures.
    """

    number: int
    noun: str
    looks: tuple[str, ...] = ()
    exact: bool = False
    definite: bool = False  # the dog: there is no other, whatever it looks like


@dataclass(frozen=True)
class Claims:
    """What a caption says.

    ``relations`` are the number of one in ``named``, how it lies, and the number of the other to which it does.
    ``spots`` and ``places`` are in the words of `words.SPOTS` and `words.SETTINGS`, and said of all that is named.
    ``understood`` if the whole caption is as `language` would put it.
    """

    named: tuple[Named, ...]
    relations: tuple[tuple[int, str, int], ...]
    spots: tuple[str, ...]
    places: tuple[str, ...]
    understood: bool


class Tally(NamedTuple):
    """How many claims of a kind there are, and how many of them are right."""

    claimed: int
    right: int


@dataclass(frozen=True)
class Checked:
    """How much of what a caption claims is so.

    ``things`` counts each thing that is named, two for "two dogs"; right are those that are there, each another one.
    ``counts`` are numbers that exclude others: two dogs, the dog, there is a dog. ``looks`` are colours and textures,
    right if the thing that is meant has them and they can be told. ``where`` are relations, spots and the place,
    right if `language` would say them of what is meant. What is meant is chosen to the caption's favour.
    """

    things: Tally
    counts: Tally
    looks: Tally
    where: Tally
    understood: bool

    @property
    def true(self) -> bool:
        """Whether all of the caption is understood and right."""
        tallies = (self.things, self.counts, self.looks, self.where)
        return self.understood and all(tally.right == tally.claimed for tally in tallies)


# ------------------------------------------------------------------------------------------------ what is claimed


class Lexeme(NamedTuple):
    """Words that belong together: their sign in the grammar, and what they mean."""

    sign: str
    means: Named | str = ""


def claims(caption: str) -> Claims:
    """What a caption says, whoever says it; of words that make no caption, as much as can be told."""
    lexemes = list(_lexemes(tokens(caption)))
    signs = "".join(lexeme.sign for lexeme in lexemes)
    named = tuple(lexeme.means for lexeme in lexemes if isinstance(lexeme.means, Named))
    if signs.startswith(("I", "A")):
        named = tuple(replace(each, exact=True) for each in named)
    # "Another" is another of the same.
    sound = "O" not in signs or len({each.noun for each in named}) == 1
    return Claims(
        named,
        tuple(_relations(lexemes)),
        spots=tuple(str(lexeme.means) for lexeme in lexemes if lexeme.sign == "S"),
        places=tuple(str(lexeme.means) for lexeme in lexemes if lexeme.sign in "VW"),
        understood=sound and bool(GRAMMAR.fullmatch(signs)),
    )


def _relations(lexemes: Sequence[Lexeme]) -> Iterator[tuple[int, str, int]]:
    """The relations between what is named before their words and behind."""
    named = [isinstance(lexeme.means, Named) for lexeme in lexemes]
    for i, lexeme in enumerate(lexemes):
        if lexeme.sign == "R" and any(named[:i]) and any(named[i:]):
            yield sum(named[:i]) - 1, str(lexeme.means), sum(named[:i])


def _lexemes(words: Sequence[str]) -> Iterator[Lexeme]:
    """The longest lexemes that the words make, one behind the other; what belongs to none has the sign "?"."""
    known = _lexicon()
    while words:
        lengths = range(min(_longest(), len(words)), 0, -1)
        length = next((n for n in lengths if tuple(words[:n]) in known), 1)
        yield known.get(tuple(words[:length]), Lexeme("?"))
        words = words[length:]


@cache
def _lexicon() -> dict[tuple[str, ...], Lexeme]:
    """All that the language says, made with the words that it is said with."""
    found = dict(_naming())
    found |= {f"{each.view} with": Lexeme("V", each.view) for each in SETTINGS.values()}
    found |= {words: Lexeme("W", words) for each in SETTINGS.values() for words in (each.on, each.over) if words}
    found |= {words + end: Lexeme("S", words) for words in SPOTS.values() for end in ("", " of the picture")}
    found |= {words: Lexeme("R", words) for words in RELATIONS.values()}
    found |= {"there is": Lexeme("I"), "there are": Lexeme("A"), "and": Lexeme("&")}
    found |= {"a picture of": Lexeme("P"), "in the picture": Lexeme("H")}
    return {tuple(words.split()): lexeme for words, lexeme in found.items()}


@cache
def _longest() -> int:
    """How many words the longest lexeme has."""
    return max(map(len, _lexicon()))


def _naming() -> Iterator[tuple[str, Lexeme]]:
    """How things are named: by the noun alone (no caption does), as another, by their number, as the only one."""
    for noun in NOUNS:
        yield noun, Lexeme("?", Named(1, noun))
        yield plural(noun), Lexeme("?", Named(1, noun))
        yield f"another {noun}", Lexeme("O", Named(1, noun))
    for noun, *words in product(NOUNS, ("", *TEXTURES), ("", *COLOURS)):
        looks = tuple(filter(None, words))
        for number in (1, *NUMBERS):
            exact = number > 1
            yield looking(number, noun, looks), Lexeme("M" if exact else "N", Named(number, noun, looks, exact))
    for category, *words in product(CATEGORIES, COLOURS, ("", *TEXTURES)):
        only = Named(1, category, tuple(filter(None, words)), exact=True, definite=True)
        yield f"{subject(category)} is {' and '.join(only.looks)}", Lexeme("D", only)


# ------------------------------------------------------------------------------------------------ what is so


def checked(caption: str, world: World) -> Checked:
    """How much of a caption is so in a world.

    A group is right by the word that `language` has for it: among the trees of a forest nothing is "a plant". The
    phrases of `language` are about parts: they are true of a world with no other things than theirs.
    """
    said = claims(caption)
    best = max(_right(said, world, meant) for meant in _meant(said.named, world))
    exact = [_counts(each, world) for each in said.named if each.exact]
    return Checked(
        things=Tally(sum(each.number for each in said.named), best[0]),
        counts=Tally(len(exact), sum(exact)),
        looks=Tally(sum(each.number * len(each.looks) for each in said.named), best[1]),
        where=Tally(len(said.relations) + len(said.spots) + len(said.places), best[2]),
        understood=said.understood,
    )


def _fits(thing: Thing, noun: str, place: str) -> bool:
    """Whether a noun may mean a thing."""
    return noun in (thing.category, grouped(thing, place), "object")


def _seen(thing: Thing, looks: Iterable[str]) -> int:
    """How many of the looks a thing has."""
    return sum(look in (thing.colour, texture(thing)) for look in looks)


def _counts(named: Named, world: World) -> bool:
    """Whether there are exactly as many as are named: of the noun, or of those that look so."""
    fitting = [thing for thing in world.things if _fits(thing, named.noun, world.place)]
    alike = [thing for thing in fitting if named.definite or _seen(thing, named.looks) == len(named.looks)]
    return named.number in (len(fitting), len(alike))


def _meant(named: Sequence[Named], world: World) -> Iterator[list[list[Thing]]]:
    """All ways to take what is named for things of the world, no thing for two: the things of each that is named."""
    numbers = range(len(named))
    ways = [[None, *(i for i in numbers if _fits(thing, named[i].noun, world.place))] for thing in world.things]
    for way in product(*ways):
        if all(way.count(i) <= each.number for i, each in enumerate(named)):
            taken = list(zip(world.things, way, strict=True))
            yield [[thing for thing, number in taken if number == i] for i in numbers]


def _right(said: Claims, world: World, meant: Sequence[Sequence[Thing]]) -> tuple[int, int, int]:
    """How many of the things are there, how many looks are right, and how much of where they are."""
    every = [thing for things in meant for thing in things]
    looks = sum(_seen(thing, each.looks) for each, things in zip(said.named, meant, strict=True) for thing in things)
    pairs = [(list(product(meant[one], meant[other])), how) for one, how, other in said.relations]
    related = [bool(both) and all(relation(*pair) == how for pair in both) for both, how in pairs]
    spots = [bool(every) and all(SPOTS.get(spot(thing)) == words for thing in every) for words in said.spots]
    plays = [_plays(words, every, world.place) for words in said.places]
    return len(every), looks, sum([*related, *spots, *plays])


def _plays(words: str, things: Sequence[Thing], place: str) -> bool:
    """Whether the place is the one that is said, and the things are on it or over it as is said."""
    here = SETTINGS[place]
    return words in ((here.view, setting(things, place)) if things else here)
