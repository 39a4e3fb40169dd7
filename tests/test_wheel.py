"""The wheel alone, in an environment of its own and without the repository or a network, tells the story."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OFFLINE = """
import socket

def refused(*_, **__):
    raise OSError("no network here")

socket.socket.connect = socket.getaddrinfo = socket.create_connection = refused
from wherefore.cli import main
main()
"""


def uv(*arguments: str | Path) -> None:
    """Runs uv, which made the environment that the tests run in."""
    found = Path(sys.executable).parent / "uv"
    command = found if found.is_file() else shutil.which("uv")
    if command is None:
        pytest.skip("needs uv: pip install uv")
    subprocess.run([command, *arguments], cwd=ROOT, check=True, capture_output=True, text=True)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    uv("build", "--wheel", "--out-dir", folder)
    return next(folder.glob("*.whl"))


@pytest.mark.slow
def test_the_wheel_holds_what_it_needs(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder, suffix in (
        ("models/weights", "safetensors"),
        ("models/weights", "json"),
        ("pages/templates", "html"),
        ("study/templates", "html"),
        ("study/static", "css"),
        ("study/migrations/versions", "py"),
        ("web/page", "js"),
    ):
        own = {p.relative_to(ROOT / "src").as_posix() for p in (ROOT / "src/wherefore" / folder).glob(f"*.{suffix}")}
        assert own and own <= names
    assert not [name for name in names if name.startswith(("tests/", "docs/"))]
    assert wheel.stat().st_size < 20e6


@pytest.mark.slow
def test_the_wheel_alone_runs_the_demo(wheel: Path, tmp_path: Path) -> None:
    uv("venv", "--python", sys.executable, tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    uv("pip", "install", "--python", python, "--constraint", ROOT / "constraints.txt", wheel)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    clean |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    code = f"import sys; sys.argv = ['wherefore', 'demo', '--out', 'told']\n{OFFLINE}"
    done = subprocess.run([python, "-I", "-c", code], cwd=tmp_path, env=clean, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "told" / "index.html").read_text()
    assert len(page) > 100_000 and "http://" not in page and "https://" not in page
