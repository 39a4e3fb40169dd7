"""Answering: what simulated workers of set ability say to an item. They are not people.

Workers and items differ by normal effects on the scale of log-odds, and what is set for a method is its mean over all
of them. Everything is drawn from the seed, worker and item, so that it does not matter who comes when.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from wherefore.errors import Error
from wherefore.study.plan import PAPER, SCALE, Item, Plan
from wherefore.study.synthetic import STEPS, place

WORKERS, ITEMS = 0.5, 0.8  # standard deviations of their effects, in log-odds
CAUGHT = 0.98  # how often somebody who attends is right on a catch trial


@dataclass(frozen=True)
class Crowd:
    """``count`` simulated workers, a share of them ``inattentive``; ``means`` of methods are the paper's unless set."""

    count: int
    seed: int = 0
    inattentive: float = 0.0
    means: Mapping[str, float] = field(default_factory=dict)

    def places(self, plan: Plan) -> dict[str, float]:
        """The place of each method in log-odds. Raises `Error` where no mean is known, or none that can be."""
        wanted = {**PAPER[plan.kind], **self.means}
        low, high = SCALE[plan.kind]
        for name in (*plan.methods, *self.means):
            if name not in plan.methods:
                raise Error(f"The study has no method {name}: give --ability for one of {', '.join(plan.methods)}.")
            if name not in wanted:
                raise Error(f"The paper has no people's answers to {name}: set them with --ability {name}=MEAN.")
            if not low < wanted[name] < high:
                raise Error(f"--ability {name}={wanted[name]:g} cannot be: give a mean between {low:g} and {high:g}.")
        return {name: place(plan.kind, wanted[name], math.hypot(WORKERS, ITEMS)) for name in plan.methods}


class Mind:
    """One simulated worker: what they answer to an item, and how long it takes them."""

    def __init__(self, plan: Plan, crowd: Crowd, number: int, places: Mapping[str, float]) -> None:
        self.plan, self.crowd, self.number, self.places = plan, crowd, number, places
        dice = random.Random(f"{crowd.seed}/worker {number}")
        self.effect = dice.gauss(0, WORKERS)
        self.attends = dice.random() >= crowd.inattentive
        self.pace = dice.gauss(math.log(3000), 0.35)

    def value(self, item: Item) -> int:
        """The score of their answer: 1 or 0 for right or wrong, or -2 to 2."""
        dice = self._dice(item)
        steps, lowest = STEPS[self.plan.kind][0], round(SCALE[self.plan.kind][0])
        if not self.attends:
            return lowest + dice.randrange(len(steps) + 1)
        if item.catch:
            return lowest + (len(steps) if dice.random() < CAUGHT else 0)
        of_item = random.Random(f"{self.crowd.seed}/item {item.id}").gauss(0, ITEMS)
        share = dice.random()
        strength = self.places[item.method] + self.effect + of_item + math.log(share / (1 - share))
        return lowest + sum(strength > step for step in steps)

    def milliseconds(self, item: Item) -> int:
        """How long they look: lognormal, and less than a person can see who does not attend."""
        dice = random.Random(f"{self.crowd.seed}/time of {self.number} for {item.id}")
        return round(dice.lognormvariate(self.pace if self.attends else math.log(400), 0.45))

    def _dice(self, item: Item) -> random.Random:
        return random.Random(f"{self.crowd.seed}/{self.number} on {item.id}")
