"""Which item comes next: a study with no trial to spare is filled to its last slot, whoever asks when."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from types import SimpleNamespace
from typing import Any, cast

import pytest

from wherefore.study.assigning import Group, Pool, Room, Square, choose, fillable, group
from wherefore.study.plan import Item


def by_trying(wanted: Counter[Group], rooms: Sequence[Room]) -> bool:
    """The same as `fillable`, by trying all: each worker in turn is asked every set that they have room for."""
    if not rooms:
        return wanted.total() == 0
    first, rest = rooms[0], rooms[1:]
    free = [each for each, slots in wanted.items() if slots > 0 and each not in first.groups]
    sets = (each for size in range(min(first.trials, len(free)) + 1) for each in combinations(free, size))
    return any(by_trying(wanted - Counter(each), rest) for each in sets)


def test_fillable_is_what_trying_finds() -> None:
    draw, found = random.Random(0), Counter[bool]()
    groups = [("m", str(n)) for n in range(4)]
    for _ in range(300):
        wanted = Counter({each: draw.randint(0, 3) for each in groups})
        rooms = [Room(draw.randint(0, 4), draw.sample(groups, draw.randint(0, 2))) for _ in range(4)]
        truth = by_trying(wanted, rooms)
        found[truth] += 1
        assert fillable(wanted, rooms) == truth
    assert min(found.values()) > 50, found


def left_over(methods: int, pictures: int, ratings: int, workers: int, seed: int) -> int:
    """Slots that nobody filled in a study with so many workers, who come in an order by lot."""
    items = [Item(f"{m} {p}", f"{p}", f"{m}", "dog", (), ()) for m in range(methods) for p in range(pictures)]
    trials = -(-len(items) * ratings // workers)
    square = Square(cast(Any, SimpleNamespace(items=items, methods=[f"{m}" for m in range(methods)])))
    draw, free = random.Random(seed), {item.id: ratings for item in items}
    seen: list[list[Item]] = [[] for _ in range(workers)]
    there = set(range(workers))
    while there:
        who = draw.choice(sorted(there))
        rooms = [Room(trials - len(mine), {group(item) for item in mine}) for mine in seen]
        supply = {group(item): sum(group(item) not in rooms[each].groups for each in there) for item in items}
        pool = Pool(free, supply, rooms[:who] + rooms[who + 1 :])
        room = rooms[who].trials
        item = choose(items, square, pool, seen[who], who % square.rows, draw, room) if room else None
        if item is None:
            there.remove(who)
        else:
            free[item.id] -= 1
            seen[who].append(item)
    return sum(free.values())


@pytest.mark.parametrize("ratings", [2, 3])
def test_a_study_without_a_trial_to_spare_is_filled(ratings: int) -> None:
    """Without working it out about one in five of these ends with slots that nobody present may fill."""
    assert [left_over(4, 4, ratings, 4, seed) for seed in range(40)] == [0] * 40
