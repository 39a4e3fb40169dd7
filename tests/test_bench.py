"""The benchmark: its table, its JSON, missing peers, and that all contestants compute the same thing."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from wherefore import bench
from wherefore.bench import contestants, folder, measure
from wherefore.bench.contestants import FORWARD, OURS
from wherefore.bench.measure import Figure, Result
from wherefore.bench.report import Report
from wherefore.bench.rows import ALL, FULL, PEERS, QUICK, Row, Subject

TINY = Subject("ResNet-18", "resnet18", "layer4")
pytestmark = pytest.mark.filterwarnings("ignore")  # the peers'
PEERED = [(method, name) for method, peers in contestants.PEERS_OF.items() for name in (FORWARD, OURS, *peers)]


class Net(nn.Module):
    """Two convolutions and a head that is not linear, so that no peer's shortcut applies."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 12, 3, stride=2))
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(48, 16), nn.Tanh(), nn.Linear(16, 6))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net().eval()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 40, 40, generator=torch.Generator().manual_seed(1))


def maps(
    name: str, net: nn.Module, images: Tensor, classes: list[int] | None, method: str = "grad-cam", layer: str = "body"
) -> Tensor:
    pytest.importorskip(contestants.MODULES[name]) if name in contestants.MODULES else None
    every, _ = contestants.field(Row(TINY, method=method))
    with every[name](net, layer) as call:
        return call(images, classes)


@pytest.mark.parametrize("name", ["Captum", "torch-cam"])
def test_peers_compute_our_maps(name: str, net: nn.Module, images: Tensor) -> None:
    own = maps(OURS, net, images, [0, 2, 5])
    assert own.shape == (2, 3, 9, 9) and own.max() > 0
    assert (maps(name, net, images, [0, 2, 5]) - own).abs().max() <= 1e-5 * own.max()


def test_pytorch_grad_cam_computes_our_maps_scaled(net: nn.Module, images: Tensor) -> None:
    own = maps(OURS, net, images, [0, 2, 5])
    large = nn.functional.interpolate(own, images.shape[2:], mode="bilinear")
    low, high = large.amin((2, 3), keepdim=True), large.amax((2, 3), keepdim=True)
    other = maps("pytorch-grad-cam", net, images, [0, 2, 5])
    assert other.shape == large.shape
    assert (other - (large - low) / (high - low).clamp(min=1e-7)).abs().max() <= 1e-3


def test_all_classes_are_all_classes(net: nn.Module, images: Tensor) -> None:
    own = maps(OURS, net, images, None)
    assert own.shape == (2, 6, 9, 9)
    assert torch.allclose(own, maps("torch-cam", net, images, None), atol=1e-6)
    assert maps(FORWARD, net, images, None).shape == (2, 6)


@pytest.mark.parametrize(("method", "name"), PEERED)
def test_nothing_is_left_on_the_network(method: str, name: str, net: nn.Module, images: Tensor) -> None:
    before = [type(module) for module in net.modules()]
    maps(name, net, images, [1], method)
    assert [type(module) for module in net.modules()] == before
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in net.modules())
    assert all(p.grad is None for p in net.parameters())


@pytest.mark.parametrize(("method", "name"), [p for p in PEERED if p[0] != "grad-cam" and p[1] in PEERS])
def test_peers_of_other_methods_compute_ours(method: str, name: str, net: Net, images: Tensor) -> None:
    # pytorch-grad-cam's Ablation-CAM divides by the score, and switches channels off with 0 only behind a ReLU.
    net.head[-1].bias.data += 5
    own, other = (maps(who, net, images, [0, 5], method, layer="body.1") for who in (OURS, name))
    if other.ndim == 5:
        other = other[:, :, 0] if method == "occlusion" else other.abs().amax(2)
    assert own.shape[:2] == other.shape[:2] == (2, 2)
    size = tuple(other.shape[2:])
    if method == "occlusion":  # the mean over the patches that cover a pixel; in a corner one does
        own, other = own[..., 0, 0], other[..., 0, 0]
    elif name == "pytorch-grad-cam" and method != "guided-backprop":  # scaled to 0..1
        own = nn.functional.interpolate(own, size, mode="bilinear")
        own = (own - own.amin((2, 3), keepdim=True)) / (own.amax((2, 3), keepdim=True) - own.amin((2, 3), keepdim=True))
    assert (other - own).abs().max() <= 5e-3 * own.abs().max() > 0


def test_occlusion_does_not_profit_from_what_it_remembers(net: nn.Module, images: Tensor) -> None:
    passes: list[int] = []
    net.register_forward_hook(lambda *_: passes.append(1))
    every, _ = contestants.field(Row(TINY, method="occlusion", peers=()))
    with every[OURS](net, "body") as call:
        call(images, [0])
        once = len(passes)
        call(images, [0])
    assert len(passes) == 2 * once > 10


def test_peers_without_a_method_are_not_asked() -> None:
    every, notes = contestants.field(Row(TINY, method="gradient", peers=("torch-cam",)))
    assert set(every) == {FORWARD, OURS} and not notes


def test_a_row_is_timed() -> None:
    result = measure.timed(Row(TINY, 2, 3, 1.05, size=64), seconds=0)
    assert {FORWARD, OURS} <= set(result.figures)
    assert result.figures[FORWARD].ratio == 1
    assert all(0 < f.low <= f.ratio <= f.high and f.rounds >= 1 for f in result.figures.values())
    assert result.figures[OURS].rounds == measure.FEWEST - 1


def test_a_missing_peer_is_left_out_with_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(contestants.MODULES, "Captum", "no_such_module")
    monkeypatch.setattr(measure, "FEWEST", 2)
    result = measure.timed(Row(TINY, size=64), seconds=0)
    assert "Captum" not in result.figures
    assert result.notes == ["Captum is not installed: pip install 'wherefore[bench]'"]
    assert result.notes[0] in Report([result], {}).table()


def test_a_failing_contestant_is_out_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("boom\nmore")

    loops = {FORWARD: lambda: sum(range(10_000)), "Captum": broken}
    notes: list[str] = []
    samples = measure.interleaved({name: partial(folder._turn, loop) for name, loop in loops.items()}, 0, notes)
    assert set(samples) == {FORWARD} and notes == ["Captum failed: RuntimeError: boom"]


def test_a_slow_peer_sits_out_and_keeps_its_figure() -> None:
    samples = {FORWARD: {0: (1.0, 1.0), 1: (2.0, 2.0), 2: (2.0, 2.0)}, "Captum": {0: (30.0, 15.0)}}
    figure = measure.figures(samples)["Captum"]
    assert figure == Figure(30.0, 30.0, 30.0, 1, {"wall": 15.0, "ms": 15000.0})
    assert measure.figures(samples)[FORWARD].rounds == 2


def example() -> Report:
    row = Row(TINY, 1, 10, 1.05, kind="folder", count=4, least=3.0)
    figures = {
        FORWARD: Figure(1, 1, 1, 5, {}),
        OURS: Figure(1.0621, 1.01, 1.1, 5, {"wall": 1.05, "ms": 3.0}),
        PEERS[0]: Figure(3.5, 3.4, 3.6, 3, {}),
    }
    fine = Result(Row(TINY, 1, ALL, 1.3), {OURS: Figure(1.2, 1.1, 1.3, 9, {})}, ["a note"])
    empty = Result(Row(TINY, 8, 1, 1.03), {}, ["it failed"])
    return Report([Result(row, figures, []), fine, empty, replace(fine, row=Row(TINY, 1, 2))], {"cores": 2})


def test_the_table_says_what_holds_and_what_is_missed() -> None:
    lines = example().table().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [row[0] for row in cells[2:7]] == [
        "ResNet-18, grad-cam, folder of 4 photographs",
        "times faster than pytorch-grad-cam's loop",
        "ResNet-18, grad-cam, batch 1, all classes",
        "ResNet-18, grad-cam, batch 8, 1 class",
        "ResNet-18, grad-cam, batch 1, 2 classes",
    ]
    verdicts = [row[4] for row in cells[2:7]]
    assert verdicts == ["missed by 0.012", "holds", "holds", "not measured", ""]
    assert "- a note" in lines and "- it failed" in lines and lines[-1] == "- cores 2"


def test_a_budget_may_be_relative_to_any_peer() -> None:
    figures = {OURS: Figure(4.0, 4.0, 4.0, 2, {}), "Captum": Figure(7.0, 7.0, 7.0, 2, {})}
    row = Row(
        TINY, 32, kind="memory", count=2, least=2.0, than="Captum", method="score-cam", options={"masks": "layer"}
    )
    first, second = Report([Result(row, figures, [])], {}).table().splitlines()[2:4]
    assert first.startswith("| ResNet-18, score-cam masks=layer, batch 32, peak memory of 2 calls |")
    cells = [cell.strip() for cell in second.split("|")[1:6]]
    assert cells == ["times less memory than Captum", "1.750", "", ">= 2.00", "missed by 0.250"]


def test_the_json_round_trips(tmp_path: Path) -> None:
    report = example()
    report.save(tmp_path)
    values = json.loads((tmp_path / "bench.json").read_text())
    assert Report.from_json(values) == report
    assert (values["holds"], values["missed"]) == (2, 1)
    assert (tmp_path / "bench.md").read_text() == report.table() + "\n"


def test_memory_is_the_worse_of_one_call_and_of_repeated_ones() -> None:
    peaks = {FORWARD: {"once": 100.0, "repeated": 110.0}, OURS: {"once": 105.0, "repeated": 121.0}}
    own = measure.compared(Row(TINY, kind="memory", count=5), peaks, []).figures[OURS]
    assert own.ratio == pytest.approx(1.1) and own.low == pytest.approx(1.05)


def test_the_lists_of_rows_are_sound() -> None:
    for rows in (FULL, QUICK):
        assert len({row.name for row in rows}) == len(rows)
        assert all(Row.from_json(json.loads(json.dumps(row.to_json()))) == row for row in rows)
        assert not [row for row in rows if row.classes == ALL and not set(row.peers) <= {"torch-cam"}]


def test_the_folder_is_read_and_written(tmp_path: Path) -> None:
    paths = folder.photographs(tmp_path / "in", 3)
    why = folder.Explainer(TINY.model(), layer=TINY.layer)
    folder.explain_folder(paths, why, 2, tmp_path / "out")
    stems = {path.name.split(".")[0] for path in (tmp_path / "out").glob("*.jpg")}
    assert stems == {"photo-000", "photo-001", "photo-002"}


@pytest.mark.slow
def test_a_run_measures_in_processes_of_its_own(tmp_path: Path) -> None:
    rows = [
        Row(TINY, 1, 2, 1.05, size=64, peers=()),
        Row(TINY, 4, most=1.1, kind="memory", count=2, size=64, peers=()),
        Row(TINY, 2, most=1.05, kind="folder", count=2, peers=()),
        Row(Subject("Nothing", "no_such_network", "layer4"), peers=()),
    ]
    report = bench.run(quick=True, out=tmp_path, rows=rows)
    assert [result.row for result in report.results] == rows
    assert all(set(result.figures) == {FORWARD, OURS} for result in report.results[:3])
    assert report.results[3].figures == {} and "no_such_network" in report.results[3].notes[0]
    assert Report.from_json(json.loads((tmp_path / "bench.json").read_text())) == report


def test_importing_the_benchmark_imports_no_peer() -> None:
    code = f"import sys, wherefore.bench; print([m for m in {list(contestants.MODULES.values())} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
