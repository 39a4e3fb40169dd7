"""Small plans of studies, drawn here, a clock that is told the time, and a PostgreSQL of our own."""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest

from wherefore.study.plan import LIKERT, Item, Kind, Plan, needed, possible

TEXTS = {"title": "A study", "consent": "Do you?", "instructions": "Look.", "question": "Which?", "done": "Thanks."}


def drawn(
    kind: Kind = "class-discrimination",
    pictures: int = 12,
    categories: int = 2,
    methods: int = 4,
    ratings: int = 3,
    workers: int = 8,
    catches: int = 2,
) -> Plan:
    """The plan of every picture with every category in every method; names of files that are not there."""
    items = tuple(
        item(kind, f"m{m}", f"picture-{p}", f"c{c}")
        for p in range(pictures)
        for c in range(categories)
        for m in range(methods)
    )
    catch = tuple(item(kind, "catch", f"plain-{n}", "c0", catch=True) for n in range(catches))
    trials = needed(len(items), ratings, workers)
    possible(items, ratings, workers, trials)
    return Plan("drawn", kind, 0, items, catch, ratings, workers, trials, TEXTS, {"data": "drawn for tests"})


def item(kind: Kind, method: str, picture: str, category: str, catch: bool = False) -> Item:
    """One item, right is its category."""
    name = f"{method}-{picture}-{category}"
    if kind == "trust":
        return Item(
            name, picture, method, category, (f"{name}a.png", f"{name}b.png"), LIKERT, "", ("vgg", "alex"), catch
        )
    options = tuple(sorted((category, "c0" if category != "c0" else "c1")))
    return Item(name, picture, method, category, (f"{name}.png",), options, category, catch=catch)


class Clock:
    """A clock that stands until it is told to go on."""

    def __init__(self) -> None:
        self.now = datetime(2030, 1, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def wait(self, minutes: float) -> None:
        self.now += timedelta(minutes=minutes)


@cache
def server() -> str:
    """Where our own PostgreSQL listens, on loopback, until the tests end; skips the test where none is installed."""
    tool = shutil.which("pg_config") or pytest.skip("needs PostgreSQL, of which no pg_config is here")
    programs = Path(subprocess.run([tool, "--bindir"], capture_output=True, text=True, check=True).stdout.strip())
    if not (programs / "initdb").exists():
        pytest.skip(f"needs PostgreSQL's server, which is not in {programs}")
    owner = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []  # it refuses to run as root
    folder = Path(tempfile.mkdtemp(prefix="wherefore-"))
    if owner:
        shutil.chown(folder, "postgres")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = ["-D", str(folder / "data")]
    control = [*owner, str(programs / "pg_ctl"), *data, "-w"]

    def stop() -> None:
        subprocess.run([*control, "-m", "immediate", "stop"], capture_output=True, cwd="/")
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(stop)
    initdb = [*owner, str(programs / "initdb"), *data, "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync"]
    subprocess.run(initdb, check=True, capture_output=True, cwd="/")
    settings = f"-c listen_addresses=127.0.0.1 -p {port} -k {folder} -c max_connections=200"
    start = [*control, "-l", str(folder / "log"), "-o", settings, "start"]
    subprocess.run(start, check=True, stdout=subprocess.DEVNULL, cwd="/")
    return f"postgresql+psycopg://postgres@127.0.0.1:{port}"


def postgresql() -> str:
    """The URL of a new database of our own PostgreSQL."""
    from sqlalchemy import create_engine

    name = f"study{secrets.token_hex(4)}"
    engine = create_engine(f"{server()}/postgres", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return f"{server()}/{name}"


def database(kind: str, folder: Path) -> str:
    """The URL of a database that is not there yet, or empty: ``sqlite`` in a folder, or ``postgresql``."""
    return postgresql() if kind == "postgresql" else f"sqlite:///{folder / 'study.sqlite'}"
