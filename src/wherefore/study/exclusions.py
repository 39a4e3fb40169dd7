"""Exclusions: whose answers count, by the rules that the plan fixed before anybody answered.

Decided here, and said on the page: who did not go through to the end is kept, for what they answered is as good as any,
and to leave them out afterwards would be a choice made on the answers; nobody is judged by catch trials that they never
saw. Surplus answers are left out, for their slots were given to others. People and simulated workers are never pooled.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from wherefore.errors import Error
from wherefore.study.plan import Plan, Rating

NOBODY = "Nobody has answered yet: ask people by `wherefore study serve` first."


@dataclass(frozen=True)
class Exclusion:
    """A worker who was left out, why, and how many of their answers that takes."""

    worker: str
    why: str
    ratings: int


@dataclass(frozen=True)
class Sifted:
    """The ratings that count, and what does not: ``workers`` and ``unfinished`` are of those who are kept.

    ``simulated``: no person has answered, and the ratings are those of simulated workers. Else theirs were left out,
    ``apart`` in number.
    """

    ratings: list[Rating]
    left_out: list[Exclusion]
    surplus: int
    apart: int
    simulated: bool
    unfinished: int

    @property
    def workers(self) -> int:
        """How many workers count."""
        return len({each.worker for each in self.ratings})


@dataclass(frozen=True)
class Progress:
    """How far a study is: ``ratings`` that have come of ``wanted``, and how many items are short of some."""

    ratings: int
    wanted: int
    items_short: int

    @property
    def complete(self) -> bool:
        """Whether every item has its ratings."""
        return not self.items_short

    def __str__(self) -> str:
        short = f"; {counted(self.items_short, 'items')} short" if self.items_short else ""
        return f"{self.ratings:,} of {counted(self.wanted, 'ratings')}{short}"


def progress(ratings: Sequence[Rating], plan: Plan) -> Progress:
    """How far a study is, by all its ratings: those of people where there are any; by no rule are any left out."""
    people = [each for each in ratings if not each.simulated]
    found = Counter(each.item for each in people or ratings if not (each.catch or each.surplus))
    short = sum(found[item.id] < plan.ratings for item in plan.items)
    return Progress(found.total(), len(plan.items) * plan.ratings, short)


def counted(number: int, things: str) -> str:
    """So many things, given in the plural: 1 answer, 2 answers, 1 person."""
    one = {"people": "person"}.get(things, things.removesuffix("s"))
    return f"{number:,} {one if number == 1 else things}"


def sift(ratings: Sequence[Rating], plan: Plan) -> Sifted:
    """The ratings that count for the analysis: of people where there are any, and of workers who attended.

    Raises `Error` where there are none, before or after the rules.
    """
    people = [each for each in ratings if not each.simulated]
    own = people or list(ratings)
    by_worker = defaultdict(list)
    for each in own:
        if not each.surplus:
            by_worker[each.worker].append(each)
    if not any(not each.catch for mine in by_worker.values() for each in mine):
        raise Error(NOBODY)
    left_out = [
        Exclusion(worker, why, sum(not each.catch for each in mine))
        for worker, mine in sorted(by_worker.items())
        if (why := _why(mine, plan))
    ]
    gone = {each.worker for each in left_out}
    kept = [each for worker, mine in by_worker.items() for each in mine if worker not in gone and not each.catch]
    if not kept:
        whom = f"all {len(gone)} workers" if len(gone) > 1 else "the one worker"
        raise Error(f"The plan's rules leave out {whom} who answered, so that nothing can be said.")
    unfinished = len({each.worker for each in kept if not each.finished})
    surplus = sum(each.surplus for each in own)
    return Sifted(kept, left_out, surplus, len(ratings) - len(own), not people, unfinished)


def _why(mine: Sequence[Rating], plan: Plan) -> str:
    """Why a worker is left out; '' where they are not."""
    failed = sum(each.catch and not passed(each) for each in mine)
    if failed >= plan.rules.catches_failed:
        return f"failed {failed} catch trials"
    times = [each.rt_ms for each in mine if not each.catch]
    if times and median(times) < plan.rules.fastest_ms:
        return f"took {median(times):.0f} ms, as a median"
    return ""


def passed(catch: Rating) -> bool:
    """Whether a catch trial was answered as it must be: rightly, or in favour of the picture that is plainly better."""
    return catch.value > 0
