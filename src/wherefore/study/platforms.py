"""Platforms: where workers come from, how they are known there, and how they get back."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlencode, urlsplit

from wherefore.errors import Error

NAMES = ("local", "mturk", "prolific")
PREVIEW = "ASSIGNMENT_ID_NOT_AVAILABLE"  # what MTurk says of somebody who has not accepted the HIT
MTURK = ("https://www.mturk.com", "https://workersandbox.mturk.com")
PROLIFIC = "https://app.prolific.com"


@dataclass(frozen=True)
class Arrival:
    """Somebody who has come: the platform's id of them, and what is needed to send them back."""

    worker: str
    details: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Way:
    """The way back to the platform: a link or, with ``fields``, a form that the worker's own browser posts.

    ``code`` is the platform's completion code, where it has one.
    """

    address: str
    label: str
    fields: Mapping[str, str] = field(default_factory=dict)
    code: str = ""


class Platform(Protocol):
    """Where workers come from.

    ``before`` is the page for somebody whom the platform does not name yet, ``leaving`` says how to go without taking
    part; ``posts_to`` and ``framed_by`` are the origins that `guarding.headers` lets through.
    """

    name: str
    before: str
    leaving: str
    posts_to: tuple[str, ...]
    framed_by: tuple[str, ...]

    def arrival(self, given: Mapping[str, str]) -> Arrival | None:
        """Who has come, by the parameters of the address or of a form; None: nobody yet. Raises `Error`."""

    def back(self, details: Mapping[str, str], number: str, failed: bool) -> Way | None:
        """The way back for who is through, by their number in this study; ``failed``: they missed the catch trials."""


class Local:
    """People who were given the address: they type a participant's number, or one is made."""

    name, before = "local", "enter"
    leaving = "You can close this page now."
    posts_to: tuple[str, ...] = ()
    framed_by: tuple[str, ...] = ()

    def arrival(self, given: Mapping[str, str]) -> Arrival | None:
        """Who has come: the same number, however written, is the same person."""
        if "participant" not in given:
            return None
        typed = given["participant"].strip().casefold()
        if len(typed) > 64 or not typed.isprintable():
            raise Error("A participant's number has at most 64 letters, digits or signs: type it again.")
        return Arrival(typed or f"made-{secrets.token_hex(16)}")

    def back(self, details: Mapping[str, str], number: str, failed: bool) -> Way | None:
        """None: there is nowhere to go."""
        return None


class MTurk:
    """Workers of Amazon Mechanical Turk, who see the study in a frame (an ExternalQuestion).

    On finishing, the worker's browser posts assignment and number to MTurk's own host. ``submit_to`` adds a stand-in
    for it, on this machine, for trying. Source: MTurk developer guide, ExternalQuestion.
    """

    name, before = "mturk", "preview"
    leaving = "Please return the HIT, so that somebody else can take it."

    def __init__(self, submit_to: str | None = None) -> None:
        stand_in = [_loopback(submit_to)] if submit_to else []
        self.posts_to: tuple[str, ...] = (*MTURK, *stand_in)
        self.framed_by: tuple[str, ...] = ("https://*.mturk.com", *stand_in)

    def arrival(self, given: Mapping[str, str]) -> Arrival | None:
        """Who has come; None for a preview."""
        if given.get("assignmentId", PREVIEW) == PREVIEW:
            return None
        _id(given, "hitId", "MTurk")
        details = {"assignmentId": _id(given, "assignmentId", "MTurk")}
        details["turkSubmitTo"] = _origin(given.get("turkSubmitTo", ""))
        if details["turkSubmitTo"] not in self.posts_to:
            raise Error("This address does not lead back to MTurk: open the HIT there again.")
        return Arrival(_id(given, "workerId", "MTurk"), details)

    def back(self, details: Mapping[str, str], number: str, failed: bool) -> Way | None:
        """The form that ends the assignment; failed checks are for the requester to judge, by the number."""
        address = details["turkSubmitTo"] + "/mturk/externalSubmit"
        return Way(address, "Submit the HIT", {"assignmentId": details["assignmentId"], "number": number})


class Prolific:
    """Participants of Prolific; ``code`` is the study's completion code, ``failed_code`` that for failed checks."""

    name, before = "prolific", "enter"
    leaving = "Please return your submission on Prolific (“stop without completing”)."
    posts_to: tuple[str, ...] = ()
    framed_by: tuple[str, ...] = ()

    def __init__(self, code: str, failed_code: str | None = None) -> None:
        self.code, self.failed_code = code, failed_code or code

    def arrival(self, given: Mapping[str, str]) -> Arrival | None:
        """Who has come."""
        for name in ("STUDY_ID", "SESSION_ID"):  # nothing is done with them: they only show that the link was whole
            _id(given, name, "Prolific")
        return Arrival(_id(given, "PROLIFIC_PID", "Prolific"))

    def back(self, details: Mapping[str, str], number: str, failed: bool) -> Way | None:
        """The link that completes the submission."""
        code = self.failed_code if failed else self.code
        return Way(f"{PROLIFIC}/submissions/complete?{urlencode({'cc': code})}", "Return to Prolific", code=code)


def platform(
    name: str, code: str | None = None, failed_code: str | None = None, submit_to: str | None = None
) -> Platform:
    """The platform of that name. Raises `Error` for another, and for what does not belong to it or is missing."""
    if (code or failed_code) and name != "prolific":
        raise Error("--code and --failed-code are Prolific's: give --platform prolific with them.")
    if submit_to and name != "mturk":
        raise Error("--submit-to stands in for MTurk: give --platform mturk with it.")
    if name == "local":
        return Local()
    if name == "mturk":
        return MTurk(submit_to)
    if name == "prolific":
        if not code:
            raise Error("Prolific knows a completed submission by a code: give the study's with --code.")
        return Prolific(code, failed_code)
    raise Error(f"{name} is no platform: give one of {', '.join(NAMES)}.")


def _id(given: Mapping[str, str], name: str, platform: str) -> str:
    found = given.get(name, "")
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", found):
        raise Error(f"Please open this study from {platform} ({name} is missing or wrong).")
    return found


def _origin(address: str) -> str:
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}"


def _loopback(address: str) -> str:
    origin = _origin(address)
    if not re.fullmatch(r"http://(127\.0\.0\.1|localhost)(:[0-9]{1,5})?", origin):
        raise Error("--submit-to is for trying on this machine: give an address such as http://127.0.0.1:9000.")
    return origin
