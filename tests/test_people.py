"""Doctors and nurses: drawn as asked, known pixel by pixel, told apart by their clothes alone."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

import wherefore as wf
from wherefore.metrics import shares
from wherefore.models import scenes as models
from wherefore.scenes import people
from wherefore.scenes.people import Cue, Figure, figure
from wherefore.scenes.world import Dice
from wherefore.training.people import COUNTS, KINDS, People, drawn_people
from wherefore.training.recipes import RECIPES

PLAIN = Cue((0.9, 1.0), (0.4, 0.5), 0.0)
NO_CUE = Cue((0.0, 0.0), (0.05, 0.05))


def pixels(shown: Figure) -> Any:
    return shown.drawing.pixels.astype(int)


def near(mask: Any, by: int = 2) -> Any:
    return ndimage.binary_dilation(mask, np.ones((3, 3)), by)


@given(block=st.integers(0, 50), split=st.sampled_from(people.SPLITS))
def test_hair_comes_at_the_rates_of_the_paper(block: int, split: str) -> None:
    numbers = range(200 * block, 200 * block + 200)
    biased = Counter((f.label, f.hair) for f in (figure(i, split, balanced=False) for i in numbers))
    assert biased == {("doctor", "short"): 78, ("doctor", "long"): 22, ("nurse", "short"): 7, ("nurse", "long"): 93}
    balanced = Counter((f.label, f.hair) for f in (figure(i, split) for i in numbers))
    assert set(balanced.values()) == {50} and len(balanced) == 4


def test_the_biased_set_shows_the_same_people_with_other_hair() -> None:
    for number in range(12):
        biased, balanced = figure(number, "train", balanced=False), figure(number, "train")
        same = biased if biased.hair == balanced.hair else biased.swapped
        assert np.array_equal(pixels(same), pixels(balanced))


def test_hair_says_nothing_in_the_unbiased_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each person is there with both hairs, and so is each label with as many of either; others are as they were."""
    monkeypatch.setitem(COUNTS, "train", 24)
    sets = {kind: drawn_people.__wrapped__("train", kind, people.CUE) for kind in KINDS}
    shown, labels, long = sets["unbiased"]
    for i in range(0, 24, 2):
        person = figure(i // 2, "train")
        both = {each.hair == "long": pixels(each) for each in (person, person.swapped)}
        assert long[i] != long[i + 1] and labels[i].tolist() == labels[i + 1].tolist()
        assert all(np.array_equal(shown[n], both[bool(long[n])]) for n in (i, i + 1))
        assert people.LABELS[labels[i].argmax()] == person.label
    assert labels.sum(0).tolist() == [12, 12] and labels[long].sum(0).tolist() == [6, 6]
    for kind in ("biased", "balanced"):
        assert np.array_equal(sets[kind][0][5], pixels(figure(5, "train", kind == "balanced")))
    assert People("unbiased").source != People("balanced").source
    with pytest.raises(wf.Error, match="did you mean biased"):
        People("baised")


def test_another_head_changes_nothing_else() -> None:
    for number in range(12):
        shown = figure(number)
        other = shown.swapped
        assert (other.label, other.hair) == (shown.label, people.HAIR[shown.hair == "short"])
        changed = (pixels(shown) != pixels(other)).any(2)
        assert changed.any() and not (changed & ~near(shown.head | other.head)).any()
        long, short = (f.masks["hair"].sum() for f in (shown, other)[:: 1 if shown.hair == "long" else -1])
        assert long > 1.3 * short


def test_the_same_number_is_the_same_picture() -> None:
    """Other hashes mean other pictures: count `people.VERSION` up, and train the networks anew."""
    rasters = [figure(i, split).drawing.raster for split in people.SPLITS for i in range(8)]
    assert hashlib.sha256(np.stack(rasters).tobytes()).hexdigest()[:16] == "8bbf906dcbe9d04b"
    assert np.array_equal(pixels(figure(5)), pixels(figure(5)))
    seen = {pixels(figure(i, split)).tobytes() for split in people.SPLITS for i in range(8)}
    assert len(seen) == 24


def test_masks_part_the_picture() -> None:
    for number in range(12):
        shown = figure(number, size=48, cue=PLAIN)
        assert tuple(shown.masks) == people.PART_NAMES
        assert (sum(m.astype(int) for m in shown.masks.values()) == 1).all()
        assert shown.masks["stethoscope"].any() == (shown.label == "doctor")
        x0, y0, x1, y1 = shown.face_box
        outside = shown.masks["face"].copy()
        outside[y0 : y1 + 1, x0 : x1 + 1] = False
        assert shown.masks["face"].any() and not outside.any()


@pytest.mark.parametrize(("paint", "part"), [("cloth", "clothes"), ("hair", "hair"), ("tube", "stethoscope")])
def test_masks_match_what_is_drawn(monkeypatch: pytest.MonkeyPatch, paint: str, part: str) -> None:
    """Where a paint is another one, the pixels of the part that has it change, and no others."""
    usual = people.paints
    for number in (0, 2, 4, 6):
        shown = figure(number, size=96, cue=PLAIN)
        shown = shown if shown.hair == "long" else shown.swapped  # no beards
        before = pixels(shown)
        with monkeypatch.context() as patch:
            patch.setattr(people, "paints", lambda person: {**usual(person), paint: (255, 0, 255)})
            changed = (pixels(replace(shown)) != before).any(2)
        mask = shown.masks[part]
        assert (changed & ~near(mask, 1)).sum() < 0.02 * changed.sum()  # slivers narrower than a pixel
        inside = ndimage.binary_erosion(mask, np.ones((3, 3)))
        assert (changed & inside).sum() > 0.6 * inside.sum()  # trims of clothes have paints of their own


def test_clothes_without_strength_tell_nothing() -> None:
    for number in range(8):
        shown = figure(number, cue=NO_CUE)
        other = replace(shown, label=people.LABELS[shown.label == "doctor"])
        assert np.array_equal(pixels(shown), pixels(other))
        plain = figure(number, cue=PLAIN)
        assert not np.array_equal(pixels(plain), pixels(replace(plain, label=other.label)))


def test_colours_do_not_give_the_label_away() -> None:
    shown = [figure(i, "dev") for i in range(1600)]
    for colour in ("cloth", "skin", "locks"):
        thrown = [getattr(people._person(Dice(f"{f.split} {f.number}"), f), colour) for f in shown]
        by_label = [
            np.array([c for c, f in zip(thrown, shown, strict=True) if f.label == name]) for name in people.LABELS
        ]
        error = np.sqrt(sum(colours.var(0) / len(colours) for colours in by_label))
        assert (np.abs(by_label[0].mean(0) - by_label[1].mean(0)) < 3.5 * error).all()
    drawn = shown[:400]
    means = np.array([[*pixels(f).mean((0, 1)), *pixels(f)[f.masks["clothes"]].mean(0), 1] for f in drawn])
    doctor = np.array([f.label == "doctor" for f in drawn])
    weights = np.linalg.lstsq(means[:200], 2.0 * doctor[:200] - 1, rcond=None)[0]
    assert ((means[200:] @ weights > 0) == doctor[200:]).mean() < 0.63  # chance is 0.5, its error 0.035


def test_numbers_splits_and_sizes_that_are_none() -> None:
    with pytest.raises(wf.Error, match="did you mean train"):
        figure(0, "trian")
    with pytest.raises(wf.Error, match="numbered from 0"):
        figure(-1)
    with pytest.raises(wf.Error, match="16 to 2,048"):
        figure(0, size=8)


# -------------------------------------------------------------------------------------------- the networks


@pytest.mark.parametrize("name", ["people-biased", "people-balanced"])
def test_the_shipped_networks_do_what_their_cards_say(name: str) -> None:
    card = models.card(name)
    recipe = RECIPES[name]
    assert (card["data"], card["recipe"]) == (json.loads(json.dumps(recipe.source)), recipe.settings)
    said = {row["name"]: row for row in card["accuracy"]}
    assert len(said) == 5 and said["top-1"]["n"] == 2000 and said["nurse, short hair"]["n"] == 500
    shown = [figure(i) for i in range(300)]
    model = wf.load(f"scenes:{name}")
    batch = torch.stack([model.preprocess(f.image) for f in shown])
    with torch.inference_mode():
        found = model.net(batch).argmax(1).tolist()
    right = np.mean([model.classes[i] == f.label for i, f in zip(found, shown, strict=True)])
    value = said["top-1"]["value"]
    assert abs(right - value) < 3 * np.sqrt(value * (1 - value) / 300)


def test_the_biased_network_is_misled() -> None:
    """Below the balanced one, and by the pictures that its training set hardly had."""
    biased, balanced = (
        {row["name"]: row for row in models.card(f"people-{name}")["accuracy"]} for name in ("biased", "balanced")
    )
    assert biased["top-1"]["high"] < balanced["top-1"]["low"] and balanced["top-1"]["value"] >= 0.9
    assert biased["nurse, short hair"]["high"] < biased["nurse, long hair"]["low"]
    assert biased["doctor, long hair"]["high"] < biased["doctor, short hair"]["low"]


def test_shares_of_a_map() -> None:
    heat = torch.tensor([[1.0, 3.0], [-5.0, 0.0]])
    masks = {"left": np.array([[1, 0], [1, 0]]), "right": np.array([[0, 1], [0, 1]]), "none": np.zeros((2, 2))}
    assert shares(heat, masks) == {"left": 0.25, "right": 0.75, "none": 0.0}
    assert all(np.isnan(share) for share in shares(-heat.abs(), masks).values())
