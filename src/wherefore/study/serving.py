"""Serving: an app on a port of this machine, until it is told to stop."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from wherefore.errors import Error
from wherefore.listening import address, listen


def serve(app: Any, host: str, port: int, started: Callable[[str], None]) -> None:
    """Serves until SIGINT or SIGTERM, then lets what was begun end; ``started`` is told the address.

    Nothing is logged of who asked for what: the addresses name the workers. Raises `Error` where the port is taken.
    """
    listening, server = listen(host, port), _server(app)

    def stop(*_: Any) -> None:
        server.should_exit = True

    # Ours hold before the server's own do, and afterwards, when it raises once more the signal that ended it.
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        started(address(listening))
        server.run(sockets=[listening])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        listening.close()


@contextmanager
def served(folder: Path, *options: str, database: str | None = None) -> Iterator[str]:
    """The address of a study that a process of its own serves on a free port of this machine while the block runs.

    ``options`` are those of `wherefore study serve`. Raises `Error` with what that says where it does not start.
    """
    # A process: in a thread of ours it would wait for its turn to run Python longer than it runs.
    command = [sys.executable, "-m", "wherefore", "study", "serve", str(folder), "--port", "0", *options]
    known = {**os.environ, **({"WHEREFORE_DATABASE": database} if database else {})}  # commands are seen by all users
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=known) as server:
        assert server.stdout and server.stderr
        try:
            found = re.search(r"http://\S+", server.stdout.readline())
            if found is None:
                raise Error(server.stderr.read().strip().removeprefix("wherefore: ") or "The study cannot be served.")
            yield found.group()
        finally:
            server.terminate()


def _server(app: Any) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(
            app, access_log=False, log_level="warning", server_header=False, ws="none", timeout_graceful_shutdown=5
        )
    )
