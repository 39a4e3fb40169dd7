"""The app: what each address of a study answers; who the worker is and what they are asked the store knows.

A worker has one address, ``/w/TOKEN``, which shows wherever they stand: consent, a trial, the end. It needs no cookie,
which frames are often denied, and reloading, going back or a second tab can do no harm.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from mimetypes import guess_type
from pathlib import Path
from typing import Annotated, Any

import anyio.to_thread
from fastapi import Depends, FastAPI, Form, HTTPException, Query, Request
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.telemetry import TelemetryConfig
from sqlalchemy.exc import InterfaceError, OperationalError
from starlette.exceptions import HTTPException as AnyHTTPException

from wherefore.errors import Error
from wherefore.study.guarding import Guard, headers
from wherefore.study.plan import PICTURES, Plan
from wherefore.study.platforms import Platform
from wherefore.study.showing import Pages, screen, static
from wherefore.study.store import Store
from wherefore.study.visitors import Visitor

LIMIT = 16 * 1024  # bytes of a form; ours have less than a hundredth of it
UNTOLD: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}  # addresses name the workers
THREADS = 8  # that wait for the database and read files
SIMULATED = "X-Wherefore-Simulated"  # the header by which simulated workers say what they are: the plan's digest
FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable"}
MISSING = "Nothing is here: open the study again from where you found it."
BUSY = "The study cannot be reached for a moment. Your answers are kept: reload this page in a minute."
BROKEN = "Something went wrong here. Your answers are kept: reload this page in a minute."
UNREAD = "That answer could not be read: please go back and choose again."
FULL = "All answers that this study needs have been given, so there is nothing left to ask you."

Token = Annotated[str, InPath(pattern=r"^[A-Za-z0-9_-]{8,86}$")]
log = logging.getLogger(__name__)


def create(folder: Path, plan: Plan, store: Store, platform: Platform) -> Guard:
    """The app of a study's folder; in the end it closes the store. Raises `Error` where text or picture is missing."""
    desk = Desk(folder, plan, store, platform)
    app = FastAPI(openapi_url=None, lifespan=desk.open, max_body_size=LIMIT, telemetry=UNTOLD)
    app.api_route("/", methods=["GET", "POST"])(desk.enter)
    app.get("/w/{token}")(desk.show)
    app.get("/w/{token}/instructions")(desk.instruct)
    app.get("/w/{token}/declined")(desk.declined)
    app.post("/w/{token}/consent")(desk.consent)
    app.post("/w/{token}/answer")(desk.answer)
    app.post("/w/{token}/end")(desk.end)
    app.get("/pictures/{name}")(desk.picture)
    app.get("/static/{name}")(desk.static)
    for kind in (Error, AnyHTTPException, RequestValidationError, OperationalError, InterfaceError, Exception):
        app.add_exception_handler(kind, desk.failed)
    return Guard(app, headers(platform.posts_to, platform.framed_by), LIMIT, desk.refuse)


async def given(request: Request) -> dict[str, str]:
    """The parameters of the address and of the form, text alone."""
    form = await request.form(max_files=0, max_fields=20) if request.method == "POST" else {}
    both = (*request.query_params.items(), *form.items())
    return {name: value for name, value in both if isinstance(value, str)}


class Desk:
    """Where workers turn to: one method for each address."""

    def __init__(self, folder: Path, plan: Plan, store: Store, platform: Platform) -> None:
        self.plan, self.store, self.platform, self.pages = plan, store, platform, Pages(plan)
        names = {name for item in plan.by_id.values() for name in item.files}
        self.files = {name: folder / PICTURES / name for name in names}  # nothing else is ever opened
        lost = [name for name, path in self.files.items() if not path.is_file()]
        if lost:
            raise Error(f"{folder / PICTURES} lacks {len(lost)} pictures, such as {min(lost)}: make the study anew.")

    @asynccontextmanager
    async def open(self, app: FastAPI) -> AsyncIterator[None]:
        """From the first request to the last."""
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        yield
        self.store.close()

    def enter(self, request: Request, given: Annotated[dict[str, str], Depends(given)]) -> Response:
        """Lets somebody in, by what their platform says of them."""
        arrival = self.platform.arrival(given)
        if arrival is None:
            return self._page(self.platform.before)
        simulated = self._simulated(request)
        visitor = self.store.enter(self.platform.name, arrival.worker, arrival.details, simulated)
        return self._to(visitor)

    def show(self, token: Token, late: Annotated[bool, Query()] = False) -> Response:
        """Where a worker stands."""
        visitor = self._visitor(token)
        if not (visitor.consented or visitor.finished):
            return self._page("consent", token=token, unticked=False)
        trial = None if visitor.finished else self.store.next(token)
        if trial is None:
            return self._end(self._visitor(token))
        return self._page(
            "trial",
            token=token,
            trial=trial.id,
            screen=screen(self.plan, trial.item, trial.flipped),
            number=visitor.answered + 1,
            trials=max(visitor.answered + 1, visitor.trials),  # there may be more again where there were none
            late=late,
        )

    def consent(
        self, token: Token, choice: Annotated[str, Form()] = "agree", agree: Annotated[str, Form()] = ""
    ) -> Response:
        """Takes down that a worker agrees; nothing is asked of who does not."""
        self._visitor(token)
        if choice != "agree":
            return RedirectResponse(f"/w/{token}/declined", 303)
        if agree != "yes":
            return self._page("consent", 422, token=token, unticked=True)
        return self._to(self.store.consent(token))

    def declined(self, token: Token) -> Response:
        """The page for who does not take part, with the way back should it have been a slip."""
        if self._visitor(token).consented:  # their answers are kept
            return RedirectResponse(f"/w/{token}", 303)
        said = f"You have not taken part, and no answer of yours is kept. {self.platform.leaving}"
        return self._page("message", heading="Thank you", said=said, link=(f"/w/{token}", "Back to the consent form"))

    def instruct(self, token: Token) -> Response:
        """What is to be done, with an example."""
        visitor = self._visitor(token)
        if not visitor.consented:
            return RedirectResponse(f"/w/{token}", 303)
        return self._page("instructions", token=token, trials=visitor.trials)

    def answer(
        self,
        token: Token,
        trial: Annotated[str, Form(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")],
        option: Annotated[int, Form(ge=0, le=4)],
        rt_ms: Annotated[float | None, Form(ge=0, le=1e9)] = None,
    ) -> Response:
        """Keeps an answer, and goes on when it is on disk."""
        visitor, took = self._visitor(token), self.store.since(token, trial) or 0
        if rt_ms is not None:  # no browser took longer than our own clock allows; simulated workers do not wait
            took = round(rt_ms if visitor.simulated else min(rt_ms, took))
        kept = self.store.answer(token, trial, option, took)
        return RedirectResponse(f"/w/{token}" + "?late=1" * (kept == "surplus"), 303)

    def end(self, token: Token) -> Response:
        """Ends for somebody who does not want to wait for what others may leave."""
        self._visitor(token)
        self.store.finish(token)
        return RedirectResponse(f"/w/{token}", 303)

    def picture(self, name: str) -> Response:
        """A picture of the plan."""
        if name not in self.files:
            raise HTTPException(404)
        return Response(self.files[name].read_bytes(), media_type=guess_type(name)[0], headers=FOR_EVER)

    def static(self, name: str) -> Response:
        """A file of the package's own."""
        if name not in static():
            raise HTTPException(404)
        return Response(static()[name].content, media_type=static()[name].kind, headers=FOR_EVER)

    def failed(self, request: Request, error: Exception) -> Response:
        """What went wrong, in a sentence; never with what was asked, which may name the worker."""
        match error:
            case Error():
                return self.refuse(400, str(error))
            case RequestValidationError() if any(wrong["loc"][0] == "path" for wrong in error.errors()):
                return self.refuse(404, MISSING)
            case RequestValidationError():
                return self.refuse(422, UNREAD)
            case AnyHTTPException(status_code=404):
                return self.refuse(404, MISSING)
            case AnyHTTPException():
                return self.refuse(error.status_code, f"That cannot be done here ({error.detail}).", error.headers)
            case OperationalError() | InterfaceError():
                log.warning("The database cannot be used: %s", type(error.orig).__name__)
                return self.refuse(503, BUSY, {"Retry-After": "5"})
        return self.refuse(500, BROKEN)  # the server logs the traceback

    def refuse(self, status: int, said: str, headers: Mapping[str, str] | None = None) -> Response:
        """A page that says why something is not done."""
        page = self._page("message", status, heading="This did not work", said=said, link=None)
        page.headers.update(headers or {})
        return page

    def _end(self, visitor: Visitor) -> Response:
        if visitor.answered < visitor.trials:
            return self._page("wait", visitor=visitor, minutes=self.plan.minutes, leaving=self.platform.leaving)
        if not visitor.answered:
            return self._page("full", heading="The study is full", said=f"{FULL} {self.platform.leaving}", link=None)
        visitor = self.store.finish(visitor.token)
        failed = self.store.failed(visitor.token) >= self.plan.rules.catches_failed
        back = self.platform.back(self.store.details(visitor.token), visitor.code, failed)
        return self._page("done", number=visitor.code, back=back)

    def _visitor(self, token: str) -> Visitor:
        visitor = self.store.visitor(token)
        if visitor is None:
            raise HTTPException(404)
        return visitor

    def _to(self, visitor: Visitor) -> Response:
        begins = visitor.consented and not visitor.answered and not visitor.finished
        return RedirectResponse(f"/w/{visitor.token}" + "/instructions" * begins, 303)

    def _simulated(self, request: Request) -> bool:
        """Whether it is a simulated worker: one that has the study's folder, which nobody has from us."""
        mark = request.headers.get(SIMULATED)
        if mark is None:
            return False
        if not hmac.compare_digest(mark.encode(), self.plan.digest.encode()):
            raise Error("Simulated workers have the folder of another study: give the one that is served here.")
        return True

    def _page(self, name: str, status: int = 200, /, **shown: Any) -> HTMLResponse:
        return HTMLResponse(self.pages.page(name, **shown), status)
