"""The study's app: its addresses, what it refuses, what it never tells, and what it keeps."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy.exc import OperationalError

from study_folder import make
from wherefore.cli import main
from wherefore.errors import Error
from wherefore.study import platforms
from wherefore.study.app import LIMIT, SIMULATED, create
from wherefore.study.browsing import Page, read
from wherefore.study.plan import LIKERT
from wherefore.study.serving import serve, served
from wherefore.study.store import Store, opened
from wherefore.study.texts import texts

MTURK = {
    "assignmentId": "3ASSIGN",
    "hitId": "3HIT",
    "workerId": "A1RAWWORKERID",
    "turkSubmitTo": "https://workersandbox.mturk.com",
}
PROLIFIC = {"PROLIFIC_PID": "5f00rawparticipant", "STUDY_ID": "6a0study", "SESSION_ID": "7b0session"}


class Clock:
    """A clock that goes when it is told to."""

    now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def on(self, **by: float) -> None:
        self.now += timedelta(**by)


class Desk:
    """A study, its store, and a browser before its app."""

    def __init__(self, folder: Path, platform: platforms.Platform | None = None, **design: Any) -> None:
        self.folder, self.plan, self.clock = folder, make(folder, **design), Clock()
        self.store = Store(f"sqlite:///{folder / 'study.sqlite'}", self.plan, self.clock)
        app = create(folder, self.plan, self.store, platform or platforms.Local())
        self.browser = TestClient(app, raise_server_exceptions=False).__enter__()

    def page(self, address: str, form: dict[str, Any] | None = None, **given: Any) -> Page:
        answer = self.browser.request("POST" if form is not None else "GET", address, data=form, **given)
        assert answer.status_code == 200, answer.text
        return read(answer.text)

    def enter(self, participant: str = "", **given: Any) -> str:
        """The address of a new worker who has agreed."""
        address = self.page("/", {"participant": participant}, **given).forms[0].action.removesuffix("/consent")
        assert self.page(f"{address}/consent", {"choice": "agree", "agree": "yes"}).kind == "instructions"
        return address

    def answer(self, address: str, option: int = 0, **more: Any) -> httpx.Response:
        """The answer to the trial that stands there, not followed."""
        form = self.page(address).forms[0]
        return self.browser.post(
            form.action, data={**form.fields, "option": option, **more}, follow_redirects=False
        )  # as a button is pressed

    def through(self, address: str, option: int = 0) -> Page:
        """Whatever they press, to the end."""
        while (page := self.page(address)).kind == "trial":
            assert self.answer(address, option).status_code == 303
        return page


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    made: list[Desk] = []

    def one(platform: platforms.Platform | None = None, **design: Any) -> Desk:
        made.append(Desk(tmp_path / f"study {len(made)}", platform, **design))
        return made[-1]

    yield one
    for each in made:
        each.browser.__exit__()  # which closes the store, too


def rows(folder: Path, query: str) -> list[tuple[Any, ...]]:
    """What a query of our own finds in the database."""
    with sqlite3.connect(folder / "study.sqlite") as connection:
        found = connection.execute(query).fetchall()
    connection.close()
    return found


@pytest.mark.parametrize("kind", ["class-discrimination", "trust"])
def test_a_whole_study(desk: Callable[..., Desk], kind: str) -> None:
    it = desk(kind=kind)
    codes = set()
    for participant in ("1", "2"):
        address = it.enter(participant)
        seen = set()
        for number in range(1, it.plan.trials + 3):
            page = it.page(address)
            assert page.kind == "trial" and len(page.pictures) == (2 if kind == "trust" else 1)
            assert f"{number} of {it.plan.trials + 2}" in it.browser.get(address).text
            assert [button.words for button in page.forms[0].buttons] == list(LIKERT) or kind != "trust"
            seen.add(tuple(sorted(page.pictures)))
            it.answer(address)
        assert len(seen) == it.plan.trials + 2, "a picture came twice"
        done = it.page(address)
        assert done.kind == "done" and done.number and done.number == it.page(address).number
        codes.add(done.number)
    assert len(codes) == 2
    counts, all_of_them = it.store.counts(), len(it.plan.items)
    assert (counts["finished"], counts["ratings"], counts["wanted"]) == (2, all_of_them, all_of_them)
    assert counts["surplus"] == counts["open"] == 0
    assert "full" in it.browser.get(it.enter("3")).text, "the pool is empty"


def test_what_is_chosen_is_kept_wherever_it_stood(desk: Callable[..., Desk]) -> None:
    it = desk(pictures=6, workers=2)
    of = {f"/pictures/{item.files[0]}": item for item in it.plan.by_id.values()}
    for participant in ("1", "2"):
        address = it.enter(participant)
        while (page := it.page(address)).kind == "trial":
            [right] = [b for b in page.forms[0].buttons if b.words == of[page.pictures[0]].truth]
            it.answer(address, int(right.value))
    ratings = it.store.ratings()
    assert {r.value for r in ratings} == {1.0} and all(r.choice == it.plan.by_id[r.item].truth for r in ratings)
    assert {r.flipped for r in ratings} == {True, False} == {bool(r.side) for r in ratings}


def test_in_trust_the_pictures_change_places(desk: Callable[..., Desk]) -> None:
    it = desk(kind="trust", pictures=8, workers=2)
    of = {f"/pictures/{name}": item for item in it.plan.by_id.values() for name in item.files}
    for participant in ("1", "2"):
        address = it.enter(participant)
        while (page := it.page(address)).kind == "trial":
            better_first = page.pictures[0].endswith(of[page.pictures[0]].files[0])
            it.answer(address, 1 if better_first else 3)  # slightly for the better one
    assert {r.value for r in it.store.ratings()} == {1.0}
    assert {r.flipped for r in it.store.ratings()} == {True, False}


def test_a_page_tells_nothing_of_the_answer(desk: Callable[..., Desk]) -> None:
    it = desk()
    address = it.enter("1")
    of = {f"/pictures/{item.files[0]}": item for item in it.plan.by_id.values()}
    for _ in range(6):
        text = it.browser.get(address).text
        page = read(text)
        item = of[page.pictures[0]]
        for word in (item.id, *it.plan.methods, "truth", "catch", "simulated"):
            assert word not in text
        assert text.count(item.options[0]) == text.count(item.options[1]) == 1
        it.answer(address)


def test_reloading_and_pressing_twice_and_going_back(desk: Callable[..., Desk]) -> None:
    it = desk()
    address = it.enter("1")
    first, again = it.page(address), it.page(address)
    assert first.forms[0].fields["trial"] == again.forms[0].fields["trial"] and first.pictures == again.pictures
    form = {**first.forms[0].fields, "option": 1}
    for _ in range(3):  # twice, and once from a page that was gone back to
        assert it.browser.post(first.forms[0].action, data=form).status_code == 200
        form["option"] = 0
    assert [rating.side for rating in it.store.ratings()] == [1]
    other_tab = it.browser.post("/", data={"participant": " 1 "}, follow_redirects=False)
    assert other_tab.headers["location"] == address


def test_a_late_answer_is_thanked_and_kept(desk: Callable[..., Desk]) -> None:
    it = desk(pictures=1, ratings=1, workers=2)  # four items, two of each
    slow = it.enter("slow")
    page = it.page(slow)
    while page.pictures[0].removeprefix("/pictures/") in {item.files[0] for item in it.plan.catches}:
        it.answer(slow)
        page = it.page(slow)
    lost = page.forms[0]
    it.clock.on(minutes=it.plan.minutes + 1)
    for number in range(2):
        it.through(it.enter(str(number)))
    assert it.store.counts()["ratings"] == 4
    answer = it.browser.post(lost.action, data={**lost.fields, "option": 0})
    assert answer.status_code == 200
    assert it.store.counts()["surplus"] == 1 and it.store.counts()["ratings"] == 4
    assert answer.history[0].headers["location"] == f"{slow}?late=1"


def test_who_comes_while_all_is_held_may_come_back(desk: Callable[..., Desk]) -> None:
    it = desk(pictures=1, ratings=1, workers=1)  # four items
    held = [it.enter(str(number)) for number in range(4)]
    for address in held:
        assert it.page(address).kind == "trial"
    late = it.enter("late")
    page, text = it.page(late), it.browser.get(late).text
    assert page.kind == "wait" and not page.forms and page.links == [late]
    assert "about 60 minutes" in text and "have been given" not in text
    assert it.store.counts()["finished"] == 0 and it.store.counts()["open"] == 4
    it.clock.on(minutes=it.plan.minutes + 1)
    assert it.page(late).kind == "trial", "they all left"
    assert it.through(late).kind == "done" and it.store.counts()["finished"] == 1
    assert it.store.counts()["ratings"] == 4
    nobody = it.enter("nobody")
    assert it.page(nobody).kind == "full" and it.store.counts()["finished"] == 1, "who answered nothing is not counted"


def test_who_has_answered_some_may_end_or_wait(desk: Callable[..., Desk]) -> None:
    it = desk(pictures=1, ratings=1, workers=1)
    for number in range(3):
        assert it.page(it.enter(str(number))).kind == "trial"
    ends = it.enter("ends")
    early = it.browser.post(f"{ends}/end")
    assert early.status_code == 400 and "trials left" in early.text
    page = it.through(ends)
    assert page.kind == "wait" and page.links == [ends] and not page.number
    assert it.store.counts()["finished"] == 0
    [form] = page.forms
    assert [button.words for button in form.buttons] == ["End here"]
    done = it.page(form.action, {})
    assert done.kind == "done" and done.number and it.store.counts()["finished"] == 1
    it.clock.on(minutes=it.plan.minutes + 1)
    assert it.page(ends).kind == "done", "they ended"
    waits = it.enter("waits")
    assert it.through(waits).kind == "done" and it.store.counts()["ratings"] == 4


def test_lateness_is_spoken_of(desk: Callable[..., Desk]) -> None:
    it = desk()
    address = it.enter("1")
    assert "It is kept all the same" in it.browser.get(f"{address}?late=1").text
    assert "It is kept all the same" not in it.browser.get(address).text


def test_response_times(desk: Callable[..., Desk]) -> None:
    it = desk()
    address = it.enter("1")
    for said, kept in (("1234", 1234), ("60000", 5000), ("", 5000), ("87.6", 88)):
        it.page(address)
        it.clock.on(seconds=5)
        it.answer(address, rt_ms=said)
        assert it.store.ratings()[-1].rt_ms == kept
        it.clock.on(seconds=1)


def test_simulated_workers_are_marked(desk: Callable[..., Desk]) -> None:
    it = desk()
    wrong = it.browser.post("/", data={"participant": "x"}, headers={SIMULATED: "0" * 64})
    assert wrong.status_code == 400 and "folder of another study" in wrong.text
    it.answer(it.enter("x", headers={SIMULATED: it.plan.digest}), rt_ms=4321)
    [rating] = it.store.ratings()
    assert rating.simulated and rating.rt_ms == 4321, "they do not wait, so our clock says nothing of them"
    assert it.plan.digest not in it.browser.get(it.enter("w", headers={SIMULATED: it.plan.digest})).text


@pytest.mark.parametrize("simulated", [True, False])
def test_people_and_simulated_workers_are_never_in_one_study(desk: Callable[..., Desk], simulated: bool) -> None:
    it = desk()
    marked, plain = {SIMULATED: it.plan.digest}, {}
    first, second = (marked, plain) if simulated else (plain, marked)
    early = it.page("/", {"participant": "early"}, headers=second).forms[0].action
    it.answer(it.enter("x", headers=first))
    said = "simulated workers, so people cannot" if simulated else "People take part in this study"
    for address, form in (("/", {"participant": "y"}), (early, {"choice": "agree", "agree": "yes"})):
        refused = it.browser.post(address, data=form, headers=second)
        assert refused.status_code == 400 and said in refused.text
    it.answer(it.enter("z", headers=first))
    assert [rating.simulated for rating in it.store.ratings()] == [simulated] * 2


def test_a_study_that_holds_simulated_answers_says_so_when_it_is_served(tmp_path: Path) -> None:
    plan = make(tmp_path)
    store = opened(tmp_path, plan)
    store.consent(store.enter("local", "x", simulated=True).token)
    store.close()
    command = [sys.executable, "-m", "wherefore", "study", "serve", str(tmp_path), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout and server.stderr and "http://" in server.stdout.readline()
        server.send_signal(signal.SIGTERM)
        said = server.stderr.read()
    assert "lets no people in: give --database another" in said and said.count("\n") == 1


def test_declining(desk: Callable[..., Desk]) -> None:
    it = desk()
    address = it.page("/", {"participant": "1"}).forms[0].action.removesuffix("/consent")
    unticked = it.browser.post(f"{address}/consent", data={"choice": "agree"})
    assert unticked.status_code == 422 and "Tick the box" in unticked.text
    declined = it.page(f"{address}/consent", {"choice": "decline"})
    assert declined.kind == "message" and declined.links == [address]
    assert it.page(address).kind == "consent" and it.store.counts()["workers"] == 0
    early = it.browser.get(f"{address}/instructions")
    assert read(early.text).kind == "consent"
    it.page(f"{address}/consent", {"choice": "agree", "agree": "yes"})
    it.answer(address)
    late = it.page(f"{address}/consent", {"choice": "decline"})
    assert late.kind == "trial" and len(it.store.ratings()) == 1, "nobody is told that no answer of theirs is kept"


# ------------------------------------------------------------------------------------------- what is refused


LONG = "a" * (LIMIT + 1)
BAD = {
    "nobody's token": ("GET", "/w/abcdefghijklmnop", None, 404),
    "no token": ("GET", "/w/%00%00%00%00%00%00%00%00", None, 404),
    "a path": ("GET", "/pictures/..%2Fstudy.json", None, 404),
    "another path": ("GET", "/pictures/%2e%2e/study.json", None, 404),
    "the plan": ("GET", "/study.json", None, 404),
    "another file of the package": ("GET", "/static/app.py", None, 404),
    "docs": ("GET", "/openapi.json", None, 404),
    "another method": ("DELETE", "/", None, 405),
    "a long form": ("POST", "/", {"participant": LONG}, 413),
    "a long number": ("POST", "/", {"participant": "a" * 65}, 400),
    "an unprintable number": ("POST", "/", {"participant": "a\x00b"}, 400),
    "many fields": ("POST", "/", {f"f{n}": "" for n in range(30)}, 400),
    "no trial": ("POST", "{}/answer", {"option": 0}, 422),
    "no option": ("POST", "{}/answer", {"trial": "abcdefgh"}, 422),
    "no number": ("POST", "{}/answer", {"trial": "abcdefgh", "option": "first"}, 422),
    "an option that is not there": ("POST", "{}/answer", {"trial": "abcdefgh", "option": 5}, 422),
    "a time before": ("POST", "{}/answer", {"trial": "abcdefgh", "option": 0, "rt_ms": -1}, 422),
    "no time": ("POST", "{}/answer", {"trial": "abcdefgh", "option": 0, "rt_ms": "nan"}, 422),
    "a trial of nobody": ("POST", "{}/answer", {"trial": "abcdefgh", "option": 0}, 400),
    "no trial's id": ("POST", "{}/answer", {"trial": "a'; DROP TABLE workers; --", "option": 0}, 422),
    "a zero byte": ("POST", "{}/answer", {"trial": "abc\x00defgh", "option": 0}, 422),
}


@pytest.mark.parametrize(("method", "address", "form", "status"), BAD.values(), ids=list(BAD))
def test_bad_requests_get_a_sentence(
    desk: Callable[..., Desk], method: str, address: str, form: dict[str, Any] | None, status: int
) -> None:
    it = desk()
    answer = it.browser.request(method, address.format(it.enter("1")), data=form)
    assert answer.status_code == status
    page = read(answer.text)
    said = re.findall(r"<p>(.*?)</p>", answer.text)[0]
    assert page.kind == "message" and said.endswith((".", ").")) and said[0].isupper()
    assert "DROP" not in said and "Traceback" not in answer.text and "aaaa" not in answer.text
    assert answer.headers["content-security-policy"] and answer.headers["cache-control"] == "no-store"
    assert not it.store.ratings()


def test_an_option_that_this_item_has_not(desk: Callable[..., Desk]) -> None:
    it = desk()
    answer = it.answer(it.enter("1"), option=3)
    assert answer.status_code == 400 and "could not be read: please go back and choose again" in answer.text
    assert not it.store.ratings()


def test_bodies_of_unknown_length(desk: Callable[..., Desk]) -> None:
    pieces = (b"participant=" + b"a" * 1000 for _ in range(1000))
    answer = desk().browser.post("/", content=pieces, headers={"content-type": "application/x-www-form-urlencoded"})
    assert answer.status_code == 413 and read(answer.text).kind == "message"


def test_another_workers_trial(desk: Callable[..., Desk]) -> None:
    it = desk()
    mine, theirs = it.enter("1"), it.enter("2")
    trial = it.page(mine).forms[0].fields["trial"]
    answer = it.browser.post(f"{theirs}/answer", data={"trial": trial, "option": 0})
    assert answer.status_code == 400 and not it.store.ratings()


def test_troubles_of_our_own_are_said(desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch) -> None:
    it = desk()
    address = it.enter("1")
    for wrong, status in ((OperationalError("SELECT secret", {}, Exception("gone")), 503), (KeyError("secret"), 500)):

        def fails(token: str, wrong: Exception = wrong) -> None:
            raise wrong

        monkeypatch.setattr(it.store, "next", fails)
        answer = it.browser.get(address)
        assert answer.status_code == status and "Your answers are kept" in answer.text and "secret" not in answer.text
        assert (answer.headers.get("retry-after") == "5") == (status == 503)
        assert answer.headers["content-security-policy"] and answer.headers["cache-control"] == "no-store"


# ---------------------------------------------------------------------------------------------- what pages are


def test_headers_and_weight(desk: Callable[..., Desk]) -> None:
    it = desk(kind="trust")
    address = it.enter("1")
    declined = it.page("/", {"participant": "2"}).forms[0].action.replace("consent", "declined")
    weights = []
    for path in ("/", address, f"{address}/instructions", declined):
        answer = it.browser.get(path)
        own = re.findall(r'(?:src|href|action)="([^"]*)"', answer.text)
        assert own and all(one.startswith("/") and not one.startswith("//") for one in own), "a request to elsewhere"
        assert answer.text.count("<h1") == 1 and '<html lang="en">' in answer.text
        assert "style=" not in answer.text and not re.search(r"<script(?! src)", answer.text)
        extra = [it.browser.get(one) for one in own if one.startswith("/static/") and ".svg" not in one]
        weights.append(len(answer.content) + sum(len(each.content) for each in extra))
        assert {each.headers["cache-control"] for each in extra} == {"public, max-age=31536000, immutable"}
        policy = answer.headers["content-security-policy"]
        assert policy == (
            "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
        )
        assert answer.headers["referrer-policy"] == "strict-origin" and answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff" and "set-cookie" not in answer.headers
    assert max(weights) < 10_240
    picture = it.browser.get(it.page(address).pictures[0])
    assert picture.headers["content-type"] == "image/png" and "immutable" in picture.headers["cache-control"]


def test_texts_are_escaped(desk: Callable[..., Desk], tmp_path: Path) -> None:
    plan = make(tmp_path / "s")
    said = {**plan.texts, "consent": "<script>alert(1)</script> & so on", "title": "</title><b>"}
    changed = replace(plan, texts=said)
    store = opened(tmp_path / "s", changed)
    with TestClient(create(tmp_path / "s", changed, store, platforms.Local())) as browser:
        text = browser.post("/", data={"participant": ""}).text
    assert "<script>" not in text and "&lt;script&gt;alert(1)" in text and "<b>" not in text


def test_what_is_missing_is_said_before_anybody_comes(tmp_path: Path) -> None:
    plan = make(tmp_path / "s")
    store = opened(tmp_path / "s", plan)
    bare = replace(plan, texts={"title": "x"})
    with pytest.raises(Error, match="lacks the texts consent, instructions"):
        create(tmp_path / "s", bare, store, platforms.Local())
    (tmp_path / "s" / "pictures" / plan.items[0].files[0]).unlink()
    with pytest.raises(Error, match="lacks 1 pictures"):
        create(tmp_path / "s", plan, store, platforms.Local())
    store.close()


# ------------------------------------------------------------------------------------------------- platforms


def test_mturk(desk: Callable[..., Desk]) -> None:
    it = desk(platforms.platform("mturk", submit_to="http://127.0.0.1:9/mturk"))
    for query in ({}, {"assignmentId": "ASSIGNMENT_ID_NOT_AVAILABLE", "hitId": "3HIT"}):
        preview = it.browser.get("/", params=query)
        page = read(preview.text)
        assert page.kind == "preview" and not page.forms and "disabled" in preview.text
        assert not rows(it.folder, "SELECT * FROM workers")
    policy = preview.headers["content-security-policy"]
    assert "frame-ancestors https://*.mturk.com http://127.0.0.1:9" in policy
    assert "form-action 'self' https://www.mturk.com https://workersandbox.mturk.com http://127.0.0.1:9;" in policy
    came = it.browser.get("/", params=MTURK)
    address = str(came.url.path)
    it.page(f"{address}/consent", {"agree": "yes"})
    done = it.through(address)
    assert done.forms[0].action == "https://workersandbox.mturk.com/mturk/externalSubmit"
    [[kept]] = rows(it.folder, "SELECT details FROM workers")
    assert json.loads(kept) == {"assignmentId": "3ASSIGN", "turkSubmitTo": MTURK["turkSubmitTo"]}, "what is handed in"
    assert done.forms[0].fields == {"assignmentId": "3ASSIGN", "number": done.number}
    again = read(it.browser.get("/", params={**MTURK, "assignmentId": "3OTHER"}).text)
    assert again.forms[0].fields == {"assignmentId": "3OTHER", "number": done.number}, "they gave the first one back"


@pytest.mark.parametrize(
    "wrong",
    [
        {"turkSubmitTo": "https://www.mturk.com.evil.example"},
        {"turkSubmitTo": "http://www.mturk.com"},
        {"turkSubmitTo": "https://evil@www.mturk.com"},
        {"turkSubmitTo": "javascript:alert(1)"},
        {"turkSubmitTo": "https://[www.mturk.com"},
        {"turkSubmitTo": ""},
        {"workerId": ""},
        {"workerId": "a b"},
        {"assignmentId": "<b>"},
        {"hitId": "x" * 65},
    ],
    ids=str,
)
def test_mturk_of_somebody_else(desk: Callable[..., Desk], wrong: dict[str, str]) -> None:
    it = desk(platforms.MTurk())
    answer = it.browser.get("/", params={**MTURK, **wrong})
    assert answer.status_code == 400 and re.search("Please open this study from MTurk|open the HIT there", answer.text)
    assert not rows(it.folder, "SELECT * FROM workers")


def test_prolific(desk: Callable[..., Desk]) -> None:
    it = desk(platforms.platform("prolific", "GOOD1", "BAD1"), pictures=8, workers=4)
    of = {f"/pictures/{item.files[0]}": item for item in it.plan.by_id.values()}
    for who, attends in (("attentive", True), ("blind", False)):
        address = str(it.browser.get("/", params={**PROLIFIC, "PROLIFIC_PID": who}).url.path)
        it.page(f"{address}/consent", {"agree": "yes"})
        while (page := it.page(address)).kind == "trial":
            truth = of[page.pictures[0]].truth
            [wanted] = [b for b in page.forms[0].buttons if (b.words == truth) == attends]
            it.answer(address, int(wanted.value))
        expected = f"https://app.prolific.com/submissions/complete?cc={'GOOD1' if attends else 'BAD1'}"
        assert page.links == [expected]
        text = it.browser.get(address).text
        assert f'content="10;url={expected}"' in text
        [code] = re.findall('<code id="code">(.*?)</code>', text)
        assert code == expected.rpartition("=")[2] != page.number and len(page.number) == 12
    assert rows(it.folder, "SELECT DISTINCT details FROM workers") == [("{}",)], "nothing of Prolific's is kept"
    bare = it.browser.get("/")
    assert bare.status_code == 400 and "Please open this study from Prolific (STUDY_ID is missing" in bare.text
    for name in PROLIFIC:
        assert it.browser.get("/", params={**PROLIFIC, name: "%"}).status_code == 400


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("local", "CODE"), "Prolific's"),
        (("prolific",), "--code"),
        (("local", None, None, "http://127.0.0.1:9"), "--platform mturk"),
        (("mturk", None, None, "https://evil.example"), "this machine"),
        (("mturk", None, None, "http://127.0.0.1.evil.example"), "this machine"),
        (("elsewhere",), "no platform"),
    ],
)
def test_platforms_that_cannot_be(given: tuple[str | None, ...], said: str) -> None:
    with pytest.raises(Error, match=said):
        platforms.platform(*given)  # type: ignore[arg-type]


# -------------------------------------------------------------------------------------------- what is never kept


def test_ids_are_neither_logged_nor_stored(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    make(folder)
    command = [sys.executable, "-m", "wherefore", "study", "serve", str(folder), "--port", "0", "--platform", "mturk"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        assert server.stdout
        url = re.search(r"http://\S+", first := server.stdout.readline())
        assert url, first
        came = httpx.get(url.group(), params=MTURK, follow_redirects=True, trust_env=False)
        assert came.status_code == 200 and MTURK["workerId"] not in str(came.url) + came.text
        httpx.get(url.group() + "/w/none", params=MTURK, trust_env=False)
        httpx.post(url.group(), data=MTURK, content=None, trust_env=False)
        server.send_signal(signal.SIGTERM)
        printed = first + server.stdout.read()
        assert server.wait(10) == 0
    token = str(came.url).rpartition("/")[2]
    kept = b"".join(path.read_bytes() for path in folder.glob("study.sqlite*"))
    assert MTURK["workerId"].encode() not in kept and MTURK["assignmentId"].encode() in kept
    assert printed.count("\n") == 1 and not any(word in printed for word in (*MTURK.values(), token))


def test_a_contact_that_nobody_filled_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = make(tmp_path / "s")
    replace(plan, texts={**plan.texts, "contact": texts("trust", 3)["contact"]}).write(tmp_path / "s")
    for platform in (["mturk"], ["prolific", "--code", "C1"]):
        with pytest.raises(SystemExit) as ended:
            main(["study", "serve", str(tmp_path / "s"), "--platform", *platform])
        said = capsys.readouterr().err
        assert ended.value.code == 2 and "fill it in before you serve" in said and said.count("\n") == 1
    assert not (tmp_path / "s" / "study.sqlite").exists()
    command = [sys.executable, "-m", "wherefore", "study", "serve", str(tmp_path / "s"), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout and "http://127.0.0.1:" in server.stdout.readline()
        server.terminate()
        assert "fill it in before anybody takes part" in server.communicate(timeout=30)[1]


def test_serving_needs_no_torch(tmp_path: Path) -> None:
    make(tmp_path / "s")
    code = f"""
        import sys
        from pathlib import Path
        from fastapi.testclient import TestClient
        from wherefore.study import app, plan, platforms, serving, store
        folder = Path({str(tmp_path / "s")!r})
        read = plan.read(folder)
        with TestClient(app.create(folder, read, store.opened(folder, read), platforms.Local())) as browser:
            page = browser.post("/", data={{"participant": "1"}})
            page = browser.post(page.url.path + "/consent", data={{"agree": "yes"}})
            page = browser.get(page.url.path.removesuffix("/instructions"))
            assert page.status_code == 200 and 'id="trial"' in page.text
        print([name for name in ("torch", "torchvision", "numpy", "PIL", "scipy", "matplotlib") if name in sys.modules])
    """
    ran = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert (ran.stdout, ran.returncode) == ("[]\n", 0), ran.stderr


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    make(tmp_path / "s")
    with served(tmp_path / "s") as address, pytest.raises(Error, match="give another --port"):
        serve(None, "127.0.0.1", int(address.rpartition(":")[2]), print)
    with pytest.raises(Error, match="cannot be used"):
        serve(None, "203.0.113.7", 0, print)


def test_a_study_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Error, match="holds no study"), served(tmp_path):
        pass
