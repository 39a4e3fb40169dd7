"""Krippendorff's alpha: his own examples, the krippendorff package, slow loops, and intervals."""

from __future__ import annotations

from collections import Counter

import krippendorff
import numpy as np
import pytest

from answered import study
from wherefore.study.agreement import alpha, interval
from wherefore.study.scores import Scores

NONE = float("nan")


def columns(table: np.ndarray) -> tuple[list[int], list[float]]:
    """Coders x units, NaN where nothing was said, as a unit and a value of each rating."""
    coder, unit = np.nonzero(~np.isnan(table))
    return unit.tolist(), table[coder, unit].tolist()


def test_krippendorffs_own_examples() -> None:
    """Computing Krippendorff's alpha-reliability (2011): sections A (binary), B (nominal) and C (missing data)."""
    binary = np.array([[0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]], float)
    assert round(alpha(*columns(binary), "nominal"), 3) == 0.095
    words = ["aabbdcccedda", "babbbccceddd"]
    nominal = np.array([[ord(c) for c in words[0]], [ord(c) for c in words[1]]], float)
    assert round(alpha(*columns(nominal), "nominal"), 3) == 0.692
    missing = np.array(
        [
            [1, 2, 3, 3, 2, 1, 4, 1, 2, NONE, NONE, NONE],
            [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NONE, 3],
            [NONE, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NONE],
            [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NONE],
        ]
    )
    assert round(alpha(*columns(missing), "nominal"), 3) == 0.743
    assert round(alpha(*columns(missing), "ordinal"), 3) == 0.815


@pytest.mark.parametrize("level", ["nominal", "ordinal"])
@pytest.mark.parametrize("seed", range(5))
def test_as_the_package(level, seed) -> None:
    dice = np.random.default_rng(seed)
    table = np.clip(dice.integers(0, 5, 30) + dice.integers(-1, 2, (8, 30)), 0, 4).astype(float)
    table[dice.random(table.shape) < 0.6] = NONE
    theirs = krippendorff.alpha(table, level_of_measurement=level)
    assert alpha(*columns(table), level) == pytest.approx(theirs, abs=1e-12)


def test_two_items_by_hand() -> None:
    """Coincidences 2 of 0 with 0, 1 of each way between: of 4 ratings 3 are 0. alpha = 1 - 3 x 2 / (2 x 3 x 1) = 0."""
    assert alpha(["a", "a", "b", "b"], [0, 0, 0, 1], "nominal") == pytest.approx(0.0)
    assert alpha(["a", "a", "b", "b"], [0, 0, 1, 1], "nominal") == 1.0
    assert alpha(["a", "a", "b", "b"], [0, 1, 0, 1], "nominal") == pytest.approx(-0.5)


def test_what_says_nothing_is_nan() -> None:
    assert np.isnan(alpha(["a", "a", "b", "b"], [1, 1, 1, 1], "nominal")), "no variation"
    assert np.isnan(alpha(["a", "b", "c"], [0, 1, 1], "ordinal")), "one rating of each"
    assert np.isnan(interval(["a", "a"], [0, 1], ["p", "p"], "nominal")).all(), "one picture"
    assert alpha(["a", "a", "b", "b", "alone"], [0, 0, 1, 1, 0], "nominal") == 1.0


def test_the_interval_is_that_of_slow_loops() -> None:
    """Each draw: alpha, by the package, of the items of pictures that were drawn, each under a new name."""
    dice = np.random.default_rng(0)
    truth = dice.integers(0, 2, 12)
    items = np.repeat(np.arange(12), 5)
    values = np.where(dice.random(60) < 0.8, truth[items], 1 - truth[items])
    pictures = [f"p{item // 2}" for item in items]
    low, high = interval(items.tolist(), values.tolist(), pictures, "nominal", 4000)
    drawn = []
    for _ in range(400):
        table, chosen = np.full((5, 12), NONE), dice.integers(6, size=6)
        for slot, picture in enumerate(chosen):
            for half in range(2):
                table[:, 2 * slot + half] = values[items == 2 * picture + half]
        drawn.append(krippendorff.alpha(table, level_of_measurement="nominal"))
    assert (low, high) == pytest.approx(np.quantile(drawn, (0.025, 0.975)), abs=0.06)
    assert low < alpha(items.tolist(), values.tolist(), "nominal") < high


def test_of_right_and_wrong_it_is_the_share_of_variance_between_items() -> None:
    """Workers who guess agree by chance, whichever two categories were offered; those who see the same do not."""
    plan, ratings = study(means=(0.5, 0.5, 0.5, 0.5))
    for each in Scores(plan.kind, plan.methods, [r for r in ratings if not r.catch]).agreement.values():
        assert each[0] == pytest.approx(0.11, abs=0.06) and each[1] < each[0] < each[2]
    by_item = Counter(each.item for each in ratings)
    alike = [r for r in ratings if not r.catch and by_item[r.item] == 9]
    table = np.full((43, 90), NONE)
    names = sorted({r.item for r in alike if r.method == "deconvnet"})
    workers = sorted({r.worker for r in alike})
    for each in alike:
        if each.method == "deconvnet":
            table[workers.index(each.worker), names.index(each.item)] = each.value
    ours = Scores(plan.kind, plan.methods, alike).agreement["deconvnet"][0]
    assert ours == pytest.approx(krippendorff.alpha(table, level_of_measurement="nominal"))
