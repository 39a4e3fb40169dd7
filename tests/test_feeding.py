"""Networks with several inputs, inputs by name, other orders of axes; weights that are quantised or elsewhere."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import wherefore as wf
from conftest import images, pooled, untouched
from wherefore.errors import Error
from wherefore.feeding import Fed, Inputs, canonical, channels_axis, fed, home
from wherefore.types import state_sha256


class Stateful(nn.Module):
    """A picture and a state of each, a scale for all; returns a value, the scores, and the next state."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc, self.mix = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 6), nn.Linear(4, 6)

    def forward(self, image: Tensor, state: Tensor, scale: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        seen = self.fc(F.relu(self.conv(image)).mean((2, 3))) + self.mix(state) * (1 if scale is None else scale)
        return seen.mean(1, keepdim=True), F.relu(seen) * seen, state + 1


def test_what_is_explained_of_several_inputs() -> None:
    x, ids, state = torch.rand(2, 3, 8, 8), torch.ones(2, 5, dtype=torch.long), torch.rand(2, 4)
    assert Inputs(state, x).main == 1
    assert Inputs(input_ids=ids, attention_mask=torch.ones(2, 5)).main == "input_ids"
    assert Inputs(attention_mask=ids, input_ids=ids).main == "input_ids"
    assert Inputs(ids=ids, pixel_values=x).main == "pixel_values"
    assert Inputs(samples=state).main == "samples"
    with pytest.raises(Error, match="none of the inputs is a tensor that shows something"):
        Inputs(3, "a")


@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize(
    "method", ["grad-cam", "gradient", "guided-grad-cam", "occlusion", "ablation-cam", "score-cam"]
)
def test_what_belongs_to_each_image_goes_with_it(method: str, by_name: bool) -> None:
    """Batch equals one by one, also where copies of the batch are run; the network is left as it was."""
    net, x, state, scale = Stateful().eval(), images(3, 12), torch.randn(3, 4), torch.tensor(0.5)

    def ask(some: slice) -> Tensor:
        given: Any = {"image": x[some], "state": state[some], "scale": scale}
        given = given if by_name else wf.Inputs(x[some], state[some], scale)
        return wf.explain(net, given, [0, 1, 4, 5], method=method, output=1).maps

    with untouched(net):
        together = ask(slice(0, 3))
    alone = torch.cat([ask(slice(i, i + 1)) for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-6)
    assert float(together.abs().max()) > 0


def test_occlusion_with_a_state_equals_a_loop() -> None:
    net, x, state = Stateful().eval(), images(2, 8), torch.randn(2, 4)
    maps = wf.explain(net, wf.Inputs(x, state), [2], method="occlusion", output=1, patch=4, stride=4).maps
    for b in range(2):
        for i in range(2):
            for j in range(2):
                covered = x[b : b + 1].clone()
                covered[..., 4 * i : 4 * i + 4, 4 * j : 4 * j + 4] = 0
                drop = net(x[b : b + 1], state[b : b + 1])[1] - net(covered, state[b : b + 1])[1]
                torch.testing.assert_close(maps[b, 0, i, j], drop[0, 2].detach(), rtol=1e-4, atol=1e-6)


def test_several_inputs_go_in_pieces_only_where_that_is_asked_for() -> None:
    net, x, state = Stateful().eval(), images(10, 8), torch.randn(10, 4)
    sizes = []
    handle = net.register_forward_hook(lambda module, inputs, output: sizes.append(len(output[0])))
    whole = wf.explain(net, wf.Inputs(x, state), 1, output=1)
    assert set(sizes) == {10}
    sizes.clear()
    pieces = wf.explain(net, wf.Inputs(x, state), 1, output=1, batch_size=4)
    assert set(sizes) == {4, 2}
    handle.remove()
    torch.testing.assert_close(whole.maps, pieces.maps, rtol=1e-4, atol=1e-7)


def test_names_hooks_and_weights_of_what_is_fed_are_the_networks_own() -> None:
    net, x = Stateful(), images(2, 8)
    one = fed(net, x, {1: torch.zeros(2, 4)})
    assert isinstance(one, Fed) and home(one) is net
    assert dict(one.named_modules()) == dict(net.named_modules())
    assert [id(p) for p in one.parameters()] == [id(p) for p in net.parameters()]
    assert fed(net, x, {}) is net


def test_prompts_are_shared_whatever_the_number_of_images() -> None:
    """Two pictures and two prompts: the prompts belong to both, also where copies of the pictures are run."""

    class Compared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.words = nn.Conv2d(3, 8, 3), nn.Embedding(20, 8)

        def forward(self, pixel_values: Tensor, input_ids: Tensor) -> dict[str, Tensor]:
            return {"logits_per_image": F.relu(self.conv(pixel_values)).mean((2, 3)) @ self.words(input_ids).mean(1).T}

    net, x, ids = Compared().eval(), images(2, 12), torch.tensor([[1, 2], [3, 4]])
    model = wf.Model(net, classes=["a cat", "a dog"], inputs={"input_ids": ids})
    e = wf.explain(model, x, "all")
    assert e.scores.shape == (2, 2) and e.targets[1] == ["a cat", "a dog"]
    torch.testing.assert_close(e.scores, net(x, ids)["logits_per_image"].detach())
    by_dict = wf.explain(net, {"pixel_values": x, "input_ids": ids}, "all", method="occlusion", patch=6, stride=6)
    torch.testing.assert_close(
        by_dict.maps, wf.explain(model, x, "all", method="occlusion", patch=6, stride=6).maps, rtol=1e-4, atol=1e-6
    )
    many = wf.explain(model, images(17, 12), [0, 1])
    assert many.maps.shape[:2] == (17, 2)


@pytest.mark.parametrize(
    ("shape", "layers", "axis"),
    [
        ((2, 3, 8, 9), [nn.Conv2d(3, 4, 3)], 1),
        ((2, 8, 9, 3), [nn.Conv2d(3, 4, 3)], 3),
        ((2, 3, 16, 8, 9), [nn.Conv3d(3, 4, 3)], 1),
        ((2, 16, 3, 8, 9), [nn.Conv3d(3, 4, 3)], 2),
        ((2, 5, 40), [nn.Conv1d(5, 4, 3)], 1),
        ((2, 40, 5), [nn.LSTM(5, 4)], 2),
        ((2, 40), [nn.Conv1d(1, 4, 3)], None),
    ],
)
def test_where_the_channels_are(shape: tuple[int, ...], layers: list[nn.Module], axis: int | None) -> None:
    x = torch.rand(shape)
    assert channels_axis(x, nn.Sequential(*layers)) == axis
    assert canonical(x, axis).shape[1] == (1 if axis is None else shape[axis])


def test_channels_last_and_bare_samples_are_fed_as_they_were_given() -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = pooled()

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x.permute(0, 3, 1, 2))

    net, x = Last().eval(), images(2)
    expected = wf.explain(net.net, x, "all")
    for method in ("grad-cam", "gradient", "occlusion"):
        maps = wf.explain(net, x.permute(0, 2, 3, 1), "all", method=method).maps
        torch.testing.assert_close(maps, wf.explain(net.net, x, "all", method=method).maps, rtol=1e-4, atol=1e-7)
    assert wf.explain(net, x.permute(0, 2, 3, 1)).scores.shape == expected.scores[:, :1].shape

    class Samples(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv1d(1, 6, 5, stride=2), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(F.relu(self.conv(x[:, None])).mean(2))

    e = wf.explain(Samples().eval(), torch.randn(2, 41), "all")
    assert e.maps.shape == (2, 3, 19) and e.heatmaps().shape == (2, 3, 41)


def test_what_is_lacking_is_told() -> None:
    with pytest.raises(Error, match=r"Stateful cannot be run on these inputs alone .* it also takes state, scale"):
        wf.explain(Stateful().eval(), images(2))


def test_a_tabular_network_is_told_apart() -> None:
    with pytest.raises(Error, match=r"a tensor of images is \(B, C, H, W\), not \(2, 7\)"):
        wf.explain(nn.Sequential(nn.Linear(7, 3)), torch.rand(2, 7))


# -------------------------------------------------------------------------------------------- large models


class Int8Linear(nn.Module):
    """Weight-only quantisation as it is run: whole numbers and a scale for each row, made large when they are used."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        scale = linear.weight.detach().abs().amax(1, keepdim=True) / 127
        self.register_buffer("numbers", (linear.weight.detach() / scale).round().to(torch.int8))
        self.register_buffer("scale", scale)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.numbers.to(x.dtype) * self.scale.to(x.dtype), self.bias)


def vit() -> nn.Module:
    timm = pytest.importorskip("timm", reason="timm is not installed: pip install 'wherefore[models]'")
    options = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 3, "num_heads": 4, "num_classes": 5}
    torch.manual_seed(0)
    return timm.create_model("vit_tiny_patch16_224", **options).eval()


def test_quantised_weights() -> None:
    net, x = vit(), images(2, 32)
    exact = wf.explain(net, x, "all")
    for module in list(net.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear):
                setattr(module, name, Int8Linear(child))
    with untouched(net):
        e = wf.explain(net, x, "all")
    assert e.layer == exact.layer and float((e.maps - exact.maps).norm() / exact.maps.norm()) < 0.1


def test_weights_in_parts_have_a_fingerprint() -> None:
    """A quantised tensor of torchao's cannot be looked into as one; its numbers and scales can."""

    class Parts(Tensor):
        @staticmethod
        def __new__(cls: Any, numbers: Tensor, scale: Tensor) -> Any:
            return torch.Tensor._make_wrapper_subclass(cls, numbers.shape, dtype=torch.float32)

        def __init__(self, numbers: Tensor, scale: Tensor) -> None:
            self.numbers, self.scale = numbers, scale

        def __tensor_flatten__(self) -> Any:
            return ["numbers", "scale"], None

        @classmethod
        def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is torch.ops.aten.detach.default:
                return Parts(args[0].numbers, args[0].scale)
            raise NotImplementedError(func)

    net = nn.Linear(4, 3)
    hashes = set()
    for number in (1, 2):
        weight = Parts(torch.full((3, 4), number, dtype=torch.int8), torch.ones(3, 1))
        net.weight = nn.Parameter(weight, requires_grad=False)
        hashes |= {state_sha256(net), wf.Model(net).weights_sha256}
    assert len(hashes) == 2


@pytest.mark.filterwarnings("ignore:.*an autograd kernel was not registered")
def test_weights_without_a_gradient_are_told() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is on its way out of torch
        net = torch.ao.quantization.quantize_dynamic(vit(), {nn.Linear}, dtype=torch.qint8)
    with pytest.raises(Error, match=r"nothing in VisionTransformer has a gradient of the target.*occlusion"):
        wf.explain(net, images(1, 32))


def test_bfloat16() -> None:
    net, x = vit(), images(2, 32)
    exact = wf.explain(net, x, "all")
    e = wf.explain(net.bfloat16(), x, "all")
    assert e.layer == exact.layer and e.maps.dtype == torch.float32
    assert float((e.maps - exact.maps).norm() / exact.maps.norm()) < 0.1


def test_weights_that_are_on_disk_until_they_are_needed(tmp_path: Path) -> None:
    accelerate = pytest.importorskip("accelerate", reason="accelerate is not installed")
    net, x = vit(), images(2, 32)
    expected = {method: wf.explain(net, x, "all", method=method).maps for method in ("grad-cam", "gradient")}
    accelerate.disk_offload(net, str(tmp_path), execution_device=torch.device("cpu"))
    assert {p.device.type for p in net.parameters()} == {"meta"}
    for method, maps in expected.items():
        e = wf.explain(net, x, "all", method=method)
        torch.testing.assert_close(e.maps, maps, rtol=1e-4, atol=1e-7)
    assert e.origin()["weights_sha256"]


def test_a_head_in_another_precision_than_the_layer() -> None:
    """The map is computed in the layer's own, where the layer lives."""
    moved = []

    class Halves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.below, self.above = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), nn.Linear(8, 5).double()

        def forward(self, x: Tensor) -> Tensor:
            seen = self.below(x)
            moved.append(seen.dtype)
            return self.above(seen.mean((2, 3)).to(self.above.weight))

    e = wf.explain(Halves().eval(), images(2).double(), "all")
    assert set(moved) == {torch.float32} and e.maps.dtype == torch.float32 and bool(e.maps.isfinite().all())
