"""What units look for: the shares of names that are there by hand, and how many names there are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import wherefore as wf
from wherefore.concepts import dissect
from wherefore.concepts.dissect import labelled
from wherefore.datasets import opened
from wherefore.experiments import Lab, Settings
from wherefore.experiments.dissection import CHANCE, HIGHEST, LOWEST, METHOD, Telling, _counts, _figures
from wherefore.scenes import scene
from wherefore.scenes.annotated import CONCEPTS, ENDINGS


def test_shares_by_hand() -> None:
    """A name is right where the picture shows it; by chance it is as often as the other pictures show it."""
    kept = [
        {HIGHEST: ["sky", "grass"], "there": ["sky", "sea"]},
        {HIGHEST: ["sky"], "there": ["sky", "grass"]},
        {HIGHEST: [], "there": ["sea"]},
    ]
    found = _figures(kept, HIGHEST)
    assert found[METHOD].value == pytest.approx((0.5 + 1) / 2) and found[METHOD].n == 2
    assert found[CHANCE].value == pytest.approx(((0.5 + 0.5) / 2 + 0.5) / 2)
    assert not np.isfinite(_figures([{HIGHEST: [], "there": []}], HIGHEST)[METHOD].value)


@pytest.fixture(scope="module")
def model() -> wf.Model:
    return wf.load("scenes:places")


def test_what_is_told_of_a_scene(model: wf.Model, tmp_path: Path) -> None:
    lab = Lab(Settings(), tmp_path)
    data = lab.dataset(split="dev")
    found = dissect(model, data, range(12), tmp_path)
    [[kept]] = Telling(model, found)([opened("scenes")[17]])
    one = scene(17)
    there = {name + ENDINGS.get(kind, "") for kind in CONCEPTS for name in one.concepts(kind)[0]}
    assert set(kept["there"]) == there and f"{one.place}-s" in there
    named = {each.name for each in found.named()}
    assert len(kept[HIGHEST]) == 5 and {*kept[HIGHEST], *kept[LOWEST]} <= named and kept["target"] == "beach"
    counts = {(each["kind"], each["name"]): each["value"] for each in _counts(model, found, "its own")}
    assert counts["all kinds", "named units"] == sum(each.iou >= 0.05 for each in found.units)
    assert counts["all kinds", "concepts"] == len(named)
    by_kind = [value for (kind, name), value in counts.items() if kind != "all kinds" and name == "named units"]
    assert sum(by_kind) == counts["all kinds", "named units"]
    chance = labelled(found.recorded, range(12), exchanged=True)
    assert len(chance.named()) < len(found.named()), "masks fit their own labels better than another picture's"
