"""Every program of examples/ runs as its first lines say; `test_policy.py` has the two of reinforcement learning."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import wherefore as wf
from docs_world import picture, without_a_network

EXAMPLES = Path(__file__).parents[1] / "examples"


def opened(name: str) -> Any:
    """A program as a module."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_is_run_by_a_test() -> None:
    tests = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    programs = [path.stem for path in EXAMPLES.glob("*.py")]
    assert len(programs) >= 4
    assert [
        name for name in programs if not re.search(rf'(opened|import_module)\("{name}"\)|"{name}\.py"', tests)
    ] == []


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shown(place: Path, said: str) -> None:
    """The picture is where the program says, and two targets have been found."""
    path = said.splitlines()[-1]
    assert path == "explained/first_picture.jpg"
    with Image.open(place / path) as image:
        assert image.width > 400
    assert len(re.findall(r"score -?[\d.]+, looked hardest at x=\d+, y=\d+", said)) == 2
    assert (place / "explained" / "manifest.json").is_file()


def test_first_picture_where_nothing_is_at_hand(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Random weights in place of torchvision's download; the photograph is scikit-image's own."""
    pytest.importorskip("skimage", reason="needs scikit-image, of the extra dev")
    without_a_network(monkeypatch, place / "hub")
    monkeypatch.setenv("TORCH_HOME", str(place / "torch"))
    program = opened("first_picture")
    monkeypatch.setattr(program, "DATA", place / "nothing")
    program.main()
    shown(place, capsys.readouterr().out)


def test_first_picture_of_real_data(place: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    opened("first_picture").main()
    said = capsys.readouterr().out
    shown(place, said)
    assert said.startswith("tiger cat")


def test_first_picture_says_what_is_missing(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = opened("first_picture")

    def refused() -> None:
        raise wf.Error("there is no network.")

    monkeypatch.setattr(program, "model_and_photograph", refused)
    with pytest.raises(SystemExit) as ended:
        program.main()
    assert ended.value.code == 2 and capsys.readouterr().err == "first_picture: there is no network.\n"


def test_the_client_asks_a_running_service(place: Path) -> None:
    """As in its first lines: classes, classes by name with pictures, and a question."""
    pytest.importorskip("fastapi", reason="needs the extra serve")
    from fixtures_web import served
    from wherefore.web.app import create_app

    assert callable(opened("client").main)
    picture(place / "photo.png")

    def client(url: str, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(EXAMPLES / "client.py"), "photo.png", "--url", url, *words]
        return subprocess.run(command, capture_output=True, text=True, env=dict(os.environ))

    with served(create_app({name: wf.load(name) for name in ("scenes:vgg", "scenes:vqa")})) as url:
        five = client(url)
        assert len(re.findall(r"^.+: p [\d.]+, looked hardest at \[\d+, \d+\]$", five.stdout, re.M)) == 5, five.stderr
        two = client(url, "--target", "dog", "--target", "bird", "--out", "maps")
        assert two.stdout.startswith("dog: p ") and len(list((place / "maps").glob("photo.*.jpg"))) == 2
        assert "p " in client(url, "--question", "what colour is the bird?").stdout
        wrong = client(url, "--target", "no such class")
        assert wrong.returncode == 2 and wrong.stderr.startswith("client: ")
