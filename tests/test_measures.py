"""Metrics of explanations: cases by hand, slow loops, what changes nothing, and that the truth beats its inverse."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

import reference
import wherefore as wf
from fixtures_metrics import at_pixels, explained, rectangle, sampled, thing
from wherefore.datasets import Sample
from wherefore.explanation import Explanation
from wherefore.metrics import (
    METRICS,
    area_box,
    area_mask,
    box_iou,
    box_right,
    difficult,
    energy_box,
    energy_mask,
    errors,
    grabcut_box,
    iou,
    max_box_accuracy,
    mean_box,
    pointing_game,
    share_box,
    smoothed,
    smoothed_box,
    sweep,
)
from wherefore.subjects import Text

SIZE = (40, 30)
WHOLE = (0, 0, 39, 29)
COMPARES = {"class-separation"}  # maps with each other, not with the truth


def one(metric, maps, sample: Sample, category: str = "cat", **options) -> float:
    """The value of a metric for one map of one sample."""
    return float(metric(explained(maps, [sample], [[category]]), [sample], **options))


def boxed_cat(box=(10, 5, 19, 14), **flags) -> Sample:
    return sampled(SIZE, thing("cat", box, rectangle(SIZE, box), **flags))


# -------------------------------------------------------------------------------------------- every metric


class Lit(torch.nn.Module):
    """A network whose scores are the brightness of two places: what a perfect map would say is known."""

    def __init__(self, masks: list[np.ndarray]) -> None:
        super().__init__()
        self.register_buffer("masks", torch.from_numpy(np.stack(masks)).float())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return (images.mean(1)[:, None] * self.masks).sum((2, 3)) / 60


def planted() -> tuple[Sample, torch.Tensor, Callable[[torch.Tensor], Explanation]]:
    """A picture with two bright things on black, their masks as maps ``(1, 2, H, W)``, and what explains by maps."""
    size, boxes = (48, 48), [(14, 10, 24, 20), (29, 26, 41, 40)]
    masks = [rectangle(size, box) for box in boxes]
    array = np.full((48, 48, 3), 10, np.uint8)
    for mask in masks:
        array[mask] = 250
    things = [thing(name, box, mask) for name, box, mask in zip(("cat", "dog"), boxes, masks, strict=True)]
    sample = sampled(size, *things, image=Image.fromarray(array))
    preprocess = wf.Preprocess(48, 48, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    model = wf.Model(Lit(masks), classes=["cat", "dog"], name="lit", preprocess=preprocess)
    scores = model.net(preprocess(sample.image)[None])

    def explaining(maps: torch.Tensor) -> Explanation:
        return explained(maps, [sample], [["cat", "dog"]], model=model, scores=scores)

    return sample, torch.stack([at_pixels(mask)[0, 0] for mask in masks])[None], explaining


def test_every_metric_says_what_it_is() -> None:
    assert {"localization", "box-iou", "pointing", "energy-box", "energy-mask", "class-separation"} <= set(METRICS)
    for entry in METRICS.values():
        low, high = entry.about["bounds"]
        assert entry.about["better"] in ("higher", "lower") and entry.about["paper"] and entry.summary
        assert low is None or high is None or low < high


@pytest.mark.parametrize("name", METRICS)
def test_the_truth_beats_its_inverse(name: str) -> None:
    if name in COMPARES:
        pytest.skip("compares maps with each other")
    sample, maps, explaining = planted()
    true, inverse = values = [METRICS[name].run(explaining(m), [sample]) for m in (maps, 1 - maps)]
    assert true.shape == (1, 2) and not true.isnan().any() and not inverse.isnan().any()
    low, high = METRICS[name].about["bounds"]
    for value in values:
        assert (low is None or (value >= low).all()) and (high is None or (value <= high).all())
    assert ((true > inverse) if METRICS[name].about["better"] == "higher" else (true < inverse)).all()


@pytest.mark.parametrize("name", METRICS)
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 10_000), power=st.integers(-30, 30))
def test_a_factor_changes_nothing(name: str, seed: int, power: int) -> None:
    sample, _, explaining = planted()
    maps = torch.randn(1, 2, 7, 7, generator=torch.Generator().manual_seed(seed))
    plain, scaled = (METRICS[name].run(explaining(m), [sample]) for m in (maps, maps * 2.0**power))
    torch.testing.assert_close(plain, scaled, rtol=1e-9, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize("metric", [box_right, box_iou, pointing_game, energy_box, energy_mask])
def test_what_is_not_annotated_is_not_measured(metric) -> None:
    sample, maps, _ = planted()
    e = explained(maps, [sample], [["cat", "cow"]])
    assert metric(e, [sample]).isnan().tolist() == [[False, True]]
    left_out = sampled((48, 48), *sample.instances, boxed=False)
    assert metric(e, [left_out]).isnan().all()
    with pytest.raises(wf.Error, match="1 pictures were explained and 2 samples given"):
        metric(e, [sample, sample])
    with pytest.raises(wf.Error, match="not the same picture: 48x48 and 40x30"):
        metric(e, [boxed_cat()])
    e.pictures[0] = Text("words", ("a",))
    with pytest.raises(wf.Error, match="words is no picture"):
        metric(e, [sample])


# -------------------------------------------------------------------------------------------- localization


def test_localization_by_hand() -> None:
    sample = boxed_cat()
    assert one(box_iou, at_pixels(rectangle(SIZE, (10, 5, 19, 14))), sample) == 1
    half = at_pixels(rectangle(SIZE, (10, 5, 14, 14)))  # 50 of 100 pixels
    assert one(box_iou, half, sample) == 0.5 and one(box_right, half, sample) == 1
    less = at_pixels(rectangle(SIZE, (10, 5, 14, 13)))
    assert one(box_iou, less, sample) == 0.45 and one(box_right, less, sample) == 0
    assert one(box_right, less, sample, least=0.45) == 1
    faint = half + 0.1 * at_pixels(rectangle(SIZE, WHOLE))  # 0.1 of 1.1 is below 15 %
    assert one(box_iou, faint, sample) == 0.5
    assert one(box_iou, faint, sample, rule=partial(share_box, threshold=0.05)) == pytest.approx(100 / 1200)


def test_an_empty_map_has_the_whole_picture_as_its_box() -> None:
    empty = torch.zeros(1, 1, 4, 4)
    assert one(box_iou, empty, boxed_cat(WHOLE)) == 1
    assert one(box_iou, empty, boxed_cat()) == pytest.approx(100 / 1200)
    assert one(box_iou, empty - 1, boxed_cat(WHOLE)) == 1  # as has one of negative values


def test_any_of_several_things_may_be_found_but_no_crowd() -> None:
    two = sampled(SIZE, thing("cat", (0, 0, 4, 4)), thing("cat", (10, 5, 19, 14)), thing("dog", WHOLE))
    heat = at_pixels(rectangle(SIZE, (10, 5, 19, 14)))
    assert one(box_iou, heat, two) == 1
    crowd = sampled(SIZE, thing("cat", (0, 0, 4, 4)), thing("cat", (10, 5, 19, 14), crowd=True))
    assert one(box_iou, heat, crowd) == 0
    assert math.isnan(one(box_right, heat, sampled(SIZE, thing("cat", (10, 5, 19, 14), crowd=True))))


def test_negative_values_are_below_the_threshold() -> None:
    heat = 5 * at_pixels(rectangle(SIZE, (10, 5, 19, 14))) - 2
    assert one(box_iou, heat, boxed_cat()) == 1


def test_boxes_equal_those_of_a_slow_search() -> None:
    rng = np.random.default_rng(3)
    for threshold in (0.15, 0.5, 0.8):
        heat = torch.from_numpy(rng.normal(size=(14, 19)).astype(np.float32))
        assert share_box(Image.new("RGB", (19, 14)), heat, threshold) == reference.largest_part(heat, threshold)
        sample = sampled((19, 14), thing("cat", (3, 2, 9, 8)))
        expected = reference.overlap(reference.largest_part(heat, threshold), (3, 2, 9, 8))
        assert one(box_iou, heat[None, None], sample, rule=partial(share_box, threshold=threshold)) == expected


def test_the_rule_of_means() -> None:
    heat = torch.zeros(30, 40)
    heat[5:15, 10:20], heat[5:15, 20:30] = 4.0, 1.0  # mean 500 / 1200
    picture = Image.new("RGB", SIZE)
    assert mean_box(picture, heat, 2.0) == (10, 5, 29, 14)
    assert mean_box(picture, heat, 3.0) == (10, 5, 19, 14)
    assert mean_box(picture, heat, 100.0) == (10, 5, 19, 14)  # above all of it: the maximum
    assert mean_box(picture, torch.zeros(30, 40), 2.0) == WHOLE
    assert mean_box(picture, heat - 3, 2.0) == (10, 5, 19, 14)  # a mean below 0: what is positive


def test_specks_are_smoothed_away() -> None:
    heat = torch.zeros(100, 100)
    heat[40:60:2, 40:60:2] = 1.0  # points of which no two touch
    picture = Image.new("RGB", (100, 100))
    assert iou(share_box(picture, heat), (40, 40, 58, 58)) < 0.01
    assert smoothed_box(picture, heat) == share_box(picture, smoothed(heat))
    assert iou(smoothed_box(picture, heat), (40, 40, 58, 58)) > 0.6


def test_grabcut_is_a_rule_like_any_other() -> None:
    pytest.importorskip("cv2")
    array = np.full((60, 80, 3), (40, 140, 60), np.uint8)
    array[20:40, 30:60] = (200, 40, 30)
    sample = sampled((80, 60), thing("cat", (30, 20, 59, 39)), image=Image.fromarray(array))
    heat = at_pixels(rectangle((80, 60), (40, 26, 49, 33)))
    assert one(box_iou, heat, sample, rule=grabcut_box) > 0.9 > 0.3 > one(box_iou, heat, sample)


def pixels_above(side: int, corner: Fraction, length: int, cells: int, first: int, last: int) -> list[int]:
    """The pixels where a row of cells, 1 from first to last and 0 elsewhere, spread over a length, is above a third.

    Between two cells it rises linearly: a third is reached a sixth of a cell beyond the edge.
    """
    step, half = Fraction(length, cells), Fraction(1, 2)
    low = corner + (first * step - step / 6 if first else 0)
    high = corner + ((last + 1) * step + step / 6 if last + 1 < cells else length)
    assume(all(abs(i + half - end) > Fraction(1, 1000) for i in range(side) for end in (low, high)))
    return [i for i in range(side) if low < i + half < high]


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_boxes_go_back_through_crop_and_resize_exactly(data) -> None:
    """A rectangle of cells, seen in a part of a picture of odd size, is the rectangle of pixels that it came from."""
    size = [data.draw(st.integers(31, 90)) for _ in "xy"]
    cells = data.draw(st.integers(4, 9))
    lengths = [data.draw(st.integers(cells * 3, n)) for n in size]
    corners = [Fraction(n - length, 2) for n, length in zip(size, lengths, strict=True)]  # may lie within a pixel
    first = [data.draw(st.integers(0, cells - 2)) for _ in "xy"]
    last = [data.draw(st.integers(start + 1, cells - 1)) for start in first]
    columns, rows = (pixels_above(*one) for one in zip(size, corners, lengths, [cells] * 2, first, last, strict=True))
    box = columns[0], rows[0], columns[-1], rows[-1]
    maps = torch.zeros(1, 1, cells, cells)
    maps[0, 0, first[1] : last[1] + 1, first[0] : last[0] + 1] = 1
    ends = [corner + length for corner, length in zip(corners, lengths, strict=True)]
    sample = sampled(tuple(size), thing("cat", box))
    e = explained(maps, [sample], [["cat"]], tuple(map(float, (*corners, *ends))))
    assert e.boxes(1 / 3).tolist() == [[list(box)]]
    assert float(box_iou(e, [sample], rule=partial(share_box, threshold=1 / 3))) == 1


def test_a_map_of_a_crop_is_measured_in_the_crop() -> None:
    sample = boxed_cat((5, 0, 34, 29))
    crop = 5.0, 0.0, 35.0, 30.0
    e = explained(-torch.ones(1, 1, 3, 3), [sample], [["cat"]], crop)
    assert float(box_iou(e, [sample])) == 1  # all that the network saw, not the whole picture
    seen = explained(torch.ones(1, 1, 3, 3), [sample], [["cat"]], crop)
    assert float(energy_box(seen, [sample])) == float(area_box(seen, [sample])) == 1
    below = explained(torch.tensor([[[[-3.0, -1], [-2, -2]]]]), [sample], [["cat"]], crop)
    assert float(pointing_game(below, [sample], tolerance=0)) == 1  # its highest value, not the 0 beside the crop


# -------------------------------------------------------------------------------------------- errors of ILSVRC


def random_box(rng: random.Random, side: int = 14) -> tuple[int, int, int, int]:
    (x0, x1), (y0, y1) = (sorted(rng.choices(range(side), k=2)) for _ in "xy")
    return x0, y0, x1, y1


def test_iou_counts_pixels() -> None:
    rng = random.Random(1)
    for _ in range(300):
        a, b = random_box(rng), random_box(rng)
        assert iou(a, b) == pytest.approx(reference.overlap(a, b), abs=1e-12)


def test_errors_equal_those_of_the_devkits_routine() -> None:
    rng = random.Random(7)
    pictures = []
    for _ in range(150):
        label, count = rng.choice("abcdefgh"), rng.randint(1, 3)
        boxes = [random_box(rng) for _ in range(count)]
        near = [tuple(max(0, v + rng.randint(-1, 1)) for v in rng.choice(boxes)) for _ in range(5)]
        near = [(x0, y0, max(x0, x1), max(y0, y1)) for x0, y0, x1, y1 in near]
        guesses = list(zip(rng.sample("abcdefgh", 5), near, strict=True))
        pictures.append({"label": label, "guesses": guesses, "things": [(label, box) for box in boxes]})
    left_out = set(rng.sample(range(150), 12))
    found = [
        errors(p["guesses"], p["guesses"][0][1], p["label"], [box for _, box in p["things"]], i not in left_out)
        for i, p in enumerate(pictures)
    ]
    rates = np.nanmean(np.array(found), 0)
    for k, box_rate, class_rate in ((1, rates[2], rates[0]), (5, rates[3], rates[1])):
        of_boxes, of_classes = reference.localization_errors(pictures, left_out, k)
        assert box_rate == pytest.approx(of_boxes) and class_rate == pytest.approx(of_classes)
        assert 0.05 < of_classes < of_boxes < 1
    known = [p | {"guesses": [(p["label"], p["guesses"][0][1])]} for p in pictures]
    assert rates[4] == pytest.approx(reference.localization_errors(known, left_out, 1)[0])


def test_errors_by_hand() -> None:
    truth, off = (0, 0, 9, 9), (20, 20, 29, 29)
    guesses = [("dog", truth), ("cat", off), ("cow", truth), ("fox", truth), ("hen", truth), ("cat", truth)]
    assert errors(guesses, truth, "cat", [truth]) == (1, 0, 1, 1, 0)  # the sixth guess does not count
    assert errors([("cat", (0, 0, 9, 4)), *guesses], off, "cat", [truth]) == (0, 0, 0, 0, 1)
    assert errors(guesses, truth, "cat", [off, truth])[3] == 0
    found = errors(guesses, truth, "cat", [truth], boxed=False)
    assert found[:2] == (1, 0) and all(math.isnan(v) for v in found[2:])
    assert math.isnan(errors(guesses, truth, "cat", []).known)


def test_max_box_accuracy_is_that_of_the_best_threshold() -> None:
    overlaps = [[0.2, 0.6, 0.4], [0.55, 0.35, 0.1], [0.9, 0.5, 0.2], [float("nan")] * 3]
    assert max_box_accuracy(overlaps) == pytest.approx(2 / 3)
    assert max_box_accuracy(overlaps, (0.3, 0.5, 0.7)) == pytest.approx((1 + 2 / 3 + 1 / 3) / 3)
    assert max_box_accuracy(overlaps, times=[0, 3, 1, 5]) == 1
    assert math.isnan(max_box_accuracy([[float("nan")]]))


def test_a_sweep_is_one_threshold_after_another() -> None:
    samples = [boxed_cat(), boxed_cat((3, 3, 30, 20))]
    e = explained(torch.rand(2, 2, 5, 5), samples, [["cat", "dog"]] * 2)
    thresholds = [0.0, 0.15, 0.6, 1.0]
    found = sweep(e, samples, thresholds)
    assert found.shape == (2, 2, 4) and found[:, 1].isnan().all()
    for s, threshold in enumerate(thresholds):
        expected = box_iou(e, samples, rule=partial(share_box, threshold=threshold))
        torch.testing.assert_close(found[..., s], expected, equal_nan=True)


# -------------------------------------------------------------------------------------------- pointing


def test_pointing_equals_slow_loops() -> None:
    rng = np.random.default_rng(5)
    outcomes = []
    for seed in range(40):
        mask = rng.random((12, 17)) > 0.985
        heat = torch.from_numpy(rng.integers(0, 9, (12, 17)).astype(np.float32))  # with ties
        sample = sampled((17, 12), thing("cat", (0, 0, 16, 11), mask))
        for tolerance in (0, 3, 5):
            expected = reference.pointed(heat, mask, tolerance)
            assert one(pointing_game, heat[None, None], sample, tolerance=tolerance) == expected, seed
            outcomes.append(expected)
    assert 20 < sum(outcomes) < 100


def test_pointing_by_hand() -> None:
    size = (80, 60)
    sample = sampled(size, thing("cat", (10, 10, 19, 19)), thing("dog", (60, 40, 69, 49)))
    heat = at_pixels(rectangle(size, (34, 15, 34, 15)))  # 15 pixels from the last column
    assert one(pointing_game, heat, sample) == 0 and one(pointing_game, heat, sample, tolerance=15.1) == 1
    assert (
        one(pointing_game, heat.roll(-1, 3), sample) == 1
        and one(pointing_game, heat.roll(-1, 3), sample, tolerance=0) == 0
    )
    assert one(pointing_game, heat - 5, sample, tolerance=15.1) == 1  # a signed map


def test_the_category_is_its_masks_or_its_boxes() -> None:
    masked = thing("cat", (10, 5, 19, 14), rectangle(SIZE, (10, 5, 12, 14)))
    heat = at_pixels(rectangle(SIZE, (18, 8, 18, 8)))
    assert one(pointing_game, heat, sampled(SIZE, masked), tolerance=0) == 0
    assert one(pointing_game, heat, sampled(SIZE, masked), tolerance=0, boxes=True) == 1
    boxed = thing("cat", (16, 0, 20, 10))  # without a mask, its box
    assert one(pointing_game, heat, sampled(SIZE, masked, boxed), tolerance=0) == 1


def test_flat_maps_point_at_the_first_pixel_or_at_their_middle() -> None:
    flat = torch.zeros(1, 1, 6, 8)
    corner, middle = boxed_cat((0, 0, 3, 3)), boxed_cat((18, 13, 22, 17))
    assert one(pointing_game, flat, corner, tolerance=0) == 1 and one(pointing_game, flat, middle, tolerance=0) == 0
    assert one(pointing_game, flat, corner, tolerance=0, centroid=True) == 0
    assert one(pointing_game, flat, middle, tolerance=0, centroid=True) == 1


def test_specks_are_smoothed_before_the_game() -> None:
    size = (100, 100)
    heat = 2 * at_pixels(rectangle(size, (80, 80, 80, 80))) + at_pixels(rectangle(size, (20, 20, 26, 26)))
    sample = sampled(size, thing("cat", (20, 20, 26, 26)))
    assert one(pointing_game, heat, sample) == 0 and one(pointing_game, heat, sample, smooth=True) == 1


def test_difficult_things_are_not_asked_for_but_count() -> None:
    hard, easy = thing("cat", (30, 20, 39, 29), difficult=True), thing("cat", (0, 0, 3, 3))
    heat = at_pixels(rectangle(SIZE, (35, 25, 35, 25)))
    assert math.isnan(one(pointing_game, heat, sampled(SIZE, hard)))
    assert one(pointing_game, heat, sampled(SIZE, hard), only_difficult=True) == 1
    assert one(pointing_game, heat, sampled(SIZE, hard, easy), tolerance=0) == 1
    assert one(pointing_game, heat, sampled(SIZE, thing("cat", (30, 20, 39, 29), crowd=True)), tolerance=0) == 1


def test_what_is_small_and_not_alone_is_difficult() -> None:
    other = thing("dog", (0, 0, 1, 1))
    quarter, less = thing("cat", (0, 0, 19, 14)), thing("cat", (0, 0, 19, 13))  # 300 and 280 of 1,200 pixels
    assert difficult(sampled(SIZE, less, other), "cat") and not difficult(sampled(SIZE, quarter, other), "cat")
    assert not difficult(sampled(SIZE, less), "cat") and not difficult(sampled(SIZE, less, less), "cat")
    twice = [thing("cat", (0, 0, 19, 7)), thing("cat", (0, 0, 19, 10))]  # they overlap: 220 pixels
    assert difficult(sampled(SIZE, *twice, other), "cat") and not difficult(sampled(SIZE, less, other), "cow")


# -------------------------------------------------------------------------------------------- energy


def test_energy_by_hand() -> None:
    box = (10, 5, 19, 14)
    mask = rectangle(SIZE, (10, 5, 14, 14))
    sample = sampled(SIZE, thing("cat", box, mask))
    heat = 3 * at_pixels(mask) + at_pixels(rectangle(SIZE, (15, 5, 24, 14)))  # 150 on it, 50 in the box, 50 beside it
    assert one(energy_mask, heat, sample) == pytest.approx(150 / 250)
    assert one(energy_box, heat, sample) == pytest.approx(200 / 250)
    negative = heat - 7 * at_pixels(rectangle(SIZE, (30, 20, 39, 29)))
    assert one(energy_box, negative, sample) == pytest.approx(200 / 250)  # what speaks against it is left aside
    assert one(energy_box, heat, boxed_cat(WHOLE)) == 1
    for empty in (0 * heat, -heat):
        assert math.isnan(one(energy_box, empty, sample)) and math.isnan(one(energy_mask, empty, sample))


def test_an_even_map_has_the_energy_of_the_area() -> None:
    sample = sampled(
        SIZE,
        thing("cat", (0, 0, 9, 9), rectangle(SIZE, (0, 0, 4, 4))),
        thing("cat", (5, 5, 14, 14), rectangle(SIZE, (5, 5, 14, 14)), crowd=True),
    )
    even = torch.ones(1, 1, 2, 2)
    assert one(energy_box, even, sample) == pytest.approx(175 / 1200)  # they share 25 pixels
    assert one(energy_mask, even, sample) == pytest.approx(125 / 1200)
    assert one(area_box, even, sample) == 175 / 1200 and one(area_mask, even, sample) == 125 / 1200
    no_masks = sampled(SIZE, *sample.instances, thing("cat", (20, 20, 25, 25)))
    assert math.isnan(one(energy_mask, even, no_masks)) and math.isnan(one(area_mask, even, no_masks))
    assert one(area_box, even, no_masks) == (175 + 36) / 1200
