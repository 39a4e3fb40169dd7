"""Guarding: the headers that every answer of the app carries, and the requests that it does not read."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LIMIT = 16 * 1024  # bytes of a form; ours have less than a hundredth of it


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
    """The app behind its guard: a body that is longer than `LIMIT`, or of unknown length, is not read."""

    def __init__(self, app: ASGIApp, headers: dict[str, str], refuse: Callable[[int, str], Response]) -> None:
        self.app, self.headers, self.refuse = app, headers, refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = MutableHeaders(scope=message)
                for name, value in self.headers.items():
                    given.setdefault(name, value)
            await send(message)

        wrong = _wrong(Headers(scope=scope))
        await (self.refuse(*wrong) if wrong else self.app)(scope, receive, sending)


def _wrong(given: Headers) -> tuple[int, str] | None:
    length = given.get("content-length", "0")
    if "transfer-encoding" in given or not (length.isascii() and length.isdigit()):
        return 411, "Say how long the form is: a Content-Length is missing."
    if len(length) > 9 or int(length) > LIMIT:
        return 413, f"That is too long for a form of this study: at most {LIMIT} bytes are read."
    return None
