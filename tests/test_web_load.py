"""The service under load, in its own process: nothing is lost, the bound holds, memory stays, the end is graceful."""

from __future__ import annotations

import asyncio
import re
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import wherefore as wf
from fixtures_web import drawn, serving
from wherefore.scenes import scene

pytest.importorskip("fastapi", reason="needs the extra serve")
httpx = pytest.importorskip("httpx", reason="needs httpx, of the extra dev")

pytestmark = pytest.mark.slow
MODEL = ("--model", "scenes:vgg")
MB = 2**20


def client(url: str) -> Any:
    limits = httpx.Limits(max_connections=None)
    return httpx.AsyncClient(base_url=url, timeout=300, limits=limits, trust_env=False)


async def ask(client: Any, number: int, **fields: Any) -> Any:
    data = {"target": str(number % 20), **fields}
    return await client.post("/v1/explain", files={"image": ("x.png", drawn(number % 10))}, data=data)


async def figure(client: Any, name: str) -> float:
    found = re.search(rf"^{name} (\S+)", (await client.get("/metrics")).text, re.MULTILINE)
    assert found
    return float(found[1])


def right(answer: Any, number: int) -> bool:
    """Whether it is the answer to that request, and to no other."""
    found = answer.json()["images"][0]["targets"]
    return answer.status_code == 200 and [each["index"] for each in found] == [number % 20]


def test_of_200_at_once_none_is_lost() -> None:
    async def run(url: str) -> list[Any]:
        async with client(url) as c:
            return await asyncio.gather(*[ask(c, n) for n in range(200)])

    with serving(*MODEL, "--queue", "200") as (_, url):
        answers = asyncio.run(run(url))
    assert all(right(answer, n) for n, answer in enumerate(answers))
    model = wf.load("scenes:vgg")
    for n in range(0, 200, 23):
        true = wf.explain(model, scene(n % 10).image, n % 20)
        score = answers[n].json()["images"][0]["targets"][0]["score"]
        assert score == pytest.approx(float(true.scores[0, 0]), abs=1e-3), "its own picture's"


def test_the_bound_of_the_queue_holds_and_who_tries_again_is_served() -> None:
    bound, most, refused = 16, 0.0, 0

    async def run(url: str) -> list[Any]:
        nonlocal refused
        async with client(url) as c:
            over = asyncio.Event()

            async def watch() -> None:
                nonlocal most
                while not over.is_set():
                    most = max(most, await figure(c, "wherefore_requests_under_way"))
                    await asyncio.sleep(0.02)

            async def patient(number: int) -> Any:
                nonlocal refused
                while (answer := await ask(c, number)).status_code == 503:
                    refused += 1
                    await asyncio.sleep(float(answer.headers["Retry-After"]))
                return answer

            watching = asyncio.create_task(watch())
            answers = await asyncio.gather(*[patient(n) for n in range(200)])
            over.set()
            await watching
            return answers

    with serving(*MODEL, "--queue", str(bound)) as (_, url):
        answers = asyncio.run(run(url))
    assert all(right(answer, n) for n, answer in enumerate(answers))
    assert refused > 100 and bound / 2 <= most <= bound


def test_memory_is_flat_over_2000_requests() -> None:
    def resident(pid: int) -> int:
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        assert found
        return int(found[1]) * 1024

    async def some(url: str, count: int) -> None:
        async with client(url) as c:
            for start in range(0, count, 20):
                answers = await asyncio.gather(*[ask(c, n, include="overlay") for n in range(start, start + 20)])
                assert {answer.status_code for answer in answers} == {200}

    if not Path("/proc/self/status").exists():
        pytest.skip("needs /proc, which says how much memory a process has")
    with serving(*MODEL) as (process, url):
        asyncio.run(some(url, 400))
        before = resident(process.pid)
        asyncio.run(some(url, 2000))
        grown = resident(process.pid) - before
    assert grown < 30 * MB, f"{grown / MB:.0f} MB"


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_the_middle_loses_nothing(sign: signal.Signals) -> None:
    async def run(process: Any, url: str) -> tuple[list[Any], str]:
        async with client(url) as c:
            asked = [asyncio.create_task(ask(c, n, include="overlay", method="guided-grad-cam")) for n in range(60)]
            while await figure(c, "wherefore_requests_under_way") + sum(task.done() for task in asked) < 60:
                await asyncio.sleep(0.01)
            left = sum(not task.done() for task in asked)
            process.send_signal(sign)
            assert left > 3, "it was in the middle"
            await asyncio.sleep(0.5)
            async with client(url) as late:
                try:
                    refused = str((await late.get("/v1/health")).status_code)
                except httpx.TransportError as error:
                    refused = type(error).__name__
            return await asyncio.gather(*asked), refused

    with serving(*MODEL) as (process, url):
        answers, refused = asyncio.run(run(process, url))
        status = process.wait(60)
    assert Counter(right(answer, n) for n, answer in enumerate(answers)) == {True: 60}
    assert refused == "ConnectError", "nothing new is taken"
    assert status == (0 if sign is signal.SIGINT else -signal.SIGTERM)
