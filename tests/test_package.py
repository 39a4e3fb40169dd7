"""The package itself: what it exports, what it imports and when, and who may import whom."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import wherefore

SOURCE = Path(wherefore.__file__).parent

# Rows of the layout: a module imports only from rows above its own (and from its own package).
ROWS = [
    ["errors", "types", "registry"],
    [
        "graph",
        "guard",
        "places",
        "randomising",
        "copying",
        "below",
        "split",
        "capture",
        "resume",
        "backward",
        "progress",
        "trace",
        "search",
        "layers",
        "targets",
        "preparing",
        "imaging",
        "text",
        "regions",
        "drawing",
        "tiling",
        "sequences",
        "saving",
        "listening",
        "feeding",
        "grids",
        "order",
        "outputs",
        "classes",
        "tasks",
        "text",
        "vocabulary",
        "speech",
        "worded",
    ],
    ["methods", "models", "scenes", "subjects", "explanation", "inputs", "datasets"],
    [
        "options",
        "results",
        "explainer",
        "tuning",
        "saying",
        "ways",
        "metrics",
        "sanity",
        "checking",
        "strips",
        "telling",
    ],
    ["batch", "callbacks", "compat", "concepts", "export", "pages", "training", "segmenting"],
    ["bench", "panels", "told", "diagnosis", "experiments"],
    ["demo", "figures"],
    ["study", "web"],
    ["cli", "console", "__main__"],
]
# Within a row, these build on each other in this order.
CHAINS = [
    ["errors", "types", "registry"],
    [
        "graph",
        "guard",
        "places",
        "feeding",
        "below",
        "split",
        "capture",
        "resume",
        "backward",
        "progress",
        "trace",
        "grids",
        "order",
        "search",
        "layers",
    ],
    ["places", "outputs", "classes", "tasks", "targets"],
    ["vocabulary", "speech", "worded", "targets"],
    ["classes", "worded"],
    ["preparing", "imaging", "regions", "drawing", "tiling", "sequences", "saving"],
    ["scenes", "subjects", "explanation", "inputs"],
    ["scenes", "datasets"],
    ["options", "results", "explainer", "tuning", "ways"],
    ["explainer", "saying", "sanity"],
    ["guard", "places", "randomising"],
    ["options", "explainer", "metrics", "sanity", "checking"],
    ["pages", "batch", "concepts"],
    ["training", "segmenting"],
    ["bench", "experiments"],
    ["diagnosis", "experiments"],
    ["console", "cli", "__main__"],
]
# What users call on a thing of an upper row and what is built on such things; imported when it is called.
DOORS = {("explanation", "checking")}
HEAVY = {"torchvision", "timm", "transformers", "matplotlib", "cv2", "captum", "pytorch_grad_cam", "torchcam", "rich"}


def module_of(path: Path) -> str:
    return path.relative_to(SOURCE).with_suffix("").parts[0]


def imports(path: Path) -> set[str]:
    """First parts of what a file imports from wherefore, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "wherefore":
            part = (node.module or "").split(".")[1:2]
            found |= set(part) if part else {a.name for a in node.names if (SOURCE / f"{a.name}.py").exists()}
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("wherefore.")}
    return found


FILES = [p for p in sorted(SOURCE.rglob("*.py")) if p != SOURCE / "__init__.py"]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_only_from_rows_above(path: Path) -> None:
    me = module_of(path)
    row = {name: i for i, names in enumerate(ROWS) for name in names}
    assert me in row, f"{me} has no row: add it to ROWS"
    for other in imports(path) - {me}:
        chained = any(me in c and other in c and c.index(other) < c.index(me) for c in CHAINS)
        assert row[other] < row[me] or chained or (me, other) in DOORS, f"{me} must not import {other}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_heavy_libraries_are_imported_where_used(path: Path) -> None:
    for node in ast.parse(path.read_text()).body:
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not {n.split(".")[0] for n in names} & HEAVY, f"{path.name} imports {names} at the top"


def test_importing_costs_nothing() -> None:
    heavy = ("torch", "numpy", "PIL", "scipy")
    code = f"import sys, wherefore, wherefore.cli; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_public_names() -> None:
    assert wherefore.__all__ == [
        "Action", "Answer", "Box", "Caption", "Capture", "ClassScore", "Difference", "Error", "Explainer",
        "Explanation", "Grid", "Inputs", "METHODS", "MODELS", "Model", "Pixels", "Preprocess", "Similarity", "Word",
        "answers", "captions", "embed", "explain", "load", "open_results", "scenes", "tune", "words",
    ]  # fmt: skip
    for name in wherefore.__all__:
        assert getattr(wherefore, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'explian'"):
        _ = wherefore.explian
    assert callable(wherefore.explain), "no module bears the name of a public function"
    assert not [n for n in wherefore.__all__ if (SOURCE / f"{n}.py").exists()]


def test_core_dependencies() -> None:
    """Nine, jinja2 among them, which torch itself needs; none is capped, so that wherefore fits beside others."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    core = {name: bound for name, bound in (each.split(">=") for each in project["dependencies"])}
    assert [*core] == [
        "torch", "torchvision", "numpy", "pillow", "scipy", "safetensors", "typer", "rich", "jinja2",
    ]  # fmt: skip
    assert not [bound for bound in project["dependencies"] if set("<~!=") & set(bound.replace(">=", ""))]


def test_lowest_versions_are_those_of_the_bounds() -> None:
    """constraints-lowest.txt, by which the tests are run with the oldest versions, pins what pyproject.toml says."""
    root = Path(__file__).parents[1]
    extras = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    pins = dict(line.split("==") for line in (root / "constraints-lowest.txt").read_text().split("\n") if "==" in line)
    libraries = [*extras["dependencies"], *extras["optional-dependencies"]["export"]]
    for name, bound in (each.split(">=") for each in libraries):
        pinned = pins[name].split("+")[0]
        assert pinned == bound or pinned.startswith(f"{bound}."), f"{name}: write constraints-lowest.txt anew"


def test_types_reach_users(tmp_path: Path) -> None:
    """`examples/typed.py`, which asserts the types of what it is given, passes ``mypy --strict`` as a program does."""
    pytest.importorskip("mypy", reason="needs mypy, of the extra dev")
    example = tmp_path / "typed.py"
    example.write_text((Path(__file__).parents[1] / "examples" / "typed.py").read_text())

    def checked() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", example.name]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    assert checked().returncode == 0, checked().stdout
    example.write_text(example.read_text().replace("assert_type(e, wf.Explanation)", "assert_type(e, wf.Model)"))
    assert "assert-type" in checked().stdout, "it can fail"
