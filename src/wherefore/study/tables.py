"""The tables of a study's database; what may never be is forbidden by their constraints.

A slot is one of the ratings that an item wants, and holds one assignment at most: there is no tenth of nine. An
assignment without a slot is a catch trial, or one that went to somebody else because no answer came in time.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    MetaData,
    String,
    Table,
    TypeDecorator,
    UniqueConstraint,
)


class Moment(TypeDecorator[datetime]):
    """A time with its zone, which is UTC: SQLite keeps none."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value and value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value and (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC)


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

studies = Table(
    "studies",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1", name="one"), primary_key=True, autoincrement=False),
    Column("plan", String(64), nullable=False),  # the digest of the plan that the answers belong to
    Column("salt", String(64), nullable=False),  # of the workers' hashed ids
    Column("created_at", Moment, nullable=False),
)

workers = Table(
    "workers",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("hash", String(64), nullable=False, unique=True),  # of the platform's id, which is nowhere
    Column("token", String(64), nullable=False, unique=True),
    Column("code", String(32), nullable=False, unique=True),
    Column("platform", String(16), nullable=False),
    Column("details", JSON, nullable=False),
    Column("simulated", Boolean, nullable=False),
    Column("square", Integer),  # the row of the Latin square
    Column("trials", Integer, nullable=False),  # how many there are for this person, catch trials included
    Column("entered_at", Moment, nullable=False),
    Column("consented_at", Moment),
    Column("seen_at", Moment, nullable=False),
    Column("finished_at", Moment),
)

slots = Table(
    "slots",
    metadata,
    Column("item", String(200), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
)

assignments = Table(
    "assignments",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("worker_id", ForeignKey("workers.id"), nullable=False),
    Column("item", String(200), nullable=False),
    Column("slot", Integer),
    Column("method", String(200)),  # as its item's, and none in a catch trial
    Column("picture", String(400)),
    Column("position", Integer, nullable=False),
    Column("flipped", Boolean, nullable=False),
    Column("given_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    ForeignKeyConstraint(["item", "slot"], ["slots.item", "slots.number"]),
    UniqueConstraint("item", "slot"),
    UniqueConstraint("worker_id", "item"),
    UniqueConstraint("worker_id", "method", "picture"),
    UniqueConstraint("worker_id", "position"),
)

answers = Table(
    "answers",
    metadata,
    Column("assignment_id", ForeignKey("assignments.id"), primary_key=True),
    Column("option", Integer, nullable=False),  # its place on the screen
    Column("choice", String(200), nullable=False),
    Column("value", Float, nullable=False),
    Column("rt_ms", Integer, nullable=False),
    Column("answered_at", Moment, nullable=False),
    Column("surplus", Boolean, nullable=False),
)
