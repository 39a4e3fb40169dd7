"""Capture: the numbers are right, and every odd way of writing a network works or is refused in one sentence."""

from __future__ import annotations

import threading
import warnings
from collections import OrderedDict, namedtuple
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import wherefore as wf
from conftest import Pooled, hidden, images, pooled, untouched
from wherefore.capture import Capture
from wherefore.graph import linear_tail


def full_graph(net: nn.Module, layer: str, x: Tensor, target: int) -> tuple[Tensor, Tensor]:
    """Activations and gradients with everything recorded: the output is cloned before anything can overwrite it."""
    kept = {}

    def keep(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
        kept["a"] = output
        return output.clone()

    handle = net.get_submodule(layer).register_forward_hook(keep)
    try:
        with torch.enable_grad():
            y = net(x.detach().clone().requires_grad_())
            (g,) = torch.autograd.grad(y[:, target].sum(), kept["a"])
    finally:
        handle.remove()
    return kept["a"].detach(), g


def seen_by_us(net: nn.Module, layer: str, x: Tensor, target: int) -> tuple[Tensor, Tensor]:
    with Capture(net, layer) as seen:
        y = seen(x)
        (g,) = seen.gradients(y[:, target : target + 1])
        return seen.activations, g[:, 0]


def assert_same(net: nn.Module, layer: str, x: Tensor, target: int = 1, reference: nn.Module | None = None) -> None:
    a, g = full_graph(reference or net, layer, x, target)
    with untouched(net):
        a2, g2 = seen_by_us(net, layer, x, target)
    assert torch.equal(a, a2)
    assert g.abs().max() > 0
    torch.testing.assert_close(g2, g, rtol=1e-5, atol=1e-7 * float(g.abs().max()))


# ------------------------------------------------------------------------------------------------ numbers


@pytest.mark.parametrize("layer", ["features.0", "features.1", "features.3", "features"])
def test_equals_a_full_graph(layer: str) -> None:
    assert_same(pooled(), layer, images())


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("vgg11", "features.18"),  # a convolution with an in-place ReLU right behind it
        ("resnet18", "layer4.1.bn2"),  # out += identity right behind it
        ("densenet121", "features"),  # a functional in-place ReLU right behind it
    ],
)
def test_in_place_operations_behind_the_layer(name: str, layer: str) -> None:
    net = torchvision.models.get_model(name, weights=None).eval()
    assert_same(net, layer, images(2, 64))


def test_many_targets_equal_one_by_one() -> None:
    net, x = hidden(), images(3)
    with Capture(net, "conv2") as seen:
        (together,) = seen.gradients(seen(x))
    for target in range(5):
        _, alone = seen_by_us(net, "conv2", x, target)
        torch.testing.assert_close(together[:, target], alone)


def test_chunks_of_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = hidden(), images(3)
    with Capture(net, "conv2") as seen:
        (whole,) = seen.gradients(seen(x))
    monkeypatch.setattr("wherefore.capture.CHUNK_BYTES", whole[:, :2].numel() * 4)
    with Capture(net, "conv2") as seen:
        parts = list(seen.gradients(seen(x)))
    assert [p.shape[1] for p in parts] == [2, 2, 1]
    torch.testing.assert_close(torch.cat(parts, 1), whole)


def test_an_operation_that_cannot_be_batched_is_looped() -> None:
    class Odd(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            assert float(g.abs().sum()) >= 0  # data-dependent: vmap cannot
            return g * 2

    class Net(Pooled):
        def forward(self, x: Tensor) -> Tensor:
            return self.fc(Odd.apply(self.features(x)).mean((2, 3)))

    net, x = Net().eval(), images()
    with Capture(net, "features") as seen:
        (together,) = seen.gradients(seen(x))
    for target in range(5):
        torch.testing.assert_close(together[:, target], full_graph(net, "features", x, target)[1])


# ------------------------------------------------------------------------------------------------ the linear tail


def test_linear_tail_is_the_weight_matrix_and_equals_autograd() -> None:
    net, x = pooled(), images(3)
    with Capture(net, "features") as seen:
        y = seen(x)
        torch.testing.assert_close(seen.head_weights(y), net.fc.weight.detach())
        (read,) = seen.gradients(y, y, torch.arange(5).expand(3, -1))
        (differentiated,) = seen.gradients(y)
    assert read.stride()[-2:] == (0, 0)
    torch.testing.assert_close(read, differentiated)


def test_linear_tail_with_other_targets_for_each_image() -> None:
    net, x = pooled(), images(2)
    classes = torch.tensor([[3, 1], [0, 4]])
    with Capture(net, "features") as seen:
        y = seen(x)
        (g,) = seen.gradients(y.gather(1, classes), y, classes)
    for b in range(2):
        for t in range(2):
            torch.testing.assert_close(g[b, t], full_graph(net, "features", x, int(classes[b, t]))[1][b])


@pytest.mark.parametrize(
    "which", ["hidden", "weighted pooling", "max pooling", "squared", "normalised", "computed bias", "strided"]
)
def test_what_looks_like_a_linear_tail_and_is_none(which: str) -> None:
    class Net(Pooled):
        def forward(self, x: Tensor) -> Tensor:
            a = self.features(x)
            if which == "hidden":
                return self.fc(F.relu(a.mean((2, 3))) * 1.0)
            if which == "weighted pooling":  # averages a part only: the recorded operations are the same as for all
                return self.fc(F.avg_pool2d(a, 4)[:, :, 0, 0].view(len(a), -1))
            if which == "max pooling":
                return self.fc(a.amax((2, 3)))
            if which == "computed bias":  # of the second image alone
                gate = torch.arange(len(a)).clamp(max=1)[:, None]
                return torch.addmm(self.fc(a.amax((2, 3))) * gate, a.mean((2, 3)), self.fc.weight.t())
            if which == "strided":
                return torch.as_strided(self.fc(a.mean((2, 3))), (2, 5), (1, 1))
            if which == "squared":
                return self.fc((a * a).mean((2, 3)))
            return self.fc(F.normalize(a.mean((2, 3))))

    net = Net().eval()
    with Capture(net, "features") as seen:
        output = seen(images())
        assert linear_tail(output, seen.leaf) is None


def test_batch_norm_between_pooling_and_linear_is_no_linear_tail() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(8), nn.Linear(8, 5))
    net(images(8))
    with Capture(net.eval(), "0") as seen:
        assert seen.head_weights(seen(images())) is None


# ------------------------------------------------------------------------------------------------ odd networks


class Reused(nn.Module):
    """One ReLU module and one convolution, each used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv, self.relu, self.fc = (
            nn.Conv2d(3, 8, 3),
            nn.Conv2d(8, 8, 3),
            nn.ReLU(True),
            nn.Linear(8, 5),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.conv(self.relu(self.stem(x))))
        return self.fc(self.conv(x).mean((2, 3)))


def test_a_layer_that_runs_several_times_is_its_last_call_or_the_one_named() -> None:
    net, x = Reused().eval(), images()
    shapes = {}
    for name in ("relu", "relu:0", "relu:1", "conv:0", "conv"):
        with untouched(net), Capture(net, name) as seen:
            (g,) = seen.gradients(seen(x)[:, :1])
            shapes[name] = tuple(seen.activations.shape[2:])
            assert g.abs().max() > 0
    assert shapes == {"relu": (12, 12), "relu:0": (14, 14), "relu:1": (12, 12), "conv:0": (12, 12), "conv": (10, 10)}
    with pytest.raises(wf.Error, match="ran 2 times"), Capture(net, "relu:2") as seen:
        seen(x)


Pair = namedtuple("Pair", "small large")


@dataclass
class Parts:
    small: Tensor
    large: Tensor


class Branches(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.a, self.b = kind, nn.Conv2d(3, 4, 3, stride=2), nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor):
        small, large = self.a(x), self.b(x)
        if self.kind == "dict":
            return OrderedDict(small=small, large=large)
        return {"tuple": lambda: (small, large), "list": lambda: [small, large], "single": lambda: (large,),
                "named": lambda: Pair(small, large), "dataclass": lambda: Parts(small, large)}[self.kind]()  # fmt: skip


class Two(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.branches, self.fc = Branches(kind), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        out = self.branches(x)
        if isinstance(out, dict):
            assert type(out) is OrderedDict
            small, large = out["small"], out["large"]
        elif isinstance(out, Parts):
            small, large = out.small, out.large
        else:
            small, large = out[0], out[-1]
        return self.fc(torch.cat([small.mean((2, 3)), large.mean((2, 3))], 1))


@pytest.mark.parametrize(
    ("kind", "key"),
    [("tuple", "1"), ("list", "1"), ("named", "1"), ("dict", "large"), ("dataclass", "large"), ("single", None)],
)
def test_a_layer_that_returns_several_tensors(kind: str, key: str | None) -> None:
    net, x = Two(kind).eval(), images()
    with untouched(net), Capture(net, "branches" + (f"[{key}]" if key else "")) as seen:
        y = seen(x)
        assert seen.activations.shape == (2, 4, 14, 14)
        (g,) = seen.gradients(y[:, :1])
    columns = slice(0, 8) if kind == "single" else slice(4, 8)
    row = net.fc.weight[0].reshape(2, 4).sum(0) if kind == "single" else net.fc.weight[0, columns]
    torch.testing.assert_close(g[0, 0, :, 3, 3], row.detach() / 14**2)
    if key:
        with pytest.raises(wf.Error, match=r"choose one"), Capture(net, "branches") as seen:
            seen(x)


def test_functional_activation_behind_a_layer() -> None:
    net, x = hidden(), images()
    with untouched(net), Capture(net, "conv2+relu") as seen:
        (g,) = seen.gradients(seen(x)[:, :1])
        assert seen.activations.min() == 0 < seen.activations.max()
    # With A the ReLU's output, the gradient reaches it also where A is 0 and nothing came out of the convolution.
    a, _ = full_graph(net, "conv2", x, 0)
    pre = a.clone().requires_grad_()

    def above(r: Tensor) -> Tensor:
        return net.fc2(F.relu(net.fc1(F.max_pool2d(r, 2).flatten(1))))

    r = F.relu(pre).detach().requires_grad_()
    (expected,) = torch.autograd.grad(above(r)[:, 0].sum(), r)
    torch.testing.assert_close(g[:, 0], expected)
    with pytest.raises(wf.Error, match="no function 'gelu'"), Capture(net, "conv2+gelu") as seen:
        seen(x)


def test_frozen_weights() -> None:
    frozen, free = pooled(), pooled()
    frozen.load_state_dict(free.state_dict())
    frozen.requires_grad_(False)
    assert_same(frozen, "features", images(), reference=free)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_caller_who_switched_the_graph_off(mode) -> None:
    net = pooled()
    a, g = full_graph(net, "features", images(), 1)
    with mode(), untouched(net):
        x = images() + 0  # an inference tensor under inference_mode
        a2, g2 = seen_by_us(net, "features", x, 1)
    assert torch.equal(a, a2)
    torch.testing.assert_close(g, g2)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("many", [False, True])
def test_a_forward_that_switches_the_graph_off(mode, many: bool) -> None:
    class Off(Pooled):
        @mode()
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x)

    free = pooled()
    net = Off().eval()
    net.load_state_dict(free.state_dict())
    assert_same(net, "features", images(), reference=free)
    with untouched(net):
        e = wf.explain(net, images(), target=[0, 1, 2] if many else None)
    assert e.layer == "features"
    torch.testing.assert_close(e.maps, wf.explain(free, images(), target=[0, 1, 2] if many else None).maps)


@pytest.mark.parametrize("where", ["tail", "backbone", "everything but the head"])
def test_a_part_of_the_forward_inside_no_grad(where: str) -> None:
    """A frozen backbone under `with torch.no_grad()` is how most people fine-tune."""

    class Partly(Pooled):
        def forward(self, x: Tensor) -> Tensor:
            if where == "tail":
                a = self.features(x)
                with torch.no_grad():
                    return self.fc(a.mean((2, 3)))
            with torch.no_grad():
                a = self.features(x)
                if where == "everything but the head":
                    a = a.mean((2, 3))
            return self.fc(a.mean((2, 3)) if a.ndim == 4 else a)

    free, calls = pooled(), []
    net = Partly().eval()
    net.load_state_dict(free.state_dict())
    net.register_forward_hook(lambda *_: calls.append(1))
    with untouched(net):
        maps = [wf.explain(net, images(), target=[0, 1, 2]).maps for _ in range(3)]
    for m in maps:
        torch.testing.assert_close(m, wf.explain(free, images(), target=[0, 1, 2]).maps)
    assert len(calls) <= 5, "traced once, found out once, and from then on one pass each"


def test_an_unconnected_layer_changes_nothing_for_others() -> None:
    """That a network is made to keep its graph is remembered only where it helped."""

    class Gated(Pooled):
        def __init__(self) -> None:
            super().__init__()
            self.side = nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            self.side(x)
            a = self.features(x)
            with torch.no_grad():
                gate = a.sigmoid()
            return self.fc((a * gate).mean((2, 3)))

    net = Gated().eval().requires_grad_(False)
    first = wf.explain(net, images(), 1, layer="features").maps
    with pytest.raises(wf.Error, match="does not depend"):
        wf.explain(net, images(), 1, layer="side")
    assert torch.equal(first, wf.explain(net, images(), 1, layer="features").maps)


def test_a_tail_that_detaches_is_refused() -> None:
    class Cut(Pooled):
        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.features(x).detach().mean((2, 3)))

    net = Cut().eval()
    with untouched(net), pytest.raises(wf.Error, match="does not depend on layer 'features', or the network cuts"):
        wf.explain(net, images(), layer="features")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("how", ["torch.compile", "module.compile", "a part compiled"])
def test_compiled_networks(how: str) -> None:
    net, x = pooled(), images()
    a, g = full_graph(net, "features", x, 1)
    compiled = net
    if how == "torch.compile":
        compiled = torch.compile(net, backend="eager")
    elif how == "module.compile":
        net.compile(backend="eager")
    else:
        net.features.compile(backend="eager")
    compiled(x)
    a2, g2 = seen_by_us(compiled, "features", x, 1)
    torch.testing.assert_close(a, a2)
    torch.testing.assert_close(g, g2)
    assert torch._dynamo.eval_frame._stance.stance == "default"
    torch._dynamo.reset()


def test_data_parallel() -> None:
    net, x = pooled(), images()
    a, g = seen_by_us(nn.DataParallel(net), "features", x, 1)
    a2, g2 = full_graph(net, "features", x, 1)
    assert torch.equal(a, a2)
    torch.testing.assert_close(g, g2)


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_checkpointed_tail(reentrant: bool) -> None:
    class Checkpointed(Pooled):
        def forward(self, x: Tensor) -> Tensor:
            a = self.features(x)
            return checkpoint(lambda a: self.fc(a.mean((2, 3))), a, use_reentrant=reentrant)

    free = pooled()
    net = Checkpointed().eval()
    net.load_state_dict(free.state_dict())
    if reentrant:
        with untouched(net), pytest.raises(wf.Error, match="use_reentrant"):
            seen_by_us(net, "features", images(), 1)
    else:
        assert_same(net, "features", images(), reference=free)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("reentrant", [False, True])
def test_a_layer_inside_a_checkpointed_segment(reentrant: bool) -> None:
    class Checkpointed(Pooled):
        def forward(self, x: Tensor) -> Tensor:
            return self.fc(checkpoint(self.features, x, use_reentrant=reentrant).mean((2, 3)))

    free = pooled()
    net = Checkpointed().eval()
    net.load_state_dict(free.state_dict())
    if reentrant:
        with untouched(net), pytest.raises(wf.Error, match="use_reentrant"):
            seen_by_us(net, "features.3", images(), 1)
    else:
        assert_same(net, "features.3", images(), reference=free)


def test_autocast_and_its_cache() -> None:
    net, x = pooled(), images()
    with torch.autocast("cpu", torch.bfloat16):
        with untouched(net):
            e = wf.explain(net, x, target=[1, 2, 3])
        net(x).sum().backward()  # weights cast without a graph must not be served to the caller's training
    assert e.maps.dtype == torch.float32
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in net.parameters())
    exact = wf.explain(net, x, target=[1, 2, 3]).maps
    torch.testing.assert_close(e.maps, exact, rtol=0.1, atol=0.1 * float(exact.max()))


def test_bfloat16_network() -> None:
    net, x = pooled(), images()
    exact = wf.explain(net, x, target=[1, 2, 3]).maps
    e = wf.explain(net.to(torch.bfloat16), x, target=[1, 2, 3])
    assert e.maps.dtype == torch.float32
    torch.testing.assert_close(e.maps, exact, rtol=0.1, atol=0.1 * float(exact.max()))


def test_weights_made_under_inference_mode_are_refused() -> None:
    with torch.inference_mode():
        net = Pooled().eval()
    with pytest.raises(wf.Error, match="inference_mode"):
        wf.explain(net, images(), layer="features.0", target=1)


def test_torchscript_is_refused() -> None:
    with warnings.catch_warnings(action="ignore"):
        scripted = torch.jit.trace(pooled(), images())
    with pytest.raises(wf.Error, match="TorchScript"):
        wf.explain(scripted, images())


# ------------------------------------------------------------------------------------------------ refusals


def test_layers_that_cannot_be_captured() -> None:
    class Skips(Pooled):
        def __init__(self) -> None:
            super().__init__()
            self.never, self.index = nn.Conv2d(3, 3, 1), nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            self.index(x.argmax(1))
            return super().forward(x)

    net = Skips().eval()
    for layer, message in [
        ("never", "never ran"),
        ("featurs", "did you mean features"),
        ("index", "no gradient"),
        ("features[0]", "choose one"),
        ("a b+c+d", "is no layer"),
    ]:
        with untouched(net), pytest.raises(wf.Error, match=message), Capture(net, layer) as seen:
            seen(images())


def test_a_layer_that_does_not_feed_the_target() -> None:
    class Aside(Pooled):
        def __init__(self) -> None:
            super().__init__()
            self.aside = nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            self.aside(x)
            return super().forward(x)

    net = Aside().eval()
    with untouched(net), pytest.raises(wf.Error, match="does not depend on layer 'aside'"):
        wf.explain(net, images(), layer="aside")
    with pytest.raises(wf.Error, match="does not depend on layer 'features'"), Capture(net, "features") as seen:
        seen(images())
        list(seen.gradients(torch.zeros(2, 1, requires_grad=True) * 1))


def test_nothing_is_left_after_an_exception() -> None:
    class Breaks(Pooled):
        def forward(self, x: Tensor) -> Tensor:
            self.features(x)
            raise RuntimeError("in the middle")

    net = Breaks().train()
    net.features[1].eval()
    with untouched(net), pytest.raises(RuntimeError, match="in the middle"):
        seen_by_us(net, "features", images(), 1)
    with untouched(net), pytest.raises(RuntimeError, match="in the middle"):
        wf.explain(net, images())


def test_no_graph_is_kept() -> None:
    net, x = pooled(), images()
    with Capture(net, "features") as seen:
        seen(x)
    assert seen.leaf is None
    assert not wf.explain(net, x).maps.requires_grad


def test_training_mode_is_restored_and_statistics_do_not_move() -> None:
    net = pooled().train()
    net.features[1].eval()
    with untouched(net):
        wf.explain(net, images())


# ------------------------------------------------------------------------------------------------ threads


def test_threads_on_networks_that_share_parts() -> None:
    """Both are in training mode with dropout: neither may put the other's parts back into it."""

    class Wrap(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x) * 2

    inner = hidden().train()
    wrapped, x = Wrap(inner).train(), images(2)
    expected = wf.explain(inner, x, 1).scores

    def work(net: nn.Module) -> int:
        factor = 2 if net is wrapped else 1
        return sum(not torch.allclose(wf.explain(net, x, 1).scores, expected * factor) for _ in range(60))

    with untouched(wrapped), ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(work, [inner, wrapped])) == 0


def test_six_threads_on_one_network() -> None:
    net = pooled().train()
    batches = [torch.rand(2, 3, 16, 16) for _ in range(6)]
    layers = ["features", "features.3", "features.0"]
    expected = {
        (i, layer): wf.explain(net, x, [0, 1, 2], layer=layer).maps for i, x in enumerate(batches) for layer in layers
    }
    start = threading.Barrier(6)

    def work(i: int) -> int:
        start.wait()
        wrong = 0
        for repeat in range(20):
            layer = layers[(i + repeat) % 3]
            maps = wf.explain(net, batches[i], [0, 1, 2], layer=layer).maps
            wrong += not torch.allclose(maps, expected[i, layer], rtol=1e-5, atol=1e-7)
        return wrong

    with untouched(net), ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(work, range(6))) == 0
