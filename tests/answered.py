"""Plans and ratings of whole studies, of made-up workers whose accuracy or preference is set."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from wherefore.study.plan import LIKERT, Item, Kind, Plan, Rating
from wherefore.study.synthetic import Design, Effects

METHODS: dict[Kind, tuple[str, ...]] = {
    "class-discrimination": ("deconvnet", "guided-backprop", "deconv-grad-cam", "guided-grad-cam"),
    "trust": ("guided-backprop", "guided-grad-cam"),
}
SET: dict[Kind, tuple[float, ...]] = {"class-discrimination": (0.53, 0.44, 0.60, 0.61), "trust": (1.0, 1.27)}
EFFECTS = Effects(0.4, 0.3, 0.6)
START = datetime(2030, 1, 1, 12, tzinfo=UTC)


def study(
    kind: Kind = "class-discrimination",
    means: Sequence[float] | None = None,
    effects: Effects = EFFECTS,
    seed: int = 0,
    items: int = 90,
    simulated: bool = True,
) -> tuple[Plan, list[Rating]]:
    """A plan of the paper's size and all its ratings, two passed catch trials of each worker among them."""
    two, names = kind == "class-discrimination", METHODS[kind]
    design = Design(len(names), items, 9, 43 if two else 54)
    worker, picture, item, method = design.columns
    values = design.values(kind, means or SET[kind], effects, seed)
    dice = np.random.default_rng(seed)
    flipped, times = dice.integers(2, size=len(values)), np.exp(dice.normal(8, 0.5, len(values)))
    seen = np.zeros(design.workers, int)
    ratings = []
    for i in dice.permutation(len(values)).tolist():
        where = _where(kind, float(values[i]), bool(flipped[i]))
        at = START + timedelta(seconds=8.0 * seen[worker[i]])
        ratings.append(
            Rating(
                f"{worker[i]:02d}" * 8, f"i{item[i]}", f"p{picture[i]}", names[method[i]], "dog", *where,
                bool(flipped[i]), int(seen[worker[i]]), int(times[i]), at.isoformat(), simulated=simulated,
            )
        )  # fmt: skip
        seen[worker[i]] += 1
    ratings += [catch(kind, f"{w:02d}" * 8, n, simulated) for w in range(design.workers) for n in range(2)]
    return _plan(kind, names, items, design.workers), ratings


def catch(kind: Kind, worker: str, number: int, simulated: bool = True, passed: bool = True) -> Rating:
    value = float(passed) if kind == "class-discrimination" else 2.0 if passed else -2.0
    return Rating(
        worker, f"c{number}", f"q{number}", "", "dog", "dog", value, 0, False, 90, 3000, START.isoformat(),
        catch=True, simulated=simulated,
    )  # fmt: skip


def _where(kind: Kind, value: float, flipped: bool) -> tuple[str, float, int]:
    """What was chosen, its value, and its place on the screen."""
    if kind == "class-discrimination":
        return ("dog" if value else "cat"), value, int(bool(value) == flipped)
    shown = int(2 + value if flipped else 2 - value)
    return LIKERT[shown], value, shown


def _plan(kind: Kind, names: Sequence[str], items: int, workers: int) -> Plan:
    two = kind == "class-discrimination"
    options, models = (("dog", "cat"), ()) if two else (LIKERT, ("vgg", "alexnet"))
    files = ("a.png",) if two else ("a.png", "b.png")
    asked = tuple(
        Item(f"i{m * items + p}", f"p{p}", name, "dog", files, options, "dog" if two else "", models)
        for m, name in enumerate(names)
        for p in range(items)
    )
    right = "dog" if two else LIKERT[0]
    catches = tuple(Item(f"c{n}", f"q{n}", "", "dog", files, options, right, models, True) for n in range(2))
    texts = {"title": "t", "consent": "c", "instructions": "i", "question": "q", "done": "d"}
    trials = -(-len(asked) * 9 // workers)
    return Plan("A study of maps", kind, 0, asked, catches, 9, workers, trials, texts, {"data": "scenes"})
