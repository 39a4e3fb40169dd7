"""What a page is made of: sections of words, figures, tables, verdicts, commands and links. Words may hold `code`.

Section("Layers", "The deepest layer tells most.", Figures([Figure(picture, "features.14")]), Table(...))
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from PIL import Image

from wherefore.saving import file_name


@dataclass(frozen=True)
class Figure:
    """A picture, what is said beneath it, a note in grey, and in ``alt`` what those should know who cannot see it."""

    picture: Image.Image = field(repr=False)
    caption: str
    note: str = ""
    alt: str = ""

    @property
    def description(self) -> str:
        """What stands for the picture where it cannot be seen."""
        return self.alt or f"{self.caption}. {self.note}".rstrip(". ")


@dataclass(frozen=True)
class Figures:
    """Figures side by side, ``columns`` in a row where there is room, with a heading of their own and words below."""

    figures: Sequence[Figure]
    columns: int = 3
    heading: str = ""
    words: str = ""


@dataclass(frozen=True)
class Card:
    """One of many: its name, its pictures, a sentence or two, and facts to sort by (numbers) and filter by (words)."""

    title: str
    figures: Sequence[Figure]
    facts: Mapping[str, str | float | None]
    words: str = ""


@dataclass(frozen=True)
class Cards:
    """Many of one kind, each with its pictures ``columns`` in a row; whoever looks at the page sorts and filters them.

    Their pictures are in the page alone, and not beside it.
    """

    cards: Sequence[Card]
    columns: int = 4

    @property
    def abreast(self) -> bool:
        """Whether they stand side by side, as each has one picture."""
        return all(len(card.figures) == 1 for card in self.cards)

    @property
    def numbers(self) -> list[str]:
        """The facts to sort by."""
        return [name for name, values in self._facts.items() if values and not any(isinstance(v, str) for v in values)]

    @property
    def choices(self) -> dict[str, list[str]]:
        """The facts to filter by, and their values."""
        found = {name: sorted({str(v) for v in values}, key=_natural) for name, values in self._facts.items()}
        return {name: values for name, values in found.items() if name not in self.numbers and len(values) > 1}

    @property
    def _facts(self) -> dict[str, list[str | float]]:
        names = dict.fromkeys(name for card in self.cards for name in card.facts)
        return {name: [value for card in self.cards if (value := card.facts.get(name)) is not None] for name in names}


def _natural(words: str) -> list[str | int]:
    """What words are sorted by so that story 2 stands before story 10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"([0-9]+)", words)]


class Share(NamedTuple):
    """A share, 0 to 1, with its 95 % interval; a table draws it, too."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{100 * self.value:.0f}\N{NO-BREAK SPACE}% ({100 * self.low:.0f}\N{EN DASH}{100 * self.high:.0f})"


@dataclass(frozen=True)
class Table:
    """Rows of words and shares beneath a header; the first cell of a row names it. ``marked``: rows that stand out."""

    header: Sequence[str]
    rows: Sequence[Sequence[str | Share]]
    caption: str = ""
    marked: Sequence[int] = ()


@dataclass(frozen=True)
class Verdict:
    """A claim, whether it holds here, and the numbers that say so; not ``clear``: it may be chance that it does."""

    claim: str
    holds: bool
    numbers: str
    clear: bool = True

    @property
    def word(self) -> str:
        """What is printed."""
        return ("holds" if self.holds else "does not hold") + ("" if self.clear else ", may be chance")

    @property
    def tone(self) -> str:
        """How it is coloured: yes, no, or perhaps."""
        return "perhaps" if not self.clear else "yes" if self.holds else "no"


class Command(NamedTuple):
    """A line for the terminal, and what it does."""

    line: str
    does: str


@dataclass(frozen=True)
class Commands:
    """Lines for the terminal, each with what it does."""

    commands: Sequence[Command]


class Link(NamedTuple):
    """Where another page of ours lies, beside this one, and its name."""

    address: str
    name: str


@dataclass(frozen=True)
class Links:
    """Ways to other pages of ours."""

    links: Sequence[Link]


Part = str | Figures | Cards | Table | Verdict | Commands | Links


@dataclass(frozen=True, init=False)
class Section:
    """A titled part of a page: paragraphs (plain strings) and whatever else, in their order."""

    title: str
    parts: tuple[Part, ...]

    def __init__(self, title: str, *parts: Part) -> None:
        object.__setattr__(self, "title", title)
        object.__setattr__(self, "parts", parts)

    @property
    def anchor(self) -> str:
        """Its place in the page's address."""
        return file_name(self.title)

    @property
    def verdicts(self) -> list[Verdict]:
        """The claims that it judges."""
        return [part for part in self.parts if isinstance(part, Verdict)]

    @property
    def tally(self) -> list[tuple[str, str]]:
        """How many of them hold, do not, and may do either by chance, in words; each as far as there are some."""
        found = []
        chance = "may be chance"
        tones = ("yes", "holds", "hold"), ("no", "does not hold", "do not hold"), ("perhaps", chance, chance)
        for tone, one, more in tones:
            count = sum(verdict.tone == tone for verdict in self.verdicts)
            if count:
                found.append((tone, one if len(self.verdicts) == 1 else f"{count} {one if count == 1 else more}"))
        return found

    @property
    def figures(self) -> list[Figure]:
        """All its figures, in their order."""
        return [figure for part in self.parts if isinstance(part, Figures) for figure in part.figures]
