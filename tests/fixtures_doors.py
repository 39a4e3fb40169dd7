"""Pictures, networks and weights that the tests of the doors (imaging, explainer, zoo, command line) share."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

# Git worktrees lie beside the one with the shared data; WHEREFORE_DATA says where else it is.
DATA = Path(os.environ.get("WHEREFORE_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


def data(name: str) -> Path:
    """A file of the shared data, or a skip that says which one is missing."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{path} is not there")
    return path


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """Noise over a ramp: no two rows or columns alike."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0, 120, width)[None, :, None] + np.linspace(0, 80, height)[:, None, None]
    return Image.fromarray((ramp + rng.integers(0, 55, (height, width, 3))).astype(np.uint8))


def spot(width: int, height: int, x: int, y: int, radius: int) -> Image.Image:
    """Black, with a white square around a pixel."""
    array = np.zeros((height, width, 3), np.uint8)
    array[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1] = 255
    return Image.fromarray(array)


class Brightness(torch.nn.Module):
    """A network whose Grad-CAM is known: the layer pools brightness over cells of 16 pixels; class c weighs it by c."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.cells = torch.nn.AvgPool2d(16)
        self.weights = torch.nn.Parameter(torch.arange(classes).float())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        cells = self.cells(images.mean(1, keepdim=True))
        return cells.flatten(1).mean(1, keepdim=True) * self.weights


def random_weights(folder: Path, name: str = "squeezenet1_1", **options: object) -> Path:
    """A file with the random weights of one of torchvision's networks."""
    from torchvision.models import get_model

    torch.manual_seed(0)
    file = folder / f"{name}-random.safetensors"
    save_file(get_model(name, weights=None, **options).state_dict(), file)
    return file


@pytest.fixture(scope="session")
def squeezenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of SqueezeNet."""
    return random_weights(tmp_path_factory.mktemp("weights"))
