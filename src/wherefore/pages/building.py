"""Building: sections become one HTML file that asks for nothing from elsewhere, with the pictures as PNGs beside it."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from PIL import Image

from wherefore import __version__
from wherefore.pages.parts import Section
from wherefore.progress import track
from wherefore.saving import file_name, made, unique_names, write_whole

STAND_IN = (
    "These are pictures of a drawn world, a stand-in for photographs, and small networks trained on it. "
    "Numbers on scenes are not the paper's numbers."
)


def write(
    folder: str | Path,
    title: str,
    lead: str,
    sections: Sequence[Section],
    facts: Mapping[str, str] | None = None,
    notice: str = STAND_IN,
) -> Path:
    """Writes ``index.html`` and a PNG of every figure into a folder; the path of the page.

    The page holds its pictures and its style itself: it can be sent as one file, and nothing is fetched when it is
    opened. Verdicts of all sections are gathered at its head. ``facts`` stand at its foot: where its numbers come
    from. ``notice`` says beside the title what the pictures are not. Raises `Error` where it cannot be written.
    """
    folder = made(folder)
    figures = [(section.anchor, figure) for section in sections for figure in section.figures]
    names = unique_names([f"{anchor}-{file_name(figure.caption)}" for anchor, figure in figures])
    for name, (_, figure) in zip(names, track(figures, len(figures), "writing pictures"), strict=True):
        write_whole(folder / f"{name}.png", encoded(figure.picture, "PNG"))
    return write_whole(folder / "index.html", rendered(title, lead, sections, facts, notice))


def rendered(
    title: str,
    lead: str,
    sections: Sequence[Section],
    facts: Mapping[str, str] | None = None,
    notice: str = STAND_IN,
) -> bytes:
    """The page alone, as what is to be in its file; see `write`."""
    page = environment().get_template("page.html").render(
        title=title,
        lead=lead,
        sections=sections,
        anchors=unique_names([section.anchor for section in sections]),
        facts={"wherefore": __version__, **(facts or {})},
        notice=notice,
    )  # fmt: skip
    return page.encode()


@cache
def environment() -> Environment:
    """The templates of the package, which escape whatever they are given."""
    found = Environment(
        loader=PackageLoader("wherefore.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"prose": prose, "data_uri": data_uri}
    found.tests["kind"] = lambda part, name: type(part).__name__ == name
    return found


def prose(text: str) -> Markup:
    """Words as HTML: escaped, and `code` where backticks stand around it."""
    pieces = [escape(piece) for piece in text.split("`")]
    return Markup("").join(Markup("<code>") + p + Markup("</code>") if i % 2 else p for i, p in enumerate(pieces))


def data_uri(picture: Image.Image, many: bool = False) -> str:
    """A picture as an address that holds it; one of ``many`` takes half of the room."""
    return "data:image/jpeg;base64," + base64.b64encode(encoded(picture.convert("RGB"), "JPEG", many)).decode()


def encoded(picture: Image.Image, kind: str, many: bool = False) -> bytes:
    """A picture as a file; JPEG with its colours at full resolution, unless it is one of ``many``."""
    buffer = io.BytesIO()
    jpeg = {"quality": 75 if many else 88, "subsampling": 2 if many else 0, "optimize": True}
    picture.save(buffer, kind, **(jpeg if kind == "JPEG" else {}))
    return buffer.getvalue()
