"""What every request passes: an id, the token, the limits on what it sends, a place in the queue, the headers."""

from __future__ import annotations

import asyncio
import hmac
import math
import re
import time
import uuid
from collections.abc import Callable
from contextlib import suppress

from starlette._utils import get_route_path
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wherefore.web.measures import Measures
from wherefore.web.problems import GONE, Refused, broken, problem
from wherefore.web.settings import Settings

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
ASKED = ("/v1/explain", "/v1/caption", "/v1/ask")  # what the metrics name, though it be turned away here
# What needs no token: the pages, and what those read who watch over the service.
OPEN = re.compile(r"/?|/docs|/openapi\.json|/metrics|/v1/health|/page/.*")
NAMED = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Door:
    """An ASGI app around another; ``places`` are those of requests that are being explained.

    ``seconds`` tells how long one of these takes, for those who are sent away.
    """

    def __init__(self, app: ASGIApp, settings: Settings, measures: Measures, seconds: Callable[[], float]) -> None:
        self.app, self.settings, self.measures, self.seconds = app, settings, measures, seconds
        self.taken = 0
        measures.watch("requests_under_way", "Requests to explain, waiting or running.", lambda: self.taken)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started, status = time.perf_counter(), GONE
        given = Headers(scope=scope).get("x-request-id", "")
        path = get_route_path(scope)  # as the routes see it, wherever the app is mounted; they will change the scope
        scope["wherefore.id"] = given if NAMED.fullmatch(given) else uuid.uuid4().hex

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers.update({**HEADERS, "X-Request-ID": scope["wherefore.id"]})
                if "cache-control" not in headers:
                    headers["Cache-Control"] = "no-store"
            await send(message)

        try:
            await self._admit(scope, path, receive, answer)
        except Exception as error:
            if status != GONE:  # it is too late for another answer
                raise
            await broken(error, scope["wherefore.id"])(scope, receive, answer)
        finally:
            route = path if path in ASKED else getattr(scope.get("route"), "path", "other")
            self.measures.answered(route, status, time.perf_counter() - started)

    async def _admit(self, scope: Scope, path: str, receive: Receive, send: Send) -> None:
        """Lets in who may come in; the others are told why not."""
        explains = scope["method"] == "POST"  # wherever to: nothing else takes what is sent
        try:
            self._know(scope, path)
            if explains:
                self._measure(scope)
                self._seat()
        except Refused as error:
            if Headers(scope=scope).get("expect", "") != "100-continue":
                await self._discard(receive)
            return await problem(error.status_code, error.detail, error.headers)(scope, receive, send)
        if not explains:
            return await self.app(scope, receive, send)
        self.taken += 1
        try:
            await self.app(scope, self._limited(receive), send)
        finally:
            self.taken -= 1

    def _know(self, scope: Scope, path: str) -> None:
        """Refuses who does not show the token where one is needed: everywhere but at what is open."""
        wanted = self.settings.token
        if wanted is None or OPEN.fullmatch(path):
            return
        shown = Headers(scope=scope).get("authorization", "")
        kind, _, word = shown.partition(" ")
        right = hmac.compare_digest(word.strip().encode("latin-1"), wanted.encode())  # in the same time, right or wrong
        if kind.lower() != "bearer" or not right:
            raise Refused(
                401, "A token is needed: send the header Authorization: Bearer TOKEN.", {"WWW-Authenticate": "Bearer"}
            )

    def _measure(self, scope: Scope) -> None:
        """Refuses what says itself that it is too large, before a byte of it is read."""
        length = Headers(scope=scope).get("content-length", "")
        if length.isdecimal() and int(length[:20]) > self.settings.most_bytes:
            raise self._too_large()

    def _seat(self) -> None:
        """Refuses whoever would be one more than there are places."""
        if self.taken >= self.settings.queue:
            wait = min(60, max(1, math.ceil(self.taken * self.seconds())))
            raise Refused(503, f"The queue is full: try again in {wait} s.", {"Retry-After": str(wait)})

    async def _discard(self, receive: Receive) -> None:
        """Takes in what is still being sent, up to twice what is allowed: who still sends does not hear an answer."""
        left = 2 * self.settings.most_bytes
        with suppress(TimeoutError):
            async with asyncio.timeout(self.settings.patience):
                while left > 0 and (message := await receive()).get("more_body", False):
                    left -= len(message.get("body", b""))

    def _too_large(self) -> Refused:
        most = f"{self.settings.most_bytes / 2**20:.3g} MB"
        return Refused(413, f"The request is larger than {most}: send a smaller file.", {"Connection": "close"})

    def _limited(self, receive: Receive) -> Receive:
        """What is sent, as long as it is neither too much nor too slow."""
        so_far, whole = 0, False
        until = asyncio.get_running_loop().time() + self.settings.patience

        async def next_message() -> Message:
            nonlocal so_far, whole
            if whole:
                return await receive()
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError:
                slow = f"The request took longer than {self.settings.patience:g} s to arrive: send it faster."
                raise Refused(408, slow, {"Connection": "close"}) from None
            so_far += len(message.get("body", b""))
            whole = message["type"] == "http.disconnect" or not message.get("more_body", False)
            if so_far > self.settings.most_bytes:
                if not whole:
                    await self._discard(receive)
                raise self._too_large()
            return message

        return next_message
