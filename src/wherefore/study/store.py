"""The store of a study: who takes part, what each is asked next, and what was answered, in a database.

Nine ratings of an item, never ten; no item twice to a worker, no picture twice within one method; whatever was
acknowledged is on disk. The constraints of `tables` back all of this.
"""

from __future__ import annotations

import hashlib
import hmac
import random
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, and_, delete, func, insert, select, update

from wherefore.errors import Error
from wherefore.study import assigning, visitors
from wherefore.study import slots as pooled
from wherefore.study.database import Database
from wherefore.study.exclusions import NOBODY
from wherefore.study.judging import judged, rating
from wherefore.study.plan import DATABASE, Item, Plan, Rating
from wherefore.study.tables import answers, assignments, slots, studies, workers
from wherefore.study.visitors import Visitor

LONGEST = 24 * 60 * 60 * 1000  # ms; a browser that says more of one trial is not believed


def now_utc() -> datetime:
    """The one clock of a study."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Trial:
    """An item that a worker was given; ``flipped``: its options, in trust its pictures, are shown the other way round.

    ``position`` is its place in the worker's order, from 0.
    """

    id: str
    item: Item
    flipped: bool
    position: int


def opened(folder: Path, plan: Plan, url: str | None = None, made: bool = False) -> Store:
    """The store of a study's folder: ``study.sqlite`` in it, or the database of a URL; ``made``: only if it is there.

    Raises `Error` as `Store` does, and where there is none that was to be there.
    """
    return Store(url or f"sqlite:///{folder.absolute() / DATABASE}", plan, made=made)


class Store:
    """A study's database, in one process of perhaps several; its methods may be called from any thread.

    ``url`` is SQLAlchemy's; missing tables are made, unless they must be ``made`` already, and older ones migrated.
    Raises `Error` where the database cannot be reached, or was opened for another plan and somebody has consented.
    """

    def __init__(self, url: str, plan: Plan, clock: Callable[[], datetime] = now_utc, made: bool = False) -> None:
        self.plan, self._clock, self._database = plan, clock, Database(url)
        self._square = assigning.Square(plan)
        try:
            with self._database.reached():
                if made and not self._database.holds(studies.name):
                    raise Error(NOBODY)
                with self._database.write() as connection:
                    self._database.migrate(connection)
                    self._salt = self._claimed(connection)
        except BaseException:
            self.close()
            raise

    def _claimed(self, connection: Connection) -> str:
        """The salt of the study, which is written with its plan where the database is new.

        Until somebody has consented, a plan that was changed takes the place of the one before.
        """
        found = connection.execute(select(studies)).one_or_none()
        if found is None:
            row = {"id": 1, "plan": self.plan.digest, "salt": secrets.token_hex(32), "created_at": self._clock()}
            connection.execute(insert(studies), row)
            self._pool(connection)
            return str(row["salt"])
        if found.plan != self.plan.digest:
            if connection.execute(select(func.count(workers.c.consented_at))).scalar_one():
                raise Error(
                    f"{self._database.shown} was opened for another plan than this study.json, and somebody takes "
                    "part in that: give --database another URL, or put back the study.json that it was opened for."
                )
            connection.execute(update(studies).values(plan=self.plan.digest))
            connection.execute(update(workers).values(trials=self.plan.trials + len(self.plan.catches)))
            connection.execute(delete(slots))
            self._pool(connection)
        return str(found.salt)

    def _pool(self, connection: Connection) -> None:
        numbers = range(self.plan.ratings)
        connection.execute(insert(slots), [{"item": i.id, "number": n} for i in self.plan.items for n in numbers])

    def close(self) -> None:
        """Ends all connections to the database."""
        self._database.close()

    # ------------------------------------------------------------------------------------- who takes part

    def enter(
        self, platform: str, worker: str, details: Mapping[str, str] | None = None, simulated: bool = False
    ) -> Visitor:
        """The visitor of a platform's worker: a new one, or who they were when they came before.

        Of ``worker``, their id there, a salted hash alone is kept. ``details`` are what the platform wants back at the
        end; those of the latest visit hold, and none that repeats the id is kept. Raises `Error` for people where
        simulated workers take part, and the other way round.
        """
        said = f"{platform}:{worker}".encode("utf-8", "backslashreplace")
        hashed = hmac.new(bytes.fromhex(self._salt), said, hashlib.sha256).hexdigest()
        kept = {key: value for key, value in (details or {}).items() if value != worker}
        with self._database.write() as connection:
            token = connection.execute(select(workers.c.token).where(workers.c.hash == hashed)).scalar()
            if token is None:
                visitors.apart(connection, simulated)
                token = self._entered(connection, hash=hashed, platform=platform, details=kept, simulated=simulated)
            elif kept:
                connection.execute(update(workers).where(workers.c.hash == hashed).values(details=kept))
            return visitors.visitor(connection, visitors.row(connection, token))

    def _entered(self, connection: Connection, **values: Any) -> str:
        now, token = self._clock(), secrets.token_urlsafe(24)
        trials = self.plan.trials + len(self.plan.catches)
        made = {"token": token, "code": secrets.token_hex(6).upper(), "trials": trials, "entered_at": now}
        connection.execute(insert(workers).values(**values, **made, seen_at=now))
        return token

    def visitor(self, token: str) -> Visitor | None:
        """Who has this token; None for nobody."""
        with self._database.read() as connection:
            found = visitors.find(connection, token)
            return None if found is None else visitors.visitor(connection, found)

    def details(self, token: str) -> dict[str, str]:
        """What the platform gave with this visitor and wants back at the end."""
        with self._database.read() as connection:
            return dict(visitors.row(connection, token).details)

    def consent(self, token: str) -> Visitor:
        """Notes that they consent; who consents first has the first row of the Latin square, and so on, round.

        Raises `Error` where people and simulated workers would be mixed, as `enter` does.
        """
        with self._database.write() as connection:
            who = visitors.row(connection, token)
            if who.consented_at is None:
                if connection.execute(select(studies.c.plan)).scalar_one() != self.plan.digest:  # opened anew since
                    raise Error("This study was changed just now, and is to be started again: tell the researcher.")
                visitors.apart(connection, who.simulated)
                before = connection.execute(select(func.count(workers.c.consented_at))).scalar_one()
                now = self._clock()
                row = before % self._square.rows
                self._note(connection, who, consented_at=now, seen_at=now, square=row)
            return visitors.visitor(connection, visitors.row(connection, token))

    def finish(self, token: str) -> Visitor:
        """Notes that they went through, if they answered anything. Raises `Error` while there are trials for them."""
        with self._database.write() as connection:
            who = visitors.row(connection, token)
            if who.finished_at is None:
                given = pooled.given(connection, who.id)
                waits = any(pooled.waits(self.plan.by_id[row.item], row) for row in given)
                if who.consented_at is None or waits or self._chosen(connection, who, given, self._clock()):
                    raise Error("There are trials left: go back to them and answer them first.")
                done = sum(row.answered for row in given)
                self._note(connection, who, trials=done, finished_at=self._clock() if done else None)
            return visitors.visitor(connection, visitors.row(connection, token))

    def _note(self, connection: Connection, who: Row[Any], **values: Any) -> None:
        connection.execute(update(workers).where(workers.c.id == who.id).values(values))

    # ------------------------------------------------------------------------------------- trials and answers

    def next(self, token: str) -> Trial | None:
        """The trial that this visitor holds, else a new one; None where there is none for them now.

        Their ``trials`` are then those that they answered, unless others hold what they could still be asked: it may
        return to the pool. Raises `Error` for a token of nobody, or of somebody who has not consented.
        """
        with self._database.write(lasting=False) as connection:  # the answer to it lasts, and it with that
            who = visitors.row(connection, token)
            if who.consented_at is None:
                raise Error("Consent comes before the first trial.")
            if who.finished_at is not None:
                return None
            given = pooled.given(connection, who.id)
            trial = self._held(connection, given) or self._new(connection, who, given)
            if trial is not None:
                self._note(connection, who, seen_at=self._clock())
            elif self._chosen(connection, who, given, self._expiry()) is None:  # not even if all others left
                self._note(connection, who, trials=sum(row.answered for row in given))
            return trial

    def _held(self, connection: Connection, given: Sequence[Row[Any]]) -> Trial | None:
        """The trial that waits for its answer, and whose slot nobody else was given; its time begins anew."""
        for row in given:
            item = self.plan.by_id[row.item]
            if pooled.waits(item, row):
                again = update(assignments).where(assignments.c.id == row.id).values(expires_at=self._expiry())
                connection.execute(again)
                return Trial(row.id, item, row.flipped, row.position)
        return None

    def _new(self, connection: Connection, who: Row[Any], given: Sequence[Row[Any]]) -> Trial | None:
        now = self._clock()
        item = self._chosen(connection, who, given, now)
        if item is None:
            return None
        trial = Trial(secrets.token_urlsafe(12), item, random.random() < 0.5, len(given))
        values: dict[str, Any] = {"id": trial.id, "worker_id": who.id, "item": item.id, "position": trial.position}
        if not item.catch:
            values |= {"method": item.method, "picture": item.picture, "slot": pooled.take(connection, item.id, now)}
        connection.execute(
            insert(assignments).values(**values, flipped=trial.flipped, given_at=now, expires_at=self._expiry())
        )
        return trial

    def _expiry(self) -> datetime:
        return self._clock() + timedelta(minutes=self.plan.minutes)

    def _chosen(self, connection: Connection, who: Row[Any], given: Sequence[Row[Any]], now: datetime) -> Item | None:
        """The catch trial that is due, else an item of the pool, else a catch trial that is left."""
        done = [self.plan.by_id[row.item] for row in given if row.answered]
        caught = [item for item in done if item.catch]
        catches = assigning.Catches(self.plan, random.Random(who.hash))
        if due := catches.due(len(done), caught):
            return due
        asked = len(done) - len(caught)
        if asked < self.plan.trials:
            seen = [self.plan.by_id[row.item] for row in given if row.method is not None]
            pool = pooled.pool(connection, self.plan, now, who.id)
            left, lot = self.plan.trials - asked, random.Random()
            if item := assigning.choose(self.plan.items, self._square, pool, seen, who.square, lot, left):
                return item
        return catches.left(caught) if asked else None

    def answer(self, token: str, trial: str, option: int, rt_ms: int) -> str:
        """``counted``, ``surplus`` (its slot went to somebody else) or ``again`` (the trial has its answer already).

        ``option`` is the place on the screen of what was chosen, from the left or the top, from 0. The answer is on
        disk when this returns. Raises `Error` if the trial is not this visitor's, or has no such option.
        """
        with self._database.write() as connection:
            held = pooled.asked(connection, token, trial)
            if held is None:
                raise Error("This trial is not yours: open the study's address again.")
            item = self.plan.by_id[held.item]
            choice, value = judged(item, held.flipped, option)
            if held.answered:
                return "again"
            surplus = not (item.catch or held.slot is not None or self._retaken(connection, held))
            row = {"assignment_id": trial, "option": option, "choice": choice, "value": value, "surplus": surplus}
            row |= {"rt_ms": min(max(0, rt_ms), LONGEST), "answered_at": self._clock()}
            connection.execute(insert(answers), row)
        return "surplus" if surplus else "counted"

    def _retaken(self, connection: Connection, late: Row[Any]) -> bool:
        """Whether a late answer finds a slot of its item that is free again, which it then has."""
        number = pooled.take(connection, late.item, self._clock())
        connection.execute(update(assignments).where(assignments.c.id == late.id).values(slot=number))
        return number is not None

    def since(self, token: str, trial: str) -> int | None:
        """Milliseconds since this visitor was given a trial, which no time that they took exceeds; None: not theirs."""
        with self._database.read() as connection:
            held = pooled.asked(connection, token, trial)
        return None if held is None else round((self._clock() - held.given_at).total_seconds() * 1000)

    def failed(self, token: str) -> int:
        """How many catch trials this visitor answered wrongly: a value above zero is the one that is right."""
        with self._database.read() as connection:
            theirs = and_(assignments.c.worker_id == visitors.row(connection, token).id, assignments.c.method.is_(None))
            wrong = select(func.count()).select_from(answers.join(assignments)).where(theirs, answers.c.value <= 0)
            return int(connection.execute(wrong).scalar_one())

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
        return [rating(self.plan.by_id[row.item], row) for row in rows]

    def simulated(self) -> bool:
        """Whether simulated workers take part, so that people cannot."""
        with self._database.read() as connection:
            return visitors.take_part(connection, simulated=True)

    def counts(self) -> dict[str, int]:
        """``workers`` who consented, ``finished``, ``ratings`` that count of ``wanted``, ``surplus``, ``open``.

        Catch trials are in none of them. A slot is open while somebody holds it whose time is not over.
        """
        people = select(func.count(workers.c.consented_at), func.count(workers.c.finished_at))
        with self._database.read() as connection:
            entered, finished = connection.execute(people).one()
            counted, surplus, held = pooled.counts(connection, self._clock())
        wanted = len(self.plan.items) * self.plan.ratings
        named = {"workers": entered, "finished": finished, "ratings": counted, "wanted": wanted}
        return {**named, "surplus": surplus, "open": held}
