"""Small networks, the folder of real data (skipped where absent), and the check that a network was left untouched."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wherefore import methods as _methods  # noqa: F401  fills METHODS
from wherefore.registry import METHODS
from wherefore.targets import choose
from wherefore.types import Grid, Layer, Query, Raw

DATA = Path(__file__).parents[2] / "shared" / "data"


if "PYTEST_XDIST_WORKER" in os.environ:  # one of several processes, which share the processors
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"

# Shells start what runs in the background with SIGINT ignored, and children would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Says what a test measured: all of it is printed at the end of the run."""
    return lambda said: request.node.user_properties.append(("figure", said))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints the figures, also those of tests that ran in other processes."""
    reports = [r for kind in ("passed", "failed") for r in terminalreporter.stats.get(kind, []) if r.when == "call"]
    if said := [text for report in reports for name, text in report.user_properties if name == "figure"]:
        terminalreporter.section("figures")
        terminalreporter.write_line("\n".join(said))


@pytest.fixture
def data() -> Path:
    """The folder of real weights and photographs."""
    if not DATA.is_dir():
        pytest.skip(f"needs the real weights and photographs of {DATA.parent.name}/{DATA.name}, which is not here")
    return DATA


class Pooled(nn.Module):
    """Convolutions, average pooling, one linear layer; in-place ReLUs; batch norm."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True),
            nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.ReLU(inplace=True),
        )  # fmt: skip
        self.fc = nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(F.adaptive_avg_pool2d(self.features(x), 1).flatten(1))


class Hidden(nn.Module):
    """A head with a hidden layer (no CAM), dropout, a functional ReLU behind the last convolution."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 8, 3, padding=1)
        self.drop, self.fc1, self.fc2 = nn.Dropout(0.5), nn.Linear(8 * 16, 12), nn.Linear(12, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x), inplace=True), 2)
        return self.fc2(F.relu(self.fc1(self.drop(x.flatten(1)))))


def pooled(**options: Any) -> nn.Module:
    """A `Pooled` with batch-norm statistics that are not the initial ones."""
    net = Pooled(**options)
    net(torch.randn(8, 3, 16, 16))
    return net.eval()


def hidden(**options: Any) -> nn.Module:
    return Hidden(**options).eval()


def images(count: int = 2, side: int = 16) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def ask(method: str, net: nn.Module, x: Tensor, layer: str, target: object = "all", **options: Any) -> Raw:
    """A method's own result at a channels-first layer, float64 where the network is."""
    place = Layer(layer, Grid("channels-first", (1, 1)), 0)
    return METHODS[method].run(Query(net, x, place, lambda output: choose(target, output)), **options)


def state_of(net: nn.Module) -> dict[str, Any]:
    """Everything about a network that an explanation must leave as it was."""
    digest = hashlib.sha256()
    for value in net.state_dict().values():
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks")
    return {
        "weights": digest.hexdigest(),
        "grad": [None if p.grad is None else p.grad.clone().tolist() for p in net.parameters()],
        "requires_grad": [p.requires_grad for p in net.parameters()],
        "versions": [p._version for p in net.parameters()],
        "mode": [m.training for m in net.modules()],
        "hooks": [len(getattr(m, h)) for m in net.modules() for h in hooks],
        "modules": [id(m) for m in net.modules()],
        "inplace": [getattr(m, "inplace", None) for m in net.modules()],
        "attributes": [sorted(vars(m)) for m in net.modules()],
    }


@contextmanager
def untouched(net: nn.Module) -> Iterator[None]:
    """The network, grad mode and inference mode are after the block what they were before it."""
    before = state_of(net), torch.is_grad_enabled(), torch.is_inference_mode_enabled()
    try:
        yield
    finally:
        assert (state_of(net), torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == before
