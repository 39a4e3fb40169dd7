"""The database of a study: SQLite in its folder or whatever SQLAlchemy's URL names, one writer at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from wherefore.errors import Error

LOCK = 0x77686572  # of PostgreSQL's advisory locks, the one that writers of a study take


class Database:
    """Transactions: `read`, and `write`, of which there is one at a time, over all threads and processes.

    Writers queue before they read, so that what they decide by cannot change under them: SQLite's BEGIN IMMEDIATE
    and PostgreSQL's advisory lock. What was written is on disk when the transaction ends.
    """

    def __init__(self, url: str) -> None:
        self.url = _parsed(url)
        self.engine = _engine(self.url)
        self._turn = threading.Lock()  # threads queue here in order; SQLite alone would let them try again and again

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that writes nothing."""
        with self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that nobody else writes beside."""
        with self._turn, self.engine.connect().execution_options(writes=True) as connection, connection.begin():
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
            yield connection

    @contextmanager
    def reached(self) -> Iterator[None]:
        """Raises `Error` in one sentence where the database cannot be reached or used; never with its password."""
        try:
            yield
        except CommandError:
            raise Error(f"{self.shown} was written by another version of wherefore: give another database.") from None
        except DBAPIError as error:
            reason = str(error.orig).strip().partition("\n")[0].rstrip(".")
            if self.url.password:
                reason = reason.replace(str(self.url.password), "...")
            raise Error(f"{self.shown} cannot be used ({reason}): give --database another URL.") from None

    @property
    def shown(self) -> str:
        """The URL with its password hidden, and without its options, which may hold another."""
        return self.url.set(query={}).render_as_string()

    def migrate(self, connection: Connection, revision: str = "head") -> None:
        """Brings the tables to a revision, within a transaction of `write`."""
        config = configuration(connection)
        (command.downgrade if revision == "base" else command.upgrade)(config, revision)

    def close(self) -> None:
        """Ends all connections."""
        self.engine.dispose()


def configuration(connection: Connection) -> Config:
    """What Alembic needs to work on a connection."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except ArgumentError:  # it may hold a password, so it is not said
        raise Error("The database's URL is none: sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME.") from None


def _engine(url: URL) -> Engine:
    try:
        engine = create_engine(url, pool_pre_ping=url.get_backend_name() != "sqlite")  # a server may have restarted
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise Error(f"{url.drivername} is no database that can be used here ({error}): give a URL of SQLite.") from None
    if url.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _settle)
        event.listen(engine, "begin", _begin)
    return engine


def _settle(raw: Any, _: Any) -> None:
    raw.isolation_level = None  # `_begin` begins
    for pragma in ("busy_timeout = 30000", "journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        raw.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    # A transaction that reads first and then writes is refused where somebody wrote in between: it begins as a writer.
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
