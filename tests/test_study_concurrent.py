"""Many processes at one study's database: what was acknowledged is what is stored, also where they are killed."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from studies import database, drawn
from wherefore.study.plan import Plan, Rating
from wherefore.study.store import Store

PROGRAM = Path(__file__).with_name("study_process.py")
RUNNING: list[subprocess.Popen[str]] = []
BEGIN = time.time()  # the hour of all clocks


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return database(request.param, tmp_path)


def started(folder: Path, url: str, number: int, at_once: int, speed: float = 1) -> subprocess.Popen[str]:
    command = [sys.executable, str(PROGRAM), str(folder), url, *map(str, (number, at_once, speed, BEGIN))]
    pipe = subprocess.PIPE
    RUNNING.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True))
    return RUNNING[-1]


@pytest.fixture(autouse=True)
def none_stays() -> Iterator[None]:
    """Ends the processes that a test which failed left behind."""
    yield
    for process in RUNNING:
        if process.poll() is None:
            process.kill()
            process.communicate()
    RUNNING.clear()


def off(running: list[subprocess.Popen[str]]) -> None:
    """Lets processes go when all of them have opened the database, which the first of them made."""
    for process in running:
        assert process.stdout and process.stdout.readline() == "open\n", process.communicate(timeout=60)[1]
    for process in running:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()


def ended(process: subprocess.Popen[str]) -> list[str]:
    """The answers that were acknowledged to a process that went through."""
    said, complaint = process.communicate(timeout=300)
    assert process.returncode == 0, complaint
    return said.splitlines()


def stored(url: str, plan: Plan) -> list[Rating]:
    store = Store(url, plan)
    ratings = store.ratings()
    store.close()
    return ratings


def lawful(ratings: list[Rating], plan: Plan) -> None:
    """The hard rules, counted out of what is stored."""
    asked = [r for r in ratings if not r.catch]
    taken = Counter(r.item for r in asked if not r.surplus)
    assert max(taken.values()) <= plan.ratings, "never ten"
    assert max(Counter((r.worker, r.item) for r in ratings).values()) == 1, "no item twice"
    assert max(Counter((r.worker, r.method, r.picture) for r in asked).values()) == 1, "no picture twice in a method"
    assert max(Counter((r.worker, r.position) for r in ratings).values()) == 1
    assert max(Counter(r.rt_ms for r in ratings).values()) == 1, "no answer twice"


def written(line: str) -> tuple[str, int, int, bool]:
    item, option, unique, first, *again = line.split()
    assert set(again) <= {"again"}
    return item, int(option), int(unique), first == "surplus"


def of(ratings: list[Rating]) -> list[tuple[str, int, int, bool]]:
    return sorted((r.item, r.side, r.rt_ms, r.surplus) for r in ratings)


def all_at_once(folder: Path, url: str, plan: Plan, processes: int, at_once: int, speed: float) -> list[Rating]:
    plan.write(folder)
    running = [started(folder, url, n, at_once, speed) for n in range(processes)]
    off(running)
    acknowledged = sorted(written(line) for process in running for line in ended(process))
    ratings = stored(url, plan)
    assert of(ratings) == acknowledged, "nothing lost, nothing made up, nothing given to another item"
    lawful(ratings, plan)
    assert Counter(r.item for r in ratings if not (r.catch or r.surplus)) == {i.id: plan.ratings for i in plan.items}
    return ratings


@pytest.mark.slow
def test_what_eight_processes_were_told_is_what_is_stored(tmp_path: Path, url: str) -> None:
    plan = drawn(pictures=12, methods=4, ratings=9, workers=50)
    ratings = all_at_once(tmp_path, url, plan, processes=8, at_once=6, speed=1)
    assert not any(r.surplus for r in ratings) and sum(not r.catch for r in ratings) == 864


@pytest.mark.slow
def test_where_an_hour_takes_half_a_second(tmp_path: Path, url: str) -> None:
    """Workers leave with trials open, which others are given, and answer them after all; each answer is kept."""
    plan = drawn(pictures=12, methods=4, ratings=3, workers=24)
    ratings = all_at_once(tmp_path, url, plan, processes=4, at_once=6, speed=7200)
    assert any(r.surplus for r in ratings) and sum(not (r.catch or r.surplus) for r in ratings) == 288


@pytest.mark.parametrize("most", [45, pytest.param(450, marks=pytest.mark.slow)])
def test_killed_in_the_middle_every_acknowledged_answer_is_there(tmp_path: Path, url: str, most: int) -> None:
    plan = drawn(pictures=12, methods=4, ratings=6 if most < 100 else 9, workers=24)
    plan.write(tmp_path)
    running = [started(tmp_path, url, n, 4) for n in range(3)]
    off(running)
    said: list[str] = []
    readers = [threading.Thread(target=lambda p=p: said.extend(p.stdout)) for p in running]  # type: ignore[misc]
    for reader in readers:
        reader.start()
    while len(said) < most and all(reader.is_alive() for reader in readers):
        time.sleep(0.01)
    for process in running:
        process.kill()
    for process, reader in zip(running, readers, strict=True):
        assert process.wait(60) == -9, "it was still at it"
        reader.join()
        process.communicate()
    acknowledged = {written(line) for line in said if line.endswith("\n")}
    ratings = stored(url, plan)
    there = set(of(ratings))
    assert len(acknowledged) >= most - 1 and acknowledged <= there
    assert len(there) <= len(acknowledged) + 3, "of each process one answer may be on disk, and not yet acknowledged"
    lawful(ratings, plan)
    they_go_on(url, plan)


def they_go_on(url: str, plan: Plan) -> None:
    """Everybody who was there comes back after the restart, and goes through."""
    store = Store(url, plan)
    for name in (f"{n}-{came}" for n in range(3) for came in range(4)):
        who = store.consent(store.enter("local", name, simulated=True).token)
        while trial := store.next(who.token):
            assert store.answer(who.token, trial.id, 0, 900) == "counted"
        assert store.finish(who.token).finished
    assert store.counts()["finished"] >= 12
    store.close()
