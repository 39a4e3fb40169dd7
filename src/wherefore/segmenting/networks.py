"""The networks of weakly supervised segmentation, at the paper's size and small enough for scenes on a CPU.

Chen et al., Semantic Image Segmentation with Deep Convolutional Nets and Fully Connected CRFs, ICLR 2015
Kolesnikov & Lampert, Seed, Expand and Constrain (SEC), ECCV 2016
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from wherefore.models.scaled import VGG_A, Widths, initialised

VGG_D: Widths = ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3)


@dataclass(frozen=True)
class Shape:
    """How large the networks are. ``side`` is that of the squashed picture, ``halvings`` how often the grid is halved.

    ``hidden`` are the channels behind the convolutions, ``dilation`` that of fc6 (the large field of view), ``norm``
    whether convolutions are followed by batch norm, as in the networks of scenes.
    """

    side: int = 321
    widths: Widths = VGG_D
    halvings: int = 3
    hidden: int = 1024
    dilation: int = 12
    norm: bool = False

    @property
    def grid(self) -> int:
        """The side of the grid of cells that is predicted: 41 for 321 pixels."""
        side = self.side
        for _ in range(self.halvings):
            side = (side - 1) // 2 + 1
        return side


PAPER = Shape()
SMALL = Shape(side=96, widths=VGG_A, halvings=2, hidden=64, dilation=6, norm=True)


class LargeFov(nn.Module):
    """DeepLab-LargeFOV (Chen et al. 2015): logits ``(B, classes, grid, grid)`` of pictures ``(B, 3, side, side)``.

    A VGG whose pools are 3x3 and, behind the grid's resolution, of stride 1; its last stage is dilated by 2; then a
    3x3 average, fc6 (3x3, dilated), fc7 (1x1) and fc8. 20,505,429 weights at the paper's size with 21 classes.
    """

    def __init__(self, shape: Shape, classes: int, dropout: float = 0.5) -> None:
        super().__init__()
        strides = [2 if i < shape.halvings else 1 for i in range(len(shape.widths))]
        self.features = stages(shape, strides, dilation=2)
        self.average = nn.AvgPool2d(3, 1, 1)
        at, hidden = shape.dilation, shape.hidden
        self.fc6 = nn.Sequential(*conv(shape, shape.widths[-1][-1], hidden, dilation=at), nn.Dropout(dropout))
        self.fc7 = nn.Sequential(*conv(shape, hidden, hidden, 1), nn.Dropout(dropout))
        self.fc8 = nn.Conv2d(hidden, classes, 1)
        initialised(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc8(self.fc7(self.fc6(self.average(self.features(x)))))


class CamNet(nn.Module):
    """SEC's network for CAM: scores ``(B, classes)`` from the mean over a grid as fine as the segmentation's.

    A VGG without its pools behind that resolution, two more 3x3 convolutions (``extra``, the layer to explain), the
    average over all places, one linear layer without bias.
    """

    def __init__(self, shape: Shape, classes: int, dropout: float = 0.5) -> None:
        super().__init__()
        strides = [2 if i < shape.halvings else 0 for i in range(len(shape.widths))]
        self.features = stages(shape, strides)
        more = ((shape.widths[-1][-1], shape.hidden), (shape.hidden, shape.hidden))
        self.extra = nn.Sequential(*[m for sides in more for m in (*conv(shape, *sides), nn.Dropout(dropout))])
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(shape.hidden, classes, bias=False)
        initialised(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.pool(self.extra(self.features(x))).flatten(1))


class BackgroundNet(nn.Module):
    """SEC's network for background seeds: a VGG with ``hidden`` units in its two rectified layers; scores
    ``(B, classes)``."""

    def __init__(self, shape: Shape, classes: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.features = stages(shape, [2] * len(shape.widths))
        side = Shape(shape.side, halvings=len(shape.widths)).grid
        sides = (shape.widths[-1][-1] * side * side, shape.hidden, shape.hidden)
        hidden = [m for i in (0, 1) for m in (nn.Linear(sides[i], sides[i + 1]), nn.ReLU(), nn.Dropout(dropout))]
        self.classifier = nn.Sequential(*hidden, nn.Linear(shape.hidden, classes))
        initialised(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).flatten(1))


def conv(shape: Shape, channels: int, out: int, size: int = 3, dilation: int = 1) -> list[nn.Module]:
    """A convolution that keeps the grid, batch norm where the shape has it, and a ReLU."""
    layer = nn.Conv2d(channels, out, size, padding=size // 2 * dilation, dilation=dilation, bias=not shape.norm)
    return [layer, *([nn.BatchNorm2d(out)] if shape.norm else []), nn.ReLU()]


def stages(shape: Shape, strides: Sequence[int], dilation: int = 1) -> nn.Sequential:
    """The convolutions of a VGG, the last stage dilated; behind each a 3x3 pool of that stride, 0 for none."""
    layers: list[nn.Module] = []
    channels = 3
    for number, (stage, stride) in enumerate(zip(shape.widths, strides, strict=True), 1):
        for width in stage:
            layers += conv(shape, channels, width, dilation=dilation if number == len(shape.widths) else 1)
            channels = width
        layers += [nn.MaxPool2d(3, stride, 1)] if stride else []
    return nn.Sequential(*layers)


def conv_names(net: nn.Module) -> list[str]:
    """The names of a VGG's convolutions, the lowest first: ``features.0``, ..."""
    return [name for name, m in net.named_modules() if name.startswith("features.") and isinstance(m, nn.Conv2d)]


def stage_start(shape: Shape) -> int:
    """The number of the first convolution on the grid's resolution: conv4_1 at the paper's size."""
    return sum(len(stage) for stage in shape.widths[: shape.halvings])


def begun(net: nn.Module, start: nn.Module) -> nn.Module:
    """The network with the convolutions (and batch norms) of another VGG of the same widths; fc6 and fc7 too where that
    one has VGG-16's: every fourth unit, and of the 7x7 places every third (Chen et al. 2015, section 3.2).

    What neither gives stays as it was drawn.
    """
    kinds = (nn.Conv2d, nn.BatchNorm2d)
    mine, theirs = ([m for m in n.get_submodule("features").modules() if isinstance(m, kinds)] for n in (net, start))
    for to, of in zip(mine, theirs, strict=True):
        to.load_state_dict(of.state_dict())
    full = [m for m in start.modules() if isinstance(m, nn.Linear)]
    if isinstance(net, LargeFov) and full[0].weight.shape == (4096, 25088):
        _thinned(net, full[0], full[1])
    return net


def _thinned(net: LargeFov, fc6: nn.Linear, fc7: nn.Linear) -> None:
    weights = fc6.weight.view(4096, 512, 7, 7)[::4, :, ::3, ::3], fc7.weight[::4, ::4, None, None]
    for to, weight, of in zip((net.fc6[0], net.fc7[0]), weights, (fc6, fc7), strict=True):
        to.load_state_dict({"weight": weight, "bias": of.bias[::4]})
