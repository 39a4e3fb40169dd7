"""The slots of items, of which an item has as many as it wants ratings: who holds them, and which are free.

Each of these works within a transaction of the store, beside which nobody writes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, case, func, or_, select, update

from wherefore.study.assigning import Group, Pool, Room, group
from wherefore.study.plan import Item, Plan
from wherefore.study.tables import Moment, answers, assignments, slots, workers
from wherefore.study.visitors import plain

NEAR = 200  # free slots: so few that who fills them is worked out at each trial, in milliseconds


def count(condition: Any) -> Any:
    """In how many rows a condition holds, as a column; 0 of no rows."""
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)


answered = answers.c.assignment_id.is_not(None)  # of assignments, joined with their answers where there are any
_now, _long_ago = bindparam("now", type_=Moment), bindparam("long_ago", type_=Moment)
_present = and_(workers.c.finished_at.is_(None), workers.c.seen_at > _long_ago)
_holds = and_(assignments.c.slot.is_not(None), or_(answered, assignments.c.expires_at > _now))
_late = and_(~answered, assignments.c.expires_at <= _now)

# Built once, as building them costs more than what SQLite does.
GIVEN = (
    select(assignments, answered.label("answered"))
    .select_from(assignments.outerjoin(answers))
    .where(assignments.c.worker_id == bindparam("worker"))
    .order_by(assignments.c.position)
)
HELD = (
    select(assignments, answered.label("answered"))
    .select_from(assignments.join(workers).outerjoin(answers))
    .where(assignments.c.id == bindparam("trial"), workers.c.token == bindparam("token"))
)
FREE = (
    select(slots.c.number, assignments.c.id)
    .select_from(slots.outerjoin(assignments).outerjoin(answers))
    .where(slots.c.item == bindparam("item"), or_(assignments.c.id.is_(None), _late))
)
TAKEN = (
    select(assignments.c.item, count(_holds).label("held"), count(_present).label("seen"))
    .select_from(assignments.join(workers).outerjoin(answers))
    .where(assignments.c.method.is_not(None))
    .group_by(assignments.c.item)
)
ROOM = (
    select(assignments.c.worker_id, assignments.c.item, or_(answered, _holds).label("used"))
    .select_from(assignments.join(workers).outerjoin(answers))
    .where(assignments.c.method.is_not(None), _present)
)
THERE = select(workers.c.id).where(_present)
PEOPLE = select(func.count(workers.c.finished_at), count(_present))


def given(connection: Connection, worker: int) -> Sequence[Row[Any]]:
    """All assignments of a worker in their order, and whether each is ``answered``."""
    return connection.execute(GIVEN, {"worker": worker}).all()


def asked(connection: Connection, token: str, trial: str) -> Row[Any] | None:
    """An assignment of the worker who has this token, and whether it is ``answered``; None: not theirs."""
    keys = {"token": token, "trial": trial}
    return connection.execute(HELD, keys).one_or_none() if plain(token) and plain(trial) else None


def waits(item: Item, row: Row[Any]) -> bool:
    """Whether a trial that was given waits for its answer, and its slot went to nobody else."""
    return not row.answered and (item.catch or row.slot is not None)


def take(connection: Connection, item: str, now: datetime) -> int | None:
    """The number of a free slot of an item; taken from who let their time go by, where there is no other; else None."""
    rows = connection.execute(FREE, {"item": item, "now": now}).all()
    if not rows:
        return None
    row = min(rows, key=lambda row: (row.id is not None, row.number))
    if row.id is not None:
        connection.execute(update(assignments).where(assignments.c.id == row.id).values(slot=None))
    return int(row.number)


def pool(connection: Connection, plan: Plan, now: datetime, worker: int) -> Pool:
    """Free slots of each item, and how many workers may still be asked each group; near the end, who but ``worker``.

    These are the workers of the plan who have not gone through, or those present where they are more: whoever has
    neither asked nor answered for ``plan.minutes`` is taken for gone, and somebody else is to come in their place.
    """
    times = {"now": now, "long_ago": now - timedelta(minutes=plan.minutes)}
    taken = connection.execute(TAKEN, times).all()
    through, present = connection.execute(PEOPLE, times).one()
    held, seen = {row.item: row.held for row in taken}, Counter[Group]()
    for row in taken:
        seen[group(plan.by_id[row.item])] += row.seen
    left = max(plan.workers - through, present)
    free = {item.id: plan.ratings - held.get(item.id, 0) for item in plan.items}
    near = sum(free.values()) <= NEAR
    return Pool(
        free,
        {each: left - seen[each] for each in map(group, plan.items)},
        _others(connection, plan, times, worker, left) if near else None,
    )


def _others(connection: Connection, plan: Plan, times: dict[str, datetime], worker: int, left: int) -> list[Room]:
    """The room of everybody but one worker: of those who are there, and of those of the plan who are to come."""
    rooms = {each: (plan.trials, set[Group]()) for each in connection.execute(THERE, times).scalars()}
    for row in connection.execute(ROOM, times):
        trials, groups = rooms[row.worker_id]
        groups.add(group(plan.by_id[row.item]))
        rooms[row.worker_id] = trials - bool(row.used), groups
    to_come = [Room(plan.trials)] * max(0, left - len(rooms))
    return [Room(max(0, trials), groups) for each, (trials, groups) in rooms.items() if each != worker] + to_come


def counts(connection: Connection, now: datetime) -> tuple[int, int, int]:
    """How many ratings count, how many are surplus, and how many slots are held by somebody whose time is not over."""
    open_ = and_(assignments.c.slot.is_not(None), ~answered, assignments.c.expires_at > now)
    given = (
        select(count(and_(answered, ~answers.c.surplus)), count(answers.c.surplus), count(open_))
        .select_from(assignments.outerjoin(answers))
        .where(assignments.c.method.is_not(None))
    )
    counted, surplus, held = connection.execute(given).one()
    return counted, surplus, held
