"""Guarding: the headers that every answer of the app carries, whatever was asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send


def headers(posts_to: Iterable[str] = (), framed_by: Iterable[str] = ()) -> dict[str, str]:
    """The headers of every answer: nothing from elsewhere, no frame but the platform's, nothing kept, nothing told.

    ``posts_to`` and ``framed_by`` are origins: where a form of ours may go, and who may show us in a frame.
    """
    policy = {
        "default-src": ["'self'"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'", *posts_to],
        "frame-ancestors": list(framed_by) or ["'none'"],
    }
    return {
        "Content-Security-Policy": "; ".join(f"{name} {' '.join(of)}" for name, of in policy.items()),
        "Referrer-Policy": "strict-origin",  # the path names the worker: only our origin is told to others
        "X-Content-Type-Options": "nosniff",
        "X-Robots-Tag": "noindex",
        "Cache-Control": "no-store",
    }


class Guard:
    """An app whose every answer has these headers, unless it set them itself; also where it failed.

    A body that says of itself that it is longer than ``limit`` bytes is not read: ``refuse`` makes the answer.
    """

    def __init__(
        self, app: ASGIApp, headers: dict[str, str], limit: int, refuse: Callable[[int, str], Response]
    ) -> None:
        self.app, self.headers, self.limit, self.refuse = app, headers, limit, refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = MutableHeaders(scope=message)
                for name, value in self.headers.items():
                    given.setdefault(name, value)
            await send(message)

        long = scope["type"] == "http" and self._long(Headers(scope=scope).get("content-length", ""))
        said = f"That is too long for a form of this study: at most {self.limit} bytes are read."
        await (self.refuse(413, said) if long else self.app)(scope, receive, sending)

    def _long(self, length: str) -> bool:
        return length.isdecimal() and int(length) > self.limit
