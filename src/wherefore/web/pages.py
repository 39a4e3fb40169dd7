"""The demo page, and the page that describes REST: files of the package, and nothing from elsewhere."""

from __future__ import annotations

import io
from functools import cache
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from wherefore.scenes import Scene, scene
from wherefore.web.problems import Refused
from wherefore.web.settings import Settings

ASSETS = {
    "style.css": "text/css; charset=utf-8",
    "main.js": "text/javascript; charset=utf-8",
    "asking.js": "text/javascript; charset=utf-8",
    "viewing.js": "text/javascript; charset=utf-8",
    "saving.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
FRESH = {"Cache-Control": "no-cache"}
# Scenes to be tried, on which the shipped networks do well, and what may be asked of each.
EXAMPLES = {
    12: "where is the airplane?",
    17: "is there a bird?",
    7: "what kind of animal is there?",
    3: "what kind of animal is there?",
    9: "what colour is the boat?",
    35: "what kind of plant is there?",
}
SIDE = 384  # pixels in which they are drawn


def router(app: FastAPI, settings: Settings) -> APIRouter:
    """The routes of the pages."""
    found = APIRouter(include_in_schema=False)

    @found.get("/")
    async def page() -> Response:
        return Response(_file("index.html"), media_type="text/html; charset=utf-8", headers=FRESH)

    @found.get("/docs")
    async def docs() -> Response:
        return HTMLResponse(_docs(app, settings), headers=FRESH)

    @found.get("/page/examples")
    async def examples() -> list[dict[str, Any]]:
        return [
            {"name": f"scenes:{n}", "picture": f"page/examples/{n}.png", "alt": scene(n).captions[1], "question": asked}
            for n, asked in EXAMPLES.items()
        ]

    @found.get("/page/examples/{number}.png")
    def example(number: int) -> Response:
        if number not in EXAMPLES:
            raise Refused(404, "There is no such example: /page/examples lists them.")
        return Response(_drawn(number), media_type="image/png", headers={"Cache-Control": "max-age=3600"})

    @found.get("/page/{name}")
    async def asset(name: str) -> Response:
        if name not in ASSETS:
            raise Refused(404, "There is no such file of the page.")
        return Response(_file(name), media_type=ASSETS[name], headers=FRESH)

    return found


@cache
def _file(name: str) -> bytes:
    return files("wherefore.web").joinpath("page", name).read_bytes()


@cache
def _drawn(number: int) -> bytes:
    """A scene as a PNG."""
    buffer = io.BytesIO()
    Scene(scene(number).world, SIDE).image.save(buffer, "PNG")
    return buffer.getvalue()


def _docs(app: FastAPI, settings: Settings) -> str:
    """The description of REST as a page, from what ``/openapi.json`` says."""
    spec = app.openapi()
    environment = Environment(
        loader=PackageLoader("wherefore.web", "page"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    routes = [
        {"path": path, "verb": verb.upper(), "fields": _fields(spec, about), **about}
        for path, verbs in spec["paths"].items()
        for verb, about in verbs.items()
    ]
    return environment.get_template("docs.html").render(spec=spec, routes=routes, settings=settings)


def _fields(spec: dict[str, Any], about: dict[str, Any]) -> list[dict[str, Any]]:
    """The fields of a route's form, each with its name, and whether it must be there or may repeat."""
    content = about.get("requestBody", {}).get("content", {})
    if not content:
        return []
    form = spec["components"]["schemas"][next(iter(content.values()))["schema"]["$ref"].rsplit("/", 1)[-1]]
    return [
        {
            "name": name,
            "needed": name in form.get("required", ()),
            "repeats": field.get("type") == "array",
            "description": field.get("description", ""),
        }
        for name, field in form["properties"].items()
    ]
