"""Networks whose trained weights lie beside the project, built from the description that comes with them."""

from __future__ import annotations

from pathlib import Path

import torch
import torchvision
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

VOC = (
    "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person "
    "pottedplant sheep sofa train tvmonitor"
).split()


class DeepLab(nn.Module):
    """DeepLabV3 on MobileNetV2, output stride 16: one branch of 1x1 convolutions and one of the pooled picture."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = torchvision.models.mobilenet_v2().features[:18]
        for number, block in enumerate(self.backbone):
            for layer in block.modules():
                if isinstance(layer, nn.Conv2d) and layer.groups > 1 and number >= 14:
                    layer.stride = (1, 1)
                    if number >= 15:
                        layer.dilation = layer.padding = (2, 2)
        self.aspp0, self.image_pooling = nn.Conv2d(320, 256, 1), nn.Conv2d(320, 256, 1)
        self.concat_projection, self.logits = nn.Conv2d(512, 256, 1), nn.Conv2d(256, 21, 1)

    def forward(self, x: Tensor) -> Tensor:
        seen = self.backbone(x)
        whole = F.relu(self.image_pooling(seen.mean((2, 3), keepdim=True))).expand(-1, -1, *seen.shape[2:])
        joined = F.relu(self.concat_projection(torch.cat([whole, F.relu(self.aspp0(seen))], 1)))
        return F.interpolate(self.logits(joined), x.shape[2:], mode="bilinear", align_corners=False)


class Block(nn.Module):
    """A residual block; where it halves the picture, the shortcut takes every second pixel and adds channels of 0."""

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.stride, self.more = (2 if width > before else 1), (width - before) // 2
        self.conv1 = nn.Conv2d(before, width, 3, self.stride, 1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        short = F.pad(x[..., :: self.stride, :: self.stride], (0, 0, 0, 0, self.more, self.more))
        return F.relu(y + short)


class ResNet20(nn.Module):
    """The CIFAR-10 network of He et al. 2015, section 4.2."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        widths = [16, 16, 32, 64]
        for stage in (1, 2, 3):
            blocks = [Block(widths[stage - 1 if i == 0 else stage], widths[stage]) for i in range(3)]
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        return self.linear(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))


class A3C(nn.Module):
    """A policy for Pong that remembers: the frame and the recurrent state in, value, logits and the next state out."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 32, 3, 2, 1), nn.Conv2d(32, 32, 3, 2, 1)
        self.conv3, self.conv4 = nn.Conv2d(32, 32, 3, 2, 1), nn.Conv2d(32, 32, 3, 2, 1)
        self.gru, self.critic_linear, self.actor_linear = nn.GRUCell(800, 256), nn.Linear(256, 1), nn.Linear(256, 6)

    def forward(self, frame: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = F.elu(self.conv2(F.elu(self.conv1(frame))))
        x = F.elu(self.conv4(F.elu(self.conv3(x))))
        state = self.gru(x.flatten(1), state)
        return self.critic_linear(state), self.actor_linear(state), state


def trained(net: nn.Module, file: Path) -> nn.Module:
    """The network with the weights in a file, every key of which fits."""
    net.load_state_dict(load_file(file))
    return net.eval()
