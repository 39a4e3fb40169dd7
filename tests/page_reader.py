"""What must be true of every page of the package, whatever it shows."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

from PIL import Image

VOID = {"meta", "link", "img", "br", "rect"}


class Page(HTMLParser):
    """A page as it was parsed: its tags with their attributes, and its words. Unbalanced tags fail."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words = self.script = ""
        self.feed(self.source)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if "script" in self.open:
            self.script += data
        elif "style" not in self.open:
            self.words += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every such tag."""
        return [attributes for name, attributes in self.tags if name == tag]


def picture(uri: str | None) -> Image.Image:
    """The picture that an address holds."""
    assert uri is not None
    return Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"))))


def check(path: Path) -> Page:
    """The page, which needs nothing but itself and can be read without its pictures."""
    page = Page(path)
    assert page.source.startswith("<!DOCTYPE html>") and page.all("html") == [{"lang": "en"}]
    assert not re.search(r"https?:|//[a-z]|url\(|@import|javascript:", page.source.split("base64")[0])
    assert not any(attributes for attributes in page.all("script")), "a script is in the page"
    assert not re.search(r"fetch|XMLHttp|import|WebSocket|EventSource|https?:|//[a-z]|cookie|Storage", page.script)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")], "no scripts"
        for name in ("src", "href", "srcset", "data", "poster", "action"):
            address = attributes.get(name)
            if address is None or address.startswith("data:"):
                continue
            anchor = address.startswith("#") and address[1:] in ids
            assert anchor or (path.parent / address).is_file(), (
                f"{address} is no place in it, and no other page of ours"
            )
        assert "aria-labelledby" not in attributes or attributes["aria-labelledby"] in ids, tag
    for image in page.all("img"):
        assert image["alt"] and image["alt"].strip() and image["width"] and image["height"]
    assert {"viewport", "color-scheme"} <= {meta.get("name") for meta in page.all("meta")}
    assert len(page.all("h1")) == len(page.all("title")) == len(page.all("main")) == 1
    return page
