"""How often the intervals of `wherefore study analyze` hold the truth, and how often it sees what is not there.

    python benchmarks/study_coverage.py                   # 1,000 studies of each setting: two minutes
    python benchmarks/study_coverage.py --models 100      # the regressions, too: two seconds a study

Studies are SIMULATED from set means: 90 pairs, 9 ratings each, of 4 methods by 43 workers (class discrimination) or of
2 by 54 (trust). The truth is the mean over workers and items, and what is counted is how often an interval of 95 %
holds it, and how often contrasts of methods that are the same have p < 0.05: each by itself, and any of them after
Holm's correction. Beside it stands the plain pigeonhole bootstrap, without the two-way variance (see
`wherefore.study.clusters`).
"""

from __future__ import annotations

import argparse
from itertools import combinations

import numpy as np

from wherefore.diagnosis.audit import holm
from wherefore.study.clusters import ENDS, Crossed
from wherefore.study.plan import Kind
from wherefore.study.regression import mixed, ordinal
from wherefore.study.synthetic import Design, Effects

DRAWS = 2000  # a study of its own has 10,000; they give the shape alone
SET, SAME = (0.53, 0.44, 0.60, 0.61), (0.5, 0.5, 0.5, 0.5)
SETTINGS: dict[str, tuple[Kind, tuple[float, ...], Effects, int]] = {
    "set accuracies, workers 0.5, items 0.8": ("class-discrimination", SET, Effects(0.5, 0.0, 0.8), 1),
    "... workers 0.5, pictures 0.6, items 0.6": ("class-discrimination", SET, Effects(0.5, 0.6, 0.6), 1),
    "... the same, two items to a picture": ("class-discrimination", SET, Effects(0.5, 0.6, 0.6), 2),
    "... workers 1.0, items 1.0": ("class-discrimination", SET, Effects(1.0, 0.0, 1.0), 1),
    "... no effects": ("class-discrimination", SET, Effects(), 1),
    "null, no effects": ("class-discrimination", SAME, Effects(), 1),
    "null, workers 0.5, items 0.8": ("class-discrimination", SAME, Effects(0.5, 0.0, 0.8), 1),
    "null, workers 0.5, pictures 0.6, items 0.6": ("class-discrimination", SAME, Effects(0.5, 0.6, 0.6), 1),
    "trust, +1.00 and +1.27, 0.5, 0.6, 0.6": ("trust", (1.0, 1.27), Effects(0.5, 0.6, 0.6), 1),
    "trust, null, 0.5, 0.6, 0.6": ("trust", (1.0, 1.0), Effects(0.5, 0.6, 0.6), 1),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--models", type=int, default=0, help="so many studies for the regressions")
    given = parser.parse_args()
    print(f"SIMULATED studies, {given.studies} of each setting; per cent.\n")
    heads = [
        "setting",
        "methods: hold the truth",
        "plain pigeonhole",
        "contrasts: hold it",
        "null: each fires",
        "any, Holm",
    ]
    print("\n".join([f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]))
    for name in SETTINGS:
        print(f"| {name} | " + " | ".join(counted(name, given.studies)) + " |", flush=True)
    if given.models:
        print(f"\n{modelled(given.models)}")


def counted(name: str, studies: int) -> list[str]:
    """The cells of a setting."""
    kind, means, effects, each = SETTINGS[name]
    design = designed(kind, each)
    worker, picture, _, method = design.columns
    crossed, pairs = Crossed(worker.tolist(), picture.tolist(), DRAWS), list(combinations(range(len(means)), 2))
    held, plain, apart, fired, anyone = [], [], [], [], []
    for seed in range(studies):
        values = design.values(kind, means, effects, 1000 + seed)
        found = [crossed.mean(values, method == m) for m in range(len(means))]
        gaps = [crossed.difference(found[a], found[b]) for a, b in pairs]
        held.append([one.low <= truth <= one.high for one, truth in zip(found, means, strict=True)])
        ends = [np.quantile(one.drawn, ENDS) for one in found]
        plain.append([low <= truth <= high for (low, high), truth in zip(ends, means, strict=True)])
        apart.append([gap.low <= means[a] - means[b] <= gap.high for gap, (a, b) in zip(gaps, pairs, strict=True)])
        fired.append([gap.p < 0.05 for gap in gaps])
        anyone.append(min(holm([gap.p for gap in gaps])) < 0.05)
    null = len(set(means)) == 1
    return [said(held), said(plain), said(apart), said(fired) if null else "", said(anyone) if null else ""]


def designed(kind: Kind, each: int = 1) -> Design:
    """The size of the paper's studies."""
    return Design(4, workers=43, each=each) if kind == "class-discrimination" else Design(2, workers=54, each=each)


def said(counted: list[list[bool]] | list[bool]) -> str:
    return " ".join(f"{100 * share:.1f}" for share in np.atleast_1d(np.mean(counted, 0)))


def modelled(studies: int) -> str:
    """How often the intervals of the regressions hold what was set."""
    design, effects = designed("class-discrimination"), Effects(0.5, 0.0, 0.8)
    worker, picture, item, method = (list(map(str, column)) for column in design.columns)
    held, spreads, pairs = [], [], list(combinations("0123", 2))
    for seed in range(studies):
        fit = mixed(design.values("class-discrimination", SET, effects, seed), method, worker, item, pairs)
        held.append([row["low"] <= SET[int(row["name"])] <= row["high"] for row in fit.methods])
        spreads.append(list(fit.spreads.values()))
    by_worker, by_item = np.mean(spreads, 0)
    lines = [
        f"Binomial mixed model, {studies} studies: intervals hold the marginal accuracy in {said(held)}; "
        f"workers {by_worker:.2f} (0.50 was set), items {by_item:.2f} (0.80)."
    ]
    design = designed("trust")
    worker, picture, _, method = (list(map(str, column)) for column in design.columns)
    crossed, fired = Crossed(worker, picture, DRAWS), []
    for seed in range(studies):
        values = design.values("trust", (1.0, 1.0), Effects(0.5, 0.6, 0.6), seed)
        fired.append(ordinal(values, method, crossed, [("1", "0")]).contrasts[0]["p"] < 0.05)
    return "\n".join([*lines, f"Cumulative logit model: under the null p < 0.05 in {said(fired)}."])


if __name__ == "__main__":
    main()
