"""Trained networks that do not classify photographs: a segmentation, a policy with a memory, a tiny classifier."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import wherefore as wf
from conftest import untouched
from real_networks import A3C, VOC, DeepLab, ResNet20, trained
from wherefore.metrics.resampling import interval

# COCO's names of what VOC calls otherwise.
IN_VOC = {"airplane": "aeroplane", "motorcycle": "motorbike", "couch": "sofa", "tv": "tvmonitor"}
IN_VOC |= {"potted plant": "pottedplant", "dining table": "diningtable"}


def deeplab(data: Path) -> wf.Model:
    return wf.Model(trained(DeepLab(), data / "weights" / "deeplabv3_mobilenetv2_voc.safetensors"), classes=VOC)


def regions(data: Path, stem: str) -> tuple[Tensor, dict[str, Tensor]]:
    """A picture as the network takes it, ``(1, 3, 513, 513)``, and the masks ``(513, 513)`` of its larger classes."""
    folder = data / "coco_like" / "coco128"
    names = json.loads((folder / "classes.json").read_text())["semantic_masks"]
    picture = Image.open(folder / "images" / f"{stem}.jpg").convert("RGB").resize((513, 513), Image.Resampling.BILINEAR)
    x = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 127.5 - 1
    mask = Image.open(folder / "semantic_masks" / f"{stem}.png").resize((513, 513), Image.Resampling.NEAREST)
    found = {}
    for number in np.unique(np.array(mask)):
        name = IN_VOC.get(names.get(str(number), ""), names.get(str(number), ""))
        region = torch.from_numpy(np.array(mask) == number)
        if name in VOC[1:] and float(region.float().mean()) > 0.02:
            found[name] = region
    return x, found


def energy(model: wf.Model, x: Tensor, name: str, region: Tensor, layer: str | None = None) -> float:
    """The share of a map's sum that lies in the region whose class it explains; NaN for a map without evidence."""
    heat = wf.explain(model, x, wf.Pixels(region, name), layer=layer).heatmaps()[0, 0]
    return float(heat[region].sum() / heat.sum()) if float(heat.sum()) > 0 else float("nan")


def test_a_segmentation_explains_a_class_over_a_region(data: Path) -> None:
    model, (x, masks) = deeplab(data), regions(data, "000000000073")
    with untouched(model.net):
        e = wf.explain(model, x, wf.Pixels(masks["motorbike"], "motorbike"))
    assert (e.layer, tuple(e.maps.shape), e.targets) == ("backbone", (1, 1, 33, 33), [["motorbike"]])
    assert energy(model, x, "motorbike", masks["motorbike"]) > float(masks["motorbike"].float().mean())
    assert wf.explain(model, x).targets == [["motorbike"]]  # the class with most pixels


@pytest.mark.slow
def test_energy_in_the_mask_of_the_class(data: Path, figure: Callable[[str], None]) -> None:
    """The default, the encoder, feeds the pooled branch too and sees context; the branch of 1x1 convolutions none."""
    model, shares = deeplab(data), {"area": [], "backbone": [], "aspp0+relu": []}
    for mask in sorted((data / "coco_like" / "coco128" / "semantic_masks").glob("*.png"))[:30]:
        x, masks = regions(data, mask.stem)
        for name, region in masks.items():
            shares["area"].append(float(region.float().mean()))
            for layer in ("backbone", "aspp0+relu"):
                shares[layer].append(energy(model, x, name, region, layer))
    for layer, values in shares.items():
        known = np.array(values)[~np.isnan(values)]
        low, high = interval(known)
        shown = f"{layer} {known.mean():.3f} ({low:.3f} to {high:.3f}, n = {len(known)} of {len(values)})"
        figure(f"DeepLab on coco128, energy in the class's mask: {shown}")
    assert np.nanmean(shares["backbone"]) > 1.3 * np.mean(shares["area"])
    assert np.nanmean(shares["aspp0+relu"]) > 3 * np.mean(shares["area"])


def frame(path: Path) -> Tensor:
    """A frame of Pong as the policy takes it, ``(1, 1, 80, 80)`` in 0..1."""
    picture = Image.open(path).convert("RGB").resize((160, 210), Image.Resampling.BILINEAR).crop((0, 35, 160, 195))
    grey = np.asarray(picture, dtype=np.float32).mean(2)
    grey = (grey - grey.min()) / (grey.max() - grey.min())
    small = Image.fromarray(grey).resize((80, 80), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(small))[None, None]


def test_a_policy_with_a_memory_is_explained_on_its_frames(data: Path) -> None:
    """The recurrent state is a second input, and the logits are the second part of what comes out."""
    net = trained(A3C(), data / "weights" / "a3c_pong.safetensors")
    frames = [frame(path) for path in sorted((data / "atari" / "pong").glob("*.png"))[:6]]
    states = [torch.zeros(1, 256)]
    for x in frames:
        states.append(net(x, states[-1])[2].detach())
    with untouched(net):
        alone = [
            wf.explain(net, wf.Inputs(x, h), wf.Action(), output=1) for x, h in zip(frames, states[:-1], strict=True)
        ]
    together = wf.explain(net, {"frame": torch.cat(frames), "state": torch.cat(states[:-1])}, wf.Action(), output=1)
    assert together.layer == "conv4+elu" and together.maps.shape == (6, 1, 5, 5)
    torch.testing.assert_close(together.maps, torch.cat([e.maps for e in alone]), rtol=1e-4, atol=1e-6)
    assert together.targets == [e.targets[0] for e in alone]
    for e, x, h in zip(alone, frames, states, strict=False):
        expected = net(x, h)[1].log_softmax(1).max()
        torch.testing.assert_close(e.scores[0, 0], expected.detach(), rtol=1e-4, atol=1e-5)
    assert sum(float(e.evidence) > 0 for e in alone) >= 5


def test_a_tiny_classifier_on_tiny_pictures(data: Path) -> None:
    names = sorted(folder.name for folder in (data / "cifar10").iterdir())
    files = [sorted((data / "cifar10" / name).iterdir())[0] for name in names]
    net = trained(ResNet20(), data / "weights" / "resnet20_cifar10.safetensors")
    model = wf.Model(net, classes=names, preprocess=wf.Preprocess(resize=32, crop=32))
    e = wf.explain(model, files)
    assert (e.layer, tuple(e.maps.shape)) == ("layer3", (10, 1, 8, 8))
    assert sum(target == [name] for target, name in zip(e.targets, names, strict=True)) >= 7
    assert bool((e.evidence > 0).all())
