"""Which outputs of a network stand for the categories of a data set: by name, by kind, or by the order of ILSVRC."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from wherefore.datasets.kinds import ALIASES, KINDS, NAMED
from wherefore.errors import Error

ILSVRC = 1000  # classes, always in the order of their synsets


def matched(categories: Sequence[str], outputs: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """The indices of the outputs of a network that stand for each category; categories without one are left out.

    ``outputs`` are the network's own names of them. Both are ILSVRC's 1,000: one each, by their place, whatever they
    are called. A network for ILSVRC and categories of COCO or VOC: all classes that are kinds of one (`kinds`). Else by
    name: equal, or equal but for case, underscores and what VOC spells otherwise, or one of the synonyms that
    commas separate; of these the strictest that meets any. Raises `Error` where no name meets, and where of several
    categories one alone does, which may be by accident.
    """
    if len(categories) == len(outputs) == ILSVRC and _in_one_order(categories, outputs):
        return {category: (i,) for i, category in enumerate(categories)}
    kinds = KINDS if _is_ilsvrc(outputs) else {}
    named = [_by_name(outputs, read) for read in READINGS]
    found = {}
    for category in categories:
        kind = kinds.get(_plain(category))
        numbers = _meeting(category, named) if kind is None else kind
        if numbers:
            found[category] = numbers
    if len(found) < min(2, len(categories)):
        what = f"only {', '.join(found)} is" if found else "none is"
        raise Error(
            f"of the data set's {len(categories)} classes ({_some(categories)}) {what} among the network's "
            f"{len(outputs)} ({_some(outputs)}): give a network for these classes, or name its outputs alike."
        )
    return found


def kin(numbers: Iterable[int], outputs: Sequence[str]) -> set[int]:
    """These outputs of a network and, of one for ILSVRC, the others that are kinds of the same category (`kinds`)."""
    found = set(numbers)
    kinds = KINDS.values() if _is_ilsvrc(outputs) else ()
    return found.union(*(kind for kind in kinds if not found.isdisjoint(kind)))


def _plain(name: str) -> str:
    plain = " ".join(name.lower().replace("_", " ").split())
    return ALIASES.get(plain, plain)


def _synonyms(name: str) -> list[str]:
    return [_plain(part) for part in name.split(",")]


# What two names are compared by, the strictest first.
READINGS: tuple[Callable[[str], list[str]], ...] = (
    lambda name: [name],
    lambda name: [_plain(name)],
    lambda name: _synonyms(name)[:1],
    _synonyms,
)


def _by_name(outputs: Sequence[str], read: Callable[[str], list[str]]) -> dict[str, list[int]]:
    found = defaultdict(list)
    for i, name in enumerate(outputs):
        for part in dict.fromkeys(read(name)):
            found[part].append(i)
    return found


def _meeting(category: str, named: Sequence[dict[str, list[int]]]) -> tuple[int, ...]:
    """The outputs that a category meets in the strictest reading in which it meets any."""
    for read, numbers in zip(READINGS, named, strict=True):
        found = {i for part in read(category) for i in numbers.get(part, ())}
        if found:
            return tuple(sorted(found))
    return ()


def _in_one_order(categories: Sequence[str], outputs: Sequence[str]) -> bool:
    """Whether names meet at the same places, but for some; or nowhere, as names of synsets and numbers do not."""
    same = sum(bool({*_synonyms(a)} & {*_synonyms(b)}) for a, b in zip(categories, outputs, strict=True))
    anywhere = {part for name in categories for part in _synonyms(name)} & {
        p for name in outputs for p in _synonyms(name)
    }
    return same >= len(categories) / 2 or not anywhere


def _is_ilsvrc(outputs: Sequence[str]) -> bool:
    """Whether the outputs are the classes of ILSVRC, told by those that have one of COCO's kinds."""
    if len(outputs) != ILSVRC:
        return False
    return sum(_plain(name) in _synonyms(outputs[i]) for i, name in NAMED.items()) >= 0.9 * len(NAMED)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
