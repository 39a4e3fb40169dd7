"""The paper's networks as Caffe has them: ``caffe:vgg16``. Their weights come from a file; none are downloaded.

Modules bear Caffe's names, with a dot for its slash (``inception_3a.1x1``); pooling rounds up; pictures are BGR,
0..255, minus the mean colour.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from wherefore.errors import Error
from wherefore.imaging import Preprocess
from wherefore.models import caffemodel
from wherefore.models.scaled import initialised
from wherefore.models.zoo import (
    Names,
    State,
    Weights,
    file_sha256,
    imagenet,
    load_strictly,
    read_state,
    refuse,
    unfitting,
)
from wherefore.registry import MODELS, unknown
from wherefore.saving import made, write_tensors
from wherefore.types import Model

MEAN = (103.939, 116.779, 123.68)  # blue, green, red
Layers = list[tuple[str, nn.Module]]


def vgg(depths: tuple[int, ...], outputs: int) -> nn.Sequential:
    """VGG (Simonyan and Zisserman 2015): stages of so many 3x3 convolutions, three fully connected layers."""
    head = [*_connected(6, 512 * 7 * 7, 4096), *_connected(7, 4096, 4096), ("fc8", nn.Linear(4096, outputs))]
    return _network([*_stages(depths), ("pool5", _max(2)), ("flatten", nn.Flatten()), *head])


def vgg_cam(outputs: int) -> nn.Sequential:
    """VGG-16 as CAM needs it (Zhou et al. 2016): one more convolution, in two groups, and an average over places."""
    extra: Layers = [
        ("CAM_conv", nn.Conv2d(512, 1024, 3, padding=1, groups=2)),
        ("CAM_relu", nn.ReLU(inplace=True)),
        ("CAM_pool", nn.AdaptiveAvgPool2d(1)),
        ("CAM_dropout", nn.Dropout()),
        ("flatten", nn.Flatten()),
        ("CAM_fc", nn.Linear(1024, outputs)),
    ]
    return _network([*_stages((2, 2, 3, 3, 3)), *extra])


def alexnet(outputs: int) -> nn.Sequential:
    """AlexNet (Krizhevsky et al. 2012) in the order of bvlc_alexnet: normalised, then pooled; 227 pixels."""
    head = [*_connected(6, 256 * 6 * 6, 4096), *_connected(7, 4096, 4096), ("fc8", nn.Linear(4096, outputs))]
    return _network([
        *_conv("1", nn.Conv2d(3, 96, 11, 4)), ("norm1", _norm()), ("pool1", _max(3)),
        *_conv("2", nn.Conv2d(96, 256, 5, padding=2, groups=2)), ("norm2", _norm()), ("pool2", _max(3)),
        *_conv("3", nn.Conv2d(256, 384, 3, padding=1)),
        *_conv("4", nn.Conv2d(384, 384, 3, padding=1, groups=2)),
        *_conv("5", nn.Conv2d(384, 256, 3, padding=1, groups=2)), ("pool5", _max(3)),
        ("flatten", nn.Flatten()), *head,
    ])  # fmt: skip


class Inception(nn.ModuleDict):
    """An inception module: 1x1, reduced 3x3, reduced 5x5 and projected pooling side by side, all rectified."""

    def __init__(self, channels: int, one: int, three: tuple[int, int], five: tuple[int, int], pooled: int) -> None:
        super().__init__({
            **dict(_slashed("1x1", nn.Conv2d(channels, one, 1))),
            **dict(_slashed("3x3_reduce", nn.Conv2d(channels, three[0], 1))),
            **dict(_slashed("3x3", nn.Conv2d(*three, 3, padding=1))),
            **dict(_slashed("5x5_reduce", nn.Conv2d(channels, five[0], 1))),
            **dict(_slashed("5x5", nn.Conv2d(*five, 5, padding=2))),
            "pool": nn.MaxPool2d(3, 1, 1, ceil_mode=True),
            **dict(_slashed("pool_proj", nn.Conv2d(channels, pooled, 1))),
        })  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        three, five = self._rectified("3x3_reduce", x), self._rectified("5x5_reduce", x)
        pooled = self._rectified("pool_proj", self["pool"](x))
        sides = [self._rectified("1x1", x), self._rectified("3x3", three), self._rectified("5x5", five), pooled]
        return torch.cat(sides, 1)

    def _rectified(self, name: str, x: Tensor) -> Tensor:
        return self[f"relu_{name}"](self[name](x))


def googlenet(outputs: int) -> nn.Sequential:
    """GoogLeNet (Szegedy et al. 2015) without the two extra heads, which served training alone."""
    first = [*_slashed("7x7_s2", nn.Conv2d(3, 64, 7, 2, 3))]
    reduced = _slashed("3x3_reduce", nn.Conv2d(64, 64, 1))
    second = [*reduced, *_slashed("3x3", nn.Conv2d(64, 192, 3, padding=1)), ("norm2", _norm())]
    return _network([
        ("conv1", _network(first)),
        ("pool1", _network([("3x3_s2", _max(3)), ("norm1", _norm())])),
        ("conv2", _network(second)),
        ("pool2", _network([("3x3_s2", _max(3))])),
        ("inception_3a", Inception(192, 64, (96, 128), (16, 32), 32)),
        ("inception_3b", Inception(256, 128, (128, 192), (32, 96), 64)),
        ("pool3", _network([("3x3_s2", _max(3))])),
        ("inception_4a", Inception(480, 192, (96, 208), (16, 48), 64)),
        ("inception_4b", Inception(512, 160, (112, 224), (24, 64), 64)),
        ("inception_4c", Inception(512, 128, (128, 256), (24, 64), 64)),
        ("inception_4d", Inception(512, 112, (144, 288), (32, 64), 64)),
        ("inception_4e", Inception(528, 256, (160, 320), (32, 128), 128)),
        ("pool4", _network([("3x3_s2", _max(3))])),
        ("inception_5a", Inception(832, 256, (160, 320), (32, 128), 128)),
        ("inception_5b", Inception(832, 384, (192, 384), (48, 128), 128)),
        ("pool5", _network([("7x7_s1", nn.AdaptiveAvgPool2d(1)), ("drop_7x7_s1", nn.Dropout(0.4))])),
        ("loss3", _network([("flatten", nn.Flatten()), ("classifier", nn.Linear(1024, outputs))])),
    ])  # fmt: skip


class Network(NamedTuple):
    """How a network is built for so many outputs, which layer is explained, its input, and the file of its weights."""

    build: Callable[[int], nn.Module]
    layer: str
    file: str
    resize: int | tuple[int, int] = 256
    crop: int = 224


# bvlc's networks were trained on pictures squashed to 256x256, VGG on pictures with their own proportions.
NETWORKS = {
    "vgg16": Network(lambda n: vgg((2, 2, 3, 3, 3), n), "relu5_3", "VGG_ILSVRC_16_layers.caffemodel (robots.ox.ac.uk)"),
    "vgg19": Network(lambda n: vgg((2, 2, 4, 4, 4), n), "relu5_4", "VGG_ILSVRC_19_layers.caffemodel (robots.ox.ac.uk)"),
    "vgg16-cam": Network(vgg_cam, "CAM_relu", "vgg16CAM_train_iter_90000.caffemodel (github.com/zhoubolei/CAM)"),
    "alexnet": Network(alexnet, "relu5", "bvlc_alexnet.caffemodel (the Caffe model zoo)", (256, 256), 227),
    "googlenet": Network(googlenet, "inception_5b", "bvlc_googlenet.caffemodel (the Caffe model zoo)", (256, 256)),
}


@MODELS("caffe", names="caffe:vgg16, vgg19, vgg16-cam, alexnet, googlenet: the paper's networks; weights from a file")
def caffe_model(name: str, weights: Weights, classes: Names) -> Model:
    """The paper's networks as Caffe has them, with the weights of a ``.caffemodel`` or of a file made from one."""
    network = known(name)
    if weights == "default":
        raise Error(
            f"the weights of caffe:{name} are not downloaded: fetch {network.file} and give the file with weights= "
            "(--weights FILE)."
        )
    names = list(classes or imagenet())
    net, sha256 = network.build(len(names)), None
    if weights is None:
        initialised(net)
    else:
        load_strictly(net, _state(Path(weights), net), weights, f"caffe:{name}")
        sha256 = file_sha256(Path(weights))
    return Model(net.eval(), names, preprocess(network), network.layer, f"caffe:{name}", sha256)


def caffe_names() -> list[str]:
    """The names of Caffe's networks."""
    return list(NETWORKS)


def known(name: str) -> Network:
    """The network of that name; an `Error` that lists the names where there is none."""
    if name not in NETWORKS:
        raise Error(unknown("model", f"caffe:{name}", [f"caffe:{each}" for each in NETWORKS]))
    return NETWORKS[name]


def preprocess(network: Network) -> Preprocess:
    """What the network sees of a picture: BGR, 0..255, minus the mean colour."""
    mean = tuple(value / 255 for value in MEAN)
    return Preprocess(network.resize, network.crop, mean, (1 / 255,) * 3, bgr=True)


def convert(path: Path, model: str, out: Path) -> Path:
    """The ``.safetensors`` file ``out`` with the weights of a ``.caffemodel``, for ``caffe:NAME``.

    Raises `Error` where the file is damaged or of another network; nothing is written then.
    """
    source, _, name = model.partition(":")
    if source != "caffe" or path.suffix != ".caffemodel":
        raise Error("a .caffemodel is converted for a network of Caffe's: --model caffe:vgg16.")
    if out.suffix != ".safetensors":
        raise Error(f"weights are written as safetensors: give --out {out.with_suffix('.safetensors').name}.")
    state = converted(path, name)
    made(out.absolute().parent)
    return write_tensors(out, state, {"name": model, "source": path.name, "source sha256": file_sha256(path)})


def converted(path: Path, name: str) -> State:
    """The weights in a ``.caffemodel`` as a state dict of ``caffe:NAME``, whatever number of classes they are for."""
    network, layers = known(name), caffemodel.read(path)
    with torch.device("meta"):  # for the names and shapes alone
        # The last of its modules is the head, whose bias is as long as there are classes.
        head = [*network.build(1).state_dict()][-1].removesuffix(".bias")
        blobs = layers.get(head.replace(".", "/"), [])
        net = network.build(blobs[-1].numel() if blobs else 1)
    state = caffemodel.state(layers, net)
    refuse(unfitting(net, state), path, f"caffe:{name}")
    return state


def _state(path: Path, net: nn.Module) -> State:
    """A state dict in either kind of file."""
    return caffemodel.state(caffemodel.read(path), net) if path.suffix == ".caffemodel" else read_state(path)


# -------------------------------------------------------------------------------------------- layers


def _network(layers: Layers) -> nn.Sequential:
    return nn.Sequential(OrderedDict(layers))


def _conv(number: str, layer: nn.Conv2d) -> Layers:
    return [(f"conv{number}", layer), (f"relu{number}", nn.ReLU(inplace=True))]


def _slashed(name: str, layer: nn.Conv2d) -> Layers:
    return [(name, layer), (f"relu_{name}", nn.ReLU(inplace=True))]


def _connected(number: int, inputs: int, outputs: int) -> Layers:
    layer: Layers = [(f"fc{number}", nn.Linear(inputs, outputs)), (f"relu{number}", nn.ReLU(inplace=True))]
    return [*layer, (f"drop{number}", nn.Dropout())]


def _max(size: int) -> nn.MaxPool2d:
    return nn.MaxPool2d(size, 2, ceil_mode=True)


def _norm() -> nn.LocalResponseNorm:
    return nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75)


def _stages(depths: tuple[int, ...]) -> Layers:
    """The convolutions of a VGG up to relu5_N, with a pooling between the stages."""
    layers: Layers = []
    channels = 3
    for stage, (depth, width) in enumerate(zip(depths, (64, 128, 256, 512, 512), strict=True), 1):
        layers += [(f"pool{stage - 1}", _max(2))] if stage > 1 else []
        for number in range(1, depth + 1):
            layers += _conv(f"{stage}_{number}", nn.Conv2d(channels, width, 3, padding=1))
            channels = width
    return layers
