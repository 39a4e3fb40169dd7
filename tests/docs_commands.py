"""Command lines of the docs: ours are run, or at least taken by the command line; of others what can be checked is."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from docs_blocks import ROOT
from docs_world import provide, weigh
from wherefore.cli import main

# How commands begin that only slow tests run, with what makes them shorter; every test lets them be taken completely.
SLOW = {
    "experiment ": "--limit 6",
    "audit ": "--limit 12",
    "compare ": "--limit 6",
    "dissect ": "--limit 24",
    "demo ": "",
    "export --model (?!scenes:)": "",
    r"figure .*--model (?!scenes:)": "",
    "study init ": "",
    "study serve ": "",
    "study simulate ": "",
    "study analyze ": "",
}
# What is taken completely, and not run: (a part of the command line, why).
TAKEN = (
    ("train ", "trains for minutes to hours"),
    ("finetune ", "trains for minutes to hours"),
    ("bench ", "measures for minutes; tests/test_bench.py runs it"),
    ("convert ", "needs Caffe's files; tests/test_caffe.py runs it"),
    ("caffe:", "needs Caffe's files"),
    ("preact:", "needs its weights, of 64 million parameters; tests/test_figures.py draws the figures"),
    ("paper:", "needs what training writes"),
    ("--tune", "measures for long; tests/test_tuning.py runs it"),
    ("--retrain", "trains 15 networks"),
    ("experiment all", "runs for minutes; tests/test_experiments.py runs each"),
    ("experiment segmentation", "trains for minutes"),
    ("--method all", "2,048 passes of score-cam on a CPU"),
    ("--engine ray", "needs a cluster; tests/test_batch.py runs one"),
    ("adversarial --data", "attacks a large network for minutes; tests/test_experiments.py attacks small ones"),
    ("--weights vgg/vgg16.safetensors", "needs networks that know VOC; tests/test_study_stimuli.py has small ones"),
    ("study analyze study --out result", "nobody has answered on that page; README's has simulated workers before"),
    ("study export ", "the same; tests/test_study_export.py writes them"),
    ("--platform ", "needs a text of consent that is filled in; tests/test_study_app.py has it"),
    ("--database ", "needs a server; tests/test_study_store.py has one"),
)
PLACES = {"SOURCE": "photos", "$SLURM_ARRAY_TASK_ID": "1"}  # what a reader puts there


def run_line(line: str, slow: bool) -> None:
    """Runs one line of a ``sh`` block, each of its commands joined by ``&&``, or checks what can be of it."""
    for name, meant in PLACES.items():
        line = re.sub(rf"(?<![\w-]){re.escape(name)}(?!\w)", meant, line)
    line = re.sub(r"(?<=[\s:])/(?=(?:data|shared)/)", "", line)  # other disks
    for command in line.split(" && "):
        if command.startswith("ip netns exec "):
            command = command.split(" ", 4)[4]
        words = shlex.split(command.replace("$(cat token)", "token"))
        while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):  # a variable for this command
            words.pop(0)
        if words[0] == "wherefore":
            ours(words[1:], command, slow)
        else:
            kind = next((kind for kind in OTHERS if words[: len(kind.split())] == kind.split()), None)
            assert kind is not None, f"no command that is known here: {command}"
            OTHERS[kind](words, command)


# -------------------------------------------------------------------------------------------- ours


def ours(words: list[str], command: str, slow: bool) -> None:
    """Runs a command of ours, or lets the command line take it completely where it takes long."""
    name = " ".join(words[: 2 if words[0] == "study" else 1])
    given = taken(words)
    named(name, given)
    line = f"{' '.join(words)} "
    shorter = next((more for begin, more in SLOW.items() if re.match(begin, line)), None)
    if any(part in line for part, _ in TAKEN) or (shorter is not None and not slow):
        return
    provide(command.removeprefix("wherefore"))
    weights(given)
    if not torch.cuda.is_available():
        words = ["cpu" if word.startswith("cuda") else word for word in words]
    called([*words, *(shorter or "").split()] if "--limit" not in words else words, command)


def called(words: Sequence[str], command: str) -> None:
    """The command ends well; 1 says that something failed or that what is measured does not hold."""
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert not ended.value.code, f"exit status {ended.value.code}: {command}"


def taken(words: Sequence[str]) -> dict[str, Any]:
    """What the command line makes of the words, down to the last option; the command itself is not run."""
    from typer.core import TyperCommand

    seen: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TyperCommand, "invoke", lambda _, context: seen.update(context.params))
        called(words, " ".join(words))
    return seen


def named(command: str, given: dict[str, Any]) -> None:
    """Names of models, methods, data sets and experiments are such."""
    import wherefore.datasets
    import wherefore.experiments
    import wherefore.methods
    import wherefore.models
    from wherefore.registry import DATASETS, EXPERIMENTS, METHODS, MODELS

    several = {key: value if isinstance(value, (list, tuple)) else [value] for key, value in given.items() if value}
    for model in several.get("model", []) if command != "convert" else []:
        source = model.split(":")[0] if ":" in model else "torchvision"
        assert source in MODELS, model
        assert source in ("hf", "timm") or model in wherefore.models.named(model), model
    for method in several.get("method", []):
        assert method == "all" or method in METHODS, method
    for data in several.get("data", []):
        assert data.split(":")[0] in DATASETS, data
    if command == "experiment":
        assert given["name"] == "all" or given["name"] in EXPERIMENTS, given["name"]


def weights(given: dict[str, Any]) -> None:
    """Makes the files of weights that are named for models, and their classes'."""
    models, files = (_several(given.get(key)) for key in ("model", "weights"))
    classes = Path(str(given["classes"])).read_text().split() if given.get("classes") else None
    for model, file in zip(models, files, strict=False):
        if str(file) != "default":
            weigh(model, Path(file), classes)


def _several(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value] if value else []


# -------------------------------------------------------------------------------------------- others


def _pip(words: list[str], command: str) -> None:
    """The extras that are installed are there, and so are the folders."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for name in re.findall(r"\[([\w,]+)\]", command):
        assert set(name.split(",")) <= set(extras), f"no such extra: {name}"


def _make(words: list[str], command: str) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(words[1:]) <= set(targets), f"no such target: {command}"


def _curl(words: list[str], command: str) -> None:
    """What is asked of the service is one of its routes, with the fields that it has."""
    import wherefore as wf
    from wherefore.web.app import create_app

    routes = create_app({"scenes:vgg": wf.load("scenes:vgg")}).openapi()["paths"]
    [route] = re.findall(r"https?://[^/\s]+(/\S*)", command)
    assert route in routes or route in ("/", "/docs", "/metrics"), f"the service has no {route}"


def _python(words: list[str], command: str) -> None:
    """A program of ours is there and has the options that it is given."""
    if words[1:3] == ["-m", "wherefore.compat"]:
        from wherefore.compat import LIBRARIES

        assert words[3] in LIBRARIES
        return
    if words[1:3] == ["-m", "wherefore"]:
        return ours(words[3:], " ".join(words[2:]), False)
    assert (ROOT / words[1]).is_file(), words[1]
    options = [word for word in words[2:] if word.startswith("--")]
    said = (ROOT / words[1]).read_text(encoding="utf-8")
    if not all(f'"{option}"' in said for option in options):  # the program may make their names
        asked = [sys.executable, str(ROOT / words[1]), "--help"]
        said = subprocess.run(asked, check=True, capture_output=True, text=True).stdout
        assert all(option in said for option in options), f"{words[1]} has not all of {options}"


def _copied(words: list[str], command: str) -> None:
    """A folder that a slow command would have made is not there otherwise."""
    if Path(words[-2]).exists():
        subprocess.run(words, check=True)


def _duckdb(words: list[str], command: str) -> None:
    """What is asked of files that are not there is at least SQL that DuckDB can read."""
    import duckdb

    assert duckdb.extract_statements(words[-1])


def _nothing(words: list[str], command: str) -> None:
    """The command of a system's that is none of ours, and is not run."""


OTHERS: dict[str, Callable[[list[str], str], None]] = {
    "pip install": _pip,
    "uv pip install": _pip,
    "make": _make,
    "curl": _curl,
    "python": _python,
    "cp -r": _copied,
    "openssl rand": lambda words, command: Path(words[-1]).write_text("ab" * 32) and None,
    "duckdb -c": _duckdb,
    "git clone": _nothing,
    "split": _nothing,
    "cd": _nothing,
    "createdb": _nothing,
    "ip netns add": _nothing,
    "ip link set": _nothing,
    "ip": _nothing,
    "docker": _nothing,
    "kubectl": _nothing,
    "systemctl": _nothing,
}
