"""Showing: the pages that people see, from the package's own templates; nothing in them tells the answer."""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Mapping
from functools import cache, cached_property
from importlib import resources
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from wherefore.errors import Error
from wherefore.study.plan import Item, Kind, Plan

TEXTS = ("title", "consent", "instructions", "question", "done", "contact")
STATIC = ("study.css", "study.js", "icon.svg", "bicycle.svg", "scattered.svg")  # all that is served beside pictures
ORDINALS = ("First", "Second")


class Picture(NamedTuple):
    """A picture of a trial: its address, what is said beside it, and what is said where it cannot be seen."""

    address: str
    label: str
    alt: str


class Screen(NamedTuple):
    """What a trial shows: the question, its pictures from left to right and its options, as this person gets them."""

    question: str
    pictures: tuple[Picture, ...]
    options: tuple[str, ...]


def screen(plan: Plan, item: Item, flipped: bool) -> Screen:
    """The screen of an item; ``flipped``: its options, or its two pictures, the other way round."""
    files = tuple(f"/pictures/{name}" for name in item.files)
    question = plan.texts["question"].replace("{category}", item.category if plan.kind == "trust" else "")
    if plan.kind == "trust":
        turned = files[::-1] if flipped else files
        pictures = tuple(
            Picture(f, label, f"{label} program") for f, label in zip(turned, ORDINALS, strict=True)
        )  # what is asked of the first is asked of the one that stands first
        return Screen(question, pictures, item.options)
    alt = "What mattered to the program; the question is which of two kinds of things it shows"
    return Screen(question, (Picture(files[0], "", alt),), item.options[::-1] if flipped else item.options)


def example(kind: Kind) -> Screen:
    """A screen that belongs to no study, for the instructions and for previews; drawn by hand."""
    if kind == "trust":
        from wherefore.study.plan import LIKERT

        pair = zip((_static("bicycle.svg"), _static("scattered.svg")), ORDINALS, strict=True)
        return Screen("", tuple(Picture(f, label, f"{label} program of the example") for f, label in pair), LIKERT)
    alt = "Light and dark lines on grey: two wheels, a frame and handlebars"
    return Screen("", (Picture(_static("bicycle.svg"), "", alt),), ("bicycle", "chair"))


class Pages:
    """The pages of one study, as HTML."""

    def __init__(self, plan: Plan) -> None:
        missing = [name for name in TEXTS if name not in plan.texts]
        if missing:
            raise Error(f"study.json lacks the texts {', '.join(missing)}: make the study anew.")
        self.plan = plan

    def page(self, name: str, **shown: Any) -> str:
        """A page by its template's name."""
        return _environment().get_template(f"{name}.html").render(
            texts=self.plan.texts, kind=self.plan.kind, example=self._example, **shown
        )  # fmt: skip

    @cached_property
    def _example(self) -> Screen:
        asked = self.plan.texts["question"].replace("{category}", "bicycle")
        return example(self.plan.kind)._replace(question=asked)


class File(NamedTuple):
    """A file of the package that pages ask for."""

    content: bytes
    kind: str


@cache
def static() -> Mapping[str, File]:
    """The style, the script and the drawings, by name."""
    folder = resources.files("wherefore.study") / "static"
    return {n: File((folder / n).read_bytes(), mimetypes.guess_type(n)[0] or "text/plain") for n in STATIC}


@cache
def _static(name: str) -> str:
    # browsers keep these for a year, so another content is another address
    return f"/static/{name}?{hashlib.sha256(static()[name].content).hexdigest()[:8]}"


@cache
def _environment() -> Environment:
    found = Environment(
        loader=PackageLoader("wherefore.study"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    found.filters |= {"paragraphs": _paragraphs}
    found.globals |= {"static": _static}
    return found


def _paragraphs(text: str) -> list[str]:
    return [part.strip() for part in text.split("\n\n") if part.strip()]
