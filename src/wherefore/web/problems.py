"""What goes wrong, as the caller is told it: a status and ``{"error": "one sentence"}``."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from wherefore.errors import Error

LOG = logging.getLogger("wherefore.web")
GONE = 499  # the caller hung up before there was an answer; nobody reads it but the metrics


class Problem(BaseModel):
    """Why there is no answer."""

    error: str = Field(description="One sentence that says what to do.", examples=["The picture is empty."])


class Refused(HTTPException):
    """A request that is not served, with the status that says of which kind it is, and a sentence."""

    def __init__(self, status: int, sentence: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, " ".join(sentence.split()), headers)


def problem(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The response that says what is wrong."""
    return JSONResponse({"error": " ".join(sentence.split())}, status, headers=dict(headers or {}))


def install(app: FastAPI) -> None:
    """All that callers can mend answered in one form."""

    @app.exception_handler(Error)
    async def mendable(request: Request, error: Error) -> JSONResponse:
        return problem(422, str(error))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return problem(422, _sentence(error.errors()))

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, _of_status(request, error), error.headers)


def broken(error: Exception, number: str) -> JSONResponse:
    """The response to a request that failed here, whose fault it is not; the log has the reason."""
    LOG.error("request %s failed", number, exc_info=error)
    return problem(500, f"Something broke here: the service's log tells what, under request {number}.")


def _of_status(request: Request, error: HTTPException) -> str:
    if isinstance(error, Refused):
        return str(error.detail)
    if error.status_code == 404:
        return f"There is nothing at {request.url.path[:200]}: /docs lists what there is."
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "another method")
        return f"{request.url.path[:200]} takes {allowed}, not {request.method[:20]}."
    return f"{error.detail}"


def _sentence(errors: Any) -> str:
    """The first thing that is wrong with the fields of a request, in a sentence."""
    extra = [str(e["loc"][-1]) for e in errors if e["type"] == "extra_forbidden"]
    first = next((e for e in errors if e["type"] != "extra_forbidden"), None)
    if first is None:
        return f"No field is called {extra[0][:60]!r}: /docs lists those that there are."
    name = str(next((part for part in first["loc"][1:] if isinstance(part, str)), "body"))
    if first["type"] == "missing":
        hint = f", and none is called {extra[0][:60]!r}" if extra else ""
        return f"The field {name!r} is missing{hint}: send it as multipart/form-data."
    if name == "image":
        return "The field 'image' must be a file: send the picture itself, as multipart/form-data."
    return f"The field {name!r} cannot be used: {str(first['msg']).removeprefix('Value error, ')}."
