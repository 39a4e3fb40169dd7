"""Which item a worker is asked next: what only a few can still answer first, else by the Latin square."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from wherefore.study.plan import Item, Plan

Group = tuple[str, str]  # of items that nobody is asked two of: the method and the picture


def group(item: Item) -> Group:
    """The method and the picture of an item."""
    return item.method, item.picture


class Square:
    """The Latin square over conditions: worker g sees the p-th pair of picture and category in method (p + g) mod M."""

    def __init__(self, plan: Plan) -> None:
        pairs = {pair: i for i, pair in enumerate(dict.fromkeys((i.picture, i.category) for i in plan.items))}
        methods = {method: i for i, method in enumerate(plan.methods)}
        self.rows = max(1, len(methods))
        self._row = {i.id: (methods[i.method] - pairs[i.picture, i.category]) % self.rows for i in plan.items}

    def holds(self, item: Item, row: int) -> bool:
        """Whether the square gives this item to the workers of a row."""
        return self._row[item.id] == row


@dataclass(frozen=True)
class Room:
    """A worker who may still come: how many ``trials`` are left to them, and the groups that they were asked."""

    trials: int
    groups: Collection[Group] = frozenset()


@dataclass(frozen=True)
class Pool:
    """What is still to be had: free slots of each item, and of each group how many workers may still be asked it.

    ``others`` are all workers but the one who asks, where so little is left that it can be worked out who fills it.
    """

    free: Mapping[str, int]
    supply: Mapping[Group, int]
    others: Sequence[Room] | None = None


def fillable(wanted: Mapping[Group, int], rooms: Sequence[Room]) -> bool:
    """Whether workers with so much room can be asked all that is wanted, nobody a group twice.

    A matching by augmenting paths: a worker whose trials are used up gives a group to somebody else to take another.
    """
    theirs: list[set[Group]] = [set() for _ in rooms]

    def placed(asked: Group, tried: set[int]) -> bool:
        can = [n for n, room in enumerate(rooms) if asked not in room.groups and asked not in theirs[n]]
        for n in can:
            if len(theirs[n]) < rooms[n].trials:
                theirs[n].add(asked)
                return True
        for n in can:
            if n not in tried:
                tried.add(n)
                for other in tuple(theirs[n]):
                    if placed(other, tried):
                        theirs[n] = theirs[n] - {other} | {asked}
                        return True
        return False

    return all(placed(each, set()) for each, slots in wanted.items() for _ in range(slots))


def choose(
    items: Sequence[Item],
    square: Square,
    pool: Pool,
    seen: Collection[Item],
    row: int,
    draw: random.Random,
    trials: int = 1,
) -> Item | None:
    """The next item for a worker of a row of the square who has ``seen`` some; None where the pool has none for them.

    First whatever would be left over if this worker went by: a group with as many free slots as there are workers for
    it. Then the method that this worker has seen least, what the square says, what has most slots free, by lot. Near
    the end the first of these after which everything can still be filled, this worker having ``trials`` left.
    """
    groups, methods = {group(item) for item in seen}, Counter(item.method for item in seen)
    wanted: Counter[Group] = Counter()
    for item in items:
        wanted[group(item)] += pool.free[item.id]

    def rank(item: Item) -> tuple[int, int, bool, int, int, float]:
        spare = min(pool.supply[group(item)] - wanted[group(item)], 1)
        return (
            spare,
            methods[item.method],
            not square.holds(item, row),
            -wanted[group(item)],
            -pool.free[item.id],
            draw.random(),
        )

    open_ = [item for item in items if pool.free[item.id] > 0 and group(item) not in groups]
    if pool.others is None or not open_:
        return min(open_, key=rank, default=None)

    def leaves_all_fillable(item: Item | None) -> bool:
        asked = [] if item is None else [group(item)]
        own = Room(trials - len(asked), groups.union(asked))
        return fillable(wanted - Counter(asked), [own, *(pool.others or ())])

    ranked = sorted(open_, key=rank)
    if not leaves_all_fillable(None):
        return ranked[0]
    return next((item for item in ranked if leaves_all_fillable(item)), ranked[0])


class Catches:
    """When a worker is asked the catch trials: one in each equal stretch, never the very first, in an order by lot."""

    def __init__(self, plan: Plan, draw: random.Random) -> None:
        self._order = draw.sample(plan.catches, len(plan.catches))
        stretch = (plan.trials + len(self._order)) / max(1, len(self._order))
        self._after = [max(1, int((i + draw.random()) * stretch)) for i in range(len(self._order))]

    def due(self, done: int, caught: Collection[Item]) -> Item | None:
        """The one whose time has come after so many trials, ``caught`` among them; None where none has."""
        return self.left(caught) if len(caught) < sum(done >= after for after in self._after) else None

    def left(self, caught: Collection[Item]) -> Item | None:
        """The next one, its time come or not."""
        return next((item for item in self._order if item not in caught), None)
