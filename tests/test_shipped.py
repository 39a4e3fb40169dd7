"""The shipped networks: as good as their cards say, and what the paper says of Grad-CAM seen on them.

Numbers on scenes are not the paper's numbers.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import wherefore as wf
from wherefore.models.scenes import MULTI, NETWORKS, SHIPPED, WORDED, card
from wherefore.scenes import Scene, scene
from wherefore.training.recipes import recipe_for

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import networks as written

OF_SCENES = [name for name in NETWORKS if not name.startswith("people")]


def accuracy(name: str, row: str) -> dict[str, Any]:
    return next(each for each in card(name)["accuracy"] if each["name"] == row)


# -------------------------------------------------------------------------------------------- how good they are


@pytest.mark.parametrize("name", OF_SCENES)
def test_a_card_is_true_of_the_network(name: str) -> None:
    """Asked one by one through `explain`'s own preprocessing, on test scenes that the card counts too."""
    model, right = wf.load(f"scenes:{name}"), 0
    shown = [scene(i, objects=1) for i in range(150)]
    assert model.preprocess is not None and model.classes is not None
    with torch.inference_mode():
        for s in shown:
            best = model.classes[int(model.net(model.preprocess(s.image)[None]).argmax())]
            right += best == (s.labels[0] if card(name)["task"] == MULTI else s.place)
    row = next(r for r in card(name)["accuracy"] if "one object" in r["name"] or "top-1" in r["name"])
    spread = 3.3 * np.sqrt(max(row["value"] * (1 - row["value"]), 0.01) / len(shown))
    assert abs(right / len(shown) - row["value"]) < spread


@pytest.mark.parametrize("name", NETWORKS)
def test_a_card_has_the_recipe_that_trains_it(name: str) -> None:
    recipe, said = recipe_for(name), card(name)
    own = {key: value for key, value in said["recipe"].items() if key != "start sha256"}
    assert own == json.loads(json.dumps(recipe.settings)) and said["seed"] == recipe.seed
    assert said["data"] == json.loads(json.dumps(recipe.source))
    assert said["recipe"].get("start sha256") == (card(recipe.start)["sha256"] if recipe.start else None)


def test_vgg_is_good_and_alexnet_is_clearly_weaker() -> None:
    assert accuracy("vgg", "top-1, one object")["value"] >= 0.95
    assert accuracy("vgg", "both names first, two objects")["value"] >= 0.85
    for row in ("top-1, one object", "both names first, two objects"):
        assert accuracy("alexnet", row)["high"] < accuracy("vgg", row)["low"]


def test_all_together_are_small() -> None:
    assert {p.stem for p in SHIPPED.glob("*.safetensors")} == {*NETWORKS, *WORDED}
    assert sum(p.stat().st_size for p in SHIPPED.iterdir() if p.stem in NETWORKS) <= 15e6
    assert all((SHIPPED / f"{name}.safetensors").stat().st_size <= 3e6 for name in WORDED)


def test_the_table_of_networks_is_what_the_cards_say() -> None:
    page = Path(__file__).parents[1] / "docs" / "networks.md"
    assert page.read_text(encoding="utf-8") == written.page(), "run python benchmarks/networks.py"


# -------------------------------------------------------------------------------------------- where they look


def spots(name: str, method: str, shown: list[Scene]) -> Counter[str]:
    """How often the peak for a thing that a picture shows lies on it, on the other thing, or on neither."""
    model, found = wf.load(f"scenes:{name}"), Counter[str]()
    for s in shown:
        peaks = wf.explain(model, s, list(s.labels), method=method).peaks()[0].tolist()
        for i, (x, y) in enumerate(peaks):
            here, there = s.mask(s.labels[i]), s.mask(s.labels[1 - i])
            found["named" if here[y, x] else "other" if there[y, x] else "neither"] += 1
    return found


@pytest.fixture(scope="module")
def pairs() -> list[Scene]:
    return [scene(i, objects=2) for i in range(60)]


@pytest.mark.parametrize("name", ["vgg", "googlenet", "vgg-cam", "resnet"])
def test_grad_cam_finds_the_thing_that_is_named(name: str, pairs: list[Scene]) -> None:
    found = spots(name, "grad-cam", pairs)
    assert found["named"] > 8 * found["other"] and found["named"] > 0.5 * found.total(), found


def test_guided_backprop_tells_classes_apart_less_than_grad_cam(pairs: list[Scene]) -> None:
    guided, cam, both = (spots("vgg", m, pairs) for m in ("guided-backprop", "grad-cam", "guided-grad-cam"))
    assert guided["other"] > cam["other"] and guided["other"] > both["other"], (guided, cam, both)


def test_maps_of_two_classes_differ_for_grad_cam_and_hardly_for_guided_backprop(pairs: list[Scene]) -> None:
    """The paper's claim in its own words: guided backprop is not class-discriminative, its maps are nearly the same."""
    model, alike = wf.load("scenes:vgg"), dict[str, float]()
    for method in ("guided-backprop", "grad-cam"):
        maps = [wf.explain(model, s, list(s.labels), method=method).maps[0].flatten(1) for s in pairs[:30]]
        alike[method] = float(np.nanmean([torch.nn.functional.cosine_similarity(a, b, 0).item() for a, b in maps]))
    assert alike["grad-cam"] < 0.35 < 0.5 < alike["guided-backprop"], alike


def test_cam_is_grad_cam_on_googlenet() -> None:
    model = wf.load("scenes:googlenet")
    cam, grad_cam = (wf.explain(model, "scenes:pair/0", "all", method=m).maps for m in ("cam", "grad-cam"))
    places = grad_cam.shape[-1] * grad_cam.shape[-2]
    torch.testing.assert_close(cam.clamp(min=0) / places, grad_cam, rtol=1e-4, atol=1e-6)
