"""Targeted attacks: within their bound, whole numbers, read again from files; figures by hand."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import wherefore as wf
from wherefore.datasets.matching import kin
from wherefore.diagnosis.attacks import attack, fed, probabilities, scores
from wherefore.diagnosis.fooling import absent, pointed, read, share, shrunk, verified
from wherefore.errors import Error
from wherefore.experiments import adversarial
from wherefore.experiments.lab import Lab, Settings
from wherefore.pages import Figures

SEEN = wf.Preprocess(resize=8, crop=8, mean=(0.5,) * 3, std=(0.5,) * 3)


class Sums(nn.Module):
    """Three classes: how much red, green and blue there is."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(scale))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3)) * self.weight


def model(scale: float, multilabel: bool = False, bgr: bool = False) -> wf.Model:
    preprocess = wf.Preprocess(resize=8, crop=8, mean=(0.5,) * 3, std=(0.5,) * 3, bgr=bgr)
    return wf.Model(Sums(scale).eval(), ["red", "green", "blue"], preprocess, multilabel=multilabel)


def seen_by(scale: float) -> wf.Model:
    """The network of colours with a layer that can be explained."""
    net = nn.Sequential(nn.Conv2d(3, 3, 1, bias=False), Sums(scale)).eval()
    with torch.no_grad():
        net[0].weight.copy_(torch.eye(3)[:, :, None, None])  # type: ignore[operator,union-attr]
    return wf.Model(net, ["red", "green", "blue"], SEEN, "0", name="colours")


def pictures(count: int = 2) -> list[Image.Image]:
    dice = np.random.default_rng(0)
    return [Image.fromarray(dice.integers(100, 150, (12, 9, 3), np.uint8)) for _ in range(count)]


def test_what_is_fed_is_what_the_network_sees_of_the_whole_picture() -> None:
    net = model(1.0)
    shown = fed(net, pictures()[0])
    assert shown.size == (8, 8)
    exact = pictures()[0].resize((8, 8), Image.Resampling.BILINEAR)
    assert np.abs(np.asarray(shown, int) - np.asarray(exact, int)).max() <= 1
    assert np.array_equal(np.asarray(fed(net, shown)), np.asarray(shown))  # once more changes nothing


@pytest.mark.parametrize("multilabel", [False, True])
@pytest.mark.parametrize("bgr", [False, True])
def test_an_attack_changes_no_pixel_by_more_than_its_bound(multilabel: bool, bgr: bool, tmp_path: Path) -> None:
    # Scores are means over 8 x 8 pixels of values of -1..1: a step of 1 moves the wanted one by scale * 2/255.
    net = model(200.0, multilabel, bgr)
    clean = [fed(net, each) for each in pictures()]
    before = probabilities(net, scores(net, clean))
    targets = [2, 0]
    found = attack(net, clean, targets)
    for i, (one, was) in enumerate(zip(found, clean, strict=True)):
        change = np.abs(one.pixels.astype(int) - np.asarray(was, int))
        assert one.bound in (2, 4, 8, 16) and 0 < change.max() <= one.bound and one.steps >= change.max()
        one.picture.save(tmp_path / f"{i}.png")
        again = probabilities(net, scores(net, [read(tmp_path / f"{i}.png")]))[0]
        assert again[targets[i]] > 0.9999 > before[i, targets[i]]
        assert verified(net, tmp_path, {"file": f"{i}.png", "target": targets[i]})
        assert not verified(net, tmp_path, {"file": f"{i}.png", "target": 1})
    assert not verified(net, tmp_path, {"file": "none.png", "target": 0})


def test_the_steps_are_the_shortest_that_the_gradient_knows() -> None:
    """The gradient of a mean is the same everywhere: k steps move every pixel of the wanted channel by k."""
    net = model(300.0)
    (clean,) = [fed(net, each) for each in pictures(1)]
    (found,) = attack(net, [clean], [2])
    change = found.pixels.astype(int) - np.asarray(clean, int)
    assert (change[..., 2] == found.steps).all() and (change[..., :2] <= 0).all()


def test_what_the_last_step_did_is_looked_at() -> None:
    net = model(300.0)
    (clean,) = [fed(net, each) for each in pictures(1)]
    (free,) = attack(net, [clean], [2])
    (exact,) = attack(net, [clean], [2], bounds=(16,), steps=free.steps)
    assert free.bound <= 16 and (exact.bound, exact.steps) == (16, free.steps)
    (short,) = attack(net, [clean], [2], bounds=(16,), steps=free.steps - 1)
    assert short.bound == 0


def test_an_attack_that_fails_says_so() -> None:
    net = model(1e-3)
    (found,) = attack(net, [fed(net, pictures(1)[0])], [1], bounds=(1, 2), steps=4)
    assert found.bound == 0
    assert np.abs(found.pixels.astype(int) - np.asarray(fed(net, pictures(1)[0]), int)).max() <= 2


def test_a_preprocess_of_another_kind_is_refused() -> None:
    net = wf.Model(Sums(1.0), ["a", "b", "c"], lambda picture: torch.zeros(3, 8, 8))
    with pytest.raises(Error, match=r"has no wf\.Preprocess"):
        fed(net, pictures()[0])


def test_measures_by_hand() -> None:
    mask = np.zeros((4, 4), bool)
    mask[1, 2] = True
    heat = torch.zeros(4, 4)
    heat[1, 2], heat[3, 3], heat[0, 0] = 3.0, 1.0, -5.0
    assert pointed(heat, mask) == 1 and share(heat, mask) == 0.75
    assert pointed(-heat, mask) == 0 and share(torch.zeros(4, 4), mask) == pointed(torch.zeros(4, 4), mask) == 0
    assert shrunk(mask.repeat(2, 0).repeat(2, 1), (4, 4)).tolist() == mask.tolist()


def test_what_is_not_there_is_no_label_and_not_likely() -> None:
    likely = torch.tensor([0.9, 0.05, 5e-4, 0.04, 2e-4, 0.0093])
    drawn = {absent(likely, {2}, random.Random(seed)) for seed in range(50)}
    assert drawn == {4}, "2 is there, and the others may be"
    assert {absent(likely, set(), random.Random(seed)) for seed in range(50)} == {2, 4}, "by lot"
    assert absent(likely, {2, 4}, random.Random(0)) == 5, "none is unlikely: the least likely one"
    assert absent(likely, range(6), random.Random(0)) is None


def test_classes_of_one_kind_are_there_together() -> None:
    from torchvision.models._meta import _IMAGENET_CATEGORIES as names

    assert kin([282], names) == {281, 282, 283, 284, 285}, "the cats of ILSVRC"
    assert {151, 268} <= kin([242], names) and 282 not in kin([242], names), "dogs, and no cats"
    assert kin([0], names) == {0} and kin([], names) == set(), "a tench is of no category"
    assert kin([282], [str(i) for i in range(1000)]) == {282} and kin([1], ["red", "green"]) == {1}


def test_a_folder_of_labels_is_attacked_without_boxes(tmp_path: Path) -> None:
    """Two labels a picture, as in Fig. 7: nothing is said of where maps lie, and all else is."""
    for i, picture in enumerate(pictures(2)):
        picture.save(tmp_path / f"{i}.png")
    rows = [f"{i}.png,{label}" for i in range(2) for label in ("red", "green")]
    (tmp_path / "labels.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    lab = Lab(Settings(f"folder:{tmp_path}", limit=2), tmp_path / "out")
    lab.networks = lambda *names: [lab.take(seen_by(200.0))]  # type: ignore[method-assign]
    found = adversarial.adversarial(lab)
    assert found.settings["checked"]["colours"] == {
        "pictures": "two labels, no boxes", "attacked": 2, "fooled": 2, "read again above": 0.9999
    }  # fmt: skip
    measures = {row["measure"] for row in found.rows}
    assert "rank correlation with the clean map" in measures and not any("peak" in each for each in measures)
    assert not found.verdicts and len(list((tmp_path / "out" / "attacked").rglob("*.png"))) == 2
    success = next(row for row in found.rows if row["measure"] == "attacks that succeed")
    assert success["value"] == success["high"] == 1 and 0.3 < success["low"] < 0.4 and success["n"] == 2, "Wilson's"
    shown = found.sections[1].parts[0]
    assert isinstance(shown, Figures) and shown.columns == 5, "the picture, the attacked one, two labels, the target"


def test_a_lost_file_is_attacked_again_and_other_preprocessing_has_files_of_its_own(tmp_path: Path) -> None:
    picture = pictures(1)[0]
    (tmp_path / "some" / "red").mkdir(parents=True)
    picture.save(tmp_path / "some" / "red" / "1.png")

    def run(net: wf.Model) -> dict[str, Any]:
        lab = Lab(Settings(f"folder:{tmp_path / 'some'}"), tmp_path / "out")
        lab.networks = lambda *names: [lab.take(net)]  # type: ignore[method-assign]
        return adversarial.adversarial(lab).settings["checked"]["colours"]  # type: ignore[no-any-return]

    def files() -> list[Path]:
        return sorted((tmp_path / "out" / "attacked").rglob("*.png"))

    first, [file] = run(seen_by(200.0)), files()
    content = file.read_bytes()
    file.unlink()
    assert run(seen_by(200.0)) == first and first["fooled"] == 1, "a lost file is no attack withstood"
    assert files() == [file] and file.read_bytes() == content
    other = replace(SEEN, std=(0.25,) * 3)
    assert run(replace(seen_by(200.0), preprocess=other))["fooled"] == 1
    assert len(files()) == 2, "what is fed otherwise is attacked anew"


def test_a_network_of_what_is_there_alone_cannot_be_fooled(tmp_path: Path) -> None:
    for label in ("red", "green", "blue"):
        (tmp_path / "all" / label).mkdir(parents=True)
    pictures(1)[0].save(tmp_path / "all" / "1.png")
    rows = [f"1.png,{label}" for label in ("red", "green", "blue")]
    (tmp_path / "all" / "labels.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    lab = Lab(Settings(f"folder:{tmp_path / 'all'}"), tmp_path / "out")
    lab.networks = lambda *names: [lab.take(seen_by(200.0))]  # type: ignore[method-assign]
    with pytest.raises(Error, match="has no class that is not in the picture"):
        adversarial.adversarial(lab)


def test_figures_count_each_picture_once() -> None:
    kept = [
        {**{f"{key} {of}": values for key in ("p", "hit", "energy") for of in ("clean", "fooled")},
         "before": 0.0, "after": 1.0, "absent": values, "rank": values, "areas": values, "area": 0.5, "bound": 2}
        for values in ([1.0, 0.0], [1.0])
    ]  # fmt: skip
    figures = adversarial.figures_of(kept)
    assert figures[adversarial.CLEAN, "peak on what is there"].value == 0.75
    assert figures[adversarial.FOOLED, "probability of what is not there"].value == 1
