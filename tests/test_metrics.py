"""Boxes, points and intervals on cases that can be worked out by hand."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import wherefore as wf
from wherefore.metrics import accuracy, grabcut_box, hits, interval, iou, localized, smoothed


def test_iou_counts_both_ends() -> None:
    assert iou((0, 0, 0, 0), (0, 0, 0, 0)) == 1
    assert iou((0, 0, 9, 9), (5, 0, 14, 9)) == pytest.approx(50 / 150)
    assert iou((0, 0, 9, 9), (9, 9, 10, 10)) == pytest.approx(1 / 103)
    assert iou((0, 0, 9, 9), (10, 0, 19, 9)) == 0  # neighbours share no pixel
    assert iou((3, 3, 3, 3), (0, 0, 9, 9)) == iou((0, 0, 9, 9), (3, 3, 3, 3)) == pytest.approx(0.01)


def test_a_box_is_right_from_half_an_overlap_on_any_truth() -> None:
    assert localized((0, 0, 9, 4), [(50, 50, 60, 60), (0, 0, 9, 9)])
    assert not localized((0, 0, 9, 3), [(0, 0, 9, 9)])
    assert localized((0, 0, 9, 3), [(0, 0, 9, 9)], 0.4)
    assert not localized((0, 0, 9, 9), [])


def test_smoothing_keeps_the_sum_and_has_the_deviation_it_says() -> None:
    heat = torch.zeros(100, 200)
    heat[50, 100] = 3.0
    result = smoothed(heat)
    assert result.dtype == torch.float32 and result.shape == heat.shape
    assert float(result.sum()) == pytest.approx(3, rel=1e-4)
    columns = torch.arange(200.0) - 100
    assert math.sqrt(float((result.sum(0) * columns**2).sum()) / 3) == pytest.approx(4, rel=0.01)  # 2 % of 200
    specks = torch.zeros(100, 100)
    specks[10, 10] = 2.0
    specks[60:65, 60:65] = 1.0
    assert wf.imaging.peak(specks) == (10, 10) and wf.imaging.peak(smoothed(specks)) == (62, 62)


def drawn(side: int = 100) -> tuple[Image.Image, tuple[int, int, int, int]]:
    """A red rectangle on a noisy green ground."""
    rng = np.random.default_rng(0)
    pixels = rng.normal((40, 140, 60), 12, (side, side, 3))
    pixels[30:71, 20:81] = rng.normal((200, 40, 30), 12, (41, 61, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), (20, 30, 80, 70)


def spot(x: float, y: float, side: int = 100, width: float = 15) -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.arange(float(side)), torch.arange(float(side)), indexing="ij")
    return torch.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * width**2))


def test_grabcut_finds_the_rectangle_from_a_spot_on_it() -> None:
    pytest.importorskip("cv2")
    picture, truth = drawn()
    found = grabcut_box(picture, spot(50, 50))
    assert iou(found, truth) > 0.95
    assert iou(wf.imaging.box(spot(50, 50)), truth) < iou(found, truth)  # which the threshold does not
    assert all(grabcut_box(picture, spot(50, 50)) == found for _ in range(3))
    rectified = torch.where(spot(50, 50) > 0.3, spot(50, 50), 0)  # 0 on more than 30 % of the pixels
    assert iou(grabcut_box(picture, rectified), truth) > 0.95


def test_grabcut_without_anything_to_begin_with() -> None:
    picture, _ = drawn()
    assert grabcut_box(picture, torch.zeros(100, 100)) == (0, 0, 99, 99)
    assert grabcut_box(picture, torch.full((100, 100), 2.0)) == (0, 0, 99, 99)


def test_grabcut_that_loses_its_object_keeps_the_part_it_began_with(monkeypatch: pytest.MonkeyPatch) -> None:
    cv2 = pytest.importorskip("cv2")
    monkeypatch.setattr(cv2, "grabCut", lambda pixels, mask, *_: mask.fill(cv2.GC_BGD))
    slope = torch.linspace(0, 1, 100).repeat(100, 1)
    assert grabcut_box(drawn()[0], slope) == (95, 0, 99, 99)


def test_grabcut_of_a_black_picture_is_a_box_in_it() -> None:
    pytest.importorskip("cv2")
    x0, y0, x1, y1 = grabcut_box(Image.new("RGB", (100, 100)), spot(50, 50))
    assert 0 <= x0 <= 50 <= x1 < 100 and 0 <= y0 <= 50 <= y1 < 100


def test_grabcut_refuses_a_map_of_another_size_and_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    picture, _ = drawn()
    with pytest.raises(wf.Error, match="the map is 50x50, the picture 100x100"):
        grabcut_box(picture, spot(20, 20, 50))
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(wf.Error, match=r"needs OpenCV: pip install 'wherefore\[eval\]'"):
        grabcut_box(picture, spot(50, 50))


def test_a_point_hits_what_is_nearer_than_the_tolerance() -> None:
    mask = np.zeros((60, 80), dtype=bool)
    mask[30, 40] = True
    assert hits((40, 30), mask) and hits((54, 30), mask) and hits((40, 16), torch.from_numpy(mask))
    assert not hits((55, 30), mask)  # exactly 15 away
    assert hits((49, 41), mask) and not hits((49, 42), mask)  # 202 and 225, of 225
    assert hits((40, 30), mask, 0) and not hits((41, 30), mask, 0)
    assert not hits((30, 40), mask, 5)  # x first, then y
    assert not hits((3, 3), np.zeros((10, 10)))


def test_accuracy_over_classes_and_over_all() -> None:
    found = accuracy([("cat", True), ("cat", True), ("cat", True), ("dog", False)])
    assert found.by_class == 0.5 and found.pooled == 0.75
    assert all(math.isnan(v) for v in accuracy([]))


def test_the_interval_is_that_of_the_normal_approximation() -> None:
    values = [1.0] * 240 + [0.0] * 160
    low, high = interval(values)
    half = 1.96 * math.sqrt(0.6 * 0.4 / 400)
    assert low == pytest.approx(0.6 - half, abs=0.008) and high == pytest.approx(0.6 + half, abs=0.008)
    assert interval(values) == (low, high) != interval(values, seed=1)
    assert interval([3.0] * 5) == (3.0, 3.0)
    assert all(math.isnan(v) for v in interval([]))


def test_the_interval_of_another_statistic_draws_pictures_whole() -> None:
    pictures = [[("cat", True), ("dog", True)]] * 20 + [[("cat", False), ("dog", False)]] * 20
    low, high = interval(pictures, statistic=lambda some: accuracy([o for one in some for o in one]).by_class)
    half = 1.96 * 0.5 / math.sqrt(40)  # 40 pictures, not 80 outcomes
    assert low == pytest.approx(0.5 - half, abs=0.03) and high == pytest.approx(0.5 + half, abs=0.03)
