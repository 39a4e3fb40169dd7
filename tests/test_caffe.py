"""The paper's networks as Caffe has them, its files of weights, and pre-activation ResNets."""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

import wherefore as wf
from wherefore.cli import main
from wherefore.errors import Error
from wherefore.models import caffe, caffemodel
from wherefore.models.caffe import MEAN, NETWORKS
from wherefore.models.preact import Block, PreactResNet, rectified

# -------------------------------------------------------------------------------- an encoder of its own


def varint(number: int) -> bytes:
    out = []
    while number > 127:
        out.append(number % 128 + 128)
        number //= 128
    return bytes([*out, number])


def field(number: int, content: bytes) -> bytes:
    return varint(number * 8 + 2) + varint(len(content)) + content


def blob(values: Tensor, kind: str) -> bytes:
    """A BlobProto: ``new`` with its shape, ``old`` with four axes, ``plain`` unpacked, ``double`` as doubles."""
    numbers = values.flatten().tolist()
    packed = struct.pack(f"<{len(numbers)}f", *numbers)
    if kind == "old":
        sizes = [1] * (4 - values.ndim) + list(values.shape)
        return b"".join(varint(8 * i) + varint(size) for i, size in enumerate(sizes, 1)) + field(5, packed)
    if kind == "plain":
        shape = b"".join(b"\x08" + varint(size) for size in values.shape)
        return b"".join(varint(5 * 8 + 5) + struct.pack("<f", v) for v in numbers) + field(7, shape)
    shape = field(1, b"".join(varint(size) for size in values.shape))
    data = field(8, struct.pack(f"<{len(numbers)}d", *numbers)) if kind == "double" else field(5, packed)
    return field(7, shape) + data


def layer(name: str, blobs: Sequence[Tensor], kind: str) -> bytes:
    parts = [blob(each, kind) for each in blobs]
    if kind == "old":  # V1LayerParameter: bottom, top, name, type CONVOLUTION, blobs, their learning rates
        body = field(2, b"data") + field(3, name.encode()) + field(4, name.encode()) + b"\x28\x04"
        body += b"".join(field(6, part) for part in parts) + varint(7 * 8 + 5) + struct.pack("<f", 1.0)
        return field(2, body)
    body = field(1, name.encode()) + field(2, b"Convolution") + field(3, b"data")
    return field(100, body + b"".join(field(7, part) for part in parts) + varint(10 * 8) + varint(1))


def file_of(layers: dict[str, list[Tensor]], kind: str, path: Path) -> Path:
    path.write_bytes(
        field(1, b"a net") + field(3, b"data") + b"".join(layer(name, b, kind) for name, b in layers.items())
    )
    return path


def layers_of(net: nn.Module) -> dict[str, list[Tensor]]:
    """Random blobs under Caffe's names for a network of ours."""
    torch.manual_seed(0)
    found: dict[str, list[Tensor]] = {}
    for key, value in net.state_dict().items():
        stem, _, slot = key.rpartition(".")
        head, dot, tail = stem.partition(".")
        found.setdefault(head + ("/" + tail if dot else ""), []).insert(slot == "bias", torch.randn(value.shape))
    return found


SMALL = {
    "conv1": [torch.arange(24.0).reshape(2, 3, 2, 2) / 7, torch.tensor([0.5, -0.25])],
    "fc8": [torch.arange(15.0).reshape(3, 5), torch.tensor([1.0, 2.0, 3.0])],
    "inception_3a/1x1": [torch.ones(2, 2, 1, 1), torch.zeros(2)],
}

# -------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("kind", ["new", "old", "plain", "double"])
def test_values_are_those_that_were_written(kind: str, tmp_path: Path) -> None:
    read = caffemodel.read(file_of(SMALL, kind, tmp_path / "x.caffemodel"))
    assert list(read) == list(SMALL)
    for name, blobs in SMALL.items():
        for ours, given in zip(read[name], blobs, strict=True):
            assert ours.dtype == torch.float32 and torch.equal(ours.reshape(given.shape), given)
            assert ours.ndim == (4 if kind == "old" else given.ndim)


def test_old_matrices_lose_their_extra_axes_and_slashes_become_dots(tmp_path: Path) -> None:
    net = nn.Sequential()
    net.add_module("conv1", nn.Conv2d(3, 2, 2))
    net.add_module("fc8", nn.Linear(5, 3))
    net.add_module("inception_3a", nn.Sequential())
    net.inception_3a.add_module("1x1", nn.Conv2d(2, 2, 1))  # type: ignore[union-attr]
    layers = {**SMALL, "loss1/fc": [torch.zeros(2, 2), torch.zeros(2)]}
    state = caffemodel.state(caffemodel.read(file_of(layers, "old", tmp_path / "x.caffemodel")), net)
    assert {k: v.shape for k, v in state.items()} == {k: v.shape for k, v in net.state_dict().items()}
    assert torch.equal(state["fc8.weight"], SMALL["fc8"][0])


@pytest.mark.parametrize("kind", ["new", "old"])
def test_a_file_that_ends_early_is_told(kind: str, tmp_path: Path) -> None:
    """At every byte it is cut: an error, or whole layers that come before, where it was cut between two of them."""
    path = file_of(SMALL, kind, tmp_path / "x.caffemodel")
    whole = path.read_bytes()
    counts = []
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        try:
            found = caffemodel.read(path)
        except Error as error:
            assert "fetch it anew" in str(error) or "holds no layer" in str(error)
        else:
            counts.append(len(found))
            assert all(
                torch.equal(a.reshape(b.shape), b) for k in found for a, b in zip(found[k], SMALL[k], strict=True)
            )
    assert counts == [1, 2]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (field(100, field(1, b"conv1") + field(7, field(7, field(1, varint(2**40))) + field(5, b"1234"))), "1 numbers"),
        (varint(100 * 8 + 2) + varint(2**50) + b"abc", "ends too early"),
        (varint(100 * 8 + 2) + b"\xff" * 12, "ten bytes"),
        (field(100, field(1, b"conv1") + field(7, field(5, b"12345") + field(7, field(1, b"\x01")))), "fetch it anew"),
        (
            field(100, field(1, b"\xff\xfe") + field(7, field(5, b"1234") + field(7, field(1, b"\x01")))),
            "fetch it anew",
        ),
        (field(100, field(1, b"conv1") + field(7, field(7, field(1, b"\x01")))), "numbers are missing"),
        (b"name: 'VGG'\nlayers {\n  bottom: 'data'\n}", "fetch it anew"),
        (field(1, b"a net"), "holds no layer"),
        (b"", "fetch it anew"),
    ],
)
def test_damaged_files_say_so_in_a_sentence(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "x.caffemodel"
    path.write_bytes(content)
    with pytest.raises(Error, match=words):
        caffemodel.read(path)


def test_random_bytes_are_an_error_and_nothing_else(tmp_path: Path) -> None:
    path = file_of(SMALL, "new", tmp_path / "x.caffemodel")
    whole, dice = path.read_bytes(), np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(whole)
        for at in dice.integers(0, len(whole), 3):
            damaged[at] = dice.integers(256)
        path.write_bytes(damaged)
        try:
            caffemodel.read(path)
        except Error:
            pass


@pytest.mark.parametrize("kind", ["new", "old"])
def test_googlenet_from_a_caffemodel(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layers = layers_of(caffe.googlenet(7))
    assert "inception_4d/5x5_reduce" in layers and "conv1/7x7_s2" in layers and "loss3/classifier" in layers
    extra = {"loss1/classifier": [torch.zeros(7, 8), torch.zeros(7)]}  # served training alone
    path = file_of({**layers, **extra}, kind, tmp_path / "x.caffemodel")
    names = list("abcdefg")
    model = wf.load("caffe:googlenet", weights=path, classes=names)
    assert torch.equal(model.net.state_dict()["inception_4d.5x5_reduce.weight"], layers["inception_4d/5x5_reduce"][0])
    out = tmp_path / "new" / "x.safetensors"
    with pytest.raises(SystemExit) as stop:
        main(["convert", str(path), "--model", "caffe:googlenet", "--out", str(out)])
    assert stop.value.code in (0, None) and capsys.readouterr().out.strip() == str(out)
    again = wf.load("caffe:googlenet", weights=out, classes=names)
    assert all(torch.equal(v, model.net.state_dict()[k]) for k, v in again.net.state_dict().items())
    assert len(load_file(out)) == 2 * len(layers)
    with pytest.raises(Error, match="give the names of its classes"):
        wf.load("caffe:googlenet", weights=path)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (
            ["x.caffemodel", "--model", "caffe:vgg16", "--out", "y.safetensors"],
            "do not fit caffe:vgg16: missing conv1_1.weight",
        ),
        (["x.caffemodel", "--model", "caffe:vgg", "--out", "y.safetensors"], "did you mean caffe:vgg"),
        (["x.caffemodel", "--model", "resnet50", "--out", "y.safetensors"], "--model caffe:vgg16"),
        (["x.caffemodel", "--model", "caffe:vgg16", "--out", "y.pth"], "y.safetensors"),
        (["none.caffemodel", "--model", "caffe:vgg16", "--out", "y.safetensors"], "does not exist"),
    ],
)
def test_convert_says_what_is_wrong(
    argv: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    file_of(SMALL, "new", Path("x.caffemodel"))
    with pytest.raises(SystemExit) as stop:
        main(["convert", *argv])
    assert stop.value.code == 2 and words in capsys.readouterr().err.replace("\n", " ")
    assert [p.name for p in tmp_path.iterdir()] == ["x.caffemodel"]


@pytest.mark.parametrize("name", ["caffe:vgg16", "caffe:googlenet", "preact:resnet200"])
def test_missing_weights_say_where_they_are(name: str) -> None:
    with pytest.raises(Error, match=r"not downloaded: .*--weights FILE"):
        wf.load(name)


# ------------------------------------------------------------------------------------------- layers


def slow_norm(x: np.ndarray, size: int = 5, alpha: float = 1e-4, beta: float = 0.75) -> np.ndarray:
    """Caffe's LRN: each value by (1 + alpha / size * sum of squares over the channels beside it) ** beta."""
    out = np.empty_like(x)
    for c in range(len(x)):
        near = x[max(0, c - size // 2) : c + size // 2 + 1]
        out[c] = x[c] / (1 + alpha / size * (near**2).sum(0)) ** beta
    return out


def test_local_response_normalisation() -> None:
    x = 100 * torch.randn(1, 9, 3, 4, dtype=torch.float64)
    ours = caffe._norm()(x)
    np.testing.assert_allclose(ours[0].numpy(), slow_norm(x[0].numpy()), rtol=1e-10)
    assert (ours - x).abs().max() > 1  # it does something at that scale


def slow_pool(x: np.ndarray, size: int) -> np.ndarray:
    """Caffe's max pooling with stride 2: as many windows as reach into the picture, rounded up."""
    rows, columns = (math.ceil((side - size) / 2) + 1 for side in x.shape)
    return np.array(
        [[x[2 * i : 2 * i + size, 2 * j : 2 * j + size].max() for j in range(columns)] for i in range(rows)]
    )


@pytest.mark.parametrize(("side", "size"), [(112, 3), (55, 3), (14, 2), (7, 2), (28, 3)])
def test_pooling_rounds_up(side: int, size: int) -> None:
    x = torch.randn(side, side + 1, dtype=torch.float64)
    expected = slow_pool(x.numpy(), size)
    np.testing.assert_array_equal(caffe._max(size)(x[None, None])[0, 0].numpy(), expected)
    if (side, size) == (112, 3):
        assert expected.shape == (56, 56)  # rounded down it would be 55


def test_groups_see_their_own_half() -> None:
    conv = nn.Conv2d(4, 6, 3, padding=1, groups=2).double().requires_grad_(False)
    x = torch.randn(1, 4, 5, 5, dtype=torch.float64)
    padded, weight = np.pad(x[0].numpy(), ((0, 0), (1, 1), (1, 1))), conv.weight.numpy()
    assert conv.bias is not None
    expected = np.empty((6, 5, 5))
    for o, i, j in itertools.product(range(6), range(5), range(5)):
        half = padded[:2] if o < 3 else padded[2:]
        expected[o, i, j] = (half[:, i : i + 3, j : j + 3] * weight[o]).sum() + float(conv.bias[o])
    np.testing.assert_allclose(conv(x)[0].numpy(), expected, rtol=1e-10)


# ------------------------------------------------------------------------------------------ networks

COUNTS = {
    "alexnet": 60_965_224,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "googlenet": 6_998_552,
    # 14,714,688 of VGG's convolutions, 1024 x 256 x 9 + 1024 of the grouped one, 1024 x 1000 + 1000
    "vgg16-cam": 14_714_688 + 2_359_296 + 1024 + 1_025_000,
}
GRIDS = {"alexnet": 13, "vgg16": 14, "vgg19": 14, "googlenet": 7, "vgg16-cam": 14}


@pytest.mark.parametrize("name", list(NETWORKS))
def test_as_many_parameters_as_published(name: str) -> None:
    with torch.device("meta"):
        net = NETWORKS[name].build(1000)
    assert sum(p.numel() for p in net.parameters()) == COUNTS[name]


@pytest.mark.parametrize("name", ["googlenet", "vgg16-cam"])
def test_the_default_layer_has_the_papers_grid(name: str) -> None:
    model = wf.load(f"caffe:{name}", weights=None)
    e = wf.explain(model, torch.randn(1, 3, NETWORKS[name].crop, NETWORKS[name].crop), 7)
    assert e.maps.shape == (1, 1, GRIDS[name], GRIDS[name])
    assert model.classes is not None and model.classes[282] == "tiger cat" and len(model.classes) == 1000


def _alexnet(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """bvlc_alexnet's order in functions: convolution, ReLU, normalisation, pooling."""

    def conv(i: int, x: Tensor, **how: int) -> Tensor:
        return F.relu(F.conv2d(x, state[f"conv{i}.weight"], state[f"conv{i}.bias"], **how))

    def norm(x: Tensor) -> Tensor:
        return torch.from_numpy(slow_norm(x[0].numpy()))[None]

    x = F.max_pool2d(norm(conv(1, x, stride=4)), 3, 2, ceil_mode=True)
    x = F.max_pool2d(norm(conv(2, x, padding=2, groups=2)), 3, 2, ceil_mode=True)
    x = conv(5, conv(4, conv(3, x, padding=1), padding=1, groups=2), padding=1, groups=2)
    x = F.max_pool2d(x, 3, 2).flatten(1)
    for i in (6, 7):
        x = F.relu(F.linear(x, state[f"fc{i}.weight"], state[f"fc{i}.bias"]))
    return F.linear(x, state["fc8.weight"], state["fc8.bias"])


def _googlenet(state: dict[str, Tensor], x: Tensor) -> Tensor:
    def conv(name: str, x: Tensor, **how: int) -> Tensor:
        return F.relu(F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], **how))

    def inception(name: str, x: Tensor) -> Tensor:
        three = conv(f"{name}.3x3", conv(f"{name}.3x3_reduce", x), padding=1)
        five = conv(f"{name}.5x5", conv(f"{name}.5x5_reduce", x), padding=2)
        pooled = conv(f"{name}.pool_proj", F.max_pool2d(x, 3, 1, 1))
        return torch.cat([conv(f"{name}.1x1", x), three, five, pooled], 1)

    def norm(x: Tensor) -> Tensor:
        return torch.from_numpy(slow_norm(x[0].numpy()))[None]

    x = norm(F.max_pool2d(conv("conv1.7x7_s2", x, stride=2, padding=3), 3, 2, ceil_mode=True))
    x = norm(conv("conv2.3x3", conv("conv2.3x3_reduce", x), padding=1))
    for stage, modules in ((3, "ab"), (4, "abcde"), (5, "ab")):
        x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        for letter in modules:
            x = inception(f"inception_{stage}{letter}", x)
    return F.linear(x.mean((2, 3)), state["loss3.classifier.weight"], state["loss3.classifier.bias"])


@pytest.mark.parametrize(("name", "side"), [("googlenet", 97), pytest.param("alexnet", 227, marks=pytest.mark.slow)])
def test_scores_are_those_of_the_same_network_in_functions(name: str, side: int) -> None:
    torch.manual_seed(0)
    net = wf.load(f"caffe:{name}", weights=None).net.double()
    x = 60 * torch.randn(1, 3, side, side, dtype=torch.float64)
    with torch.no_grad():
        expected = (_alexnet if name == "alexnet" else _googlenet)(dict(net.state_dict()), x)
        torch.testing.assert_close(net(x), expected, rtol=1e-8, atol=1e-8 * float(expected.abs().max()))


def test_pictures_are_bgr_minus_the_mean_colour() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 260, 3), np.uint8))
    seen = caffe.preprocess(NETWORKS["alexnet"])
    expected = np.asarray(image.resize((256, 256), Image.Resampling.BILINEAR), np.float64)[14:241, 14:241, ::-1] - MEAN
    x = seen(image)
    assert x.shape == (3, 227, 227) and MEAN == (103.939, 116.779, 123.68)
    np.testing.assert_allclose(x.numpy(), expected.transpose(2, 0, 1), atol=1e-4)
    assert np.array_equal(np.asarray(seen.picture(x)), np.asarray(image.resize((256, 256), 2))[14:241, 14:241])
    assert seen.region((512, 256)) == (28, 14, 482, 241)
    red = caffe.preprocess(NETWORKS["vgg16"])(Image.new("RGB", (300, 300), "red"))
    np.testing.assert_allclose(red[:, 0, 0].numpy(), [-103.939, -116.779, 255 - 123.68], atol=1e-4)


def test_signed_pixels_are_drawn_in_the_pictures_colours() -> None:
    """A network that reads red alone, fed blue first: its gradient is drawn red."""

    class Red(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.relu(x[:, 2:]).sum((2, 3)).expand(-1, 2)

    shown = Image.new("RGB", (20, 20), "white")
    seen = wf.Preprocess(None, 20, (0.0,) * 3, (1.0,) * 3, bgr=True)
    e = wf.explain(wf.Model(Red(), preprocess=seen), shown, 0, method="gradient")
    assert e.pixels is not None and e.pixels[0][0].abs().amax((1, 2)).tolist() == [0, 0, 1]
    red, green, blue = np.asarray(e.overlay())[10, 10]
    assert red > 200 and abs(int(green) - 128) < 9 and abs(int(blue) - 128) < 9


@pytest.mark.slow
@pytest.mark.parametrize("name", ["caffe:vgg16", "caffe:alexnet", "caffe:googlenet", "preact:resnet200"])
def test_a_forward_pass_a_gradient_and_a_step_at_full_size(name: str) -> None:
    """A map of the paper's grid and, for one batch, a loss that falls: the whole network is trained."""
    torch.manual_seed(0)
    model = wf.load(name, weights=None)
    net, side = model.net, model.preprocess.crop  # type: ignore[union-attr]
    x = torch.randn(2 if name.startswith("preact") else 1, 3, side, side)
    e = wf.explain(model, x[:1], 5)
    assert e.maps.shape[-1] == {"caffe:vgg16": 14, "caffe:alexnet": 13}.get(name, 7) and e.maps.isfinite().all()
    net.train()
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    optimizer = torch.optim.SGD(net.parameters(), 1e-5)
    losses = []
    for _ in range(2):
        losses.append(F.cross_entropy(net(x), torch.full((len(x),), 5)))
        optimizer.zero_grad()
        losses[-1].backward()
        assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in net.parameters())
        optimizer.step()
    assert losses[1] < losses[0]


# ------------------------------------------------------------------------------------ pre-activation


def small() -> PreactResNet:
    torch.manual_seed(0)
    net = PreactResNet(5, (1, 2, 2, 1), width=4)
    for module in net.modules():  # norms that do something
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 2)  # type: ignore[arg-type]
    return net.eval()


def test_resnet_200_has_the_parameters_of_its_post_activation_twin_less_four_norms() -> None:
    """Norms move from behind a block's last convolution to before its first, as wide in sum; those of the four
    projections fall away: 2 x (256 + 512 + 1024 + 2048) = 7,680 of the 64,673,832 that are published."""
    from torchvision.models.resnet import Bottleneck, ResNet

    with torch.device("meta"):
        ours, twin = PreactResNet(1000), ResNet(Bottleneck, [3, 24, 36, 3])
    count = sum(p.numel() for p in ours.parameters())
    assert sum(p.numel() for p in twin.parameters()) == 64_673_832 and count == 64_673_832 - 7_680 == 64_666_152
    assert sum(isinstance(m, nn.Conv2d | nn.Linear) for m in ours.modules()) == 200 + 4  # and the projections


def test_scores_of_a_small_one_are_those_in_functions() -> None:
    net, x = small().double(), torch.randn(2, 3, 64, 64, dtype=torch.float64)
    state = net.state_dict()

    def norm(name: str, x: Tensor) -> Tensor:
        mean, var, weight, bias = (state[f"{name}.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
        wide = (slice(None), None, None)
        return F.relu((x - mean[wide]) / (var[wide] + 1e-5).sqrt() * weight[wide] + bias[wide])

    def conv(name: str, x: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
        return F.conv2d(x, state[f"{name}.weight"], None, stride, padding)

    y = F.max_pool2d(norm("bn1", conv("conv1", x, 2, 3)), 3, 2, 1)
    outputs = {}
    for stage, count in enumerate((1, 2, 2, 1), 1):
        for i in range(count):
            name, stride = f"layer{stage}.{i}", 2 if stage > 1 and i == 0 else 1
            active = y if name == "layer1.0" else norm(f"{name}.bn1", y)
            inner = conv(f"{name}.conv2", norm(f"{name}.bn2", conv(f"{name}.conv1", active)), stride, 1)
            # a projection reads what is rectified, an identity what is not
            short = conv(f"{name}.shortcut", active, stride) if i == 0 else y
            y = outputs[name] = conv(f"{name}.conv3", norm(f"{name}.bn3", inner)) + short
    expected = F.linear(norm("bn5", y).mean((2, 3)), state["fc.weight"], state["fc.bias"])
    with torch.no_grad():
        torch.testing.assert_close(net(x), expected)
    following = ["layer2.0.bn1", "layer2.1.bn1", "layer3.0.bn1", "layer3.1.bn1", "layer4.0.bn1", "bn5"]
    seen: dict[str, Tensor] = {}
    for layer_name in rectified(net).values():
        module = net.get_submodule(layer_name)
        module.register_forward_hook(lambda _, __, out, at=layer_name: seen.update({at: out.clone()}))
    with torch.no_grad():
        net(x)
    assert list(rectified(net)) == list(outputs)
    for (block, at), after in zip(rectified(net).items(), following, strict=True):
        assert (outputs[block] < 0).any() and (seen[at] >= 0).all() and (seen[at] > 0).any()
        torch.testing.assert_close(seen[at], norm(after, outputs[block]))


def test_every_block_can_be_explained() -> None:
    net, x = small(), torch.randn(1, 3, 64, 64)
    sides = {f"layer{stage}": side for stage, side in enumerate((16, 8, 4, 2), 1)}
    for block, at in rectified(net).items():
        maps = wf.explain(net, x, 2, layer=at).maps
        assert maps.shape[-1] == sides[block.partition(".")[0]] and maps.isfinite().all()
    assert all(isinstance(net.get_submodule(block), Block) for block in rectified(net))
