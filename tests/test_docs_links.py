"""What README.md and the pages of docs link to is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(<?([^()<>\s]+)>?(?:\s+\"[^\"]*\")?\)")


def local_links(text: str) -> list[str]:
    """The files that a page in Markdown links to or shows, without those on the network and places in itself."""
    found = [link.partition("#")[0] for link in LINK.findall(CODE.sub("", text))]
    return [link for link in found if link and not re.match(r"https?:|mailto:", link)]


def test_links_are_found() -> None:
    text = """[a](a.md) ![b [c]](b.jpg "so") [`c`](docs/c.md#part) [on the net](https://x.org/y) [here](#part)
`maps[0](x)`
```python
maps[0](y)
```
[d](../d.py)"""
    assert local_links(text) == ["a.md", "b.jpg", "docs/c.md", "../d.py"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_pages_link_to_is_there(page: Path) -> None:
    links = local_links(page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []
    assert links or page.name != "README.md"
