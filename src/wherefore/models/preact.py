"""ResNet-200 with pre-activation, the deepest network of the paper's layer sweep: ``preact:resnet200``."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from torch import Tensor, nn

from wherefore.errors import Error
from wherefore.imaging import Preprocess
from wherefore.models.zoo import Names, Weights, file_sha256, imagenet, load_strictly, read_state
from wherefore.registry import MODELS, unknown
from wherefore.types import Model

NETWORKS = {"resnet200": (3, 24, 36, 3)}
STAGES = ("layer1", "layer2", "layer3", "layer4")


class Block(nn.Module):
    """A bottleneck with norm and ReLU before each convolution (He et al. 2016b): 1x1, 3x3 with the stride, 1x1.

    Where the grid or the channels change, the shortcut is a 1x1 convolution of the rectified input; the network's first
    block gets its input rectified.
    """

    def __init__(self, channels: int, width: int, stride: int = 1, rectified: bool = False) -> None:
        super().__init__()
        out = 4 * width
        self.bn1 = nn.Identity() if rectified else nn.BatchNorm2d(channels)
        self.relu1 = nn.Identity() if rectified else nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn2, self.relu2 = nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn3, self.relu3 = nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.shortcut = nn.Conv2d(channels, out, 1, stride, bias=False) if channels != out else None

    def forward(self, x: Tensor) -> Tensor:
        active = self.relu1(self.bn1(x))
        y = self.conv2(self.relu2(self.bn2(self.conv1(active))))
        y = self.conv3(self.relu3(self.bn3(y)))
        return y + (x if self.shortcut is None else self.shortcut(active))


class PreactResNet(nn.Module):
    """A ResNet of pre-activated bottlenecks (He et al. 2016b, "Identity Mappings in Deep Residual Networks").

    ``blocks`` are those of its four stages, ``width`` is that of the first. As fb.resnet.torch defines it: the sum that
    leaves a block is rectified only by what follows, the next block or the last norm (see `rectified`).
    """

    def __init__(self, outputs: int, blocks: tuple[int, ...] = NETWORKS["resnet200"], width: int = 64) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1, self.relu1 = nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        self.pool1 = nn.MaxPool2d(3, 2, 1)
        channels = width
        for i, (name, count) in enumerate(zip(STAGES, blocks, strict=True)):
            wide = width << i
            first = Block(channels, wide, 1 if i == 0 else 2, rectified=i == 0)
            self.add_module(name, nn.Sequential(first, *[Block(4 * wide, wide) for _ in range(count - 1)]))
            channels = 4 * wide
        self.bn5, self.relu5 = nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
        self.pool5 = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, outputs)
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool1(self.relu1(self.bn1(self.conv1(x))))
        for name in STAGES:
            x = self.get_submodule(name)(x)
        return self.fc(self.pool5(self.relu5(self.bn5(x))).flatten(1))


def rectified(net: PreactResNet) -> dict[str, str]:
    """The blocks in order, each with the layer at which its output is explained: behind the norm and ReLU that follow.

    These belong to the next block (``layer1.0`` is read at ``layer1.1.relu1``), the last block's to the network.
    """
    blocks = [name for name, module in net.named_modules() if isinstance(module, Block)]
    return {**{block: f"{after}.relu1" for block, after in pairwise(blocks)}, blocks[-1]: "relu5"}


@MODELS("preact", names="preact:resnet200; weights from a file")
def preact_model(name: str, weights: Weights, classes: Names) -> Model:
    """ResNet-200 with pre-activation, with the weights of a local state dict."""
    if name not in NETWORKS:
        raise Error(unknown("model", f"preact:{name}", [f"preact:{each}" for each in NETWORKS]))
    if weights == "default":
        raise Error(
            f"the weights of preact:{name} are not downloaded: give a state dict with weights= (--weights FILE), made "
            "from fb.resnet.torch's resnet-200.t7."
        )
    names = list(classes or imagenet())
    net, sha256 = PreactResNet(len(names), NETWORKS[name]), None
    if weights is not None:
        load_strictly(net, read_state(weights), weights, f"preact:{name}")
        sha256 = file_sha256(Path(weights))
    return Model(net.eval(), names, Preprocess(), "relu5", f"preact:{name}", sha256)


def preact_names() -> list[str]:
    """The names of the pre-activation networks."""
    return list(NETWORKS)


def _initialise(net: nn.Module) -> None:
    """Convolutions as fb.resnet.torch draws them; without it 200 layers would not train."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    assert isinstance(net.fc, nn.Linear)
    nn.init.zeros_(net.fc.bias)
