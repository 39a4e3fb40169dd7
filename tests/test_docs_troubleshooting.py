"""The sentences that docs/troubleshooting.md quotes are those of the source, and what it links to in pages is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
OWN = PAGE.partition("\n## What wherefore says\n")[2]
QUOTED = re.findall(r"^\| `([^`]+)` \|", OWN, re.MULTILINE)
PLACE = re.compile(r"\]\(([\w/.-]*\.md)?#([\w-]+)\)")


@cache
def sentences() -> tuple[str, ...]:
    """All texts in the source, ``...`` in the place of what is filled in."""
    found = set()
    for path in (ROOT / "src" / "wherefore").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
            elif isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else "..." for part in node.values)
                found.add("".join(map(str, parts)))
    return tuple(found)


def said(quote: str) -> bool:
    return any(quote in sentence for sentence in sentences())


def test_a_sentence_that_nobody_says_is_found_out() -> None:
    assert len(QUOTED) > 30
    assert not said("no layer of ... has a grid of pixels that feeds the target")


@pytest.mark.parametrize("quote", QUOTED)
def test_quoted_sentences_are_those_of_the_source(quote: str) -> None:
    assert said(quote)


def headings(page: Path) -> set[str]:
    """The names under which a page's headings are linked to: small letters, hyphens, no other signs."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    found = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.name)
def test_places_in_pages_that_are_linked_to_are_there(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for where, name in PLACE.findall(text):
        assert name in headings((page.parent / where).resolve() if where else page), f"{where}#{name}"
