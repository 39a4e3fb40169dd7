"""Browsing: a page of the app as a browser without a script has it: forms with their buttons, links, pictures."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser


@dataclass
class Button:
    """What can be pressed: the name and value that it sends, and its words."""

    name: str
    value: str
    words: str = ""


@dataclass
class Form:
    """Where a form goes, what it sends untouched, and how it can be sent."""

    action: str
    fields: dict[str, str] = field(default_factory=dict)
    buttons: list[Button] = field(default_factory=list)


@dataclass
class Page:
    """A page: ``kind`` is the id of its main part, ``number`` this person's in the study where it shows one."""

    kind: str = ""
    forms: list[Form] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)
    number: str = ""


class Reader(HTMLParser):
    """Reads a page; boxes are ticked and fields of text left empty, as by somebody who agrees and has no number."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.page = Page()
        self._within = ""  # the element whose words are wanted
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notes what an element is good for."""
        given = {name: value or "" for name, value in attrs}
        match tag:
            case "main":
                self.page.kind = given["id"]
            case "img":
                self.page.pictures.append(given["src"])
            case "a":
                self.page.links.append(given["href"])
            case "form":
                self.page.forms.append(Form(given["action"]))
            case "input":
                self.page.forms[-1].fields[given["name"]] = given.get("value", "")
            case "button" if "disabled" not in given:
                self.page.forms[-1].buttons.append(Button(given.get("name", ""), given.get("value", "")))
        if tag in ("button", "kbd") or given.get("id") == "number":
            self._within = tag

    def handle_endtag(self, tag: str) -> None:
        """Ends an element; a key's label within a button is none of its words."""
        self._within = "button" if tag == "kbd" else ""

    def handle_data(self, data: str) -> None:
        """Keeps the words of buttons and the number."""
        if self._within == "button" and self.page.forms and self.page.forms[-1].buttons:
            button = self.page.forms[-1].buttons[-1]
            button.words = (button.words + data).strip()
        elif self._within == "code":
            self.page.number += data


def read(html: str) -> Page:
    """What is on a page."""
    return Reader(html).page
