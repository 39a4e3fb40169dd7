"""Figures over pictures: means, intervals, differences, orders; and the game with rejection."""

from __future__ import annotations

import json
import math
import random

import numpy as np
import pytest
import torch

import wherefore as wf
from wherefore.metrics import Claim, accuracy, bootstrapped, difference, interval, ordering, summary_by_class
from wherefore.metrics.rejection import KEEP_ALL, REJECT_ALL, best, curve, right, with_rejection
from wherefore.metrics.resampling import draws
from wherefore.metrics.summary import summary

NAN = float("nan")


def noise(seed: int, n: int = 60, middle: float = 0.0) -> list[float]:
    return np.random.default_rng(seed).normal(middle, 1, n).tolist()


# -------------------------------------------------------------------------------------------- summaries


def test_a_summary_is_the_mean_and_its_interval() -> None:
    values = noise(0)
    found = summary(values)
    assert found.value == pytest.approx(np.mean(values)) and found.n == 60
    assert (found.low, found.high) == pytest.approx(interval(values))
    assert json.loads(json.dumps(found.row())) == {
        "value": found.value, "low": found.low, "high": found.high, "n": 60, "degenerate": 0,
    }  # fmt: skip
    assert str(summary([1.0] * 4)) == "1.000 (1.000 to 1.000)"


@pytest.mark.parametrize("pictures", [7, 60])
def test_pictures_are_drawn_as_all_at_once(pictures: int) -> None:
    whole = np.random.default_rng(3).integers(pictures, size=(250, pictures))
    np.testing.assert_array_equal(np.array(list(draws(pictures, 250, 3))), whole)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    covered = sum(found.low <= 0 <= found.high for found in (summary(noise(seed, 40)) for seed in range(100)))
    assert 86 <= covered <= 99


def test_what_is_undefined_does_not_count() -> None:
    found = summary([1.0, NAN, 0.0, NAN])
    assert found.value == 0.5 and found.n == 2
    several = summary(torch.tensor([[1.0, NAN], [0, 0.5], [NAN, NAN]]))
    assert several.value == 0.625 and several.n == 2
    assert summary([[1.0], [0.0, 0.0, 1.5], []]).value == 0.75  # pictures with as many targets as they have
    nothing = summary([NAN, NAN])
    assert math.isnan(nothing.value) and math.isnan(nothing.low) and nothing.n == 0
    assert nothing.row() == {"value": None, "low": None, "high": None, "n": 0, "degenerate": 0}
    with pytest.raises(wf.Error, match="no pictures"):
        summary([])


def test_maps_without_evidence_are_counted() -> None:
    assert summary([1.0, 0.0], evidence=torch.tensor([[0.0, 2.0], [0.0, 1e-9]])).degenerate == 2


def test_targets_of_a_picture_are_drawn_together() -> None:
    twice = summary([[value, value] for value in noise(1)])
    once = summary(noise(1))
    assert (twice.value, twice.low, twice.high) == pytest.approx((once.value, once.low, once.high))


def test_the_mean_over_classes_is_that_of_the_game() -> None:
    rng = random.Random(2)
    pictures = []
    for _ in range(50):
        names = rng.sample(["cat", "dog", "cow", "bus"], rng.randint(1, 3))
        pictures.append([(name, rng.random() < (0.9 if name == "cat" else 0.4)) for name in names])
    found = summary_by_class([[hit for _, hit in p] for p in pictures], [[name for name, _ in p] for p in pictures])

    def by_class(some) -> float:
        return accuracy([outcome for picture in some for outcome in picture]).by_class

    assert found.value == pytest.approx(by_class(pictures)) and found.n == 50
    assert (found.low, found.high) == pytest.approx(interval(pictures, statistic=by_class))
    missing = summary_by_class([[1.0, NAN], [NAN, NAN]], [["cat", "dog"], ["cat", "cow"]])
    assert missing.value == 1 and missing.n == 1


def test_any_figure_can_be_drawn_again() -> None:
    above, below = np.array(noise(4)), np.array(noise(5, middle=8))
    found = bootstrapped(lambda times: float((times @ above) / (times @ below)), 60)
    assert found.value == pytest.approx(above.sum() / below.sum())
    expected = interval(
        list(zip(above, below, strict=True)), statistic=lambda s: sum(a for a, _ in s) / sum(b for _, b in s)
    )
    assert (found.low, found.high) == pytest.approx(expected)


# -------------------------------------------------------------------------------------------- differences, orders


def test_differences_are_paired() -> None:
    one = noise(6)
    other = [value - 0.1 + 0.01 * extra for value, extra in zip(one, noise(7), strict=True)]
    gap = difference(summary(one), summary(other))
    expected = interval([a - b for a, b in zip(one, other, strict=True)])
    assert gap.value == pytest.approx(np.mean(one) - np.mean(other))
    assert (gap.low, gap.high) == pytest.approx(expected)
    assert gap.low > 0.09 and summary(one).low < summary(other).high  # which unpaired intervals do not tell
    with pytest.raises(wf.Error, match="over 60 and 59 pictures cannot be paired"):
        difference(summary(one), summary(other[1:]))


def test_an_order_holds_pair_by_pair() -> None:
    base = noise(8)
    figures = {
        "far": summary([v + 1 for v in base]),
        "near": summary(base),
        "shuffled": summary([v - 0.01 for v in base[::-1]]),
    }
    found = ordering(figures, ["far", "near", "shuffled"])
    assert found.holds and [step.clear for step in found.steps] == [True, False]
    assert [(step.better, step.worse) for step in found.steps] == [("far", "near"), ("near", "shuffled")]
    assert (
        str(found).startswith("holds: far 0.904 before near -0.096 (by 1.000 (1.000 to 1.000)); ")
        and str(found).count("which may be chance") == 1
    )
    turned = ordering(figures, ["near", "far"])
    assert not turned.holds and turned.steps[0].clear and "does not hold: near" in str(turned)
    assert "not before far" in str(turned)
    errors = ordering(figures, ["shuffled", "near", "far"], better="lower")
    assert errors.holds and errors.steps[1].gap.value == pytest.approx(1)
    assert not ordering({"a": figures["near"], "b": figures["near"]}, ["a", "b"]).holds  # equal is not better
    undefined = summary([NAN] * 60)
    assert not ordering({"a": figures["near"], "b": undefined}, ["a", "b"]).holds
    with pytest.raises(wf.Error, match="no figure of cam: the order is over far, near, shuffled"):
        ordering(figures, ["far", "cam"])
    with pytest.raises(wf.Error, match="'higher' or 'lower'"):
        ordering(figures, ["far", "near"], better="up")


# -------------------------------------------------------------------------------------------- rejection


def made_up(seed: int, n: int = 60) -> list[Claim]:
    """Claims of which those present have higher maxima, with ties."""
    rng = random.Random(seed)
    claims = []
    for i in range(n):
        present = rng.random() < 0.4
        hit = present and rng.random() < 0.7
        claims.append(Claim(f"photo{i // 5}", f"class {i % 5}", present, hit, round(rng.gauss(present, 0.6), 1)))
    return claims


def test_rejection_by_hand() -> None:
    claims = [
        Claim("a", "cat", True, True, 3.0),  # found
        Claim("a", "dog", True, False, 3.0),  # kept, beside it
        Claim("a", "cow", True, True, 1.0),  # rejected, though there
        Claim("a", "bus", False, False, 1.0),  # rejected rightly
        Claim("a", "hen", False, False, 2.0),  # kept: what lies on the threshold is not below it
    ]
    found = with_rejection(claims, 2.0)
    assert found == pytest.approx((2 / 5, 3 / 5, 1 / 3, 1 / 3))
    assert right(claims, 2.0).tolist() == [True, False, False, True, False]
    assert with_rejection(claims, KEEP_ALL) == pytest.approx((2 / 5, 3 / 5, 2 / 5, 2 / 3))
    nothing = with_rejection(claims, REJECT_ALL)
    assert nothing.accuracy == nothing.presence == 2 / 5 and math.isnan(nothing.precision) and nothing.recall == 0
    assert all(math.isnan(v) for v in with_rejection([], 1.0))


def test_the_curve_is_the_accuracy_at_every_threshold() -> None:
    claims = made_up(0)
    thresholds, accuracies = curve(claims)
    assert sorted({c.maximum for c in claims}) == thresholds[:-1].tolist() and thresholds[-1] == REJECT_ALL
    assert accuracies.tolist() == pytest.approx([with_rejection(claims, t).accuracy for t in thresholds])
    assert accuracies[0] == pytest.approx(with_rejection(claims, KEEP_ALL).accuracy)
    assert accuracies[-1] == pytest.approx(sum(not c.present for c in claims) / len(claims))


def test_the_best_threshold_is_the_oracles() -> None:
    dev, test = made_up(1, 300), made_up(2, 300)
    oracle = with_rejection(test, best(test)).accuracy
    tuned = with_rejection(test, best(dev)).accuracy
    trivial = max(with_rejection(test, t).accuracy for t in (KEEP_ALL, REJECT_ALL))
    assert oracle >= tuned > trivial
    assert oracle == max(with_rejection(test, t / 100).accuracy for t in range(-300, 400))
    scaled = [claim._replace(maximum=4 * claim.maximum) for claim in test]
    assert best(scaled) == 4 * best(test)
