"""Visitors: who takes part in a study, as the app sees them, and how they are found.

Each of these works within a transaction of the store.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, exists, func, select

from wherefore.errors import Error
from wherefore.study.tables import answers, assignments, workers

FOUND = select(workers).where(workers.c.token == bindparam("token"))
DONE = select(func.count()).select_from(answers.join(assignments)).where(assignments.c.worker_id == bindparam("worker"))


@dataclass(frozen=True)
class Visitor:
    """A worker in this study, as the app sees them: by an unguessable token, never by the platform's id.

    ``answered`` and ``trials`` count catch trials too; ``trials`` shrinks when the pool is empty. ``code`` is
    their number in this study, the same for ever, shown when they have finished: by it their answers are found.
    """

    token: str
    platform: str
    consented: bool
    finished: bool
    answered: int
    trials: int
    simulated: bool
    code: str


def plain(text: str) -> bool:
    """Whether it could be one of our tokens: a database may choke on what else comes from the network."""
    return text.isascii() and text.isprintable() and 0 < len(text) <= 64


def find(connection: Connection, token: str) -> Row[Any] | None:
    """The row of who has this token; None for nobody."""
    return connection.execute(FOUND, {"token": token}).one_or_none() if plain(token) else None


def row(connection: Connection, token: str) -> Row[Any]:
    """The row of who has this token. Raises `Error` for nobody."""
    found = find(connection, token)
    if found is None:
        raise Error("Nobody here has this token: open the study's address again.")
    return found


def visitor(connection: Connection, who: Row[Any]) -> Visitor:
    """The visitor of a row."""
    done = connection.execute(DONE, {"worker": who.id}).scalar_one()
    return Visitor(
        token=who.token,
        platform=who.platform,
        consented=who.consented_at is not None,
        finished=who.finished_at is not None,
        answered=done,
        trials=max(who.trials, done),
        simulated=who.simulated,
        code=who.code,
    )


def take_part(connection: Connection, simulated: bool) -> bool:
    """Whether anybody has consented who is simulated, or who is not."""
    theirs = and_(workers.c.simulated.is_(simulated), workers.c.consented_at.is_not(None))
    return bool(connection.execute(select(exists().where(theirs))).scalar())


def apart(connection: Connection, simulated: bool) -> None:
    """Raises `Error` where those take part who are simulated, for somebody who is not, or the other way round."""
    if not take_part(connection, not simulated):
        return
    if simulated:
        raise Error("People take part in this study: simulate on a copy of its folder.")
    raise Error("This study holds answers of simulated workers, so people cannot take part in it: tell the researcher.")
