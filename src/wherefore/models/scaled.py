"""The networks of the papers, scaled down to pictures of 96 pixels: what ``scenes:NAME`` names.

Each is drawn as its paper draws it, with about a quarter of the channels and one stage less. Their last rectified map
of convolutions is 12x12 (8x8 of the people networks, which see 64 pixels), and the layers have the papers' names.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor, nn

from wherefore.models.answering import CoAttention, LstmAnswerer
from wherefore.models.captioning import Captioner, headless
from wherefore.vocabulary import Vocabulary

Widths = tuple[tuple[int, ...], ...]
VGG_A: Widths = ((16,), (32,), (64, 64), (128, 128))
PEOPLE: Widths = ((16,), (32,), (64,), (64, 64))


def conv(channels: int, out: int, size: int = 3, stride: int = 1, norm: bool = True) -> list[nn.Module]:
    """A convolution that keeps the grid (or halves it, by its stride), batch norm where wanted, and a ReLU."""
    layer = nn.Conv2d(channels, out, size, stride, size // 2, bias=not norm)
    return [layer, *([nn.BatchNorm2d(out)] if norm else []), nn.ReLU(inplace=True)]


def fully_connected(inputs: int, hidden: int, outputs: int, dropout: float) -> nn.Sequential:
    """The head of AlexNet and VGG: two rectified layers with dropout, and the scores."""
    first = [nn.Linear(inputs, hidden), nn.ReLU(inplace=True), nn.Dropout(dropout)]
    second = [nn.Linear(hidden, hidden), nn.ReLU(inplace=True), nn.Dropout(dropout)]
    return nn.Sequential(*first, *second, nn.Linear(hidden, outputs))


def stages(widths: Widths) -> nn.Sequential:
    """The convolutions of a VGG: stages of 3x3 convolutions, with a 2x2 pooling behind each."""
    layers: list[nn.Module] = []
    channels = 3
    for stage in widths:
        for width in stage:
            layers += conv(channels, width)
            channels = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


class Vgg(nn.Module):
    """VGG (Simonyan and Zisserman 2015), configuration A with batch norm.

    Scaled: a quarter of the channels; the fifth stage, which 96 pixels have no room for, is left out; 192 hidden units
    in place of 4,096. Modules ``features`` and ``classifier``, as torchvision's.
    """

    def __init__(self, outputs: int, widths: Widths = VGG_A, side: int = 6, hidden: int = 192, dropout: float = 0.3):
        super().__init__()
        self.features = stages(widths)
        self.classifier = fully_connected(widths[-1][-1] * side * side, hidden, outputs, dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).flatten(1))


class VggCam(nn.Module):
    """VGG as CAM needs it (Zhou et al. 2016): one more 3x3 convolution in place of pooling and fully connected layers.

    ``features`` are those of `Vgg` without the last pooling; then ``extra``, the average over all places, and ``fc``.
    """

    def __init__(self, outputs: int, widths: Widths = VGG_A) -> None:
        super().__init__()
        channels = widths[-1][-1]
        self.features = stages(widths)[:-1]
        self.extra = nn.Sequential(*conv(channels, channels))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.pool(self.extra(self.features(x))).flatten(1))


class AlexNet(nn.Module):
    """AlexNet (Krizhevsky et al. 2012): five convolutions, overlapping pooling, three fully connected layers.

    Scaled: a quarter of the channels, a first kernel of 7 with stride 2 in place of 11 with stride 4, 192 hidden units.
    Without its local response normalisation and its two groups, which served the graphics cards of the day.
    """

    def __init__(self, outputs: int, dropout: float = 0.3) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *conv(3, 24, 7, 2, norm=False),
            nn.MaxPool2d(3, 2, 1),
            *conv(24, 64, 5, norm=False),
            nn.MaxPool2d(3, 2, 1),
            *conv(64, 96, norm=False),
            *conv(96, 96, norm=False),
            *conv(96, 64, norm=False),
            nn.MaxPool2d(3, 2, 1),
        )
        self.classifier = fully_connected(64 * 6 * 6, 192, outputs, dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).flatten(1))


class Inception(nn.Module):
    """An inception module: 1x1, reduced 3x3, reduced 5x5 and projected pooling side by side, all rectified."""

    def __init__(self, channels: int, one: int, three: tuple[int, int], five: tuple[int, int], pooled: int) -> None:
        super().__init__()
        self.branch1 = nn.Sequential(*conv(channels, one, 1))
        self.branch2 = nn.Sequential(*conv(channels, three[0], 1), *conv(*three))
        self.branch3 = nn.Sequential(*conv(channels, five[0], 1), *conv(*five, 5))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, 1), *conv(channels, pooled, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class GoogLeNet(nn.Module):
    """GoogLeNet (Szegedy et al. 2015), with batch norm: inception modules, an average over all places, one layer.

    Scaled: five modules in place of nine, none at a third resolution, a first kernel of 5, about a third of the
    channels; without the two extra heads, which served training alone. CAM and Grad-CAM agree on it.
    """

    def __init__(self, outputs: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.stem = nn.Sequential(*conv(3, 24, 5, 2), nn.MaxPool2d(3, 2, 1), *conv(24, 24, 1), *conv(24, 48))
        self.inception3a = Inception(48, 16, (24, 32), (4, 8), 8)
        self.inception3b = Inception(64, 24, (32, 48), (8, 16), 8)
        self.pool3 = nn.MaxPool2d(3, 2, 1)
        self.inception4a = Inception(96, 48, (32, 64), (8, 16), 16)
        self.inception4b = Inception(144, 80, (64, 128), (16, 32), 32)
        self.inception4c = Inception(272, 128, (80, 160), (16, 48), 48)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(384, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool3(self.inception3b(self.inception3a(self.stem(x))))
        x = self.inception4c(self.inception4b(self.inception4a(x)))
        return self.fc(self.dropout(self.pool(x).flatten(1)))


class Block(nn.Module):
    """A basic block: two 3x3 convolutions around which the input goes, projected where the grid is halved."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        stride = 1 if channels == out else 2
        self.conv1, self.bn1, self.relu1 = conv(channels, out, 3, stride)
        self.conv2, self.bn2, self.relu = conv(out, out)  # the last ReLU runs after the addition
        self.shortcut = nn.Sequential(*conv(channels, out, 1, stride)[:2]) if stride == 2 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x))))) + self.shortcut(x))


class ResNet(nn.Module):
    """ResNet-20, as section 4.2 of He et al. (2016) builds it for small pictures: 6n + 2 layers, n = 3.

    Widths 16, 32, 64 as there; the first convolution has stride 2, so the grids are 48, 24, 12 in place of 32, 16, 8.
    Shortcuts that change the grid are projections (their option B).
    """

    def __init__(self, outputs: int, n: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(*conv(3, 16, 3, 2))
        self.layer1 = nn.Sequential(*[Block(16, 16) for _ in range(n)])
        self.layer2 = nn.Sequential(Block(16, 32), *[Block(32, 32) for _ in range(n - 1)])
        self.layer3 = nn.Sequential(Block(32, 64), *[Block(64, 64) for _ in range(n - 1)])
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(64, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.pool(self.layer3(self.layer2(self.layer1(self.stem(x))))).flatten(1))


# -------------------------------------------------------------------------------------------- with words


def captioner(vocabulary: Vocabulary) -> Captioner:
    """NeuralTalk2 with the scaled VGG: an LSTM of 128 units."""
    return Captioner(headless(Vgg(2, dropout=0.0)), 192, vocabulary, embedding=128, hidden=128, dropout=0.1)


def show_and_tell(vocabulary: Vocabulary) -> Captioner:
    """Show and Tell with the scaled GoogLeNet: an LSTM of 192 units."""
    cnn = headless(GoogLeNet(2))
    return Captioner(cnn, 384, vocabulary, embedding=192, hidden=192, dropout=0.1, rectified=False)


def answerer(cnn: Callable[..., nn.Module], features: int) -> Callable[[Vocabulary, int], LstmAnswerer]:
    """What makes the network of Lu et al. (2015) with a scaled CNN of so many features: an LSTM of 96 units."""

    def made(vocabulary: Vocabulary, answers: int) -> LstmAnswerer:
        return LstmAnswerer(
            headless(cnn(2, dropout=0.0)),
            features,
            vocabulary,
            answers,
            embedding=64,
            hidden=96,
            common=192,
            dropout=0.1,
        )

    return made


def coattention(vocabulary: Vocabulary, answers: int) -> CoAttention:
    """The co-attention of Lu et al. (2016) over the 12x12 places of the scaled ResNet, 96 units wide."""
    places = nn.Sequential(OrderedDict([*ResNet(2).named_children()][:-2]))  # without pooling and scores
    return CoAttention(places, 64, vocabulary, answers, hidden=96, fused=192, dropout=0.1)


def people(outputs: int) -> Vgg:
    """A VGG for pictures of 64 pixels: five convolutions, a map of 8x8, 64 hidden units."""
    return Vgg(outputs, PEOPLE, side=4, hidden=64)


def initialised(net: nn.Module) -> nn.Module:
    """The network with random weights as He et al. (2015) draw them; the last layer's are small, biases are 0."""
    layers = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    for layer in layers:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    nn.init.normal_(layers[-1].weight, std=0.01)
    return net
