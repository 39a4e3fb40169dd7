"""What the service costs under load: ``python benchmarks/serving.py``, some minutes on two cores.

Three rows: what batching saves or costs (the same requests to a service that explains eight at a time and to one that
explains one at a time, in turn; processor time of the service, so that other work on the machine counts as little as it
can), 200 requests at once, and the memory of the service over 2,000 requests. The network is ``scenes:vgg``, small: on
large ones the network's own time outweighs all else.
"""

from __future__ import annotations

import io
import json
import os
import re
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wherefore.scenes import scene

ROUNDS, EACH = 7, 96
BOUNDARY = "----wherefore"


class Service:
    """A service in a process of its own."""

    def __init__(self, *options: str) -> None:
        command = [sys.executable, "-m", "wherefore", "serve", "--port", "0", "--model", "scenes:vgg", *options]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        assert self.process.stdout
        self.url = self.process.stdout.readline().split()[0]

    def ask(self, number: int) -> float:
        """How many seconds one request takes."""
        started = time.perf_counter()
        request = urllib.request.Request(f"{self.url}/v1/explain", BODIES[number % 10], method="POST")
        request.add_header("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")
        with urllib.request.urlopen(request, timeout=300) as answer:
            assert json.load(answer)["images"][0]["targets"]
        return time.perf_counter() - started

    def figure(self, name: str) -> float:
        """One of the figures that it tells of itself."""
        with urllib.request.urlopen(f"{self.url}/metrics") as answer:
            found = re.search(rf"^{name} (\S+)", answer.read().decode(), re.MULTILINE)
        assert found
        return float(found[1])


@contextmanager
def services(*each: tuple[str, ...]) -> Iterator[list[Service]]:
    """Services with these options, ended at the end."""
    running = [Service(*options) for options in each]
    try:
        yield running
    finally:
        for service in running:
            service.process.terminate()
            service.process.wait(60)


def body(number: int) -> bytes:
    """A form with a scene, which asks for its five likeliest classes."""
    buffer = io.BytesIO()
    scene(number).image.save(buffer, "PNG")
    target = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="target"\r\n\r\ntop5\r\n'
    image = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="x.png"\r\n\r\n'
    return target.encode() + image.encode() + buffer.getvalue() + f"\r\n--{BOUNDARY}--\r\n".encode()


BODIES = [body(number) for number in range(10)]


def batching() -> dict[str, Any]:
    """Processor and wall time of eight at a time, over that of one at a time: the median over rounds."""
    shares: dict[str, list[float]] = {"cpu": [], "wall": []}
    with services(("--batch", "8"), ("--batch", "1")) as both, ThreadPoolExecutor(16) as pool:
        for turn in range(ROUNDS + 1):
            spent = []
            for service in both if turn % 2 else both[::-1]:
                cpu, wall = service.figure("process_cpu_seconds_total"), time.perf_counter()
                list(pool.map(service.ask, range(EACH)))
                after = service.figure("process_cpu_seconds_total")
                spent.append((after - cpu, time.perf_counter() - wall))
            eight, one = spent if turn % 2 else spent[::-1]
            if turn:  # the first warms up
                shares["cpu"].append(eight[0] / one[0])
                shares["wall"].append(eight[1] / one[1])
        size = both[0].figure("wherefore_batch_size_sum") / both[0].figure("wherefore_batch_size_count")
    return {
        "row": "batching, over one by one",
        **{f"{name} ratio": round(statistics.median(values), 3) for name, values in shares.items()},
        "cpu low to high": [round(min(shares["cpu"]), 3), round(max(shares["cpu"]), 3)],
        "mean batch": round(size, 2),
        "n": ROUNDS,
    }


def crowd() -> dict[str, Any]:
    """200 requests at once: how many are answered, and how long they take."""
    with services(("--queue", "200")) as (service,), ThreadPoolExecutor(200) as pool:
        started = time.perf_counter()
        seconds = sorted(pool.map(service.ask, range(200)))
        wall = time.perf_counter() - started
        cpu = service.figure("process_cpu_seconds_total")
    return {
        "row": "200 at once",
        "answered": len(seconds),
        "seconds": round(wall, 2),
        "p50": round(seconds[100], 2),
        "p95": round(seconds[190], 2),
        "cpu since the start": round(cpu, 1),
    }


def memory() -> dict[str, Any]:
    """The resident memory of the service, in MB, after so many requests."""
    found = {}
    with services(()) as (service,), ThreadPoolExecutor(16) as pool:
        for start, stop in ((0, 200), (200, 1000), (1000, 2000)):
            list(pool.map(service.ask, range(start, stop)))
            found[f"MB after {stop:,}"] = round(service.figure("process_resident_memory_bytes") / 2**20)
    return {"row": "memory", **found}


if __name__ == "__main__":
    rows = []
    for measure in (batching, crowd, memory):
        rows.append(measure())
        print("  ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    Path(__file__).with_name("results-serving.json").write_text(json.dumps(rows, indent=1) + "\n")
