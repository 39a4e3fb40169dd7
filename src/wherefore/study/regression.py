"""Regression: the models of the analysis, each with what it assumes and whether it converged.

They stand beside the means of `scores`, which assume less: where the two disagree, believe the means.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.sparse import csr_array, hstack
from scipy.special import expit, logit
from scipy.stats import norm

from wherefore.diagnosis.audit import holm
from wherefore.errors import Error
from wherefore.study.clusters import Crossed
from wherefore.study.synthetic import marginal

Array = np.ndarray[Any, Any]
Line = dict[str, Any]
Pair = tuple[str, str]
Z = 1.959964
APART = 10.0  # in log-odds, beyond which methods are told apart by every answer, and a fit has no end
MIXED = (
    "Binomial mixed model, `correct ~ method + (1|worker) + (1|item)`, fitted by variational Bayes (statsmodels, "
    "BinomialBayesMixedGLM; priors: normal with standard deviation 2 for log-odds, 1 for the logarithm of those of "
    "workers and items). It assumes that workers and items differ by normal amounts in "
    "log-odds, alike in every method, and that nothing else makes answers alike: that an item's picture is shown by "
    "other methods, too, is not in it. Standard errors are from the curvature of the joint posterior (Laplace): those "
    "of variational Bayes leave out that workers and items are a sample, and are about half. Accuracies are marginal: "
    "over workers and items."
)
ORDINAL = (
    "Cumulative logit model, `score ~ method` (statsmodels, OrderedModel). It assumes that a method moves all four "
    "thresholds between the five answers by as much (proportional odds). Intervals and p are of the two-way bootstrap "
    "of workers and pictures, by each rating's influence on the estimate (the estimating-function bootstrap, Hu & "
    "Kalbfleisch 2000): they do not assume that ratings are independent."
)


@dataclass(frozen=True)
class Fitted:
    """A model: what it assumes, its estimates, and ``problem``, a sentence that says why they are not to be relied on.

    ``contrasts`` are in log-odds: how much more often one method's answers are right, or in favour. ``methods``: the
    place of each in log-odds and the accuracy that this makes. ``spreads``: standard deviations in log-odds.
    """

    name: str
    assumes: str
    problem: str = ""
    methods: list[Line] = field(default_factory=list)
    contrasts: list[Line] = field(default_factory=list)
    spreads: dict[str, float] = field(default_factory=dict)

    @property
    def converged(self) -> bool:
        """Whether its estimates can be relied on."""
        return not self.problem


def mixed(
    right: Array, methods: Sequence[str], workers: Sequence[str], items: Sequence[str], pairs: Sequence[Pair]
) -> Fitted:
    """The binomial mixed model of right (1) and wrong (0) answers; about a second for 3,240 of them."""
    name, model = "binomial mixed model", _statsmodels("genmod.bayes_mixed_glm").BinomialBayesMixedGLM
    if len(np.unique(right)) < 2:
        return Fitted(name, MIXED, "It needs right and wrong answers, and all are the same.")
    names, fixed = _dummies(methods)
    blocks = [_dummies(workers)[1], _dummies(items)[1]]
    varied = hstack(blocks).tocsr()
    of = np.repeat([0, 1], [block.shape[1] for block in blocks])
    found = _fitted(model(right, fixed.toarray(), varied, of, vcp_p=1.0, fe_p=2.0), fixed, right, len(of))
    spread = np.exp(found.vcp_mean)
    if not found.optim_retvals.success or not np.isfinite(found.params).all():
        return Fitted(name, MIXED, "It did not converge.")
    strength = fixed @ found.fe_mean + varied @ found.vc_mean
    precision = np.concatenate([np.full(len(names), 1 / 2.0**2), 1 / spread[of] ** 2])
    covariance = _covariance(hstack([fixed, varied]).tocsr(), expit(strength), precision)[: len(names), : len(names)]
    whole = float(np.sqrt((spread**2).sum()))
    places = [_place(*each, whole) for each in zip(names, found.fe_mean, np.diag(covariance) ** 0.5, strict=True)]
    contrasts = _wald(names, found.fe_mean, covariance, pairs)
    return Fitted(name, MIXED, "", places, contrasts, {"worker": float(spread[0]), "item": float(spread[1])})


def ordinal(score: Array, methods: Sequence[str], crossed: Crossed, pairs: Sequence[Pair]) -> Fitted:
    """The cumulative logit model of scores on a scale, with intervals over workers and pictures of ``crossed``."""
    name = "cumulative logit model"
    names, columns = _dummies(methods)
    if len(names) < 2 or len(np.unique(score)) < 2:
        return Fitted(name, ORDINAL, "It needs two methods and two different answers.")
    ordered = _statsmodels("miscmodels.ordinal_model").OrderedModel
    model = ordered(score, columns.toarray()[:, 1:], distr="logit")
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        found = model.fit(method="bfgs", maxiter=500, disp=0)
        curvature = model.hessian(found.params)
        scores = model.score_obs(found.params)
    good = found.mle_retvals["converged"] and np.isfinite(curvature).all() and np.linalg.cond(curvature) < 1e10
    if not good or np.abs(found.params[: len(names) - 1]).max() > APART:
        return Fitted(name, ORDINAL, "It did not converge: perhaps the answers to two methods do not overlap.")
    influence = -scores @ np.linalg.inv(curvature)[:, : len(names) - 1]
    places = np.concatenate([[0.0], found.params[: len(names) - 1]])  # about the first method's
    moves = np.hstack([np.zeros((len(score), 1)), influence])
    lines = []
    for one, other, a, b in _numbered(names, pairs):
        gap = crossed.linear(float(places[a] - places[b]), moves[:, a] - moves[:, b])
        lines.append(_line(one, other, gap.value, *gap.ends, gap.p))
    return Fitted(name, ORDINAL, contrasts=_corrected(lines))


def _fitted(model: Any, fixed: Any, right: Array, effects: int) -> Any:
    """The variational fit of a mixed model, from where the methods are without any effects."""
    start = logit((fixed.T @ right + 0.5) / (fixed.sum(0) + 1))
    mean = np.concatenate([start, np.full(2, -0.7), np.zeros(effects)])
    deviation = np.repeat([0.1, 0.1, 0.3], [len(start), 2, effects])
    with warnings.catch_warnings():  # whether it converged is asked by whoever called
        warnings.simplefilter("ignore")
        # BFGS, the default, keeps a square of all parameters and takes twenty times as long to the same place.
        return model.fit_vb(mean=mean, sd=deviation, fit_method="L-BFGS-B")


def _place(name: str, at: float, error: float, whole: float) -> Line:
    """A method's place in log-odds, and the accuracy that it makes over workers and items whose spread is ``whole``."""
    ends = [at, at - Z * error, at + Z * error]
    value, low, high = (marginal("class-discrimination", float(end), whole) for end in ends)
    return {"name": name, "log_odds": float(at), "error": float(error), "value": value, "low": low, "high": high}


def _wald(names: Sequence[str], at: Array, covariance: Array, pairs: Sequence[Pair]) -> list[Line]:
    lines = []
    for one, other, a, b in _numbered(names, pairs):
        gap = float(at[a] - at[b])
        error = float(np.sqrt(covariance[a, a] + covariance[b, b] - 2 * covariance[a, b]))
        p = float(2 * norm.sf(abs(gap) / error))
        lines.append(_line(one, other, gap, gap - Z * error, gap + Z * error, p))
    return _corrected(lines)


def _numbered(names: Sequence[str], pairs: Sequence[Pair]) -> list[tuple[str, str, int, int]]:
    """The pairs of which both were rated, and their numbers."""
    rated = [pair for pair in pairs if {*pair} <= {*names}]
    return [(one, other, names.index(one), names.index(other)) for one, other in rated]


def _line(one: str, other: str, value: float, low: float, high: float, p: float) -> Line:
    return {"one": one, "other": other, "value": value, "low": low, "high": high, "p": p}


def _corrected(lines: list[Line]) -> list[Line]:
    return [{**line, "p": p} for line, p in zip(lines, holm([line["p"] for line in lines]), strict=True)]


def _covariance(columns: Any, share: Array, precision: Array) -> Array:
    """The inverse curvature of the log posterior of all effects, fixed and random, at the variances that were found."""
    curvature = (columns.T @ columns.multiply((share * (1 - share))[:, None])).toarray() + np.diag(precision)
    found: Array = np.linalg.inv(curvature)
    return found


def _dummies(names: Sequence[str]) -> tuple[list[str], Any]:
    """The names in the order in which they first come, and a column of 0 and 1 for each."""
    order = {name: i for i, name in enumerate(dict.fromkeys(names))}
    which = [order[name] for name in names]
    return list(order), csr_array((np.ones(len(which)), (range(len(which)), which)), shape=(len(which), len(order)))


def _statsmodels(module: str) -> Any:
    from importlib import import_module

    try:
        return import_module(f"statsmodels.{module}")
    except ImportError:
        raise Error("the models of the analysis need statsmodels: pip install 'wherefore[study]'") from None
