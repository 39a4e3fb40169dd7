"""below=: the part below the layer run faster gives what the network gives, on copies of its own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import wherefore as wf
from conftest import hidden, images, pooled, untouched
from wherefore import below
from wherefore.split import Split

EXACT = ("folded", "channels-last", "folded+channels-last")


def drawn(name: str) -> nn.Module:
    """A network of torchvision's whose batch norms have statistics and scales other than the initial ones."""
    net = torchvision.models.get_model(name, weights=None, num_classes=10).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
    return net


def difference(given: Tensor, wanted: Tensor) -> float:
    return float((given - wanted).abs().max() / wanted.abs().max())


@pytest.mark.parametrize("way", EXACT)
@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("resnet18", "layer4"),
        ("resnet18", "layer3.0.conv1"),  # the shortcut crosses the cut
        ("resnet18", "layer3.0.bn1"),  # the cut is what is folded
        ("mobilenet_v2", "features"),
        ("densenet121", "features+relu"),
    ],
)
def test_it_is_what_the_network_says(name: str, layer: str, way: str) -> None:
    net, x = drawn(name), images(2, 64)
    for precision, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-10)):
        net, x = net.to(precision), x.to(precision)
        with untouched(net), torch.no_grad():
            split = Split(net, layer, way)
            assert difference(split.above(*flat(split.below(x))), net(x)) < tolerance
            signed = {"layer": layer, "relu": False}  # without evidence there is nothing to compare
            maps = [wf.explain(net, x, [1, 2, 3], below=each, **signed).maps for each in (way, "plain")]
        assert difference(*maps) < max(tolerance, 1e-5), "maps are float32"


def flat(found: tuple[Tensor, list[Any]]) -> list[Any]:
    return [found[0], *found[1]]


@pytest.mark.parametrize("way", EXACT)
@pytest.mark.parametrize("name", ["scenes:vgg", "scenes:vgg-cam", "scenes:googlenet", "scenes:places"])
def test_the_shipped_networks(name: str, way: str) -> None:
    model, pictures = wf.load(name), [wf.scenes.scene(i) for i in range(3)]
    with untouched(model.net):
        e = wf.explain(model, pictures, "top5", below=way)
    plain = wf.explain(model, pictures, "top5")
    assert difference(e.maps, plain.maps) < 1e-5 and difference(e.scores, plain.scores) < 1e-5
    assert e.origin()["below"] == way and plain.origin()["below"] == "plain"


def norms(part: nn.Module) -> list[nn.Module]:
    return [module for module in part.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]


def run_of(split: Split) -> nn.Module:
    assert isinstance(split._below, below.Eager)
    return split._below.part


def test_every_batch_norm_that_can_be_is_folded() -> None:
    assert not norms(run_of(Split(drawn("resnet18"), "layer4", "folded")))
    assert len(norms(run_of(Split(drawn("resnet18"), "layer4", "channels-last")))) == 20
    # Those of a DenseNet that stand before a convolution remain: 58 second ones and the first are folded.
    assert len(norms(run_of(Split(drawn("densenet121"), "features", "folded")))) == 121 - 59


class Odd(nn.Module):
    """Batch norms that must not be folded: without scales or statistics, behind what is read twice or runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.bare = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6, affine=False)
        self.second, self.live = nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6, track_running_stats=False)
        self.shared, self.norm = nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.read, self.after = nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.last, self.fc = nn.Conv2d(6, 8, 3), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.live(self.second(self.bare(self.first(x))))
        x = self.norm(self.shared(self.norm(self.shared(x))))
        seen = self.read(x)
        return self.fc(self.last((self.after(seen) + seen).relu()).mean((2, 3)))


def test_others_are_left_alone() -> None:
    net = Odd()
    net(torch.randn(8, 3, 16, 16))
    for norm in (net.bare, net.norm, net.after):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    net, x = net.eval(), images(2)
    assert len(norms(run_of(Split(net, "last", "folded")))) == 4
    with untouched(net):
        folded = wf.explain(net, x, "all", layer="last", below="folded+channels-last")
    assert difference(folded.maps, wf.explain(net, x, "all", layer="last").maps) < 1e-5


def test_weights_keep_their_memory_and_their_changes_are_seen() -> None:
    net, x = pooled(), images(2)
    strides = [p.stride() for p in net.parameters()]
    for way in EXACT:
        why = wf.Explainer(net, below=way)
        for _ in range(2):
            plain = wf.explain(net, x, "all")
            assert difference(why(x, "all").maps, plain.maps) < 1e-5
            net.features[1].weight.data.mul_(2)  # what is folded was copied
            net.features[0].weight.data[1].zero_()
        assert [p.stride() for p in net.parameters()] == strides


def test_channels_last_reaches_the_convolutions() -> None:
    class Seen(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is torch.conv2d:
                laid.append([t.is_contiguous(memory_format=torch.channels_last) for t in args[:2]])
            return func(*args, **(kwargs or {}))

    split, laid = Split(pooled(), "features", "channels-last"), list[list[bool]]()
    with torch.no_grad(), Seen():
        found, _ = split.below(images(2))
    assert laid == [[True, True]] * 2 and found.is_contiguous()


def test_half_precision_is_near_and_comes_back_as_it_was() -> None:
    net, x = pooled(), images(2)
    plain, half = wf.explain(net, x, "all"), wf.Explainer(net, below="bfloat16")(x, "all")
    assert half.maps.dtype == torch.float32 and half.origin()["below"] == "bfloat16"
    assert 1e-5 < difference(half.maps, plain.maps) < 5e-2
    assert not torch.is_autocast_enabled("cpu")


# ------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize("way", ["fast", "folded+plain", "folded+folded", "bfloat16+float16", "compiled+folded", ""])
def test_ways_that_are_none(way: str) -> None:
    with pytest.raises(wf.Error, match="joined by"):
        below.checked(way)


def test_words_stand_in_one_order() -> None:
    assert below.checked("graph+channels-last+folded") == "folded+channels-last+graph"
    assert [below.is_exact(way) for way in ("plain", "compiled", "folded+graph", "folded+float16")] == [1, 1, 1, 0]


def test_refusals() -> None:
    net, x = pooled(), images()
    with pytest.raises(wf.Error, match="leave one of them out"):
        wf.Explainer(net, compile=True, below="folded")
    with pytest.raises(wf.Error, match="occlusion takes no below"):
        wf.Explainer(net, "occlusion", below="folded")
    with pytest.raises(wf.Error, match="occlusion takes no below"):
        wf.Explainer(net, "occlusion").running("folded")
    with pytest.raises(wf.Error, match=r"below='graph' records what a GPU does"):
        wf.explain(net, x, below="graph")
    net.features[0].register_forward_hook(lambda module, inputs, output: output * 2)
    with untouched(net), pytest.raises(wf.Error, match=r"features\.0 has a hook, which below='folded' would leave out"):
        wf.explain(net, x, below="folded")


def test_compile_is_one_of_them() -> None:
    assert wf.Explainer(pooled(), compile=True).below == wf.Explainer(pooled(), below="compiled").below == "compiled"


# ------------------------------------------------------------------------------------------ recordings of a GPU's work


class Recording(TorchDispatchMode):
    """Stands in for torch.cuda.graph: what runs inside is noted, and done again on the same tensors when replayed."""

    def __init__(self, graph: Replay, **_: Any) -> None:
        super().__init__()
        self.graph = graph
        LOG.append("recorded")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.graph.notes.append((func, args, kwargs or {}, result))
        return result


class Replay:
    """Stands in for torch.cuda.CUDAGraph: its replay writes into the tensors of the recording, as a GPU's does."""

    def __init__(self) -> None:
        self.notes: list[tuple[Any, Any, Any, Any]] = []
        self.replays = 0

    def replay(self) -> None:
        self.replays += 1
        LOG.append("replayed")
        for func, args, kwargs, result in self.notes:
            for own, again in zip(tree_leaves(result), tree_leaves(func(*args, **kwargs)), strict=True):
                if isinstance(own, Tensor) and own.data_ptr() != again.data_ptr():
                    own.copy_(again)


LOG: list[str] = []  # what streams wait for, and what is recorded and replayed


class Stream:
    """Stands in for torch.cuda's streams: says who waits for whom."""

    def __init__(self, name: str) -> None:
        self.name = name

    def wait_stream(self, other: Stream) -> None:
        LOG.append(f"{self.name} waits for {other.name}")

    def record_event(self) -> str:
        LOG.append(f"{self.name} is done")
        return self.name

    def wait_event(self, event: str) -> None:
        LOG.append(f"{self.name} waits until {event} is done")


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch) -> list[Replay]:
    """Recordings on the CPU, by a stand-in for CUDA's."""
    made: list[Replay] = []
    LOG.clear()

    class Kept(Replay):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    main = Stream("main")
    now = [main]

    @contextmanager
    def block(stream: Any) -> Any:
        now.append(stream if isinstance(stream, Stream) else now[-1])
        yield
        now.pop()

    for name, stand_in in {
        "CUDAGraph": Kept,
        "graph": Recording,
        "Stream": lambda: Stream("beside"),
        "current_stream": lambda: now[-1],
        "stream": block,
        "device": block,
    }.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    return made


def test_recordings_are_replayed_on_new_images(replayed: list[Replay]) -> None:
    net = pooled().requires_grad_(False)
    run: Callable[..., Any] = below.Graphs(lambda x: (net.features(x), x.shape[0]), net)
    results = []
    for i in range(4):
        x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(i))
        with torch.no_grad():
            found, count = run(x)
            results.append(found)
            torch.testing.assert_close(found, net.features(x))
        assert count == 2
    assert [graph.replays for graph in replayed] == [3], "the first run of a size is not recorded, all others are"
    assert len({found.data_ptr() for found in results}) == 4, "a later run does not overwrite what was returned"
    with torch.no_grad():
        run(images(1))
    assert len(replayed) == 1, "a size that comes once is not recorded"


def test_recordings_are_few(replayed: list[Replay]) -> None:
    run = below.Graphs(lambda x: (x * 2,), nn.Identity())
    for side in range(1, 12):
        for _ in range(3):
            torch.testing.assert_close(run(torch.ones(side))[0], 2 * torch.ones(side))
    assert len(replayed) == below.MOST_GRAPHS


@pytest.mark.usefixtures("replayed")
def test_a_replay_waits_for_the_one_before_it() -> None:
    run, other = below.Graphs(lambda x: (x * 2,), nn.Identity()), Stream("other")
    for _ in range(2):
        run(torch.ones(2))
    assert LOG == [
        "beside waits for main", "main waits for beside", "recorded", "replayed", "main is done"
    ]  # fmt: skip
    LOG.clear()
    with torch.cuda.stream(other):
        run(torch.ones(2))
    run(torch.ones(2))
    assert LOG == [
        "other waits until main is done", "replayed", "other is done",
        "main waits until other is done", "replayed", "main is done",
    ]  # fmt: skip


def test_weights_that_moved_are_recorded_anew(replayed: list[Replay]) -> None:
    net, x = pooled().requires_grad_(False), images(2)
    run = below.Graphs(lambda x: (net.features(x),), net)
    with torch.no_grad():
        for _ in range(3):
            run(x)
        kept = [p.data for p in net.parameters()]  # their memory is not given to others
        net._apply(torch.clone)
        kept[0].zero_()
        for _ in range(3):
            torch.testing.assert_close(run(x)[0], net.features(x))
    assert len(replayed) == 2 and [graph.replays for graph in replayed] == [2, 2]


def test_autocast_has_recordings_of_its_own(replayed: list[Replay]) -> None:
    net, x = pooled().requires_grad_(False), images(2)
    run, cached = below.Graphs(lambda x: (net.features(x),), net), list[bool]()
    run.run = lambda x: (cached.append(torch.is_autocast_cache_enabled()), net.features(x))[1:]
    with torch.no_grad():
        for _ in range(3):
            assert run(x)[0].dtype == torch.float32
            with torch.autocast("cpu", torch.bfloat16):
                assert run(x)[0].dtype == torch.bfloat16
    assert len(replayed) == 2 and cached[2:] == [False] * 4, "nothing that a recording reads is freed with the cache"


@pytest.mark.usefixtures("replayed")
def test_what_cannot_be_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise RuntimeError("operation not permitted\nwhen stream is capturing")

    net, x = pooled(), images(2)
    split = Split(net, "features", "folded")
    split._made = "recorded"
    split._below = below.Graphs(split._below, net)
    monkeypatch.setattr(torch.cuda, "graph", fails)
    with torch.no_grad():
        split.below(x)
        with pytest.raises(
            wf.Error, match=r"'features' cannot be recorded: leave .* out .operation not permitted when"
        ):
            split.below(x)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("way", ["graph", "folded+channels-last+graph", "channels-last+float16+graph"])
def test_on_a_gpu(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    net = drawn("resnet18").cuda()
    why = wf.Explainer(net, below=way)
    for seed in range(4):
        x = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(seed)).cuda()
        with untouched(net):
            found = why(x, [1, 2, 3])
        assert difference(found.maps, wf.explain(net, x, [1, 2, 3]).maps) < (5e-2 if "float16" in way else 1e-4)


def test_hidden_heads_and_functional_layers() -> None:
    net, x = hidden(), images(2)
    for way in EXACT:
        e = wf.explain(net, x, [1, 2, 3], layer="conv2+relu", below=way)
        assert difference(e.maps, wf.explain(net, x, [1, 2, 3], layer="conv2+relu").maps) < 1e-5
