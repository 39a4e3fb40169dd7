"""Mean IoU by one confusion matrix: hand-computed cases and slow loops."""

from __future__ import annotations

import math

import numpy as np
import pytest

from wherefore.errors import Error
from wherefore.metrics.segmentation import confusion, mean_iou, mean_iou_interval, mean_over_runs


def test_confusion_by_hand() -> None:
    truth = np.array([[0, 0, 1], [2, 255, 1]])
    predicted = np.array([[0, 1, 1], [0, 2, 1]])
    assert confusion(predicted, truth, 3).tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 0]]
    mean, (background, one, two) = mean_iou(confusion(predicted, truth, 3))
    assert (background, one, two) == (1 / 3, 2 / 3, 0.0)  # 1 of {right, 1 -> 0, 0 -> 1}; 2 of 3; never found
    assert mean == pytest.approx(1 / 3)


def test_confusion_is_the_slow_count() -> None:
    dice = np.random.default_rng(0)
    truth, predicted = dice.integers(0, 6, (13, 17)), dice.integers(0, 5, (13, 17))
    truth[truth == 5] = 255
    slow = [[0] * 5 for _ in range(5)]
    for t, p in zip(truth.ravel().tolist(), predicted.ravel().tolist(), strict=True):
        if t != 255:
            slow[t][p] += 1
    assert confusion(predicted, truth, 5).tolist() == slow
    for c, value in enumerate(mean_iou(slow).by_class):
        both = ((truth == c) & (predicted == c)).sum()
        either = (((truth == c) | (predicted == c)) & (truth != 255)).sum()
        assert value == pytest.approx(both / either)


def test_the_set_is_counted_as_one() -> None:
    small, large = np.array([[0, 2], [0, 0]]), np.array([[80, 0], [10, 10]])
    together = mean_iou(small + large)
    assert together.by_class == pytest.approx((80 / 92, 10 / 22))
    assert together.mean != pytest.approx((mean_iou(small).mean + mean_iou(large).mean) / 2)


def test_classes_that_are_nowhere_do_not_count() -> None:
    mean, by_class = mean_iou(np.diag([4, 0, 3]))
    assert mean == 1.0 and math.isnan(by_class[1])
    assert math.isnan(mean_iou(np.zeros((3, 3))).mean)
    assert mean_iou([[2, 0], [0, 0]]).mean == 1.0
    assert mean_iou([[2, 1], [0, 0]]).mean == pytest.approx(
        (2 / 3 + 0) / 2
    )  # predicted, and not there: 0, not left out


def test_void_alone_is_nothing() -> None:
    assert confusion(np.zeros((2, 2), int), np.full((2, 2), 255), 3).sum() == 0


@pytest.mark.parametrize(
    ("predicted", "truth", "match"),
    [
        (np.zeros((2, 3), int), np.zeros((3, 2), int), "at the picture's own size"),
        (np.full((2, 2), 3), np.zeros((2, 2), int), "numbered from 0 to 2"),
        (np.full((2, 2), 255), np.zeros((2, 2), int), "numbered from 0 to 2"),
        (np.zeros((2, 2), int), np.full((2, 2), 7), "numbered from 0 to 2"),
    ],
)
def test_what_cannot_be_counted(predicted: np.ndarray, truth: np.ndarray, match: str) -> None:
    with pytest.raises(Error, match=match):
        confusion(predicted, truth, 3)


def test_interval_resamples_pictures() -> None:
    matrices = [np.array([[9, 1], [1, 9]]), np.array([[5, 5], [5, 5]])]
    low, high = mean_iou_interval(matrices, 400)
    assert low == pytest.approx(1 / 3) and high == pytest.approx(9 / 11)  # both draws of one picture alone
    assert mean_iou_interval([matrices[0]] * 5) == pytest.approx((9 / 11, 9 / 11))


def test_runs_are_averaged_after_each_is_measured() -> None:
    runs = np.array([[[9, 1], [1, 9]], [[5, 5], [5, 5]]])
    assert mean_over_runs(runs) == pytest.approx((9 / 11 + 1 / 3) / 2)
    assert mean_iou_interval([runs, runs]) == pytest.approx(((9 / 11 + 1 / 3) / 2,) * 2)
