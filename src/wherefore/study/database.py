"""The database of a study: SQLite in its folder or whatever SQLAlchemy's URL names, one writer at a time."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from wherefore.errors import Error

LOCK = 0x77686572  # of PostgreSQL's advisory locks, the one that writers of a study take
QUEUE = text("SELECT pg_advisory_xact_lock(:lock), set_config('synchronous_commit', :commit, true)")


class Database:
    """Transactions: `read`, and `write`, of which there is one at a time, over all threads and processes.

    Writers queue before they read, so that what they decide by cannot change under them: SQLite's BEGIN IMMEDIATE
    and PostgreSQL's advisory lock. What was written is on disk when the transaction ends, unless it need not last.
    """

    def __init__(self, url: str) -> None:
        self.url = _parsed(url)
        self.engine = _engine(self.url)
        self._turn = Turn()  # threads wait for each other here; SQLite would let them try again and again

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that writes nothing."""
        with self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self, lasting: bool = True) -> Iterator[Connection]:
        """A transaction that nobody else writes beside.

        One that is not ``lasting`` outlives the process, and a failure of power only when a later, lasting one does:
        it does not wait for the disk.
        """
        options = {"writes": True, "lasting": lasting}
        with self._turn, self.engine.connect().execution_options(**options) as connection, connection.begin():
            if connection.dialect.name == "postgresql":
                connection.execute(QUEUE, {"lock": LOCK, "commit": "on" if lasting else "off"})
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

    def holds(self, table: str) -> bool:
        """Whether there is a table of that name; a file of SQLite that is not there is not made."""
        file = self.url.database
        if self.url.get_backend_name() == "sqlite" and file and not Path(file).exists():
            return False
        with self.read() as connection:
            return inspect(connection).has_table(table)

    def close(self) -> None:
        """Ends all connections."""
        self.engine.dispose()


class Turn:
    """A lock that goes to who waited longest: `threading.Lock` may let others pass by them again and again."""

    def __init__(self) -> None:
        self._line = deque[threading.Lock]()  # of whose turn it is and who waits, each behind a lock of their own
        self._guard = threading.Lock()

    def __enter__(self) -> None:
        mine = threading.Lock()
        mine.acquire()
        with self._guard:
            waits = bool(self._line)
            self._line.append(mine)
        if waits:
            mine.acquire()

    def __exit__(self, *_: object) -> None:
        with self._guard:
            self._line.popleft()
            if self._line:
                self._line[0].release()


def configuration(connection: Connection) -> Config:
    """What Alembic needs to work on a connection."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _parsed(url: str) -> URL:
    try:
        found = make_url(url)
    except ArgumentError:  # it may hold a password, so it is not said
        raise Error("The database's URL is not one: sqlite:///FILE or postgresql://USER@HOST/NAME.") from None
    # as hosts of databases and PostgreSQL's own tools write it
    return found.set(drivername="postgresql+psycopg") if found.drivername in ("postgres", "postgresql") else found


def _engine(url: URL) -> Engine:
    try:
        engine = create_engine(url, hide_parameters=True, pool_pre_ping=url.get_backend_name() != "sqlite")
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise Error(f"{url.drivername} is no database that can be used here ({error}): give a URL of SQLite.") from None
    if url.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _settle)
        event.listen(engine, "begin", _begin)
    return engine


def _settle(raw: Any, _: Any) -> None:
    raw.isolation_level = None  # `_begin` begins
    raw.execute("PRAGMA busy_timeout = 30000")
    _wal(raw)
    raw.execute("PRAGMA foreign_keys = ON")


def _wal(raw: Any) -> None:
    """Switches a file to its write-ahead log; of several that open a new one at once SQLite refuses all but one."""
    until = time.monotonic() + 30
    while True:
        try:
            raw.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.05)


def _begin(connection: Connection) -> None:
    # A transaction that reads first and then writes is refused where somebody wrote in between: it begins as a writer.
    options = connection.get_execution_options()
    connection.exec_driver_sql(f"PRAGMA synchronous = {'FULL' if options.get('lasting', True) else 'NORMAL'}")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("writes") else "BEGIN")
