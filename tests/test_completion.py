"""What the shell completes, by the protocol that its scripts speak, and what every command says of itself."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command

from wherefore import methods as _methods  # noqa: F401  fills METHODS
from wherefore.cli import app, completing
from wherefore.datasets import DATASETS
from wherefore.registry import METHODS

RUN = "import sys; sys.argv = ['wherefore']; from wherefore.cli import main; main()"


def completed(*words: str, shell: str = "bash") -> list[str]:
    """What the command answers to a shell that has these words, the last of them begun."""
    line = " ".join(["wherefore", *words])
    asked = {"_WHEREFORE_COMPLETE": f"complete_{shell}", "COMP_WORDS": line, "COMP_CWORD": str(len(words))}
    asked |= {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    done = subprocess.run(
        [sys.executable, "-c", RUN], env={**os.environ, **asked}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return done.stdout.split("\n")[:-1]


def test_names_are_those_of_the_registries() -> None:
    from wherefore.experiments import EXPERIMENTS
    from wherefore.figures import in_order
    from wherefore.models import named
    from wherefore.models.scenes import scenes_names

    assert completing.methods("") == sorted(METHODS)
    assert completing.experiments("") == [*sorted(EXPERIMENTS), "all"]
    assert completing.figures("") == in_order()
    assert {name.removesuffix(":") for name in completing.data("")} == {*DATASETS}
    assert {*completing.models("scenes:")} == {f"scenes:{name}" for name in scenes_names()}
    assert {*completing.models("")} >= {*named("", "torchvision")}


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("explain", "x.jpg", "--method", "guided"), ["guided-backprop", "guided-grad-cam"]),
        (("layers", "--model", "scenes:v"), [f"scenes:{n}" for n in ("vgg", "vgg-cam", "vqa", "vqa-alexnet")]),
        (("explain", "x.jpg", "--model", "resnet5"), ["resnet50"]),
        (("experiment", "local"), ["localization"]),
        (("audit", "--data", "im"), ["imagenet:"]),
        (("study", "ini"), ["init"]),
        (("figure", "2"), ["20", "21", "22"]),
        (("batch", "photos", "--engine", "r"), ["ray"]),
        (("batch", "photos", "--below", "f"), ["folded", "float16"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_a_shell_asks(words: tuple[str, ...], found: list[str], shell: str) -> None:
    answered = [line.split("\t")[0] for line in completed(*words, shell=shell)]
    assert answered == found


def test_zsh_asks() -> None:
    (line,) = completed("explain", "x.jpg", "--method", "c-m", shell="zsh")
    assert line == """_arguments '*: :(("c-mwp"))'"""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_are_shown(shell: str) -> None:
    code = (
        f"import sys; sys.argv = ['wherefore', '--show-completion', '{shell}']; from wherefore.cli import main; main()"
    )
    env = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}  # else it asks who started it
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.returncode == 0 and "_WHEREFORE_COMPLETE" in done.stdout


def test_completing_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom wherefore.cli import completing as c\n"
        "assert c.methods('') and c.models('') and c.experiments('') and c.data('')\n"
        "print(sorted({'torch', 'torchvision', 'numpy', 'scipy', 'PIL'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def commands(group: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    for each, command in group.commands.items():
        yield from commands(command, f"{each} ") if hasattr(command, "commands") else [(f"{name}{each}", command)]


EVERY = dict(commands(get_command(app)))


@pytest.mark.parametrize("name", EVERY)
def test_a_command_says_what_comes_out_with_examples(name: str) -> None:
    said = EVERY[name].help
    assert said and said.split("\n")[0].endswith((".", ":")), "the first line is a sentence"
    assert f"wherefore {name}" in said, "an example"


@pytest.mark.parametrize("name", EVERY)
def test_every_option_is_explained(name: str) -> None:
    silent = [each.name for each in EVERY[name].params if len(getattr(each, "help", "") or "") < 8]
    assert not silent, f"say what {', '.join(silent)} is for"
