"""compile=True: the network cut in two gives what the whole one gives, and is not touched."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch._inductor.config
import torchvision
from torch import Tensor, nn

import wherefore as wf
from conftest import hidden, images, pooled, untouched
from wherefore.split import Split
from wherefore.types import fingerprint


@pytest.fixture
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The part below runs as it is: the cut is tested without waiting for a compiler."""
    monkeypatch.setattr(torch, "compile", lambda part, dynamic: part)


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("resnet18", "layer4"),
        ("resnet18", "layer3.0.conv1"),  # the shortcut crosses the cut
        ("vgg11", "features.19"),
        ("densenet121", "features+relu"),
        ("googlenet", "inception5b"),
        ("squeezenet1_1", "features"),
        ("efficientnet_b0", "features"),
        ("shufflenet_v2_x0_5", "conv5"),
    ],
)
def test_two_halves_are_the_whole(name: str, layer: str) -> None:
    options = {"init_weights": False} if name == "googlenet" else {}
    net, x = torchvision.models.get_model(name, weights=None, **options).eval(), images(2, 64)
    whole = wf.explain(net, x, [1, 2, 3], layer=layer)
    with untouched(net):
        halves = wf.explain(net, x, [1, 2, 3], layer=layer, compile=True)
        split = Split(net, layer)
        with torch.no_grad():
            below, crossing = split.below(x)
            torch.testing.assert_close(split.above(below, *crossing), net(x))
    torch.testing.assert_close(halves.maps, whole.maps, rtol=1e-4, atol=1e-5 * float(whole.maps.max()))


def test_compiled_for_real() -> None:
    net, x = pooled(), images(2)
    whole = wf.explain(net, x, [1, 2, 3])
    why = wf.Explainer(net, compile=True)
    with untouched(net):
        torch.testing.assert_close(why(x, [1, 2, 3]).maps, whole.maps, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(why(x, "all").maps, wf.explain(net, x, "all").maps, rtol=1e-4, atol=1e-6)
    for weights in net.features.parameters():  # compiled code has the old ones built in
        weights.data = weights.data * 1.5
    torch.testing.assert_close(why(x, "all").maps, wf.explain(net, x, "all").maps, rtol=1e-4, atol=1e-6)
    torch._dynamo.reset()


def test_training_mode_is_left_and_dropout_is_off() -> None:
    net, x = hidden().train(), images(2)
    with untouched(net), pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "compile", lambda part, dynamic: part)
        e = wf.explain(net, x, [1, 2, 3], compile=True)
    torch.testing.assert_close(e.maps, wf.explain(net, x, [1, 2, 3]).maps)


def test_beside_eager_threads() -> None:
    """Their hooks are on the same network while its copy is being compiled."""
    net, x = pooled(), images(2)
    whole = wf.explain(net, x, [1, 2, 3]).maps
    done = threading.Event()

    def eager() -> int:
        wrong = 0
        while not done.is_set():
            wrong += not torch.allclose(wf.explain(net, x, [1, 2, 3]).maps, whole)
        return wrong

    with ThreadPoolExecutor(2) as pool:
        others = [pool.submit(eager) for _ in range(2)]
        try:
            compiled = wf.explain(net, x, [1, 2, 3], compile=True).maps
        finally:
            done.set()
        assert [other.result() for other in others] == [0, 0]
    torch.testing.assert_close(compiled, whole, rtol=1e-4, atol=1e-6)
    torch._dynamo.reset()


def test_without_a_compiler() -> None:
    torch._dynamo.reset()
    net = hidden(classes=6)
    with torch._inductor.config.patch({"cpp.cxx": ("no-such-compiler",), "force_disable_caches": True}):
        with untouched(net), pytest.raises(wf.Error, match="cannot be compiled: leave compile=True out"):
            wf.explain(net, torch.rand(1, 3, 16, 16), layer="conv2+relu", compile=True)
    torch._dynamo.reset()


def test_what_changes_between_calls_is_seen() -> None:
    """Compiled code has weights built in: each of these changes must reach it."""
    net, x = pooled(), images(2)
    why = wf.Explainer(net, compile=True, layer="features")

    def check() -> None:
        torch.testing.assert_close(
            why(x, "all").maps, wf.explain(net, x, "all", layer="features").maps, rtol=1e-4, atol=1e-6
        )

    check()
    net.features[0].weight.data.mul_(3)  # leaves no trace in the version
    check()
    net.fc = nn.Linear(8, 5)
    check()
    net.features[3] = nn.Conv2d(6, 8, 3, stride=2, padding=1)
    check()
    torch._dynamo.reset()


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_every_change_of_weights_is_seen(dtype: torch.dtype, memory: torch.memory_format) -> None:
    """Those through ``data`` leave no trace in the version; the moments of most of them stay as they are."""
    net = nn.Sequential(nn.Conv2d(64, 128, 3), nn.BatchNorm2d(128), nn.Linear(300, 200)).to(dtype, memory_format=memory)
    weight, marks = net[0].weight.data, [fingerprint(net)]

    def seen() -> None:
        marks.append(fingerprint(net))
        assert marks[-1] not in marks[:-1] and fingerprint(net) == marks[-1]

    weight[77].zero_()
    seen()
    weight[[3, 90]] = weight[[90, 3]]
    seen()
    weight[:, [0, 1]] = weight[:, [1, 0]]
    seen()
    weight[5, 0] *= -1
    weight[9, 0] *= -1
    seen()
    weight[100, 63, 2, 2] = 0.3
    seen()
    net[1].running_var.data[[0, 1]] = torch.tensor([0.5, 2.0], dtype=dtype)
    seen()
    net[2].weight.data.neg_()
    seen()
    net[2].weight.data[0, 0] = torch.nan  # what is no number does not hide the rest, nor differ from itself
    seen()
    net[2].weight.data[:, 1] = 0
    seen()


def test_hooks_and_compiled_networks_are_refused() -> None:
    hooked = pooled()
    hooked.features[0].register_forward_hook(lambda module, inputs, output: output * 2)
    with untouched(hooked), pytest.raises(wf.Error, match=r"features\.0 has a hook"):
        wf.explain(hooked, images(), compile=True)
    compiled = pooled()
    compiled.compile(backend="eager")
    with pytest.raises(wf.Error, match="compiled already"):
        wf.explain(compiled, images(), compile=True)
    torch._dynamo.reset()


def test_double_precision() -> None:
    net, x = pooled().double(), images(2).double()
    torch.testing.assert_close(wf.explain(net, x, 1, compile=True).maps, wf.explain(net, x, 1).maps)
    torch._dynamo.reset()


def test_refusals() -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

        def forward(self, x: Tensor) -> Tensor:
            a = self.conv(x)
            return self.fc(a.mean((2, 3)) if a.sum() > 0 else a.amax((2, 3)))

    with pytest.raises(wf.Error, match=r"torch\.fx can trace"):
        wf.explain(Branching().eval(), images(), layer="conv", compile=True)
    with pytest.raises(wf.Error, match="plain layer"):
        Split(pooled(), "features.2:0")
    with pytest.raises(wf.Error, match="did you mean features"):
        Split(pooled(), "feature")
