"""Listening: a socket at an address of this machine, for whatever is served there."""

from __future__ import annotations

import socket

from wherefore.errors import Error


def listen(host: str, port: int) -> socket.socket:
    """A socket at an address, listening; port 0: any that is free. Raises `Error` where it cannot be had."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        why = (getattr(error, "strerror", None) or str(error)).partition(" (while")[0]  # which says the address again
        raise Error(f"{host} port {port} cannot be used ({why}): give another --port or --host.") from None


def address(listening: socket.socket) -> str:
    """Where a socket listens, as a browser takes it; beside it by this machine's name where it hears others, too."""
    host, port = listening.getsockname()[:2]
    if here := {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host):
        return f"http://{here}:{port} (elsewhere http://{socket.gethostname()}:{port})"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
