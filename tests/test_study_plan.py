"""Plans of studies: what is possible, counted out by trying, and study.json written and read."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import studies
from wherefore.errors import Error
from wherefore.study import plan as plans
from wherefore.study.plan import Item, needed, possible


def test_the_papers_trials() -> None:
    assert needed(360, 9, 43) == 76  # 3,240 / 43 = 75.3
    assert needed(180, 9, 54) == 30
    assert needed(10, 1, 10) == 1 and needed(11, 1, 10) == 2


def found_by_trying(items: Sequence[Item], ratings: int, workers: int, trials: int) -> bool:
    """Whether somebody can be asked what so that all holds: every way of handing out the items, worker by worker."""
    groups = [(item.method, item.picture) for item in items]
    hands = [
        hand
        for size in range(trials + 1)
        for hand in itertools.combinations(range(len(items)), size)
        if len({groups[i] for i in hand}) == size
    ]
    reached = {(0,) * len(items)}
    for _ in range(workers):
        reached = {
            after
            for before in reached
            for hand in hands
            if max(after := tuple(n + (i in hand) for i, n in enumerate(before))) <= ratings
        }
    return (ratings,) * len(items) in reached


SETS = [("a1",), ("a1", "a1"), ("a1", "a2"), ("a1", "a1", "b1"), ("a1", "a1", "b1", "b2"), ("a1", "a1", "b1", "b1")]


@pytest.mark.parametrize("names", SETS, ids="-".join)
def test_possible_says_what_trying_finds(names: tuple[str, ...]) -> None:
    items = [studies.item("class-discrimination", m, p, f"c{n}") for n, (m, p) in enumerate(names)]
    for ratings, workers in itertools.product((1, 2), (1, 2, 3, 4)):
        for trials in range(1, needed(len(items), ratings, workers) + 2):
            could = found_by_trying(items, ratings, workers, trials)
            most = len({(item.method, item.picture) for item in items})
            try:
                possible(items, ratings, workers, trials)
                assert could, (names, ratings, workers, trials)
            except Error:
                assert not could or trials > most, (names, ratings, workers, trials)


def test_what_cannot_be_is_said_with_what_would_do() -> None:
    two = [studies.item("class-discrimination", "a", "1", c) for c in ("c0", "c1")]
    with pytest.raises(Error, match=r"9 ratings of each item need 18 workers.*--workers 18 or more"):
        possible(two, 9, 17, 2)
    possible(two, 9, 18, 1)
    with pytest.raises(Error, match="2 items x 9 ratings need 1 trials of each of 18 workers"):
        possible(two, 9, 18, 0)
    with pytest.raises(Error, match="Nobody can be asked 2 items, as only 1 differ"):
        possible(two, 9, 18, 2)
    with pytest.raises(Error, match="an item, a rating of each and a worker"):
        possible([], 9, 18, 2)


def test_written_and_read(tmp_path: Path) -> None:
    for plan in (studies.drawn(), studies.drawn("trust", methods=2)):
        assert plan.write(tmp_path) == tmp_path / "study.json"
        again = plans.read(tmp_path)
        assert again == plan and again.digest == plan.digest
        assert again.methods == tuple(f"m{n}" for n in range(len(again.methods)))
        assert set(again.by_id) == {item.id for item in (*plan.items, *plan.catches)}
        assert replace(plan, minutes=59).digest != plan.digest


def test_what_is_no_plan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Error, match="holds no study: make one with `wherefore study init`"):
        plans.read(tmp_path)
    (tmp_path / "study.json").write_text("{")
    with pytest.raises(Error, match=r"study\.json cannot be read"):
        plans.read(tmp_path)
    studies.drawn().write(tmp_path)
    said = json.loads((tmp_path / "study.json").read_text())
    (tmp_path / "study.json").write_text(json.dumps({**said, "format": 2}))
    with pytest.raises(Error, match="another version of wherefore"):
        plans.read(tmp_path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"itmes": []}, r"itmes is no field, but these are: name, kind, .*rules"),
        ({"items": None}, "items must be a list of items"),
        ({"items": [1]}, r"items\[0\] must be fields by their names"),
        ({"catches": [{"id": "a"}]}, r"catches\[0\]\.picture is missing"),
        ({"rules": {"fastest": 700}}, r"rules\.fastest is no field, but these are: catches_failed, fastest_ms"),
        ({"rules": {"fastest_ms": "700"}}, r"rules\.fastest_ms must be a whole number"),
        ({"rules": {"catches_failed": 0}}, r"rules\.catches_failed must be 1 or more"),
        ({"rules": 3}, "rules must be rules by their names"),
        ({"minutes": "x"}, "minutes must be a whole number"),
        ({"minutes": True}, "minutes must be a whole number"),
        ({"minutes": 0}, "minutes must be 1 or more"),
        ({"kind": "trsut"}, "kind must be class-discrimination or trust"),
        ({"texts": {"title": 3}}, "texts must be texts by their names"),
        ({"texts": ["title"]}, "texts must be texts by their names"),
        ({"source": 1}, "source must be facts by their names"),
        ({"name": None}, "name must be a text"),
    ],
    ids=str,
)
def test_an_edit_that_went_wrong_is_one_sentence_that_names_the_field(
    tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    said = json.loads(studies.drawn().write(tmp_path).read_text())
    (tmp_path / "study.json").write_text(json.dumps({**said, **change}))
    with pytest.raises(Error, match=rf"study\.json cannot be used: {says}") as raised:
        plans.read(tmp_path)
    assert "\n" not in str(raised.value)
    del said["workers"]
    (tmp_path / "study.json").write_text(json.dumps(said))
    with pytest.raises(Error, match="workers is missing"):
        plans.read(tmp_path)
    for other in ("[1]", "1", '"study"'):
        (tmp_path / "study.json").write_text(other)
        with pytest.raises(Error, match="another version"):
            plans.read(tmp_path)
