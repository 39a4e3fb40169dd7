"""Simulating: workers of set ability who take a study over HTTP, page by page, as people's browsers would.

They are not people. They say so by a header, and their answers are marked in the database for ever.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx

from wherefore.errors import Error
from wherefore.progress import track
from wherefore.study.answering import Crowd, Mind
from wherefore.study.app import SIMULATED
from wherefore.study.browsing import Button, Form, Page, read
from wherefore.study.exclusions import progress
from wherefore.study.plan import Item, Plan
from wherefore.study.plan import read as read_plan
from wherefore.study.serving import served
from wherefore.study.store import opened

PATIENCE = 180.0  # seconds for which the study may be out of reach


@dataclass(frozen=True)
class Said:
    """An answer that the app acknowledged: whose, to what, in which words."""

    worker: int
    item: str
    choice: str


def set_means(pairs: Sequence[str]) -> dict[str, float]:
    """The abilities that ``--ability METHOD=MEAN`` gives. Raises `Error` for what is no such pair."""
    found = {}
    for pair in pairs:
        name, _, mean = pair.partition("=")
        try:
            found[name] = float(mean)
        except ValueError:
            raise Error(f"--ability {pair} is no METHOD=MEAN, such as guided-grad-cam=0.61.") from None
    return found


def simulate(folder: Path, crowd: Crowd, url: str | None = None, database: str | None = None) -> dict[str, Any]:
    """Lets a crowd take the study that is served at ``url``, or on a server of our own; how it went.

    ``workers``, ``finished``, ``answers``, ``seconds``, as ``said`` every answer that was acknowledged, and on a server
    of our own ``progress``, a sentence on how far the study is. Raises
    `Error` where the study cannot be reached or does not let them in.
    """
    plan = read_plan(folder)
    places = crowd.places(plan)
    minds = [Mind(plan, crowd, number, places) for number in range(crowd.count)]
    began = time.monotonic()
    with nullcontext(url) if url else served(folder, database=database) as address:
        ends = asyncio.run(_all(plan, minds, address, url or "The study"))
    said = [each for _, mine in ends for each in mine]
    done = sum(finished for finished, _ in ends)
    seconds = time.monotonic() - began
    return {
        "workers": crowd.count,
        "finished": done,
        "answers": len(said),
        "seconds": seconds,
        "said": said,
        "progress": None if url else _progress(folder, plan, database),
    }


def _progress(folder: Path, plan: Plan, database: str | None) -> str:
    """How far the study is after it."""
    store = opened(folder, plan, database, made=True)
    try:
        return f"{progress(store.ratings(), plan)}."
    finally:
        store.close()


async def _all(plan: Plan, minds: Sequence[Mind], address: str, named: str) -> list[tuple[bool, list[Said]]]:
    marked = {SIMULATED: plan.digest}
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(headers=marked, limits=limits, timeout=30, trust_env=False) as client:
        workers = [asyncio.create_task(Worker(plan, mind, client, address, named).take()) for mind in minds]
        try:
            ends = track(asyncio.as_completed(workers), len(workers), "simulated workers")
            return [await each for each in ends]
        finally:
            for each in workers:
                each.cancel()


class Worker:
    """A simulated worker before their browser; ``named`` is the study in what is said of errors."""

    def __init__(self, plan: Plan, mind: Mind, client: httpx.AsyncClient, address: str, named: str) -> None:
        self.plan, self.mind, self.client, self.address, self.named = plan, mind, client, address, named
        self.items = {frozenset(f"/pictures/{name}" for name in item.files): item for item in plan.by_id.values()}
        self.said: list[Said] = []
        self.reached = False

    async def take(self) -> tuple[bool, list[Said]]:
        """Takes the study to its end; whether they were given their number, and what they said."""
        await self._send("GET", "/")
        page = await self._send("POST", "/", {"participant": f"simulated {self.mind.crowd.seed}/{self.mind.number}"})
        while True:
            match page.kind:
                case "consent":
                    page = await self._press(page.forms[0], page.forms[0].buttons[0])
                case "instructions":
                    page = await self._send("GET", page.links[-1])
                case "trial":
                    page = await self._answer(page)
                case "wait" if page.forms:  # others hold what is left, and will answer it
                    page = await self._press(page.forms[0], page.forms[0].buttons[0])
                case "done" | "wait" | "full":
                    return bool(page.number), self.said
                case _:
                    raise Error(f"{self.named} is served for mturk, or is no study: simulate a local one.")

    async def _answer(self, page: Page) -> Page:
        for picture in page.pictures:
            await self._got("GET", picture)
        item, form = self.items[frozenset(page.pictures)], page.forms[0]
        choice = _choice(item, self.mind.value(item), page)
        form.fields["rt_ms"] = str(self.mind.milliseconds(item))
        after = await self._press(form, choice)
        self.said.append(Said(self.mind.number, item.id, choice.words))
        return after

    async def _press(self, form: Form, button: Button) -> Page:
        return await self._send("POST", form.action, {**form.fields, button.name: button.value})

    async def _send(self, method: str, address: str, form: dict[str, str] | None = None) -> Page:
        """The page that comes in the end."""
        answer = await self._got(method, address, form)
        while answer.is_redirect:
            answer = await self._got("GET", answer.headers["location"])
        return read(answer.text)

    async def _got(self, method: str, address: str, form: dict[str, str] | None = None) -> httpx.Response:
        """What is answered; asked again, for a while, where the connection is lost or the app says that it is busy."""
        patience, pause = time.monotonic() + PATIENCE, 0.1
        while True:
            try:
                answer = await self.client.request(method, urljoin(self.address, address), data=form)
                self.reached = True
                if answer.status_code < 400:
                    return answer
                if answer.status_code != 503:
                    raise Error(f"{self.named} does not let simulated workers go on: {_sentence(answer.text)}")
            except (httpx.InvalidURL, httpx.UnsupportedProtocol):
                raise Error(f"{self.named} is no address: give one such as http://127.0.0.1:8000.") from None
            except httpx.TransportError as error:
                if time.monotonic() > patience or not self.reached:
                    why = str(error) or type(error).__name__
                    raise Error(f"{self.named} cannot be reached ({why}): is the study served there?") from None
            pause = min(2 * pause, 2.0)
            await asyncio.sleep(pause)


def _choice(item: Item, value: int, page: Page) -> Button:
    """The button for what they want to say, wherever it stands and whichever picture came first."""
    buttons = page.forms[0].buttons
    if item.models:
        first = page.pictures[0].endswith(item.files[0])
        return buttons[2 - value if first else 2 + value]
    return next(button for button in buttons if (button.words == item.truth) == bool(value))


def _sentence(html: str) -> str:
    """What an error's page says."""
    return html.partition("</h1>")[2].partition("<p>")[2].partition("</p>")[0] or "it gives no reason."
