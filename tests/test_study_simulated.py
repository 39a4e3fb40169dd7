"""Simulated workers: as able as they are set to be, marked for ever, and none of their answers is lost or moved."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from statistics import fmean, median
from typing import Any

import pytest
import typer.testing

from studies import database
from study_folder import make
from wherefore.cli import app as commands
from wherefore.errors import Error
from wherefore.study.answering import Crowd, Mind
from wherefore.study.plan import PAPER, Item, Kind, Plan, Rating
from wherefore.study.serving import served
from wherefore.study.simulating import Said, set_means, simulate
from wherefore.study.store import opened


def asked(kind: Kind, pictures: int) -> list[Item]:
    """Items of every method that the paper has people's answers to."""
    models = ("vgg", "alexnet") if kind == "trust" else ()
    return [Item(f"{m}-{n}", str(n), m, "dog", (), (), models=models) for m in PAPER[kind] for n in range(pictures)]


@pytest.mark.parametrize("kind", ["class-discrimination", "trust"])
def test_a_crowd_is_as_able_as_it_is_set(kind: Kind) -> None:
    items = asked(kind, 400)
    plan = Plan("", kind, 0, tuple(items), (), 1, 1, 1, {}, {})
    crowd = Crowd(400, seed=3)
    places = crowd.places(plan)
    minds = [Mind(plan, crowd, number, places) for number in range(crowd.count)]
    for number, method in enumerate(plan.methods):
        mine = items[400 * number : 400 * (number + 1)]
        found = [fmean(mind.value(item) for item in mine[n % 4 :: 4]) for n, mind in enumerate(minds)]
        # 400 workers' effects (0.5 in log-odds) and items' (0.8) move a share by 0.006 and 0.01, a score by thrice it.
        assert fmean(found) == pytest.approx(PAPER[kind][method], abs=0.03 if kind == "class-discrimination" else 0.09)


def test_a_mind_is_drawn_from_its_seed_alone() -> None:
    items = asked("trust", 30)
    plan = Plan("", "trust", 0, tuple(items), (), 1, 1, 1, {}, {})

    def said(seed: int, number: int, order: Iterable[Item]) -> dict[str, tuple[int, int]]:
        mind = Mind(plan, Crowd(9, seed), number, Crowd(9).places(plan))
        return {item.id: (mind.value(item), mind.milliseconds(item)) for item in order}

    assert said(1, 2, items) == said(1, 2, items[::-1])
    assert said(1, 2, items) != said(2, 2, items) and said(1, 2, items) != said(1, 3, items)


def test_who_does_not_attend_is_caught_by_the_rules() -> None:
    plan = Plan("", "class-discrimination", 0, tuple(asked("class-discrimination", 40)), (), 1, 1, 1, {}, {})
    catch = [Item(f"catch {n}", "", "photograph", "dog", (), (), catch=True) for n in range(200)]
    for attends in (True, False):
        crowd = Crowd(20, inattentive=1 - attends)
        places = crowd.places(plan)
        minds = [Mind(plan, crowd, number, places) for number in range(20)]
        right = fmean(mind.value(item) for mind in minds for item in catch)
        assert right > 0.95 if attends else 0.45 < right < 0.55
        fast = [median(mind.milliseconds(item) for item in plan.items) < plan.rules.fastest_ms for mind in minds]
        assert not any(fast) if attends else all(fast)


@pytest.mark.parametrize("kind", ["class-discrimination", "trust"])
def test_a_whole_study_over_http(tmp_path: Path, kind: Kind) -> None:
    plan = make(tmp_path / "s", kind=kind, pictures=4, ratings=2, workers=4)
    high = {m: 0.999 if kind == "class-discrimination" else 1.99 for m in plan.methods[1:]}
    low = {plan.methods[0]: 0.001 if kind == "class-discrimination" else -1.99}
    done = simulate(tmp_path / "s", Crowd(4, means=high | low))
    assert (done["finished"], done["answers"]) == (4, 2 * len(plan.items) + 8)
    ratings = kept(tmp_path / "s", plan)
    same(done["said"], ratings)
    assert all(r.simulated and r.finished for r in ratings)
    means = {m: fmean(r.value for r in ratings if r.method == m) for m in plan.methods}
    ends = (-1.6, 1.6) if kind == "trust" else (0.2, 0.8)
    assert means.pop(plan.methods[0]) < ends[0] and min(means.values()) > ends[1]


def test_the_command(tmp_path: Path) -> None:
    plan = make(tmp_path / "s", pictures=1, workers=1)
    ran = typer.testing.CliRunner().invoke(commands, ["study", "simulate", str(tmp_path / "s"), "--workers", "1"])
    assert ran.exit_code == 0 and "1 of 1 simulated workers" in ran.output and "not people" in ran.output
    assert ran.output.rstrip().endswith("\n4 of 4 ratings.")
    assert {r.simulated for r in kept(tmp_path / "s", plan)} == {True}


@pytest.mark.parametrize(
    ("ability", "said"),
    [
        (["guided-grad-cam"], "METHOD=MEAN"),
        (["guided-grad-cam=high"], "METHOD=MEAN"),
        (["occlusion=0.5"], "no method occlusion"),
        (["guided-grad-cam=1.5"], "between 0 and 1"),
    ],
)
def test_abilities_that_cannot_be(tmp_path: Path, ability: list[str], said: str) -> None:
    make(tmp_path / "s")
    with pytest.raises(Error, match=said):
        simulate(tmp_path / "s", Crowd(1, means=set_means(ability)))


def test_a_method_of_unknown_ability_and_a_study_out_of_reach(tmp_path: Path) -> None:
    plan = make(tmp_path / "s")
    other = replace(plan, items=tuple(replace(item, method=f"my {item.method}") for item in plan.items))
    with pytest.raises(Error, match="no people's answers to my deconvnet"):
        Crowd(1).places(other)
    with pytest.raises(Error, match="cannot be reached"):
        simulate(tmp_path / "s", Crowd(1), "http://127.0.0.1:9")
    with pytest.raises(Error, match="is no address"):
        simulate(tmp_path / "s", Crowd(1), "127.0.0.1:9")


def test_a_study_of_a_platform_is_not_simulated(tmp_path: Path) -> None:
    make(tmp_path)
    with served(tmp_path, "--platform", "mturk") as address, pytest.raises(Error, match=r"mturk.*simulate a local one"):
        simulate(tmp_path, Crowd(1), address)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_fifty_at_once_and_the_server_killed(tmp_path: Path, kind: str) -> None:
    plan = make(tmp_path / "s", pictures=24, ratings=9, workers=50)
    url, port = database(kind, tmp_path / "s"), ""
    done: dict[str, Any] = {}
    server, address = serving(tmp_path / "s", url, "0")
    port = address.rpartition(":")[2]
    crowd = threading.Thread(target=lambda: done.update(simulate(tmp_path / "s", Crowd(50, seed=1), address)))
    crowd.start()
    try:
        store = opened(tmp_path / "s", plan, url)
        for share in (0.2, 0.6):
            while store.counts()["ratings"] < share * len(plan.items) * plan.ratings and crowd.is_alive():
                time.sleep(0.1)
            assert crowd.is_alive(), "in the middle"
            server.kill()
            assert server.wait(30) == -9
            time.sleep(1)
            server, _ = serving(tmp_path / "s", url, port)
        crowd.join(500)
    finally:
        server.terminate()
        server.wait(30)
        store.close()
    assert done["finished"] == 50, "every one of them went on"
    ratings = kept(tmp_path / "s", plan, url)
    same(done["said"], ratings)
    counted = Counter(r.item for r in ratings if not (r.catch or r.surplus))
    assert counted == {item.id: 9 for item in plan.items}, "nine, never ten"
    assert max(Counter((r.worker, r.item) for r in ratings).values()) == 1
    assert max(Counter((r.worker, r.method, r.picture) for r in ratings if not r.catch).values()) == 1
    assert all(r.simulated and r.finished for r in ratings) and not any(r.surplus for r in ratings)


def serving(folder: Path, url: str, port: str) -> tuple[subprocess.Popen[str], str]:
    """A server's process, and its address as soon as it answers there."""
    command = [sys.executable, "-m", "wherefore", "study", "serve", str(folder), "--port", port, "--database", url]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout
    with server.stdout as printed:
        address = re.search(r"http://\S+", printed.readline())
    assert address
    return server, address.group()


def kept(folder: Path, plan: Plan, url: str | None = None) -> list[Rating]:
    """What lies in the database."""
    store = opened(folder, plan, url)
    ratings = store.ratings()
    store.close()
    return ratings


def same(said: list[Said], ratings: list[Rating]) -> None:
    """Every acknowledged answer is kept once, as it was given and with all others of the same person; no other is."""
    mine: dict[Any, list[tuple[str, str]]] = defaultdict(list)
    theirs: dict[Any, list[tuple[str, str]]] = defaultdict(list)
    for each in said:
        mine[each.worker].append((each.item, each.choice))
    for rating in ratings:
        theirs[rating.worker].append((rating.item, rating.choice))
    assert sorted(map(sorted, mine.values())) == sorted(map(sorted, theirs.values()))
