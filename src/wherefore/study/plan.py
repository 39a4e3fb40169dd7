"""The plan of a study: what is asked of whom, fixed in ``study.json`` before the first person answers.

A study is a folder: ``study.json``, ``pictures/`` with names that tell nothing, and by default ``study.sqlite``.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from wherefore.errors import Error
from wherefore.saving import write_whole

Kind = Literal["class-discrimination", "trust"]
KINDS: tuple[Kind, ...] = get_args(Kind)
FILE, PICTURES, DATABASE = "study.json", "pictures", "study.sqlite"
FORMAT = 1
# Of two pictures, which is from the more reliable network; what is said of the first, from +2 to -2.
LIKERT = ("Clearly the first", "Slightly the first", "Both equally", "Slightly the second", "Clearly the second")

SCALE: Mapping[Kind, tuple[float, float]] = {"class-discrimination": (0.0, 1.0), "trust": (-2.0, 2.0)}
# The paper's means: section 5.1 (360, 432, 489 and 496 of 810 ratings), and of trust section 5.2.
PAPER: Mapping[Kind, Mapping[str, float]] = {
    "class-discrimination": {
        "deconvnet": 0.5333,
        "guided-backprop": 0.4444,
        "deconv-grad-cam": 0.6037,
        "guided-grad-cam": 0.6123,
    },
    "trust": {"guided-backprop": 1.00, "guided-grad-cam": 1.27},
}


@dataclass(frozen=True)
class Item:
    """One thing to be asked: the pictures that are shown for it and what may be said of them.

    ``picture`` is what it was made from (a photograph, a scene), so that nobody sees it twice within one ``method``.
    Class discrimination: one file, two ``options`` (categories), ``truth`` is one of them. Trust: two files, of the
    networks ``models`` (the first is the one that is better by its accuracy), ``options`` are `LIKERT`, ``truth`` is
    empty, and ``category`` is what both networks said. Which side comes first is drawn for each person anew.
    Of a catch trial ``truth`` is never empty. One of trust shows a map first and noise second: ``truth`` is "Clearly
    the first", and "Slightly the first" is right, too. So a catch trial is passed by a `Rating.value` above 0.
    """

    id: str
    picture: str
    method: str
    category: str
    files: tuple[str, ...]
    options: tuple[str, ...]
    truth: str = ""
    models: tuple[str, ...] = ()
    catch: bool = False  # asked to see whether somebody is attending; its answer is known and counts for nothing else


@dataclass(frozen=True)
class Rules:
    """Whose answers are left out, fixed beforehand: by failed catch trials, and by a median time of less than this."""

    catches_failed: int = 2  # so many failed catch trials leave a worker out
    fastest_ms: int = 700


@dataclass(frozen=True)
class Plan:
    """All that a study is: read by the app, by the analysis and by whoever wants to repeat it.

    ``ratings`` of each item, by ``workers`` people, each of whom is asked ``trials`` items and all ``catches``.
    ``source`` says where the pictures are from: version, data, networks with the sha256 of their weights, methods,
    settings. ``texts`` are what people read: title, consent, instructions, question, done, contact.
    """

    name: str
    kind: Kind
    seed: int
    items: tuple[Item, ...]
    catches: tuple[Item, ...]
    ratings: int
    workers: int
    trials: int
    texts: Mapping[str, str]
    source: Mapping[str, Any]
    minutes: int = 60  # after which an assignment that was not answered returns to the pool
    rules: Rules = field(default_factory=Rules)

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """The conditions, in the order in which they first come."""
        return tuple(dict.fromkeys(item.method for item in self.items))

    @cached_property
    def by_id(self) -> dict[str, Item]:
        """Every item and catch trial by its id."""
        return {item.id: item for item in (*self.items, *self.catches)}

    @cached_property
    def digest(self) -> str:
        """The sha256 of all of it: a database says to which plan its answers belong."""
        return hashlib.sha256(self.dumps().encode()).hexdigest()

    def dumps(self) -> str:
        """The text of ``study.json``."""
        said = {"format": FORMAT, **asdict(self)}
        return json.dumps(said, indent=1, sort_keys=True, ensure_ascii=False) + "\n"

    def write(self, folder: Path) -> Path:
        """Writes ``study.json`` whole, and returns its path."""
        write_whole(folder / FILE, self.dumps().encode())
        return folder / FILE


def needed(items: int, ratings: int, workers: int) -> int:
    """How many items each of ``workers`` is asked, so that every one of ``items`` gets ``ratings``: rounded up."""
    return -(-items * ratings // workers)


def possible(items: Sequence[Item], ratings: int, workers: int, trials: int) -> None:
    """Raises `Error` where nobody could meet the numbers, in one sentence that says what would do.

    Nobody is asked an item twice, nor shown a picture twice within one method: of the items that one picture has in one
    method a worker can be asked one. Where all of these have workers enough, dealing them round is a way to do it.
    """
    together = Counter((item.method, item.picture) for item in items)
    least = max(together.values(), default=0) * ratings
    if not items or min(ratings, workers) < 1:
        raise Error("A study needs an item, a rating of each and a worker at least.")
    if workers < least:
        raise Error(
            f"{ratings} ratings of each item need {least} workers, as nobody sees a picture twice within one method: "
            f"give --workers {least} or more, or fewer --ratings."
        )
    if trials * workers < len(items) * ratings:
        enough = needed(len(items), ratings, workers)
        raise Error(f"{len(items)} items x {ratings} ratings need {enough} trials of each of {workers} workers.")
    if trials > len(together):
        enough = needed(len(items), ratings, len(together))
        raise Error(
            f"Nobody can be asked {trials} items, as only {len(together)} differ in picture or method: "
            f"give --workers {enough} or more."
        )


def read(folder: Path) -> Plan:
    """The plan of a study's folder. Raises `Error` where there is none of this version, or a field is wrong."""
    try:
        said = json.loads((folder / FILE).read_text())
    except FileNotFoundError:
        raise Error(f"{folder} holds no study: make one with `wherefore study init`.") from None
    except (OSError, ValueError) as error:
        raise Error(f"{folder / FILE} cannot be read: {error}.") from error
    if not isinstance(said, dict) or said.pop("format", None) != FORMAT:
        raise Error(f"{folder / FILE} was written by another version of wherefore: make the study anew.")
    try:
        plan: Plan = _built(Plan, said)
    except _Wrong as wrong:
        raise Error(f"{folder / FILE} cannot be used: {wrong}.") from None
    return plan


class _Wrong(Exception):
    """What is wrong with a field, as half a sentence."""


LEAST = {"ratings": 1, "workers": 1, "trials": 1, "minutes": 1, "catches_failed": 1, "fastest_ms": 0}
WANTED = {
    "str": "a text",
    "int": "a whole number",
    "bool": "true or false",
    "Kind": " or ".join(KINDS),
    "tuple[str, ...]": "a list of texts",
    "tuple[Item, ...]": "a list of items",
    "Mapping[str, str]": "texts by their names",
    "Mapping[str, Any]": "facts by their names",
    "Rules": "rules by their names",
}


def _built(kind: type[Any], said: Any, where: str = "") -> Any:
    """A dataclass of what JSON says, every field of its type; somebody may have edited it by hand."""
    types = {each.name: str(each.type) for each in fields(kind)}
    if not isinstance(said, dict):
        raise _Wrong(f"{where or 'all of it'} must be fields by their names")
    for name in said.keys() - types.keys():
        raise _Wrong(f"{where}{'.' * bool(where)}{name} is no field, but these are: {', '.join(types)}")
    for each in fields(kind):
        if each.name not in said and each.default is MISSING and each.default_factory is MISSING:
            raise _Wrong(f"{where}{'.' * bool(where)}{each.name} is missing")
    return kind(**{name: _read(name, types[name], value, where) for name, value in said.items()})


def _read(name: str, kind: str, value: Any, where: str) -> Any:
    """The value of a field of a type."""
    where = f"{where}.{name}" if where else name
    if kind == "Rules" and isinstance(value, dict):
        return _built(Rules, value, where)
    if kind == "tuple[Item, ...]" and isinstance(value, list):
        return tuple(_built(Item, each, f"{where}[{n}]") for n, each in enumerate(value))
    if not _is(kind, value):
        raise _Wrong(f"{where} must be {WANTED[kind]}")
    if name in LEAST and value < LEAST[name]:
        raise _Wrong(f"{where} must be {LEAST[name]} or more")
    return tuple(value) if isinstance(value, list) else value


def _is(kind: str, value: Any) -> bool:
    match kind:
        case "str":
            return isinstance(value, str)
        case "int" | "bool":
            return type(value).__name__ == kind
        case "Kind":
            return value in KINDS
        case "tuple[str, ...]":
            return isinstance(value, list) and all(isinstance(each, str) for each in value)
        case "Mapping[str, str]":
            return isinstance(value, dict) and all(isinstance(each, str) for each in value.values())
    return kind == "Mapping[str, Any]" and isinstance(value, dict)


@dataclass(frozen=True)
class Rating:
    """One answer that counts or could have: a row of what is exported, and all that the analysis reads.

    ``value`` is 1 or 0 for right and wrong in class discrimination; in trust it is -2 to 2, plus for the first of the
    item's models, wherever it was shown. ``side`` is the place of the option that was chosen on this person's screen,
    from 0 (trust: 0 to 4, from left to right). ``surplus``: it came after its slot had been given away.
    """

    worker: str  # hashed with the study's salt
    item: str
    picture: str
    method: str
    category: str
    choice: str
    value: float
    side: int
    flipped: bool  # whether the two options, or the two pictures, were shown the other way round
    position: int  # the place of the trial in this person's order, from 0
    rt_ms: int
    answered_at: str  # UTC, ISO 8601
    platform: str = "local"
    catch: bool = False
    surplus: bool = False
    simulated: bool = False
    finished: bool = True  # whether this person went through to the end
