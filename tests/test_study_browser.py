"""Studies in a real browser: two people, MTurk's frame, Prolific's way back; by keys, by finger, without script."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote

import pytest

from study_folder import make
from wherefore.study.plan import Rating
from wherefore.study.plan import read as read_plan
from wherefore.study.serving import served
from wherefore.study.store import opened

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
WIDE = {"viewport": {"width": 1200, "height": 900}}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def _failed(asked: Any, troubles: list[str]) -> None:
    # a page may be left before its icon or the example of its instructions came; answers wait for the pictures
    left = asked.failure == "net::ERR_ABORTED" and "/static/" in asked.url
    if not left:
        troubles.append(f"failed: {asked.url} {asked.failure}")


@pytest.fixture
def tab(chromium: Any) -> Iterator[Callable[..., Any]]:
    """A new page; in the end nothing was said on its console, and nothing asked of another host than ``hosts``."""
    troubles: list[str] = []
    contexts = []

    def new(*hosts: str, **device: Any) -> Any:
        context = chromium.new_context(**device)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: troubles.append(f"console: {said.text}"))
        page.on("pageerror", lambda error: troubles.append(f"error: {error}"))
        page.on("request", lambda asked: None if asked.url.startswith(hosts) else troubles.append(asked.url))
        page.on("requestfailed", lambda asked: _failed(asked, troubles))
        page.on("response", lambda came: came.status < 400 or troubles.append(f"{came.status}: {came.url}"))
        return page

    yield new
    for context in contexts:
        context.close()
    assert not troubles


def ratings(folder: Path) -> list[Rating]:
    """What lies in the database."""
    store = opened(folder, read_plan(folder))
    found = store.ratings()
    store.close()
    return found


def looked_at(page: Any) -> None:
    """Waits until the pictures are there, which is when the time begins and answers are taken."""
    page.locator("form.ready").wait_for()


def fits(page: Any) -> None:
    """Nothing lies beyond the sides, and every option can be seen without scrolling."""
    size = page.viewport_size
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    for button in page.locator("button").all():
        box = button.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= size["width"] and box["height"] >= 44
        assert box["y"] + box["height"] <= size["height"]


def test_two_people_take_a_local_study(tab: Callable[..., Any], tmp_path: Path) -> None:
    plan = make(tmp_path / "s", pictures=3, workers=2)
    with served(tmp_path / "s") as url:
        codes = {_by_keys(tab(url, **WIDE), url, plan.trials + 2), _by_finger(tab(url, **PHONE), url, plan.trials + 2)}
        back = tab(url, **WIDE)
        back.goto(url)
        back.get_by_label("Your participant number").fill("KEYS")  # the same number, written otherwise
        back.get_by_role("button", name="Continue").click()
        assert back.locator("#number").inner_text() in codes and len(codes) == 2
    found = ratings(tmp_path / "s")
    assert len(found) == len(plan.items) + 4 and all(each.finished and not each.simulated for each in found)
    assert {each.item for each in found if not each.catch} == {item.id for item in plan.items}
    assert {each.side for each in found} == {0, 1} and all(0 < each.rt_ms < 60_000 for each in found)


def _by_keys(page: Any, url: str, trials: int) -> str:
    """Somebody with a keyboard and nothing else."""
    page.goto(url)
    _focus(page, "input")
    page.keyboard.type("keys")
    page.keyboard.press("Enter")
    _focus(page, "#agree")
    page.keyboard.press("Space")
    _focus(page, "button.main")
    page.keyboard.press("Enter")
    _focus(page, "a.main")
    page.keyboard.press("Enter")
    for number in range(1, trials + 1):
        page.get_by_text(f"{number} of {trials}").wait_for()
        looked_at(page)
        fits(page)
        if number == 2:  # by its button instead of its number
            _focus(page, "button >> nth=1")
        with page.expect_navigation():
            page.keyboard.press("Enter" if number == 2 else "1")
        if number == 3:
            page.go_back()
            page.get_by_text(f"{number + 1} of {trials}").wait_for()
    return page.locator("#number").inner_text()


def _focus(page: Any, wanted: str) -> None:
    """Goes from one thing to the next by the tabulator; whatever has the focus shows it."""
    target = page.locator(wanted)
    for _ in range(12):
        page.keyboard.press("Tab")
        if target.evaluate("it => it === document.activeElement"):
            assert target.evaluate("it => parseFloat(getComputedStyle(it).outlineWidth)") >= 2
            return
    raise AssertionError(f"{wanted} is not reached by the tabulator")


def _by_finger(page: Any, url: str, trials: int) -> str:
    """Somebody with a phone, who taps twice now and then."""
    page.goto(url)
    page.get_by_role("button", name="Continue").tap()
    page.get_by_label("I have read this").tap()
    page.get_by_role("button", name="Take part").tap()
    page.get_by_role("link", name="Start").tap()
    for number in range(1, trials + 1):
        page.get_by_text(f"{number} of {trials}").wait_for()
        looked_at(page)
        fits(page)
        button = page.locator("button").nth(number % 2)
        with page.expect_navigation():
            button.evaluate("it => { it.click(); it.click(); }") if number == 3 else button.tap()
    return page.locator("#number").inner_text()


@pytest.mark.parametrize("device", [WIDE, PHONE], ids=["wide", "phone"])
def test_a_trial_of_trust(tab: Callable[..., Any], tmp_path: Path, device: dict[str, Any]) -> None:
    plan = make(tmp_path / "s", kind="trust")
    with served(tmp_path / "s") as url:
        page = tab(url, **device)
        _begun(page, url)
        looked_at(page)
        fits(page)
        first, second = (picture.bounding_box() for picture in page.locator("img").all())
        assert first["y"] == second["y"] and first["x"] + first["width"] <= second["x"], "side by side"
        asked = page.get_by_role("heading").inner_text()
        assert asked in {f"Both said: {item.category}. Which is more reliable?" for item in plan.by_id.values()}
        with page.expect_navigation():
            page.keyboard.press("5")
    assert [each.side for each in ratings(tmp_path / "s")] == [4]


def _begun(page: Any, url: str) -> None:
    page.goto(url)
    for name in ("Continue", "I have read this", "Take part"):
        role = "checkbox" if name.startswith("I ") else "button"
        page.get_by_role(role, name=name).click()
    page.get_by_role("link", name="Start").click()


def test_without_a_script(tab: Callable[..., Any], tmp_path: Path) -> None:
    make(tmp_path / "s", pictures=1, workers=1)
    with served(tmp_path / "s") as url:
        page = tab(url, java_script_enabled=False, **PHONE)
        _begun(page, url)
        for number in range(1, 7):
            page.get_by_text(f"{number} of 6").wait_for()
            page.locator("button").first.click()
        assert page.locator("#number").inner_text()
    assert len(ratings(tmp_path / "s")) == 6 and all(each.rt_ms > 0 for each in ratings(tmp_path / "s"))


def test_a_picture_that_does_not_come(chromium: Any, tmp_path: Path) -> None:
    make(tmp_path / "s")
    with served(tmp_path / "s") as url:
        page = chromium.new_page()
        page.route("**/pictures/*", lambda route: route.abort())
        _begun(page, url)
        page.get_by_text("The picture has not come").wait_for()
        page.keyboard.press("1")
        page.unroute("**/pictures/*")
        page.reload()
        looked_at(page)
        assert not page.get_by_text("The picture has not come").is_visible()
        page.close()
    assert not ratings(tmp_path / "s"), "nobody can answer what they do not see"


class StandIn(BaseHTTPRequestHandler):
    """MTurk's site as a worker has it: a page with the study in a frame, and the address that the frame posts to."""

    framed = ""
    posted: list[tuple[str, dict[str, list[str]]]] = []  # noqa: RUF012  of the one test that has it

    def do_GET(self) -> None:
        self._say(f'<!doctype html><link rel="icon" href="data:,"><iframe src="{self.framed}" title="HIT"></iframe>')

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        self.posted.append((self.path, parse_qs(body)))
        self._say("<!doctype html><p>The HIT was submitted.")

    def _say(self, html: str) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(html.encode())

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@pytest.fixture
def stand_in() -> Iterator[str]:
    StandIn.posted = []
    with ThreadingHTTPServer(("127.0.0.1", 0), StandIn) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_mturk_from_preview_to_submission(tab: Callable[..., Any], tmp_path: Path, stand_in: str) -> None:
    plan = make(tmp_path / "s", pictures=1, workers=1)
    with served(tmp_path / "s", "--platform", "mturk", "--submit-to", stand_in) as url:
        page = tab(url, stand_in, "data:", **WIDE)
        hit = page.frame_locator("iframe")
        StandIn.framed = f"{url}/?assignmentId=ASSIGNMENT_ID_NOT_AVAILABLE&amp;hitId=3HIT"
        page.goto(stand_in)
        hit.get_by_text("This is a preview").wait_for()
        assert all(button.is_disabled() for button in hit.locator("button").all())
        page.keyboard.press("1")

        StandIn.framed = (
            f"{url}/?assignmentId=3ASSIGN&amp;hitId=3HIT&amp;workerId=A1WORKER&amp;turkSubmitTo={quote(stand_in)}"
        )
        page.goto(stand_in)
        hit.get_by_label("I have read this").click()
        hit.get_by_role("button", name="Take part").click()
        hit.get_by_role("link", name="Start").click()
        for number in range(1, plan.trials + 3):
            hit.get_by_text(f"{number} of {plan.trials + 2}").wait_for()
            frame = page.frames[1]
            looked_at(hit)
            with frame.expect_navigation():
                hit.locator("button").first.click()
        number = hit.locator("#number").inner_text()
        assert not StandIn.posted
        hit.get_by_role("button", name="Submit the HIT").click()
        hit.get_by_text("The HIT was submitted").wait_for()
    assert StandIn.posted == [("/mturk/externalSubmit", {"assignmentId": ["3ASSIGN"], "number": [number]})]
    found = ratings(tmp_path / "s")
    assert len(found) == 6 and {each.platform for each in found} == {"mturk"}
    assert len({each.worker for each in found}) == 1 and "A1WORKER" not in {each.worker for each in found}


def test_prolific_from_entry_to_return(tab: Callable[..., Any], tmp_path: Path) -> None:
    make(tmp_path / "s", pictures=1, workers=1)
    prolific = "https://app.prolific.com/"
    with served(tmp_path / "s", "--platform", "prolific", "--code", "GOOD1") as url:
        page = tab(url, prolific, **PHONE)
        page.route(
            f"{prolific}**", lambda route: route.fulfill(body="<title>Prolific</title>", content_type="text/html")
        )
        page.goto(f"{url}/?PROLIFIC_PID=5fparticipant&STUDY_ID=6study&SESSION_ID=7session")
        assert "5fparticipant" not in page.url
        page.get_by_label("I have read this").tap()
        page.get_by_role("button", name="Take part").tap()
        page.get_by_role("link", name="Start").tap()
        for number in range(1, 7):
            page.get_by_text(f"{number} of 6").wait_for()
            looked_at(page)
            with page.expect_navigation():
                page.locator("button").first.tap()
        page.get_by_role("link", name="Return to Prolific").tap()
        page.wait_for_url(f"{prolific}submissions/complete?cc=GOOD1")
        assert page.title() == "Prolific"
    assert {each.platform for each in ratings(tmp_path / "s")} == {"prolific"}
