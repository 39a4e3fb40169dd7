"""The store of a study by its rules: one worker, one slot, one answer each, on SQLite and PostgreSQL."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from sqlalchemy.exc import IntegrityError

from studies import Clock, database, drawn, item
from wherefore.errors import Error
from wherefore.study.database import Database, configuration
from wherefore.study.judging import judged
from wherefore.study.plan import LIKERT, Plan
from wherefore.study.store import Store, Trial, opened
from wherefore.study.visitors import Visitor

BOTH = ("sqlite", "postgresql")


@pytest.fixture(params=BOTH)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return database(request.param, tmp_path)


@pytest.fixture
def clock() -> Clock:
    return Clock()


Make = Callable[..., Store]


@pytest.fixture
def make(url: str, clock: Clock) -> Iterator[Make]:
    """Opens stores of one database, and closes them."""
    stores: list[Store] = []

    def made(plan: Plan | None = None) -> Store:
        stores.append(Store(url, plan or drawn(), clock))
        return stores[-1]

    yield made
    for store in stores:
        store.close()


def comes(store: Store, name: str, platform: str = "local") -> Visitor:
    return store.consent(store.enter(platform, name).token)


def goes_on(store: Store, who: Visitor, most: int = 1000) -> list[Trial]:
    """What a worker is asked until they are through, or for so many trials; each is answered."""
    asked = []
    while len(asked) < most and (trial := store.next(who.token)):
        assert store.answer(who.token, trial.id, 0, 900) == "counted"
        asked.append(trial)
    return asked


# ---------------------------------------------------------------------------------------- who takes part


def test_a_worker_is_known_again_and_their_id_is_nowhere(make: Make, url: str) -> None:
    store = make()
    first = store.enter("mturk", "A1B2SECRET", {"assignmentId": "one", "workerId": "A1B2SECRET"})
    again = make().enter("mturk", "A1B2SECRET", {"assignmentId": "two"})
    assert first == again, "another process, the same person"
    assert store.details(first.token) == {"assignmentId": "two"}, "it is the latest visit that is submitted"
    assert (first.consented, first.finished, first.answered, first.trials) == (False, False, 0, 38)
    others = [
        store.enter("prolific", "A1B2SECRET"),
        store.enter("mturk", "A1B2SECREU"),
        store.enter("mturk", "\ud800\0"),
    ]
    everybody = (first, *others)
    assert len({v.token for v in everybody}) == len({v.code for v in everybody}) == 4
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        rows = [
            str(row)
            for table in sa.inspect(engine).get_table_names()
            for row in connection.execute(sa.text(f"SELECT * FROM {table}"))
        ]
    engine.dispose()
    assert len(rows) > 4 and "SECRET" not in "".join(rows)


def test_hashes_of_two_studies_cannot_be_joined(tmp_path: Path) -> None:
    hashes = set()
    for n in range(2):
        store = Store(f"sqlite:///{tmp_path / str(n)}", drawn())
        goes_on(store, comes(store, "same"), most=1)
        hashes |= {rating.worker for rating in store.ratings()}
        store.close()
    assert len(hashes) == 2


def test_consent_comes_first_and_the_end_last(make: Make) -> None:
    store = make()
    who = store.enter("local", "w")
    with pytest.raises(Error, match="Consent comes before"):
        store.next(who.token)
    with pytest.raises(Error, match="trials left"):
        store.finish(who.token)
    assert store.consent(who.token).consented and store.counts()["workers"] == 1
    goes_on(store, who, most=37)
    with pytest.raises(Error, match="trials left"):
        store.finish(who.token)
    goes_on(store, who)
    done = store.finish(who.token)
    assert done == store.finish(who.token) == store.visitor(who.token) == make().enter("local", "w")
    assert done.finished and done.answered == done.trials == 38 and done.code == who.code
    assert store.next(who.token) is None


@pytest.mark.parametrize("token", ["", "nobody", "x" * 5000, "\0", "é", "\ud800", "a' OR '1'='1"])
def test_a_token_of_nobody(make: Make, token: str) -> None:
    store = make()
    assert store.visitor(token) is None
    for call in (store.details, store.consent, store.next, store.finish, store.failed):
        with pytest.raises(Error, match="Nobody here has this token"):
            call(token)
    who = comes(store, "w")
    trial = store.next(who.token)
    assert trial and store.since(who.token, trial.id) == 0
    for pair in ((who.token, token), (token, trial.id)):
        with pytest.raises(Error, match="This trial is not yours"):
            store.answer(*pair, 0, 1)
        assert store.since(*pair) is None


# ---------------------------------------------------------------------------------------- trials


def test_a_trial_is_held_until_it_is_answered(make: Make) -> None:
    store = make()
    who = comes(store, "w")
    trial = store.next(who.token)
    assert trial and trial == store.next(who.token) == make().next(who.token) and trial.position == 0
    other = comes(store, "v")
    with pytest.raises(Error, match="This trial is not yours"):
        store.answer(other.token, trial.id, 0, 900)
    for option in (-1, 2):
        with pytest.raises(Error, match="please go back and choose again"):
            store.answer(who.token, trial.id, option, 900)
    assert store.answer(who.token, trial.id, 1, 900) == "counted"
    assert store.answer(who.token, trial.id, 0, 100) == "again", "the first holds"
    after = store.next(who.token)
    assert after and after.item != trial.item and after.position == 1
    (rating,) = store.ratings()
    assert (rating.side, rating.rt_ms, rating.item, rating.position) == (1, 900, trial.item.id, 0)


def test_nobody_is_asked_an_item_or_shown_a_picture_in_one_method_twice(make: Make) -> None:
    store = make()
    trials = goes_on(store, comes(store, "w"))
    asked = [t.item for t in trials if not t.item.catch]
    assert len(asked) == len({(i.method, i.picture) for i in asked}) == 36
    assert [t.position for t in trials] == list(range(38))
    assert set(Counter(i.method for i in asked).values()) == {9}, "as often in each of four methods"
    middle = [i.method for i in asked]
    assert all(len(set(middle[n : n + 4])) == 4 for n in range(0, 36, 4)), "at every time of the study"
    caught = [t.position for t in trials if t.item.catch]
    assert len(caught) == 2 and 0 < caught[0] < 19 <= caught[1], "one in each half, never the first"
    assert {t.flipped for t in trials} == {True, False}


def test_the_square_gives_pairs_to_methods_in_turn(make: Make) -> None:
    """By hand: with as many trials as pairs, worker g sees pair p in method (p + g) mod 4, every pair once."""
    plan = drawn(pictures=8, categories=1, methods=4, ratings=3, workers=12, catches=0)
    store = make(plan)
    for g in range(4):
        asked = {t.item.picture: t.item.method for t in goes_on(store, comes(store, f"w{g}"))}
        assert asked == {f"picture-{p}": f"m{(p + g) % 4}" for p in range(8)}


def test_nine_never_ten_and_the_plans_workers_are_enough(make: Make) -> None:
    plan = drawn(pictures=3, categories=2, methods=2, ratings=3, workers=6)
    store = make(plan)
    for n in range(plan.workers):
        goes_on(store, who := comes(store, f"w{n}"))
        assert store.finish(who.token).answered == plan.trials + 2
    assert set(Counter(r.item for r in store.ratings() if not r.catch).values()) == {3}
    assert store.counts() == {"workers": 6, "finished": 6, "ratings": 36, "wanted": 36, "surplus": 0, "open": 0}
    late = comes(store, "late")
    assert store.next(late.token) is None
    done = store.finish(late.token)
    assert done.trials == 0 and not done.finished, "nothing is left to ask, not even catch trials"


def test_trials_shrink_when_the_pool_is_empty(make: Make) -> None:
    plan = replace(drawn(pictures=3, methods=2, ratings=1, workers=2), trials=6)
    store = make(plan)
    goes_on(store, comes(store, "w"), most=7)
    goes_on(store, comes(store, "v"), most=4)
    short = comes(store, "u")
    asked = goes_on(store, short)
    assert 1 <= sum(not t.item.catch for t in asked) < 6 and sum(t.item.catch for t in asked) == 2
    assert store.finish(short.token).trials == len(asked)


# ---------------------------------------------------------------------------------------- late answers


def one_slot() -> Plan:
    """An item that one person is asked, and nothing else."""
    plan = drawn(pictures=1, categories=1, methods=1, ratings=1, workers=1, catches=0)
    assert len(plan.items) == plan.trials == plan.ratings == 1
    return plan


def test_what_was_abandoned_returns_to_the_pool(make: Make, clock: Clock) -> None:
    store = make(one_slot())
    slow, quick, third = (comes(store, name) for name in ("slow", "quick", "third"))
    late = store.next(slow.token)
    assert late and store.counts()["open"] == 1
    clock.wait(59)
    assert store.next(quick.token) is None, "somebody has it"
    clock.wait(1)
    assert store.counts()["open"] == 0
    trial = store.next(quick.token)
    assert trial and trial.item == late.item and trial.id != late.id
    assert store.next(slow.token) is None, "no claim on it"
    assert store.answer(quick.token, trial.id, 0, 900) == "counted"
    assert store.answer(slow.token, late.id, 1, 900) == "surplus"
    assert store.answer(slow.token, late.id, 1, 900) == "again"
    assert store.next(third.token) is None
    assert sorted((r.surplus, r.side) for r in store.ratings()) == [(False, 0), (True, 1)]
    assert store.counts() == {"workers": 3, "finished": 0, "ratings": 1, "wanted": 1, "surplus": 1, "open": 0}


def test_what_others_hold_is_waited_for_only_by_who_could_be_asked_it(make: Make, clock: Clock) -> None:
    """One picture with two categories, in one method: who was asked one of them is through, whoever holds the other."""
    store = make(drawn(pictures=1, categories=2, methods=1, ratings=1, workers=2, catches=0))
    first, second, third = (comes(store, name) for name in ("first", "second", "third"))
    trial, held = store.next(first.token), store.next(second.token)
    assert trial and held and trial.item != held.item
    store.answer(first.token, trial.id, 0, 900)
    assert store.next(first.token) is None and store.next(third.token) is None
    visitors = [store.visitor(who.token) for who in (first, third)]
    assert [(v.answered, v.trials) for v in visitors if v] == [(1, 1), (0, 1)]
    clock.wait(60)
    assert store.next(first.token) is None and (again := store.next(third.token)) and again.item == held.item


def test_an_answer_that_comes_before_the_others_is_surplus_too(make: Make, clock: Clock) -> None:
    """Its slot is somebody's, who is at it: theirs counts."""
    store = make(one_slot())
    slow, quick = comes(store, "slow"), comes(store, "quick")
    late = store.next(slow.token)
    clock.wait(60)
    trial = store.next(quick.token)
    assert late and trial
    assert store.answer(slow.token, late.id, 0, 900) == "surplus"
    assert store.answer(quick.token, trial.id, 0, 900) == "counted"


def test_a_late_answer_counts_while_nobody_else_has_the_slot(make: Make, clock: Clock) -> None:
    store = make(one_slot())
    slow, quick = comes(store, "slow"), comes(store, "quick")
    late = store.next(slow.token)
    clock.wait(1000)
    assert late and store.answer(slow.token, late.id, 0, 900) == "counted"
    assert store.next(quick.token) is None


def test_a_late_answer_counts_when_the_other_let_time_go_by_too(make: Make, clock: Clock) -> None:
    store = make(one_slot())
    slow, quick = comes(store, "slow"), comes(store, "quick")
    late = store.next(slow.token)
    clock.wait(60)
    trial = store.next(quick.token)
    clock.wait(60)
    assert late and trial and store.answer(slow.token, late.id, 0, 900) == "counted"
    assert store.answer(quick.token, trial.id, 0, 900) == "surplus"


def test_time_begins_anew_for_who_comes_back(make: Make, clock: Clock) -> None:
    store = make(one_slot())
    slow, quick = comes(store, "slow"), comes(store, "quick")
    trial = store.next(slow.token)
    clock.wait(90)
    assert store.next(slow.token) == trial
    clock.wait(59)
    assert store.next(quick.token) is None
    assert trial and store.since(slow.token, trial.id) == 149 * 60 * 1000
    assert store.since(quick.token, trial.id) is None


# ---------------------------------------------------------------------------------------- what is kept

# Every place on the screen, by hand. Trust: the better network is the first picture, so on the left unless flipped.
CHOICES = [
    ("class-discrimination", False, 0, "c0", 1), ("class-discrimination", False, 1, "c1", 0),
    ("class-discrimination", True, 0, "c1", 0), ("class-discrimination", True, 1, "c0", 1),
    ("trust", False, 0, "Clearly the first", 2), ("trust", False, 1, "Slightly the first", 1),
    ("trust", False, 2, "Both equally", 0), ("trust", False, 3, "Slightly the second", -1),
    ("trust", False, 4, "Clearly the second", -2), ("trust", True, 0, "Clearly the first", -2),
    ("trust", True, 1, "Slightly the first", -1), ("trust", True, 2, "Both equally", 0),
    ("trust", True, 3, "Slightly the second", 1), ("trust", True, 4, "Clearly the second", 2),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "flipped", "option", "choice", "value"), CHOICES)
def test_the_value_of_every_choice(kind: Any, flipped: bool, option: int, choice: str, value: float) -> None:
    assert judged(item(kind, "m", "p", "c0"), flipped, option) == (choice, value)


def test_ratings_say_all_that_happened(make: Make, clock: Clock) -> None:
    plan = drawn("trust", methods=2, ratings=2, workers=4)
    store = make(plan)
    who = store.consent(store.enter("prolific", "w", {"STUDY_ID": "s"}, simulated=True).token)
    trials = {}
    for n in range(plan.trials + 2):
        trial = store.next(who.token)
        assert trial
        clock.wait(0.1)
        store.answer(who.token, trial.id, n % 5, n - 1 if n < 2 else 10**9 * (n == 2) + n)
        trials[trial.item.id] = (trial, n)
    ratings = store.ratings()
    assert not any(r.finished for r in ratings)
    store.finish(who.token)
    assert [r.position for r in ratings] == list(range(plan.trials + 2))
    for rating in store.ratings():
        trial, n = trials[rating.item]
        of = trial.item
        assert (rating.picture, rating.method, rating.category) == (of.picture, of.method, of.category)
        assert (rating.flipped, rating.side, rating.choice) == (trial.flipped, n % 5, LIKERT[n % 5])
        assert rating.value == (2, 1, 0, -1, -2)[n % 5] * (-1 if trial.flipped else 1)
        assert rating.rt_ms == {0: 0, 2: 86_400_000}.get(n, n - (n == 1)), "no less than none, no more than a day"
        assert (rating.platform, rating.simulated, rating.finished, rating.surplus) == ("prolific", True, True, False)
        assert rating.catch == (rating.item in {c.id for c in plan.catches})
        assert rating.answered_at.startswith("2030-01-01T12:") and rating.answered_at.endswith("+00:00")


def test_failed_catch_trials_are_counted(make: Make) -> None:
    store = make()
    wrongly, rightly = comes(store, "wrongly"), comes(store, "rightly")
    for who, right in ((wrongly, False), (rightly, True)):
        while trial := store.next(who.token):
            first = (trial.item.options[0] == trial.item.truth) != trial.flipped  # whether the right one is at 0
            store.answer(who.token, trial.id, int(first != right), 900)
    assert store.failed(wrongly.token) == 2 and store.failed(rightly.token) == 0


# ---------------------------------------------------------------------------------------- any order, at random


@pytest.mark.parametrize("seed", range(4))
def test_in_any_order_and_with_whoever_leaves_nothing_breaks(url: str, seed: int) -> None:
    """Workers come, leave, return late and answer twice at random; a model of the rules, kept here, agrees."""
    lot, clock = random.Random(seed), Clock()
    plan = drawn(pictures=lot.choice((3, 4)), methods=lot.choice((2, 3)), ratings=2, workers=lot.choice((4, 6)))
    store = Store(url, plan, clock)
    held: dict[str, list[Trial]] = {}  # by worker, everything that they were given
    answered: dict[str, str] = {}  # by trial
    through: set[str] = set()
    while store.counts()["ratings"] < store.counts()["wanted"]:
        if len(held) - len(through) < 3 or lot.random() < 0.02:
            held[comes(store, f"w{len(held)}").token] = []
        token = lot.choice(sorted(held.keys() - through))
        deed = lot.random()
        if deed < 0.03:
            clock.wait(lot.choice((30, 61)))
        elif deed < 0.06 and held[token]:  # an old tab
            trial = lot.choice(held[token])
            before = trial.id in answered
            said = store.answer(token, trial.id, 1, 900)
            assert (said == "again") == before
            answered.setdefault(trial.id, said)
        elif (trial_ := store.next(token)) is None:
            store.finish(token)
            through.add(token)
        else:
            if trial_ not in held[token]:
                held[token].append(trial_)
            assert trial_.id not in answered
            if lot.random() < 0.9:
                answered[trial_.id] = store.answer(token, trial_.id, 0, 900)
                assert answered[trial_.id] in ("counted", "surplus")
        assert len(held) < 40, "the pool is stranded"
    for trials in held.values():
        items = [t.item for t in trials if not t.item.catch]
        assert len(items) == len({(i.method, i.picture) for i in items})
    ratings = store.ratings()
    assert len(ratings) == len(answered)
    assert sum(r.surplus for r in ratings) == sum(said == "surplus" for said in answered.values())
    counted = Counter(r.item for r in ratings if not (r.catch or r.surplus))
    assert counted == {i.id: 2 for i in plan.items}
    assert max(Counter((r.worker, r.item) for r in ratings).values()) == 1
    store.close()


@pytest.mark.slow
def test_the_papers_size_in_the_papers_number_of_workers(tmp_path: Path, figure: Callable[[str], None]) -> None:
    plan = drawn(pictures=45, categories=2, methods=4, ratings=9, workers=43)
    store = Store(f"sqlite:///{tmp_path / 'study.sqlite'}", plan)
    asked = {n: [t.item for t in goes_on(store, comes(store, f"w{n}")) if not t.item.catch] for n in range(43)}
    assert store.counts()["ratings"] == store.counts()["wanted"] == 3240
    store.close()
    once = sum(len({(i.picture, i.category) for i in items}) for items in asked.values()) / 3240
    spread = [n for items in asked.values() for n in Counter(i.method for i in items).values()]
    figure(
        f"43 workers, 3,240 ratings; of their trials {once:.1%} show a pair that they had not seen in another method; "
        f"each method {min(spread)} to {max(spread)} times per worker; trials {[*map(len, asked.values())]}"
    )
    assert once > 0.95 and max(spread) <= 20


# ---------------------------------------------------------------------------------------- the database


def test_what_may_never_be_the_database_refuses(make: Make, url: str) -> None:
    store = make(one_slot())
    who, other = comes(store, "w"), comes(store, "v")
    trial = store.next(who.token)
    assert trial and store.answer(who.token, trial.id, 0, 900) == "counted"
    row = {"item": trial.item.id, "flipped": False, "given_at": clock_text, "expires_at": clock_text}
    base = Database(url)

    def refused(table: str, **values: Any) -> None:
        names = ", ".join(values)
        statement = sa.text(f"INSERT INTO {table} ({names}) VALUES ({', '.join(':' + n for n in values)})")
        with pytest.raises(IntegrityError), base.write() as connection:
            connection.execute(statement, values)

    with base.read() as connection:
        mine, theirs = connection.execute(sa.text("SELECT id FROM workers ORDER BY id")).scalars()
    refused("assignments", id="a", worker_id=theirs, position=0, slot=0, **row)  # the same slot
    refused("assignments", id="b", worker_id=theirs, position=0, slot=1, **row)  # a tenth of nine, here a second of one
    refused("assignments", id="c", worker_id=mine, position=1, **row)  # the same item
    refused("assignments", id="d", worker_id=mine, position=1, **{**row, "item": "x"}, method="m0", picture="picture-0")
    refused("assignments", id="e", worker_id=999, position=0, **row)  # nobody
    values = {"option": 0, "choice": "", "value": 0, "rt_ms": 0, "answered_at": clock_text, "surplus": False}
    refused("answers", assignment_id=trial.id, **values)  # a second answer
    refused("answers", assignment_id="none", **values)
    refused("studies", id=2, plan="", salt="", created_at=clock_text)
    base.close()
    assert store.next(other.token) is None


clock_text = "2030-01-01 12:00:00.000000"


def test_migrations_make_the_tables_that_the_code_means(url: str) -> None:
    base = Database(url)
    with base.write() as connection:
        base.migrate(connection)
        command.check(configuration(connection))  # raises where autogenerate finds a difference
        assert len(sa.inspect(connection).get_table_names()) == 6
    with base.write() as connection:
        base.migrate(connection, "base")
        assert sa.inspect(connection).get_table_names() == ["alembic_version"]
    with base.write() as connection:
        base.migrate(connection)
        base.migrate(connection)
    base.close()


def test_a_difference_would_be_found(tmp_path: Path) -> None:
    base = Database(f"sqlite:///{tmp_path / 'x.sqlite'}")
    with base.write() as connection:
        base.migrate(connection)
        connection.execute(sa.text("ALTER TABLE answers DROP COLUMN rt_ms"))
        with pytest.raises(Exception, match="rt_ms"):
            command.check(configuration(connection))
    base.close()


def test_a_database_of_another_plan_is_refused(make: Make) -> None:
    goes_on(make(), comes(make(), "w"), most=1)
    with pytest.raises(Error, match=r"was opened for another plan.*give --database another URL") as raised:
        make(drawn(ratings=2))
    assert "\n" not in str(raised.value)
    assert make().counts()["ratings"] == 1, "nothing was lost"


def test_until_somebody_consents_a_plan_can_be_changed(make: Make, url: str) -> None:
    before, changed = make(), drawn(ratings=2, catches=1)
    who = before.enter("local", "early")
    after = make(changed)
    assert after.counts()["wanted"] == 2 * len(changed.items)
    base = Database(url)
    with base.read() as connection:
        found = connection.execute(sa.text("SELECT item, count(*) FROM slots GROUP BY item")).all()
    base.close()
    assert {tuple(row) for row in found} == {(item.id, 2) for item in changed.items}
    with pytest.raises(Error, match="was changed just now"):
        before.consent(who.token)
    assert len(goes_on(after, after.consent(who.token))) == changed.trials + 1
    with pytest.raises(Error, match="was opened for another plan"):
        make()


def test_who_reads_makes_nothing(tmp_path: Path, url: str) -> None:
    with pytest.raises(Error, match="Nobody has answered yet"):
        opened(tmp_path, drawn(), url, made=True)
    base = Database(url)
    assert not base.holds("studies")
    base.close()
    assert not (tmp_path / "study.sqlite").exists()
    opened(tmp_path, drawn(), url).close()
    opened(tmp_path, drawn(), url, made=True).close()


def test_a_database_of_a_later_version_is_refused(make: Make, url: str) -> None:
    make()
    base = Database(url)
    with base.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = 'later'"))
    base.close()
    with pytest.raises(Error, match="another version of wherefore: give another database"):
        make()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        (
            "postgresql+psycopg://me:s3cret@127.0.0.1:1/study",
            r"//me:\*\*\*@127.0.0.1:1/study cannot be used",
        ),
        ("postgresql+psycopg://me:s3cret@127.0.0.1:1/study?sslpassword=s3cret", "cannot be used"),
        (
            "postgres://me:s3cret@127.0.0.1:1/study",
            r"^postgresql\+psycopg://me:\*\*\*@127.0.0.1:1/study cannot be used",
        ),
        (
            "postgresql://me:s3cret@127.0.0.1:1/study",
            r"^postgresql\+psycopg://me:\*\*\*@127.0.0.1:1/study cannot be used",
        ),
        ("postgresql+psycopg://me@127.0.0.1/x?nonsense=s3cret", "cannot be used"),
        ("sqlite:////nowhere/at/all/s.sqlite", "unable to open database file"),
        ("s3cret", "The database's URL is not one"),
        ("oracle9://me:s3cret@host/x", "oracle9 is no database"),
        ("mysql+mysqldb://me:s3cret@host/x", "is no database that can be used here"),
    ],
)
def test_a_database_that_cannot_be_used_is_said_in_a_sentence_without_its_password(url: str, says: str) -> None:
    with pytest.raises(Error, match=says) as raised:
        Store(url, drawn())
    assert "s3cret" not in str(raised.value) and "\n" not in str(raised.value)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "study.sqlite").write_text("This is a diary. " * 100)
    with pytest.raises(Error, match="file is not a database"):
        opened(tmp_path, drawn())


def test_only_what_may_be_lost_with_power_does_not_wait_for_the_disk(tmp_path: Path) -> None:
    """SQLite: 2 is FULL, which syncs the log at each commit. What was given is on disk with the answer, after it."""
    store = opened(tmp_path, drawn())
    levels: list[int] = []

    def note(connection: sa.Connection) -> None:
        levels.append(connection.exec_driver_sql("PRAGMA synchronous").scalar_one())

    sa.event.listen(store._database.engine, "commit", note)
    who = comes(store, "w")
    assert levels == [2, 2]
    trial = store.next(who.token)
    assert trial and levels == [2, 2, 1]
    store.answer(who.token, trial.id, 0, 900)
    assert levels == [2, 2, 1, 2]
    with store._database.read() as connection:
        settings = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "foreign_keys")]
    assert settings == ["wal", 1]
    store.close()


def test_postgresql_waits_for_its_log_alike() -> None:
    base = Database(database("postgresql", Path()))
    for lasting, commit in ((True, "on"), (False, "off")):
        with base.write(lasting) as connection:
            assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == commit
    with base.read() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"
    base.close()


def test_many_open_a_new_file_at_once(tmp_path: Path) -> None:
    """Switching a new file to its journal is the one step that SQLite lets nobody wait for."""

    def opened_and_closed(url: str) -> None:
        ready.wait()
        Store(url, plan).close()

    plan = drawn(pictures=2, methods=2)
    for n in range(6):
        ready = threading.Barrier(6)
        with ThreadPoolExecutor(6) as pool:
            for future in [pool.submit(opened_and_closed, f"sqlite:///{tmp_path / str(n)}.sqlite") for _ in range(6)]:
                future.result()
