"""The documentation as a site: built without a warning, complete, and in a browser without any other host."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

import wherefore as wf
from wherefore.cli import app

pytest.importorskip("mkdocs", reason="needs the extra docs")
pytest.importorskip("mkdocstrings", reason="needs the extra docs")
ROOT = Path(__file__).parents[1]
CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, as `make docs` builds it."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    known = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, cwd=ROOT, env=known, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr + done.stdout
    return out


class Reader(HTMLParser):
    """The places that can be linked to in a page, what it loads and links to, and its text."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.loaded: list[str] = []
        self.linked: list[str] = []
        self.words = ""
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {key: value or "" for key, value in attrs}
        self.ids |= {given["id"]} if "id" in given else set()
        if tag == "a":
            self.linked += [given["href"]] if "href" in given else []
        elif tag in ("script", "img", "link", "iframe", "source"):
            self.loaded += [given[key] for key in ("src", "href") if key in given]

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.fixture(scope="module")
def read(site: Path) -> dict[Path, Reader]:
    return {page: Reader(page) for page in sorted(site.rglob("*.html"))}


def test_nothing_is_loaded_from_elsewhere(read: dict[Path, Reader]) -> None:
    others = [(page.name, url) for page, said in read.items() for url in said.loaded if re.match(r"(https?:)?//", url)]
    assert len(read) > 30 and others == []


def test_links_within_the_site_lead_somewhere(site: Path, read: dict[Path, Reader]) -> None:
    """... to a file, and to a place in it where one is named."""
    broken = []
    for page, said in read.items():
        for link in [*said.linked, *said.loaded]:
            path, _, place = link.partition("#")
            if re.match(r"[a-z]+:", link) or page.name == "404.html":
                continue
            there = (page.parent / path.partition("?")[0]).resolve() if path else page
            if not there.exists() or (place and there in read and place not in read[there].ids):
                broken.append((page.name, link))
    assert broken == []


def test_every_page_of_docs_is_in_the_site(site: Path) -> None:
    pages = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    assert len(pages) > 25
    assert {page for page in pages if not (site / page).exists()} == set()


def test_every_public_name_is_in_the_reference(site: Path, read: dict[Path, Reader]) -> None:
    """A function or class with its own heading; the registries and the package scenes are described in words."""
    reference = [said for page, said in read.items() if page.parent == site / "reference"]
    ids = {each for said in reference for each in said.ids}
    described = {"METHODS", "MODELS", "scenes"}
    assert {name for name in wf.__all__ if f"wherefore.{name}" not in ids} == described
    text = " ".join(said.words for said in reference)
    assert all(f"wherefore.{name}" in text for name in described)


def test_what_is_registered_is_in_the_reference(site: Path, read: dict[Path, Reader]) -> None:
    import wherefore.datasets
    import wherefore.experiments
    import wherefore.methods
    import wherefore.metrics
    import wherefore.models  # noqa: F401  each fills its registry
    from wherefore.registry import DATASETS, EXPERIMENTS, METHODS, METRICS, MODELS

    for page, registry in (
        ("methods", METHODS),
        ("metrics", METRICS),
        ("datasets", DATASETS),
        ("experiments", EXPERIMENTS),
        ("models", MODELS),
    ):
        said = read[site / "reference" / f"{page}.html"]
        assert registry and [name for name in registry if f"{name}¶" not in said.words] == []


def test_every_command_is_in_the_reference_with_its_options(site: Path, read: dict[Path, Reader]) -> None:
    from typer.main import get_command

    said = read[site / "reference" / "command_line.html"]
    commands = dict(get_command(app).commands)  # type: ignore[attr-defined]
    commands |= {f"study {name}": below for name, below in commands.pop("study").commands.items()}
    assert len(commands) > 25
    for name, command in commands.items():
        assert f"wherefore-{name.replace(' ', '-')}" in said.ids
        part = said.words.split(f"wherefore {name}¶")[1].split("¶")[0]
        options = [option for each in command.params for option in each.opts if option.startswith("--")]
        assert [option for option in options if option not in part and option != "--help"] == []


# -------------------------------------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright, of the extra dev")
    if not os.path.exists(CHROMIUM):
        pytest.skip(f"needs a browser, and there is no {CHROMIUM}")
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(params=["served", "opened as files"])
def home(request: pytest.FixtureRequest, site: Path) -> Iterator[str]:
    """The address of the site: on this machine, or of its files."""
    if request.param != "served":
        yield f"{site.as_uri()}/"
        return
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.mark.parametrize("width", [1280, 390])
def test_the_site_in_a_browser(browser: Any, home: str, width: int) -> None:
    """Search finds, pages show, nothing is asked of other hosts, nothing goes wrong, nothing is wider than it."""
    context = browser.new_context(viewport={"width": width, "height": 900}, reduced_motion="reduce")
    context.set_default_timeout(60_000)
    page, asked, wrong = context.new_page(), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(f"{home}index.html")
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    if width < 960:
        page.click("label.md-header__button[for=__search]")
    page.locator("input.md-search__input").press_sequentially("guided grad-cam")
    page.wait_for_selector("a.md-search-result__link")
    assert "guided-grad-cam" in page.inner_text(".md-search-result__list").lower()
    for name in ("tutorial.html", "reference/explaining.html", "reference/command_line.html", "results.html"):
        page.goto(home + name)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.goto(f"{home}reference/explaining.html#wherefore.explain")
    assert page.locator("[id='wherefore.explain']").is_visible()
    assert page.evaluate("getComputedStyle(document.querySelector('.md-typeset h1')).fontFamily").startswith(
        "system-ui"
    )
    context.close()
    assert [url for url in asked if not url.startswith((home, "data:", "blob:", "about:"))] == []
    assert wrong == []
