"""A network of two classes and one output: what speaks for the second of them speaks against the first."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import wherefore as wf
from wherefore.datasets import opened
from wherefore.experiments import Lab, Settings
from wherefore.experiments.bias import bias
from wherefore.experiments.comparing import compare
from wherefore.experiments.failures import failures

SIDE, COUNT, WRONG = 16, 24, (0, 3)


class Redness(nn.Module):
    """How much more red than blue there is: the class red where that is above 0, else blue."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 2, 1, bias=False), nn.ReLU())
        self.head = nn.Linear(2, 1, bias=False)
        with torch.no_grad():
            self.features[0].weight.copy_(torch.eye(3)[[0, 2], :, None, None])  # type: ignore[operator]
            self.head.weight.copy_(torch.tensor([[9.0, -9.0]]))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self.features(x).mean((2, 3)))
        return found


def network(name: str) -> wf.Model:
    seen = wf.Preprocess(SIDE, SIDE, mean=(0, 0, 0), std=(1, 1, 1))
    return wf.Model(Redness().eval(), ("blue", "red"), seen, "features", name=name)


@pytest.fixture
def listed(tmp_path: Path) -> str:
    """Red and blue pictures, two of them with the other's label, and a region of each."""
    rows, dice = [["path", "label", "group", "split", "regions"]], np.random.default_rng(0)
    for i in range(COUNT):
        pixels = dice.integers(0, 60, (SIDE, SIDE, 3), np.uint8)
        pixels[:8, :8, 0 if i % 2 else 2] = 250
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
        label = ("blue", "red")[(i % 2) != (i in WRONG)]
        rows.append([f"{i}.png", label, "ab"[i % 2], "test", '{"thing": [0, 0, 7, 7]}'])
    with (tmp_path / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return f"manifest:{tmp_path / 'list.csv'}"


def lab(listed: str, out: Path) -> Lab:
    found = Lab(Settings(listed), out)
    found.networks = lambda *names: [found.take(network("one"))]  # type: ignore[method-assign]
    return found


def test_failures_of_one_output(listed: str, tmp_path: Path) -> None:
    found = failures(lab(listed, tmp_path / "out"))
    error = next(row for row in found.rows if row["measure"] == "error of the first answer")
    assert error["value"] == pytest.approx(len(WRONG) / COUNT)


def test_an_audit_of_one_output(listed: str, tmp_path: Path) -> None:
    found = bias(lab(listed, tmp_path / "out"))
    value = {(row["name"], row["measure"], row["label"], row["group"]): row["value"] for row in found.rows}
    assert value["classification", "accuracy", "all", ""] == pytest.approx(1 - len(WRONG) / COUNT)
    assert value["grad-cam", "share of the evidence", "red", ""] > 0.6, "its map is where red is"
    assert value["grad-cam", "share of the evidence", "blue", ""] > 0.6


def test_networks_of_one_output_side_by_side(listed: str, tmp_path: Path) -> None:
    found = compare((network("one"), network("other")), opened(listed), tmp_path / "out").json()
    right = {each["image"]: each["networks"][0]["right"] for each in found["images"]}
    assert right == {f"{i}.png": i not in WRONG for i in range(COUNT)}
    assert all(each["same"] for each in found["images"])
    energy = {each["image"]: each["networks"][0]["regions"]["thing"] for each in found["images"]}
    assert all(energy[f"{i}.png"] > 0.6 for i in range(COUNT) if i not in WRONG), "its label's map, on the region"
