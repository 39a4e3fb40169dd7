"""The store of a study: who takes part, what each is asked next, and what was answered, in a database.

Nine ratings of an item, never ten; no item twice to a worker, no picture twice within one method; whatever was
acknowledged is on disk. The constraints of `tables` back all of this.
"""

from __future__ import annotations

import hashlib
import hmac
import random
import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, case, func, insert, or_, select, update

from wherefore.errors import Error
from wherefore.study import assigning
from wherefore.study.assigning import Pool, Square
from wherefore.study.database import Database
from wherefore.study.plan import Item, Plan, Rating
from wherefore.study.tables import answers, assignments, slots, studies, workers

LONGEST_RT = 24 * 60 * 60 * 1000  # ms; what a browser says beyond is no time of a trial


def now_utc() -> datetime:
    """The one clock of a study."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Visitor:
    """A worker in this study, as the app sees them: by an unguessable token, never by the platform's id.

    ``answered`` and ``trials`` count catch trials too; ``trials`` shrinks when the pool is empty. ``code`` is the
    completion code, the same for ever, to be shown when they have finished.
    """

    token: str
    platform: str
    consented: bool
    finished: bool
    answered: int
    trials: int
    simulated: bool
    code: str


@dataclass(frozen=True)
class Trial:
    """An assignment that a worker holds: ``flipped``, the two options, or pictures, are shown the other way round."""

    id: str
    item: Item
    flipped: bool
    position: int  # from 0


class Store:
    """A study's database, in one process of perhaps several; its methods may be called from any thread.

    ``url`` is SQLAlchemy's; missing tables are made, older ones migrated. Raises `Error` where the database cannot be
    reached, or holds the answers of another plan.
    """

    def __init__(self, url: str, plan: Plan, clock: Callable[[], datetime] = now_utc) -> None:
        self.plan, self._clock, self._database = plan, clock, Database(url)
        self._square = Square(plan)
        try:
            with self._database.reached(), self._database.write() as connection:
                self._database.migrate(connection)
                self._salt = self._claimed(connection)
        except BaseException:
            self.close()
            raise

    def _claimed(self, connection: Connection) -> str:
        """The salt of the study, which is written with its plan's digest where the database is new."""
        found = connection.execute(select(studies)).one_or_none()
        if found is None:
            salt = secrets.token_hex(32)
            row = {"id": 1, "plan": self.plan.digest, "salt": salt, "created_at": self._clock()}
            connection.execute(insert(studies), row)
            numbers = range(self.plan.ratings)
            connection.execute(insert(slots), [{"item": i.id, "number": n} for i in self.plan.items for n in numbers])
            return salt
        if found.plan != self.plan.digest:
            raise Error(
                f"{self._database.shown} holds the answers of another plan than study.json: "
                "give --database another URL, or put the study.json back to which they belong."
            )
        return str(found.salt)

    def close(self) -> None:
        """Ends all connections to the database."""
        self._database.close()

    # ------------------------------------------------------------------------------------- who takes part

    def enter(
        self, platform: str, worker: str, details: Mapping[str, str] | None = None, simulated: bool = False
    ) -> Visitor:
        """The visitor of a platform's worker: a new one, or who they were when they came before.

        Of ``worker``, their id there, a salted hash alone is kept. ``details`` are what the platform wants back at the
        end; those of the latest visit hold, and none that repeats the id is kept.
        """
        said = f"{platform}:{worker}".encode("utf-8", "backslashreplace")
        hashed = hmac.new(bytes.fromhex(self._salt), said, hashlib.sha256).hexdigest()
        kept = {key: value for key, value in (details or {}).items() if value != worker}
        with self._database.write() as connection:
            found = connection.execute(select(workers.c.token).where(workers.c.hash == hashed)).scalar()
            if found is None:
                found = self._entered(connection, hash=hashed, platform=platform, details=kept, simulated=simulated)
            elif kept:
                connection.execute(update(workers).where(workers.c.hash == hashed).values(details=kept))
            return _visitor(connection, found)

    def _entered(self, connection: Connection, **values: Any) -> str:
        now, token = self._clock(), secrets.token_urlsafe(24)
        trials = self.plan.trials + len(self.plan.catches)
        made = {"token": token, "code": secrets.token_hex(6).upper(), "trials": trials, "entered_at": now}
        connection.execute(insert(workers).values(**values, **made, seen_at=now))
        return token

    def visitor(self, token: str) -> Visitor | None:
        """Who has this token; None for nobody."""
        with self._database.read() as connection:
            return _visitor(connection, token) if _plain(token) and _find(connection, token) else None

    def details(self, token: str) -> dict[str, str]:
        """What the platform gave with this visitor and wants back at the end."""
        with self._database.read() as connection:
            return dict(_worker(connection, token).details)

    def consent(self, token: str) -> Visitor:
        """Notes that they consent; who consents first is of the first row of the Latin square, and so on, round."""
        with self._database.write() as connection:
            who = _worker(connection, token)
            if who.consented_at is None:
                before = connection.execute(
                    select(func.count()).where(workers.c.consented_at.is_not(None))
                ).scalar_one()
                now = self._clock()
                values = {"consented_at": now, "seen_at": now, "square": before % self._square.rows}
                connection.execute(update(workers).where(workers.c.id == who.id).values(values))
            return _visitor(connection, token)

    def finish(self, token: str) -> Visitor:
        """Notes that they went through. Raises `Error` while trials are left."""
        with self._database.write() as connection:
            who, visitor = _worker(connection, token), _visitor(connection, token)
            if not visitor.consented or visitor.answered < visitor.trials:
                raise Error("There are trials left: answer them first.")
            if who.finished_at is None:
                connection.execute(update(workers).where(workers.c.id == who.id).values(finished_at=self._clock()))
            return _visitor(connection, token)

    # ------------------------------------------------------------------------------------- trials and answers

    def next(self, token: str) -> Trial | None:
        """The trial that this visitor holds, else a new one; None where they are through or the pool has no more.

        Raises `Error` for a token of nobody, or of somebody who has not consented.
        """
        with self._database.write() as connection:
            who = _worker(connection, token)
            if who.consented_at is None:
                raise Error("Consent comes before the first trial.")
            if who.finished_at is not None:
                return None
            given = connection.execute(_given(who.id)).all()
            held = self._held(connection, given)
            return held or self._new(connection, who, given)

    def _held(self, connection: Connection, given: Sequence[Row[Any]]) -> Trial | None:
        """The trial without an answer whose slot nobody else was given; its time begins anew."""
        for row in given:
            item = self.plan.by_id[row.item]
            if not row.answered and (row.slot is not None or item.catch):
                values = {"expires_at": self._clock() + timedelta(minutes=self.plan.minutes)}
                connection.execute(update(assignments).where(assignments.c.id == row.id).values(values))
                return Trial(row.id, item, row.flipped, row.position)
        return None

    def _new(self, connection: Connection, who: Row[Any], given: Sequence[Row[Any]]) -> Trial | None:
        answered = [self.plan.by_id[row.item] for row in given if row.answered]
        item = self._chosen(connection, who, given, answered)
        if item is None:
            connection.execute(update(workers).where(workers.c.id == who.id).values(trials=len(answered)))
            return None
        trial = Trial(secrets.token_urlsafe(12), item, random.random() < 0.5, len(given))
        self._give(connection, who, trial)
        return trial

    def _chosen(
        self, connection: Connection, who: Row[Any], given: Sequence[Row[Any]], answered: list[Item]
    ) -> Item | None:
        caught = [item for item in answered if item.catch]
        asked = len(answered) - len(caught)
        draw = random.Random(who.hash)
        if due := assigning.catch_due(self.plan, len(answered), caught, draw):
            return due
        if asked < self.plan.trials:
            seen = [self.plan.by_id[row.item] for row in given if self.plan.by_id[row.item].method and row.method]
            pool = self._pool(connection)
            item = assigning.choose(self.plan.items, self._square, pool, seen, who.square, random.Random())
            if item is not None:
                return item
        # Nothing else is left: those catch trials that had not come yet, if there was anything to attend to.
        return next((item for item in self.plan.catches if asked and item not in caught), None)

    def _give(self, connection: Connection, who: Row[Any], trial: Trial) -> None:
        now = self._clock()
        item = trial.item
        values: dict[str, Any] = {"id": trial.id, "worker_id": who.id, "item": item.id, "position": trial.position}
        values |= {"flipped": trial.flipped, "given_at": now, "expires_at": now + timedelta(minutes=self.plan.minutes)}
        if not item.catch:
            values |= {"slot": self._taken(connection, item.id), "method": item.method, "picture": item.picture}
        connection.execute(insert(assignments).values(values))
        connection.execute(update(workers).where(workers.c.id == who.id).values(seen_at=now))

    def _taken(self, connection: Connection, item: str) -> int | None:
        """The number of a slot of an item, taken from who let its time go by, if anybody; None where none is free."""
        rows = connection.execute(
            select(slots.c.number, assignments.c.id, assignments.c.expires_at, answers.c.assignment_id)
            .select_from(slots.outerjoin(assignments).outerjoin(answers))
            .where(slots.c.item == item)
            .order_by(slots.c.number)
        ).all()
        free = [row for row in rows if row.id is None]
        late = [row for row in rows if row.id and not row.assignment_id and row.expires_at <= self._clock()]
        if not free + late:
            return None
        row = (free + late)[0]
        if row.id:
            connection.execute(update(assignments).where(assignments.c.id == row.id).values(slot=None))
        return int(row.number)

    def _pool(self, connection: Connection) -> Pool:
        """Free slots of each item, and how many workers may still be asked each group."""
        now = self._clock()
        here = and_(workers.c.finished_at.is_(None), workers.c.seen_at > now - timedelta(minutes=self.plan.minutes))
        holds = and_(
            assignments.c.slot.is_not(None), or_(answers.c.assignment_id.is_not(None), assignments.c.expires_at > now)
        )
        rows = connection.execute(
            select(assignments.c.item, _count(holds).label("held"), _count(here).label("seen"))
            .select_from(assignments.join(workers).outerjoin(answers))
            .where(assignments.c.method.is_not(None))
            .group_by(assignments.c.item)
        ).all()
        through, present = connection.execute(select(_count(workers.c.finished_at.is_not(None)), _count(here))).one()
        left = max(self.plan.workers - through, present)
        seen: Counter[assigning.Group] = Counter()
        for row in rows:
            seen[assigning.group(self.plan.by_id[row.item])] += row.seen
        held = {row.item: row.held for row in rows}
        return Pool(
            {item.id: self.plan.ratings - held.get(item.id, 0) for item in self.plan.items},
            {key: left - seen[key] for key in map(assigning.group, self.plan.items)},
        )

    def answer(self, token: str, trial: str, option: int, rt_ms: int) -> str:
        """``counted``, ``surplus`` (its slot went to somebody else) or ``again`` (the trial has its answer already).

        ``option`` is the place on the screen of what was chosen, from the left or the top, from 0. It is on disk when
        this returns. Raises `Error` if the trial is not this visitor's, or has no such option.
        """
        with self._database.write() as connection:
            who = _worker(connection, token)
            mine = and_(assignments.c.id == trial, assignments.c.worker_id == who.id)
            held = connection.execute(select(assignments).where(mine)).one_or_none() if _plain(trial) else None
            if held is None:
                raise Error("This trial is not yours: open the study's address again.")
            item = self.plan.by_id[held.item]
            choice, value = judged(item, held.flipped, option)
            if (
                connection.execute(select(answers.c.option).where(answers.c.assignment_id == trial)).scalar()
                is not None
            ):
                return "again"
            surplus = not item.catch and held.slot is None and not self._retaken(connection, held)
            row = {"assignment_id": trial, "option": option, "choice": choice, "value": value, "surplus": surplus}
            times = {"rt_ms": min(max(0, rt_ms), LONGEST_RT), "answered_at": self._clock()}
            connection.execute(insert(answers).values(**row, **times))
            connection.execute(update(workers).where(workers.c.id == who.id).values(seen_at=self._clock()))
        return "surplus" if surplus else "counted"

    def since(self, token: str, trial: str) -> int | None:
        """Milliseconds since this visitor was given a trial, which no time that they took can exceed; None: not theirs."""
        theirs = and_(assignments.c.id == trial, workers.c.token == token)
        query = select(assignments.c.given_at).select_from(assignments.join(workers)).where(theirs)
        with self._database.read() as connection:
            given = connection.execute(query).scalar() if _plain(token) and _plain(trial) else None
        return None if given is None else round((self._clock() - given).total_seconds() * 1000)

    def failed(self, token: str) -> int:
        """How many catch trials this visitor answered wrongly: a value above zero is the one that is right."""
        asked = [item.id for item in self.plan.catches]
        wrong = and_(workers.c.token == token, assignments.c.item.in_(asked), answers.c.value <= 0)
        query = select(func.count()).select_from(answers.join(assignments).join(workers)).where(wrong)
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def _retaken(self, connection: Connection, late: Row[Any]) -> bool:
        """Whether a late answer finds a slot that is free again, which it then has."""
        number = self._taken(connection, late.item)
        if number is None:
            return False
        connection.execute(update(assignments).where(assignments.c.id == late.id).values(slot=number))
        return True

    # ------------------------------------------------------------------------------------- what there is

    def ratings(self) -> list[Rating]:
        """Every answer, in the order in which they came; catch trials and surplus ones are marked."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(answers, assignments.c.item, assignments.c.flipped, assignments.c.position)
                .add_columns(workers.c.hash, workers.c.platform, workers.c.simulated, workers.c.finished_at)
                .select_from(answers.join(assignments).join(workers))
                .order_by(answers.c.answered_at, answers.c.assignment_id)
            ).all()
        return [_rating(self.plan.by_id[row.item], row) for row in rows]

    def counts(self) -> dict[str, int]:
        """``workers`` who consented, ``finished``, ``ratings`` that count of ``wanted``, ``surplus``, ``open`` slots.

        Catch trials are in none of them; a slot is open while somebody holds it whose time is not over.
        """
        asked = assignments.c.method.is_not(None)
        through = answers.c.assignment_id.is_not(None)
        open_ = and_(assignments.c.slot.is_not(None), ~through, assignments.c.expires_at > self._clock())
        with self._database.read() as connection:
            people = connection.execute(
                select(_count(workers.c.consented_at.is_not(None)), _count(workers.c.finished_at.is_not(None)))
            ).one()
            slots = connection.execute(
                select(_count(and_(through, ~answers.c.surplus)), _count(answers.c.surplus), _count(open_))
                .select_from(assignments.outerjoin(answers))
                .where(asked)
            ).one()
        wanted = len(self.plan.items) * self.plan.ratings
        named = {"workers": people[0], "finished": people[1], "ratings": slots[0], "wanted": wanted}
        return {**named, "surplus": slots[1], "open": slots[2]}


def opened(folder: Path, plan: Plan, url: str | None = None) -> Store:
    """The store of a study's folder: ``study.sqlite`` in it, or the database of that URL."""
    return Store(url or f"sqlite:///{folder.absolute() / 'study.sqlite'}", plan)


def judged(item: Item, flipped: bool, option: int) -> tuple[str, float]:
    """What an option on somebody's screen says of an item, in words and as the value of a `Rating`.

    In class discrimination the options change places when flipped; in trust the pictures do, and the words, from
    "Clearly the first", stay where they are. Raises `Error` where the item has no such option.
    """
    if not 0 <= option < len(item.options):
        raise Error(f"There is no option {option}: give one from 0 to {len(item.options) - 1}.")
    if item.models:
        value = len(item.options) // 2 - option
        return item.options[option], float(-value if flipped else value)
    choice = item.options[len(item.options) - 1 - option if flipped else option]
    return choice, float(choice == item.truth)


def _rating(item: Item, row: Row[Any]) -> Rating:
    return Rating(
        worker=row.hash,
        item=item.id,
        picture=item.picture,
        method=item.method,
        category=item.category,
        choice=row.choice,
        value=row.value,
        side=row.option,
        flipped=row.flipped,
        position=row.position,
        rt_ms=row.rt_ms,
        answered_at=row.answered_at.isoformat(),
        platform=row.platform,
        catch=item.catch,
        surplus=row.surplus,
        simulated=row.simulated,
        finished=row.finished_at is not None,
    )


def _count(condition: Any) -> Any:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)


def _given(worker_id: int) -> Select[Any]:
    """All that a worker was given, in that order, and whether it was answered."""
    return (
        select(assignments, answers.c.assignment_id.is_not(None).label("answered"))
        .select_from(assignments.outerjoin(answers))
        .where(assignments.c.worker_id == worker_id)
        .order_by(assignments.c.position)
    )


def _plain(text: str) -> bool:
    """Whether it could be one of our tokens: a database may choke on what else comes from the network."""
    return text.isascii() and text.isprintable() and 0 < len(text) <= 64


def _find(connection: Connection, token: str) -> Row[Any] | None:
    return connection.execute(select(workers).where(workers.c.token == token)).one_or_none()


def _worker(connection: Connection, token: str) -> Row[Any]:
    found = _find(connection, token) if _plain(token) else None
    if found is None:
        raise Error("Nobody here has this token: open the study's address again.")
    return found


def _visitor(connection: Connection, token: str) -> Visitor:
    who = _worker(connection, token)
    answered = connection.execute(
        select(func.count()).select_from(answers.join(assignments)).where(assignments.c.worker_id == who.id)
    ).scalar_one()
    return Visitor(
        token=who.token,
        platform=who.platform,
        consented=who.consented_at is not None,
        finished=who.finished_at is not None,
        answered=answered,
        trials=who.trials,
        simulated=who.simulated,
        code=who.code,
    )
