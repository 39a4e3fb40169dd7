"""Code blocks of a page in Markdown, and how each kind of them is run or, where it is no program, read.

``python`` blocks of a page run in order in one namespace, ``sh`` blocks line by line (`docs_commands`), all in one
folder that has the files they name (`docs_world`). Data and settings are parsed. A block of another kind fails.
"""

from __future__ import annotations

import configparser
import csv
import io
import json
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^( *)```([^\n`]*)\n(.*?)^\1```[ ]*$", re.MULTILINE | re.DOTALL)
INSTRUCTIONS = "ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL RUN SHELL STOPSIGNAL USER VOLUME WORKDIR"


@dataclass(frozen=True)
class Block:
    """A block of code: the page that it is on, its first line there, its language, its text."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{named(self.page)}:{self.line}"


def named(page: Path) -> str:
    """A page by its path in the repository."""
    return str(page.relative_to(ROOT)) if page.is_relative_to(ROOT) else page.name


def pages() -> list[Path]:
    """README.md and every page of docs, as they are found there."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """All blocks of a page, without the indentation of a list that they stand in."""
    text = page.read_text(encoding="utf-8")
    found = []
    for indent, language, code in FENCE.findall(text):
        line = text.count("\n", 0, text.index(code)) + 1
        plain = re.sub(rf"^{indent}", "", code, flags=re.MULTILINE)
        found.append(Block(page, line, language.split(" ")[0], plain))
    assert len(found) * 2 == len(re.findall(r"^ *```", text, re.MULTILINE)), f"{page.name}: a block is not closed"
    return found


def lines(code: str) -> Iterator[str]:
    """The commands of a block, those that go on in the next line joined, without comments."""
    for line in re.sub(r"\\\n\s*", "", code).splitlines():
        line = re.sub(r"(^|\s)#.*$", "", line).strip()
        if line:
            yield line


# -------------------------------------------------------------------------------------------- what is no program


def _sql(text: str) -> None:
    """Over files of Parquet by DuckDB; else over a study's tables, which are empty."""
    import duckdb
    import sqlalchemy

    from wherefore.study.tables import metadata

    if ".parquet'" in text:
        duckdb.sql(text).fetchall()
        return
    engine = sqlalchemy.create_engine("sqlite://")
    with engine.begin() as connection:
        metadata.create_all(connection)
        for statement in filter(str.strip, text.split(";")):
            connection.exec_driver_sql(statement)
    engine.dispose()


def _json(text: str) -> None:
    json.loads(text)


def _yaml(text: str) -> None:
    import yaml

    assert list(yaml.safe_load_all(text)) not in ([], [None])


def _csv(text: str) -> None:
    heads, *rows = csv.reader(io.StringIO(text))
    assert rows and all(len(row) == len(heads) for row in rows), "rows are as long as their heads"


def _ini(text: str) -> None:
    """As systemd's: a key may stand several times."""
    parser = configparser.RawConfigParser(strict=False, delimiters=("=",))
    parser.read_string(text)
    assert parser.sections()


def _braces(text: str) -> None:
    """Servers' settings: sections in braces, with statements in them."""
    bare, depth = re.sub(r"#.*", "", text), 0
    for sign in re.findall(r"[{}]", bare):
        depth += 1 if sign == "{" else -1
        assert depth >= 0
    assert depth == 0 and "{" in bare


def _nginx(text: str) -> None:
    _braces(text)
    for line in filter(None, (re.sub(r"#.*", "", line).strip() for line in text.splitlines())):
        assert line.endswith(("{", "}", ";")), f"no statement of nginx: {line}"


def _dockerfile(text: str) -> None:
    words = [line.split()[0] for line in lines(text)]
    assert set(words) <= set(INSTRUCTIONS.split()) and words[0] in ("FROM", "ARG"), words


def _tree(text: str) -> None:
    """A list of files: those with an ending, and the folders, are there, below the folder that is named first."""
    folder, there = ROOT, {path.name for path in (ROOT / "src" / "wherefore").iterdir()}
    for line in text.splitlines():
        if re.fullmatch(r"[\w./-]+/", line):
            folder = ROOT / line
            there = {path.name for path in folder.iterdir()}
        elif line and not line.startswith(" "):
            first = ROOT / line.split()[0]
            there = {path.name for each in (ROOT, first) if each.is_dir() for path in each.iterdir()}
        for name in re.findall(r"(?:^| )([a-z_]+(?:\.py|/))(?= |$)", line):
            below = any((ROOT / each / name).exists() for each in ("src/wherefore", *_packages()))
            assert name.rstrip("/") in there or below, f"{name} is not in {folder.name}"


def _packages() -> list[str]:
    return [f"src/wherefore/{path.name}" for path in (ROOT / "src" / "wherefore").iterdir() if path.is_dir()]


READ: dict[str, Callable[[str], Any]] = {
    "sql": _sql,
    "json": _json,
    "yaml": _yaml,
    "toml": tomllib.loads,
    "xml": ElementTree.fromstring,
    "csv": _csv,
    "ini": _ini,
    "nginx": _nginx,
    "caddyfile": _braces,
    "dockerfile": _dockerfile,
    "text": _tree,
}
