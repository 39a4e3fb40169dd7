"""Starting and ending: requests are served, and what was begun is finished before the end."""

from __future__ import annotations

import logging
import socket

from fastapi import FastAPI

GRACE = 30  # seconds for what is under way when the service is told to stop


def is_local(listening: socket.socket) -> bool:
    """Whether only this machine can reach it."""
    host = str(listening.getsockname()[0])
    return host.startswith("127.") or host == "::1"


def serve(app: FastAPI, listening: socket.socket) -> None:
    """Serves until SIGINT or SIGTERM; then nothing new is taken, and what was taken is answered."""
    import uvicorn

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    config = uvicorn.Config(
        app, log_level="warning", ws="none", server_header=False, timeout_graceful_shutdown=GRACE, timeout_keep_alive=5
    )
    try:
        uvicorn.Server(config).run(sockets=[listening])
    except KeyboardInterrupt:  # by which uvicorn ends when it was interrupted and all is done
        pass
