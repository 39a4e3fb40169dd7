"""Every block of code in README.md and in the pages of docs runs, or is read by what it is written for.

A new page and a new block are covered unasked. What is replaced is in `docs_world`, what is not run in `docs_commands`.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from docs_blocks import READ, ROOT, Block, blocks, lines, named, pages
from docs_commands import SLOW, run_line
from docs_world import provide, without_a_network

PAGES = [page for page in pages() if blocks(page)]
EXPERIMENT = re.compile(r"^\w+ = (run|compare)\(|deeplabv3", re.MULTILINE)  # Python that slow tests alone run
COMMAND = re.compile(rf"^wherefore ({'|'.join(SLOW)})\b", re.MULTILINE)
LONG = [page for page in PAGES if EXPERIMENT.search(page.read_text()) or COMMAND.search(page.read_text())]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the repositories are that have been asked for."""
    return tmp_path_factory.mktemp("hub")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub: Path) -> Path:
    """A folder to run in, with the pictures of docs, and no network beyond this machine."""
    (tmp_path / "docs").mkdir()
    for picture in (ROOT / "docs").glob("*.jpg"):
        (tmp_path / "docs" / picture.name).symlink_to(picture)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    without_a_network(monkeypatch, hub)
    _unserved(monkeypatch)
    return tmp_path


def _unserved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers start up to where they would wait for somebody, on a free port of this machine."""
    import uvicorn

    from wherefore import listening
    from wherefore.study import serving

    listen = listening.listen
    for module in (listening, serving):
        monkeypatch.setattr(module, "listen", lambda host, port: listen("127.0.0.1", 0))
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: [each.close() for each in sockets])


def play(page: Path, slow: bool = False) -> None:
    """Runs the blocks of a page from the first to the last."""
    names: dict[str, Any] = {"__name__": "docs", **OWN.get(named(page), dict)()}
    for block in blocks(page):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # that maps are empty: random weights see nothing
                run(block, names, slow)
        except Exception as error:
            raise AssertionError(f"{block}: {type(error).__name__}: {error}") from error


def run(block: Block, names: dict[str, Any], slow: bool) -> None:
    if block.language == "python":
        code = compile("\n" * (block.line - 1) + block.text, str(block.page), "exec")
        if slow or not EXPERIMENT.search(block.text):
            provide(block.text)
            exec(code, names)
    elif block.language == "sh":
        for line in lines(block.text):
            run_line(line, slow)
    else:
        assert block.language in READ, f"a block of the kind {block.language!r}: say in docs_blocks.READ how it is read"
        READ[block.language](block.text)


# -------------------------------------------------------------------------------------------- what is the reader's own


class Agent(nn.Module):
    """A policy with a state: value, logits of actions, the next state."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.cell = nn.Conv2d(1, 4, 3), nn.GRUCell(4, 8)
        self.value, self.action = nn.Linear(8, 1), nn.Linear(8, 3)

    def forward(self, frames: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, ...]:
        state = self.cell(self.conv(frames).relu().mean((2, 3)), state)
        return self.value(state), self.action(state), state


def _agent() -> dict[str, Any]:
    return {"policy": Agent().eval(), "frames": torch.rand(2, 1, 16, 16), "state": torch.zeros(2, 8)}


def _network() -> dict[str, Any]:
    from torchvision.models import resnet18

    net = resnet18().eval()
    net.fc.weight.data.abs_()  # no map is empty
    return {"model": net, "images": torch.rand(2, 3, 64, 64)}


def _mturk() -> dict[str, Any]:
    """No hit is placed: `tests/test_study_docs.py` looks at what would be asked for."""
    import sys

    client = SimpleNamespace(create_hit=lambda **_: {"HIT": {"HITId": "3ABC"}})
    sys.modules["boto3"] = SimpleNamespace(client=lambda *_, **__: client)  # type: ignore[assignment]
    return {}


OWN: dict[str, Callable[[], dict[str, Any]]] = {
    "README.md": _agent,
    "docs/deployment.md": lambda: {"pictures": ["docs/coffee.jpg"], "transform": None, "names": ["a", "b"]},
    "docs/migration.md": _network,
    "docs/models.md": lambda: {"images": torch.rand(1, 3, 224, 224)},
    "docs/studies.md": _mturk,
}


# -------------------------------------------------------------------------------------------- tests


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_the_code_of_a_page_runs(page: Path, place: Path) -> None:
    play(page)


@pytest.mark.slow
@pytest.mark.parametrize("page", LONG, ids=named)
def test_the_long_commands_of_a_page_run(page: Path, place: Path) -> None:
    play(page, slow=True)


WRONG = {
    "python\n1 / 0": "ZeroDivisionError",
    "python\nimport wherefore as wf\nwf.expain": "has no attribute 'expain'",
    "sh\nwherefore explian photo.jpg": "exit status 2",
    "sh\nwherefore explain photo.jpg --modle resnet50": "exit status 2",
    "sh\nwherefore explain photo.jpg --model resnet51": "resnet51",
    "sh\nwherefore train vgg --epochs many": "exit status 2",
    "sh\nwherefore experiment all --data moon:DIR": "moon",
    "sh\nwherefore experiment localisation": "localisation",
    "sh\nwherefore explain scenes:17 --model scenes:vgg --target zeppelin": "exit status 2",
    "sh\npip install '.[evals]'": "no such extra",
    "sh\nmake tset": "no such target",
    "sh\npython benchmarks/nothing.py": "nothing.py",
    "sh\ncurl http://127.0.0.1:7860/v1/explan": "has no /v1/explan",
    "sh\nfrobnicate": "no command that is known here",
    "json\n{'a': 1}": "JSONDecodeError",
    "sql\nSELECT score FROM answerz": "answerz",
    "xml\n<a>": "ParseError",
    "csv\na,b\n1": "rows are as long",
    "nginx\nserver {\n  listen 80\n}": "no statement of nginx",
    "text\nsrc/wherefore/\n  explainers.py  the door": "explainers.py",
    "ruby\nputs 1": "a block of the kind 'ruby'",
    "\nputs 1": "a block of the kind ''",
}


@pytest.mark.parametrize("code", WRONG)
def test_what_is_wrong_on_a_page_is_found(code: str, place: Path) -> None:
    """Its page and line are named."""
    page = place / "page.md"
    page.write_text(f"# A page\n\n```{code}\n```\n", encoding="utf-8")
    with pytest.raises(AssertionError, match=rf"^page\.md:4: .*{re.escape(WRONG[code])}"):
        play(page)
