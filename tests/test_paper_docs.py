"""docs/paper.md: what it names is there: commands with their options and arguments, functions, figures, experiments."""

from __future__ import annotations

import importlib
import re
import shlex
from functools import reduce
from pathlib import Path

import pytest
import typer.main

from wherefore import experiments as _experiments  # noqa: F401  fills EXPERIMENTS
from wherefore import figures as _figures  # noqa: F401
from wherefore.cli import app
from wherefore.registry import EXPERIMENTS, FIGURES, METHODS

DOCS = (Path(__file__).parents[1] / "docs" / "paper.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"`(wherefore [a-z][^`]*)`", DOCS) + re.findall(r"^(wherefore .*)$", DOCS, re.M)
FUNCTIONS = re.findall(r"`(wherefore\.[A-Za-z0-9_.]+)`", DOCS)
ARGUMENTS = {"figure": FIGURES, "experiment": EXPERIMENTS, "study init": ("class-discrimination", "trust")}


def wrong_with(line: str) -> str:
    """What of a command is not there, "" if all of it is."""
    words = shlex.split(line, comments=True)[1:]
    command, path = typer.main.get_command(app), []
    while words and hasattr(command, "commands"):
        if words[0] not in command.commands:
            return f"no command {' '.join([*path, words[0]])}"
        command, path, words = command.commands[words[0]], [*path, words[0]], words[1:]
    options = {option: each for each in command.params for option in each.opts if option.startswith("-")}
    for i, word in enumerate(words):
        if word.startswith("-") and word not in options:
            return f"{' '.join(path)} has no option {word}"
        if word == "--method" and i + 1 < len(words) and words[i + 1] not in METHODS:
            return f"no method {words[i + 1]}"
    known = ARGUMENTS.get(" ".join(path))
    return f"{' '.join(path)} knows no {words[0]}" if known is not None and words and words[0] not in known else ""


@pytest.mark.parametrize("line", list(dict.fromkeys(COMMANDS)))
def test_every_command_is_one(line: str) -> None:
    assert not wrong_with(line)


def test_what_is_wrong_with_a_command_is_found() -> None:
    assert wrong_with("wherefore figur 1") and wrong_with("wherefore figure 2") and wrong_with("wherefore study make")
    assert wrong_with("wherefore figure 1 --nothing") and wrong_with("wherefore experiment nothing")
    assert wrong_with("wherefore explain --method nothing")
    assert not wrong_with('wherefore figure 1 a.jpg --target "tiger cat" --seed 0   # so')


@pytest.mark.parametrize("name", list(dict.fromkeys(FUNCTIONS)))
def test_every_function_is_one(name: str) -> None:
    module, _, function = name.rpartition(".")
    found = reduce(getattr, [function], importlib.import_module(module))
    assert callable(found) and found.__doc__


def test_every_part_of_the_paper_is_there() -> None:
    rows = re.findall(r"^\| ([^|]*) \| .* \|$", DOCS, re.M)
    numbers = [int(n) for row in rows if row.startswith("Eq.") for n in re.findall(r"\d+", row)]
    assert numbers == [*range(1, 13)]
    assert [row for row in rows if row.startswith("Fig.")] == [f"Fig. {n}" for n in range(1, 23)]
    assert [row for row in rows if row.startswith("Table")] == ["Table 1", "Table 2", "Table 3"]
    for section in ("3.1", "3.2", "3.3", "4.1", "4.2", "4.3", "5.1", "5.2", "5.3", "6.1", "6.2", "6.3", "8.1", "8.2"):
        assert section in rows
    assert {f"wherefore figure {number}" for number in FIGURES} <= {*COMMANDS}
    named = {line.split()[2] for line in COMMANDS if line.startswith("wherefore experiment ")}
    assert set(EXPERIMENTS) == named
    assert "| done" in DOCS and "| stand-in" in DOCS and "cannot be matched" in DOCS
