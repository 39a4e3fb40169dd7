"""How alike maps are: against scipy, scikit-image and loops; classes told apart; neighbouring layers."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import reference
import wherefore as wf
from fixtures_metrics import explained, sampled, thing
from wherefore.metrics import (
    adjacent_similarity,
    class_separation,
    hog_correlation,
    pearson,
    spearman,
    ssim,
    within_and_across,
)

numbers = st.lists(st.integers(-4, 4), min_size=2, max_size=30)


@settings(max_examples=60, deadline=None)
@given(numbers, st.randoms(use_true_random=False))
def test_spearman_is_the_correlation_of_ranks(values: list[int], random) -> None:
    others = [value + random.randint(-3, 3) for value in values]
    for absolute in (False, True):
        a, b = ([abs(v) if absolute else v for v in row] for row in (values, others))
        if len(set(a)) == 1 or len(set(b)) == 1:
            assert spearman(values, others, absolute=absolute) == 0
            continue
        expected = np.corrcoef(reference.ranks(a), reference.ranks(b))[0, 1]
        assert spearman(values, others, absolute=absolute) == pytest.approx(expected, abs=1e-12)
        assert expected == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-12)


def test_spearman_by_hand() -> None:
    assert spearman([1, 2, 3], [10, 20, 1000]) == 1 and spearman([[1, 2], [3, 4]], [[4, 3], [2, 1]]) == -1
    assert spearman([1, 2, 3, 4], [1, 2, 4, 3]) == pytest.approx(0.8)
    assert spearman([-3, -1, 2], [3, 1, 2], absolute=True) == 1 and spearman([-3, -1, 2], [3, 1, 2]) == -0.5
    assert spearman(torch.full((3, 3), 0.1), torch.rand(3, 3)) == 0


def test_pearson_of_a_constant_is_nothing() -> None:
    assert pearson(np.full(7, 0.1), np.arange(7)) == 0  # whose mean is not 0.1 to the last digit
    assert pearson(np.arange(7), -3.0 * np.arange(7) + 5) == pytest.approx(-1)
    tiny = 1e-200 * np.arange(7)
    assert pearson(tiny, np.arange(7)) == pytest.approx(1)


def noisy(seed: int = 0, side: tuple[int, int] = (40, 56)) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: side[0], : side[1]]
    one = np.exp(-((rows - 20) ** 2 + (columns - 30) ** 2) / 200)
    return one, one + 0.2 * rng.normal(size=side)


def test_ssim_is_that_of_scikit_image() -> None:
    metrics = pytest.importorskip("skimage.metrics")
    for seed in range(3):
        one, other = noisy(seed)
        expected = metrics.structural_similarity(
            np.abs(one) / np.abs(one).max(),
            np.abs(other) / np.abs(other).max(),
            data_range=1.0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        assert ssim(one, other) == pytest.approx(expected, abs=1e-9) and 0 < expected < 0.95


def test_alike_maps_are_alike_whatever_their_scale() -> None:
    one, other = noisy()
    assert ssim(one, 7 * one) == pytest.approx(1) and hog_correlation(one, 7 * one) == pytest.approx(1)
    assert ssim(one, 1e-9 * other) == pytest.approx(ssim(one, other))
    assert ssim(other, -other) == hog_correlation(other, -other) == 1 and spearman(other, -other) == -1
    assert ssim(one, 1 - one) < 0.5
    assert hog_correlation(one, other) < 0.9
    assert hog_correlation(one, np.zeros_like(one)) == 0 and ssim(np.zeros((20, 20)), np.zeros((20, 20))) == 1
    assert ssim(torch.from_numpy(one), torch.from_numpy(other)) == ssim(one, other)


def test_hog_sees_directions() -> None:
    rows, columns = np.mgrid[:56, :56]
    across, down = np.sin(rows / 3.0), np.sin(columns / 3.0)
    assert hog_correlation(across, down) < 0 < hog_correlation(across, np.sin(rows / 3.0 + 0.3))


def test_what_cannot_be_compared_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(wf.Error, match="at least 11x11 pixels, not"):
        ssim(np.ones((7, 7)), np.ones((7, 7)))
    with pytest.raises(wf.Error, match="give two of one shape"):
        ssim(np.ones((20, 20)), np.ones((20, 21)))
    with pytest.raises(wf.Error, match="give two of one shape"):
        spearman(np.ones(4), np.ones(5))
    with pytest.raises(wf.Error, match="at least 14x14"):
        hog_correlation(np.ones((7, 7)), np.ones((7, 7)))
    monkeypatch.setitem(sys.modules, "skimage.feature", None)
    with pytest.raises(wf.Error, match=r"needs scikit-image: pip install 'wherefore\[eval\]'"):
        hog_correlation(*noisy())


# -------------------------------------------------------------------------------------------- explanations

CAT_AND_DOG = sampled((30, 20), thing("cat", (0, 0, 9, 9)), thing("dog", (20, 5, 29, 19)))


def test_classes_are_told_apart_by_their_ranks() -> None:
    maps = torch.tensor(
        [[[[1.0, 2, 3, 4]], [[1, 2, 4, 3]], [[0, 0, 0, 0]]], [[[1, 2, 3, 4]], [[4, 3, 2, 1]], [[1, 2, 3, 4]]]]
    )
    e = explained(maps, [CAT_AND_DOG] * 2, [["cat", "dog", "cow"]] * 2)
    found = class_separation(e, [CAT_AND_DOG] * 2)
    assert found[0, :2].tolist() == pytest.approx([0.2, 0.2]) and math.isnan(found[0, 2])
    assert found[1].tolist() == pytest.approx([1, 2, 1])
    alone = explained(maps[:, :1], [CAT_AND_DOG] * 2, [["cat"]] * 2)
    assert class_separation(alone).isnan().all()


def test_neighbouring_layers_are_compared_where_they_are_drawn() -> None:
    sizes = [(8, 10), (8, 10), (4, 5), (4, 5)]
    layers = [explained(torch.rand(1, 2, *size), [CAT_AND_DOG], [["cat", "dog"]]) for size in sizes]
    found = adjacent_similarity(layers)
    assert found.shape == (3, 1, 2)
    for i in range(3):
        for t in range(2):
            large = [
                torch.nn.functional.interpolate(layer.maps[:, t : t + 1], (20, 30), mode="bilinear")[0, 0].double()
                for layer in layers[i : i + 2]
            ]
            expected = stats.spearmanr(*(x.flatten().numpy() for x in large)).statistic
            assert float(found[i, 0, t]) == pytest.approx(expected, abs=1e-3)  # ties differ by rounding
    within, across = within_and_across(found, ["layer1", "layer1", "layer2", "layer2"])
    torch.testing.assert_close(within, (found[0] + found[2]) / 2)
    torch.testing.assert_close(across, found[1])
    assert within_and_across(found, ["a"] * 4)[1].isnan().all()
    empty = explained(torch.zeros(1, 2, 4, 5), [CAT_AND_DOG], [["cat", "dog"]])
    assert adjacent_similarity([layers[0], empty]).tolist() == [[[0, 0]]]


def test_layers_that_cannot_be_paired_are_refused() -> None:
    layer = explained(torch.rand(1, 2, 4, 5), [CAT_AND_DOG], [["cat", "dog"]])
    with pytest.raises(wf.Error, match="at least two"):
        adjacent_similarity([layer])
    with pytest.raises(wf.Error, match="2 layers were compared and 3 stages named"):
        within_and_across(adjacent_similarity([layer, layer]), ["a", "a", "b"])
