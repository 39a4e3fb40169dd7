"""The models of the analysis: what was set is found; they agree with plainer models where these hold."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit
from statsmodels.api import Logit
from statsmodels.miscmodels.ordinal_model import OrderedModel

from wherefore.study.clusters import Crossed
from wherefore.study.regression import mixed, ordinal
from wherefore.study.synthetic import Design, Effects, place

SET = (0.53, 0.44, 0.60, 0.61)
PAIRS = [(b, a) for a, b in combinations("0123", 2)]


def named(design: Design) -> list[list[str]]:
    return [[f"{number}" for number in column] for column in design.columns]


def binomial(means=SET, effects=Effects(0.5, 0.0, 0.8), seed=0):  # noqa: B008  it cannot be changed
    design = Design()
    worker, _, item, method = named(design)
    return mixed(design.values("class-discrimination", means, effects, seed), method, worker, item, PAIRS)


def test_the_mixed_model_finds_what_was_set() -> None:
    """Over three studies: places within 0.2 of log-odds, accuracies within 0.04, standard deviations within 0.2."""
    effects = Effects(0.5, 0.0, 0.8)
    fits = [binomial(effects=effects, seed=seed) for seed in range(3)]
    assert all(fit.converged for fit in fits)
    for m, mean in enumerate(SET):
        found = [fit.methods[m] for fit in fits]
        at = place("class-discrimination", mean, effects.whole)
        assert np.mean([row["log_odds"] for row in found]) == pytest.approx(at, abs=0.2)
        assert np.mean([row["value"] for row in found]) == pytest.approx(mean, abs=0.04)
        assert sum(row["low"] <= mean <= row["high"] for row in found) >= 2
    spreads = {name: np.mean([fit.spreads[name] for fit in fits]) for name in ("worker", "item")}
    assert spreads == pytest.approx({"worker": 0.5, "item": 0.8}, abs=0.2)


def test_without_effects_the_mixed_model_is_plain_logistic_regression() -> None:
    design = Design()
    values = design.values("class-discrimination", SET, Effects(), 0)
    worker, _, item, method = named(design)
    found = mixed(values, method, worker, item, PAIRS)
    theirs = Logit(values, np.eye(4)[design.columns[3]]).fit(disp=0)
    for row, at, error in zip(found.methods, theirs.params, theirs.bse, strict=True):
        assert row["log_odds"] == pytest.approx(at, abs=0.05) and 1 <= row["error"] / error < 1.5
    assert max(found.spreads.values()) < 0.35


@pytest.mark.slow
def test_errors_of_the_mixed_model_are_how_far_its_estimates_scatter() -> None:
    """Over 40 studies; those of variational Bayes itself are about half of it."""
    fits = [binomial(seed=seed) for seed in range(100, 140)]
    scatter = np.std([[row["log_odds"] for row in fit.methods] for fit in fits], axis=0, ddof=1).mean()
    assert np.mean([row["error"] for fit in fits for row in fit.methods]) == pytest.approx(scatter, rel=0.2)


def test_contrasts_of_the_mixed_model() -> None:
    found = binomial(means=(0.5, 0.3, 0.7, 0.8))
    by_pair = {(line["one"], line["other"]): line for line in found.contrasts}
    assert list(by_pair) == PAIRS
    assert by_pair["3", "1"]["p"] < 0.001 and by_pair["3", "1"]["low"] > 1
    at = {row["name"]: row["log_odds"] for row in found.methods}
    assert all(line["value"] == pytest.approx(at[one] - at[other]) for (one, other), line in by_pair.items())


def ordered(means=(1.0, 1.27), effects=Effects(0.5, 0.6, 0.6), seed=0):  # noqa: B008  it cannot be changed
    design = Design(2, workers=54)
    worker, picture, _, method = named(design)
    values = design.values("trust", means, effects, seed)
    crossed = Crossed(worker, picture, 4000)
    return values, np.array(method), crossed, ordinal(values, method, crossed, [("1", "0")])


def test_the_ordinal_model_is_the_maximum_of_its_likelihood() -> None:
    values, method, _, found = ordered()

    def surprise(parameters: np.ndarray) -> float:
        cuts = np.concatenate([[-np.inf], np.cumsum(np.r_[parameters[1], np.exp(parameters[2:])]), [np.inf]])
        at, step = parameters[0] * (method == "1"), (values + 2).astype(int)
        return -float(np.log(expit(cuts[step + 1] - at) - expit(cuts[step] - at)).sum())

    best = minimize(surprise, [0.0, -3, 0, 0, 0], method="BFGS")
    assert found.contrasts[0]["value"] == pytest.approx(best.x[0], abs=1e-3)
    assert found.contrasts[0]["p"] < 0.05


def test_the_ordinal_model_finds_what_was_set() -> None:
    """Without effects the difference of places is the coefficient itself."""
    *_, found = ordered(effects=Effects())
    gap = place("trust", 1.27, 0) - place("trust", 1.0, 0)
    assert found.contrasts[0]["low"] < gap < found.contrasts[0]["high"]
    assert found.contrasts[0]["value"] == pytest.approx(gap, abs=0.2)


def test_influence_is_what_leaving_a_worker_out_changes() -> None:
    """The estimating-function bootstrap moves an estimate as a refit without a worker's ratings does."""
    values, method, crossed, found = ordered()
    moved, summed = [], []
    columns = (method == "1").astype(float)[:, None]
    model = OrderedModel(values, columns, distr="logit")
    fit = model.fit(method="bfgs", disp=0)
    influence = -model.score_obs(fit.params) @ np.linalg.inv(model.hessian(fit.params))
    for worker in range(12):
        own = crossed.worker == worker
        less = OrderedModel(values[~own], columns[~own], distr="logit").fit(method="bfgs", disp=0)
        moved.append(less.params[0] - fit.params[0])
        summed.append(-influence[own, 0].sum())
    assert np.corrcoef(moved, summed)[0, 1] > 0.99
    assert np.polyfit(summed, moved, 1)[0] == pytest.approx(1, abs=0.15)
    gap = crossed.linear(float(fit.params[0]), influence[:, 0])
    assert (gap.low, gap.high) == pytest.approx((found.contrasts[0]["low"], found.contrasts[0]["high"]), abs=1e-3)


@pytest.mark.slow
def test_the_ordinal_bootstrap_scatters_as_refits_do() -> None:
    """150 refits of drawn workers and pictures, against the draws by influence before they are made narrower."""
    values, method, crossed, _ = ordered()
    columns = (method == "1").astype(float)[:, None]
    model = OrderedModel(values, columns, distr="logit")
    fit = model.fit(method="bfgs", disp=0)
    influence = -model.score_obs(fit.params) @ np.linalg.inv(model.hessian(fit.params))
    refits = []
    for times_w, times_p in zip(crossed.times[0][:150], crossed.times[1][:150], strict=True):
        rows = np.repeat(np.arange(len(values)), (times_w[crossed.worker] * times_p[crossed.picture]).astype(int))
        refits.append(OrderedModel(values[rows], columns[rows], distr="logit").fit(method="bfgs", disp=0).params[0])
    drawn = float(fit.params[0]) + crossed.total(influence[:, 0])[:150]
    assert np.corrcoef(refits, drawn)[0, 1] > 0.95
    assert np.std(drawn) == pytest.approx(np.std(refits), rel=0.15)


def test_models_that_cannot_be_fitted_say_why() -> None:
    values, method, crossed, _ = ordered()
    one = ordinal(values, ["0"] * len(values), crossed, [])
    assert not one.converged and one.problem == "It needs two methods and two different answers."
    apart = ordinal(np.where(method == "1", 2.0, 1.0), method.tolist(), crossed, [("1", "0")])
    assert not apart.converged and apart.problem.startswith("It did not converge")
    alike = mixed(np.ones(4), list("0011"), list("abab"), list("pqrs"), [("1", "0")])
    assert not alike.converged and "all are the same" in alike.problem
