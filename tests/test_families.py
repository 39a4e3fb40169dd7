"""The contracts of `test_methods` over families of networks: other inputs, outputs, layouts and targets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign

import wherefore as wf
from architectures import ROWS
from conftest import untouched
from wherefore.explainer import method_options
from wherefore.methods import perturbation
from wherefore.registry import METHODS

# One method of each kind: of a layer, of a layer run again, of the pixels, of both, of a path.
SOME = [
    "grad-cam", "hires-cam", "layer-cam", "ablation-cam", "score-cam",
    "gradient", "guided-grad-cam", "integrated-grad-cam",
]  # fmt: skip
QUICK = {"steps": 2, "samples": 2}  # options of methods that have them


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perturbation, "REMEMBERED_BYTES", 0)


@dataclass(frozen=True)
class Family:
    """A small network of some kind, a batch for it, and two targets of one kind."""

    build: Callable[[], nn.Module] = field(repr=False)
    feed: Callable[[], Any] = field(repr=False)
    targets: list[Any]
    one: Callable[[Any, int], Any] = lambda inputs, i: inputs[i : i + 1]  # an image of the batch alone
    target: Any = None

    def ask(self, net: nn.Module, inputs: Any, method: str, target: Any = None) -> wf.Explanation:
        options = {name: value for name, value in QUICK.items() if name in method_options(method)}
        return wf.explain(net, inputs, self.target if target is None else target, method=method, **options)


def of_row(name: str, targets: list[Any], **options: Any) -> Family:
    row = next(row for row in ROWS if name in row.name)
    return Family(row.network, row.inputs, targets, target=row.options.get("target"), **options)


def coatnet() -> nn.Module:
    small = {"embed_dim": (8, 32, 32, 64), "depths": (1, 1, 1, 1), "stem_width": (4, 8), "img_size": 64}
    return timm.create_model("coatnet_nano_rw_224", num_classes=4, **small).eval()


def detector() -> nn.Module:
    """A Faster R-CNN that is narrow and sees few boxes."""
    backbone = nn.Sequential(
        nn.Conv2d(3, 8, 3, 4, 1), nn.ReLU(), nn.Conv2d(8, 12, 3, 2, 1), nn.BatchNorm2d(12), nn.ReLU()
    )
    backbone.out_channels = 12
    return FasterRCNN(
        backbone,
        num_classes=4,
        rpn_anchor_generator=AnchorGenerator(((16, 32),), ((1.0,),)),
        box_roi_pool=MultiScaleRoIAlign(["0"], 3, 1),
        min_size=64,
        max_size=96,
        rpn_post_nms_top_n_test=10,
        box_score_thresh=0.0,
        box_detections_per_img=5,
    ).eval()


def segments(inputs: Any, i: int) -> Any:
    return {key: value[i : i + 1] if key == "pixel_values" else value for key, value in inputs.items()}


def both(inputs: wf.Inputs, i: int) -> wf.Inputs:
    return wf.Inputs(*(part[i : i + 1] for part in inputs.parts.values()))


def pair(*size: int) -> Callable[[], Tensor]:
    return lambda: torch.rand(2, *size, generator=torch.Generator().manual_seed(1))


boxes, classes = [wf.Box(0), wf.Box(1), wf.Box(2)], [0, 1, 3]
segformer = next(row for row in ROWS if "Segformer" in row.name)
FAMILIES = {
    "ViT": of_row("timm vit_tiny", classes),
    "Swin": of_row("SwinForImage", [[0, 1]] * 2),
    "CoAtNet": Family(coatnet, pair(3, 64, 64), classes),
    "ConvNeXt": of_row("ConvNextFor", [[0, 1]] * 2),
    "CLIP": of_row("CLIPModel", [0, 1, 2], one=segments),
    "SegFormer": Family(segformer.network, pair(3, 64, 64), classes),
    "DETR": of_row("Detr", boxes),
    "Faster R-CNN": Family(detector, pair(3, 64, 64), boxes),
    "video": of_row("convolutions and a GRU", [0, 1, 2]),
    "VideoMAE": of_row("VideoMAE", [[0, 1]] * 2),
    "1-D": of_row("1-D convolutions", [0, 1, 2]),
    "BERT": of_row("Bert", [[0, 1]] * 2),
    "policy": of_row("GRU cell", [wf.Action(0), wf.Action(2)], one=both),
}


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> Family:
    return FAMILIES[request.param]


@pytest.fixture(params=SOME)
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


pytestmark = [
    # Rules of ReLUs say that they meet none, or others besides; their maps are compared all the same.
    pytest.mark.filterwarnings("ignore:the (guided|deconv) rule:UserWarning"),
    pytest.mark.filterwarnings("ignore:on the way to layer:UserWarning"),
]


def applies(family: Family, net: nn.Module, inputs: Any, method: str) -> wf.Explanation:
    """What a method says of a family; skips where it says that it does not apply."""
    try:
        return family.ask(net, inputs, method)
    except wf.Error as error:
        pytest.skip(str(error))


def maps_of(e: wf.Explanation) -> list[Tensor]:
    return list(e.maps)


def close(one: wf.Explanation, other: wf.Explanation | list[Tensor]) -> None:
    theirs = maps_of(other) if isinstance(other, wf.Explanation) else other
    for a, b in zip(maps_of(one), theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=max(1e-4 * float(b.abs().max()), 1e-9))


# ------------------------------------------------------------------------------------------ every method


@pytest.mark.parametrize("every", METHODS)
def test_finite_maps_or_one_sentence(family: Family, every: str) -> None:
    net, inputs = family.build(), family.feed()
    try:
        e = family.ask(net, inputs, every)
    except wf.Error as error:
        assert str(error).endswith(".") and "\n" not in str(error)
        return
    assert all(bool(torch.isfinite(map).all()) for map in maps_of(e))


def test_what_scales_or_covers_the_input_refuses_numbers_of_tokens() -> None:
    family = FAMILIES["BERT"]
    net, inputs = family.build(), family.feed()
    for name, entry in METHODS.items():
        if (
            entry.about.get("paints")
            or entry.about.get("graph") == "whole"
            or entry.about.get("at") in ("input", "layers")
        ):
            with pytest.raises(wf.Error, match="numbers of tokens"):
                family.ask(net, inputs, name)
    with pytest.raises(wf.Error, match="masks='layer'"):
        family.ask(net, inputs, "score-cam")
    assert wf.explain(net, inputs, method="score-cam", masks="layer").maps.shape[2:] == (9,)


# ------------------------------------------------------------------------------------------ contracts


def test_batch_equals_one_by_one(family: Family, method: str) -> None:
    net, inputs = family.build(), family.feed()
    together = applies(family, net, inputs, method)
    alone = [maps_of(family.ask(net, family.one(inputs, i), method))[0] for i in range(len(together.maps))]
    close(together, alone)


def test_several_targets_equal_one_by_one(family: Family, method: str) -> None:
    net, inputs = family.build(), family.feed()
    applies(family, net, inputs, method)
    together = family.ask(net, inputs, method, family.targets)
    every = family.targets[0] if isinstance(family.targets[0], list) else family.targets
    for t, target in enumerate(every):
        close(family.ask(net, inputs, method, target), [map[t : t + 1] for map in maps_of(together)])


def test_deterministic(family: Family, method: str) -> None:
    net, inputs = family.build(), family.feed()
    first = applies(family, net, inputs, method)
    for a, b in zip(maps_of(first), maps_of(family.ask(net, inputs, method)), strict=True):
        assert torch.equal(a, b)


def test_frozen_and_under_no_grad(family: Family, method: str) -> None:
    net, inputs = family.build(), family.feed()
    expected = applies(family, net, inputs, method)
    with torch.no_grad():
        close(family.ask(net, inputs, method), expected)
    close(family.ask(net.requires_grad_(False), inputs, method), expected)
    fresh = family.build().requires_grad_(False)  # whose layers are not known yet
    close(family.ask(fresh, inputs, method), expected)


def test_the_network_is_left_as_it_was(family: Family, method: str) -> None:
    net, inputs = family.build(), family.feed()
    applies(family, net, inputs, method)  # in its first pass a network may change itself
    net.train()
    next(net.parameters()).requires_grad_(False)
    for parameter in list(net.parameters())[-2:]:
        parameter.grad = torch.ones_like(parameter)
    with untouched(net):
        family.ask(net, inputs, method)
    with untouched(net), torch.no_grad():
        family.ask(net, inputs, method, family.targets)


def test_the_network_is_left_as_it_was_after_an_exception(family: Family, method: str) -> None:
    net, inputs = family.build(), family.feed()
    applies(family, net, inputs, method)
    net.train()

    def breaks(output: Any) -> Tensor:
        raise RuntimeError("in the middle")

    with untouched(net), pytest.raises(RuntimeError, match="in the middle"):
        family.ask(net, inputs, method, breaks)

    def broken(module: nn.Module, given: object) -> None:
        raise RuntimeError("in a layer")

    last = [module for module in net.modules() if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d))][-1]
    handle = last.register_forward_pre_hook(broken)
    with untouched(net), pytest.raises(RuntimeError, match="in a layer"):
        family.ask(net, inputs, method)
    handle.remove()
