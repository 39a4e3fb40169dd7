"""`wherefore export`: what the written file returns, run by other runtimes, is what the library returns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

import wherefore as wf
from test_examples import opened
from wherefore import export as exporting
from wherefore.export import export

ort = pytest.importorskip("onnxruntime", reason="needs onnxruntime")
pytest.importorskip("onnxscript", reason="needs onnxscript")
pytestmark = pytest.mark.filterwarnings("ignore")  # the exporters' own


def stirred(model: wf.Model) -> wf.Model:
    """The same with a head that is not zero, and with running statistics that are none of a fresh network."""
    torch.manual_seed(0)
    with torch.no_grad():
        for module in model.net.modules():
            if isinstance(module, nn.Linear):
                module.weight.add_(torch.randn_like(module.weight) * 0.05)
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.add_(torch.randn_like(module.running_mean) * 0.1)
    return model


def by_onnx(path: Path, *inputs: Tensor) -> tuple[np.ndarray, np.ndarray]:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    assert names == ["image", "target"][: len(inputs)]
    assert [each.name for each in session.get_outputs()] == ["logits", "maps"]
    logits, maps = session.run(None, dict(zip(names, [x.numpy() for x in inputs], strict=True)))
    return logits, maps


def by_pt2(path: Path, *inputs: Tensor) -> tuple[np.ndarray, np.ndarray]:
    logits, maps = torch.export.load(path).module()(*inputs)
    return logits.detach().numpy(), maps.detach().numpy()


def same(found: tuple[np.ndarray, np.ndarray], model: wf.Model, images: Tensor, target: Any, **how: Any) -> None:
    e = wf.explain(model, images, target, **how)
    maps = e.maps[:, 0].numpy()
    assert np.abs(maps).max() > 0, "else nothing is compared"
    assert found[1].shape == maps.shape and np.abs(found[1] - maps).max() <= 1e-4 * np.abs(maps).max()
    with torch.no_grad():
        logits = model.net(images).numpy()
    assert np.abs(found[0] - logits).max() <= 1e-4 * np.abs(logits).max()


@pytest.mark.parametrize("ending", [".onnx", ".pt2"])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_any_number_of_images_and_any_target(tmp_path_factory: pytest.TempPathFactory, ending: str, count: int) -> None:
    model, path = wf.load("scenes:vgg"), tmp_path_factory.getbasetemp() / f"exported{ending}"
    if not path.exists():
        export(wf.Explainer(model), path)
    images = torch.stack([model.preprocess(wf.scenes.scene(i).image) for i in range(count)])
    for target in ([3] * count, [*range(count)]):
        found = (by_onnx if ending == ".onnx" else by_pt2)(path, images, torch.tensor(target))
        same(found, model, images, torch.tensor(target))


def test_the_first_answer(tmp_path: Path) -> None:
    model = wf.load("scenes:resnet")
    said = export(wf.Explainer(model), tmp_path / "top.onnx", top1=True).said
    assert said["gradient"] == "read off the linear head" and "target" not in said["inputs"]
    images = torch.stack([model.preprocess(wf.scenes.scene(i).image) for i in range(3)])
    same(by_onnx(tmp_path / "top.onnx", images), model, images, None)


@pytest.mark.parametrize("method", ["counterfactual", "hires-cam", "grad-cam++", "xgrad-cam", "layer-cam"])
def test_other_methods(method: str, tmp_path: Path) -> None:
    model = wf.load("scenes:vgg")
    export(wf.Explainer(model, method), tmp_path / "m.pt2")
    images = torch.stack([model.preprocess(wf.scenes.scene(i).image) for i in range(3)])
    found = by_pt2(tmp_path / "m.pt2", images, torch.tensor([1, 5, 2]))
    same(found, model, images, torch.tensor([1, 5, 2]), method=method)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["resnet18", "vgg11", "mobilenet_v2", "vit_b_16", "convnext_tiny", "timm:vit_tiny_patch16_224",
     "timm:swin_tiny_patch4_window7_224", "efficientnet_b0"],
)  # fmt: skip
def test_networks(name: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = stirred(wf.load(name, weights=None))
    export(wf.Explainer(model), tmp_path / "m.onnx")
    images = torch.rand(3, 3, 224, 224, generator=torch.Generator().manual_seed(2))
    # Of an untrained network many classes have no evidence anywhere: of thirty the one with most is taken.
    target = wf.explain(model, images, [*range(30)]).evidence.argmax(1)
    same(by_onnx(tmp_path / "m.onnx", images, target), model, images, target)


@pytest.mark.parametrize(("wrong", "kept"), [(1, True), (2, False)])
def test_one_image_of_three_may_fall_to_rounding(wrong: int, kept: bool) -> None:
    model = wf.load("scenes:vgg")
    why = wf.Explainer(model)

    def run(images: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        maps = why(images, target).maps[:, 0].clone()
        maps[:wrong] *= 1.01
        with torch.no_grad():
            return model.net(images), maps

    images = model.preprocess(wf.scenes.scene(17).image)[None]
    if kept:
        assert exporting._tried(why, run, images, False, True) < 1e-5
    else:
        with pytest.raises(wf.Error, match=r"differs from the network by 0\.01: it is not kept"):
            exporting._tried(why, run, images, False, True)


class Above(nn.Module):
    """A layer, and above it one of each operation whose derivative is written out."""

    def __init__(self) -> None:
        super().__init__()
        self.below = nn.Conv2d(3, 8, 3)
        self.above = nn.Sequential(
            nn.Conv2d(8, 12, 4, stride=(2, 3), padding=(1, 2), groups=4), nn.BatchNorm2d(12), nn.SiLU(),
            nn.MaxPool2d(3, 2, 1), nn.Conv2d(12, 8, 3, dilation=2, padding=1), nn.Hardswish(),
            nn.AvgPool2d(3, 2, padding=1), nn.AdaptiveAvgPool2d((2, 3)), nn.Flatten(), nn.Linear(48, 6),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.above(self.below(x))
        return logits


def test_derivatives_that_runtimes_lack(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = stirred(wf.Model(Above().eval(), preprocess=wf.Preprocess((37, 50), None)))
    said = export(wf.Explainer(model, layer="below"), tmp_path / "m.onnx").said
    assert said["gradient"] == "in the graph"
    images, target = torch.rand(4, 3, 37, 50), torch.tensor([5, 0, 2, 2])
    same(by_onnx(tmp_path / "m.onnx", images, target), model, images, target, layer="below")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenet_v2", "squeezenet1_1"])
def test_photographs(name: str, data: Path, tmp_path: Path) -> None:
    """Of 50 photographs, by trained weights: the same first answers, and the maps of those that have evidence."""
    model = wf.load(name, weights=data / "weights" / f"{name}_imagenet.safetensors")
    export(wf.Explainer(model), tmp_path / "m.onnx")
    files = sorted((data / "imagenet" / "sample").iterdir())[:50]
    images = torch.stack([model.preprocess(Image.open(file).convert("RGB")) for file in files])
    e = wf.explain(model, images)
    logits, maps = by_onnx(tmp_path / "m.onnx", images, e.classes[:, 0])
    assert np.array_equal(logits.argmax(1), e.classes[:, 0].numpy()) and len(set(logits.argmax(1))) > 25
    largest = e.evidence[:, 0].numpy()
    assert (largest > 0).sum() > 40, "else little is compared"
    off = np.abs(maps - e.maps[:, 0].numpy()).max((1, 2))
    assert (off[largest > 0] <= 1e-4 * largest[largest > 0]).all() and not maps[largest == 0].any()


def test_what_the_file_says(tmp_path: Path) -> None:
    import onnx

    model = wf.load("scenes:vgg")
    written = export(wf.Explainer(model), tmp_path / "m.onnx")
    kept = {entry.key: entry.value for entry in onnx.load(str(written.path)).metadata_props}
    assert kept["weights_sha256"] == model.weights_sha256 and kept["layer"] == "features.20"
    assert json.loads(kept["classes"]) == [*model.classes] and json.loads(kept["grid"]) == [12, 12]
    assert wf.Preprocess.told(json.loads(kept["preprocess"])) == model.preprocess
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"], "nothing else is left"


ALONE = """
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
from PIL import Image

program = import_module("run_exported")
explained = program.Explained(Path(sys.argv[1]))
target = explained.number(sys.argv[sys.argv.index("--target") + 1]) if "--target" in sys.argv else None
logits, heat = explained(Image.open(sys.argv[2]).convert("RGB"), target)
np.savez("found.npz", logits=logits, heat=heat)
program.main()
assert not {"torch", "torchvision", "scipy", "wherefore"} & set(sys.modules), "more than the program says is needed"
"""


def run_alone(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The program of examples/ in a process of its own, which has not even this package on its path."""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1] / "examples")}
    command = [sys.executable, "-c", ALONE, *words]
    return subprocess.run(command, cwd=place, env=env, capture_output=True, text=True)


@pytest.mark.parametrize(("top1", "target"), [(False, "dog"), (False, None), (True, None)])
def test_run_without_this_package_and_without_torch(top1: bool, target: str | None, tmp_path: Path) -> None:
    """On a picture that is neither square nor of the size that the network takes."""
    model = wf.load("scenes:vgg")
    export(wf.Explainer(model), tmp_path / "m.onnx", top1=top1)
    picture = wf.scenes.scene(17).image.resize((301, 203))
    picture.save(tmp_path / "scene.png")
    done = run_alone(tmp_path, "m.onnx", "scene.png", "--out", "over.png", *(["--target", target] if target else []))
    assert done.returncode == 0, done.stderr
    e = wf.explain(model, tmp_path / "scene.png", target)
    heat = e.maps[0, 0].numpy()
    found = np.load(tmp_path / "found.npz")
    assert heat.max() > 0 and np.abs(found["heat"] - heat).max() <= 1e-4 * heat.max()
    with torch.no_grad():
        logits = model.net(model.preprocess(picture)[None])[0]
    assert np.abs(found["logits"] - logits.numpy()).max() <= 1e-4 * logits.abs().max()
    said = [f"{model.classes[i]}: p {p:.3f}" for p, i in zip(*logits.softmax(0).topk(5), strict=True)]
    assert done.stdout.splitlines() == [*said, "over.png"]
    assert model.preprocess
    covers(picture, Image.open(tmp_path / "over.png"), e, model.preprocess.region(picture.size))


def covers(picture: Image.Image, over: Image.Image, e: wf.Explanation, region: tuple[float, ...]) -> None:
    """The picture is covered where the library's map, as large as the picture, has evidence, and bare elsewhere."""
    assert over.size == picture.size
    x0, y0, x1, y1 = (round(edge) for edge in region)
    changed = np.abs(np.asarray(over, float) - np.asarray(picture, float)).sum(2)
    outside = np.ones_like(changed, bool)
    outside[y0:y1, x0:x1] = False
    assert outside.any() and not changed[outside].any()
    heat = np.asarray(Image.fromarray(e.heats(0)[0].numpy()).resize((x1 - x0, y1 - y0), Image.Resampling.BILINEAR))
    inside = changed[y0:y1, x0:x1]
    assert inside[heat > 0.5 * heat.max()].min() > 0 and not inside[heat <= 0].any()


@pytest.mark.parametrize(
    ("top1", "words", "said"),
    [
        (True, ["m.onnx", "scene.png", "--target", "dog"], "leave --target out"),
        (False, ["m.onnx", "scene.png", "--target", "zeppelin"], "no class 'zeppelin'"),
        (False, ["m.onnx", "no.png"], "no.png"),
        (False, ["no.onnx", "scene.png"], "there is no file no.onnx"),
    ],
)
def test_run_alone_says_what_is_wrong(top1: bool, words: list[str], said: str, tmp_path: Path) -> None:
    export(wf.Explainer(wf.load("scenes:vgg")), tmp_path / "m.onnx", top1=top1)
    wf.scenes.scene(17).image.save(tmp_path / "scene.png")
    program = Path(__file__).parents[1] / "examples" / "run_exported.py"
    done = subprocess.run([sys.executable, str(program), *words], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and said in done.stderr and done.stderr.startswith("run_exported: ")


PREPARED = [
    wf.Preprocess(),
    wf.Preprocess(232, 224, interpolation="bicubic"),
    wf.Preprocess(64, (96, 48), rounds_down=True),
    wf.Preprocess((50, 70), None, bgr=True),
    wf.Preprocess(None, 100),
    wf.Preprocess(256, 80, squash=True),
]


@pytest.mark.parametrize("how", PREPARED, ids=repr)
@pytest.mark.parametrize("size", [(301, 203), (203, 301), (90, 90)])
def test_run_alone_prepares_as_the_library_does(how: wf.Preprocess, size: tuple[int, int]) -> None:
    program = opened("run_exported")
    picture = wf.scenes.scene(3).image.resize(size)
    given, box = program.prepare(picture, json.loads(json.dumps(asdict(how))))
    assert given.dtype == np.float32 and np.allclose(given[0], how(picture).numpy(), atol=1e-6)
    assert np.abs(np.array(box) - how.region(size)).max() <= 0.5


def test_a_fixed_number_of_images(tmp_path: Path) -> None:
    model = wf.load("scenes:vgg")
    said = export(wf.Explainer(model), tmp_path / "m.onnx", batch=4).said
    assert said["inputs"]["image"][0] == 4
    images = torch.stack([model.preprocess(wf.scenes.scene(i).image) for i in range(4)])
    same(by_onnx(tmp_path / "m.onnx", images, torch.arange(4)), model, images, torch.arange(4))


def test_the_network_is_left_as_it_was(tmp_path: Path) -> None:
    model = wf.load("scenes:vgg")
    before = {name: x.clone() for name, x in model.net.state_dict().items()}
    model.net.train()
    export(wf.Explainer(model), tmp_path / "m.pt2")
    assert model.net.training and not any(m._forward_hooks for m in model.net.modules())
    assert all(p.grad is None and p.requires_grad for p in model.net.parameters())
    assert all(torch.equal(x, before[name]) for name, x in model.net.state_dict().items())


@pytest.mark.parametrize(("size", "bins"), [((7, 7), (7, 7)), ((13, 9), (6, 7)), ((3, 4), (7, 7)), ((8, 8), (1, 1))])
def test_pooling_beside_torch(size: tuple[int, int], bins: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    there = adaptive_avg_pool2d(x, bins)
    assert torch.allclose(exporting._pooled(x, bins), there)
    gradient = torch.randn_like(there)
    (wanted,) = torch.autograd.grad(there, x, gradient)
    assert torch.allclose(exporting._pooled_backward(gradient, x), wanted)


@pytest.mark.parametrize(
    ("model", "method", "file", "words"),
    [
        ("scenes:vgg", "occlusion", "m.onnx", "cannot be exported: take one of grad-cam"),
        ("scenes:vgg", "eigen-grad-cam", "m.onnx", "cannot be exported"),
        ("scenes:vgg", "grad-cam", "m.pth", "ends in neither .onnx nor .pt2"),
        ("scenes:vqa", "grad-cam", "m.onnx", "no network of pictures alone"),
    ],
)
def test_what_cannot_be_exported(model: str, method: str, file: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(wf.Error, match=words):
        export(wf.Explainer(wf.load(model), method), tmp_path / file)
    assert not list(tmp_path.iterdir())


def test_a_file_that_differs_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "summed", lambda *given: 1.01 * wf.methods.cams.summed(*given))
    with pytest.raises(wf.Error, match="differs from the network by"):
        export(wf.Explainer(wf.load("scenes:vgg")), tmp_path / "m.pt2")
    assert not list(tmp_path.iterdir())


def test_the_command(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "wherefore",
        "export",
        "--model",
        "scenes:vgg",
        "--top1",
        "--out",
        "m.onnx",
        "--json",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    said = json.loads(done.stdout)
    assert said["difference"] < 1e-4 and (tmp_path / said["file"]).exists() and done.stderr == ""
