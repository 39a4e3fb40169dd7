"""`Explanation.check`: is a map true to its network here? Told in words, from this picture and from these weights."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn

from wherefore.explanation import Explanation
from wherefore.metrics.agreement import spearman
from wherefore.metrics.rerunning import SEED, Rerun, ranked
from wherefore.progress import track
from wherefore.randomising import copied, redraw, stages
from wherefore.sanity import again

MOST = 0.2  # of the picture that is removed
PLACES = 20  # to which what the map marks is moved
OVERLAP = 0.5  # of it at most, with itself when moved
RARELY = 1  # of these may lower the score as much
DRAWS = 5  # of the weights of the upper half of the layers
ALIKE = 0.7  # from this rank correlation on half of the variance of the ranks is the same


@dataclass(frozen=True)
class Verdict:
    """What was found of one map. Scores are those of its target; `holds` and `verdict` say what follows from them."""

    name: str  # of the target
    picture: str
    share: float  # of the picture that is removed: what the map marks
    score: float
    removed: float  # the score without it
    elsewhere: tuple[float, ...]  # without as much, of the same shape, in other places
    centre: float  # without as much in the middle
    likeness: float  # the mean rank correlation with the maps of networks whose upper half was drawn anew

    @property
    def lowers(self) -> bool:
        """Whether the score falls further than in at least 19 of 20 other places, and than in the middle."""
        as_low = sum(other <= self.removed for other in self.elsewhere)
        return self.removed < min(self.score, self.centre) and as_low <= RARELY

    @property
    def depends(self) -> bool:
        """Whether the map changes with the weights."""
        return abs(self.likeness) < ALIKE

    @property
    def holds(self) -> bool:
        """Whether the map is true to the network here: the score falls, and the map depends on the weights."""
        return self.share > 0 and self.lowers and self.depends

    @property
    def verdict(self) -> str:
        """What follows, in words."""
        if not self.share:
            return "nothing to check"
        against = [] if self.lowers else ["removing other parts lowers the score as much"]
        against += [] if self.depends else ["the map hardly depends on what the network learned"]
        return "not shown to be faithful here: " + ", and ".join(against) if against else "faithful here"

    def __str__(self) -> str:
        if not self.share:
            return f"{self.name}: the map has no positive evidence. Verdict: {self.verdict}."
        low, high = min(self.elsewhere), max(self.elsewhere)
        changes = "changes" if self.depends else "stays much the same"
        learned = "it depends" if self.depends else "it hardly depends"
        return (
            f"{self.name}: removing the {100 * self.share:.0f} % of the picture that the map marks "
            f"{'lowers' if self.removed < self.score else 'raises'} the score from {self.score:.1f} to "
            f"{self.removed:.1f}; removing as much elsewhere, to {fmean(self.elsewhere):.1f} ({low:.1f} to {high:.1f} "
            f"in {len(self.elsewhere)} places); in the middle, to {self.centre:.1f}. With the weights of the upper "
            f"half of the layers drawn anew the map {changes} (rank correlation {self.likeness:.2f}): {learned} on "
            f"what the network learned. Verdict: {self.verdict}."
        )

    def report(self) -> dict[str, Any]:
        """All of it as plain values."""
        values = {key: getattr(self, key) for key in ("share", "score", "removed", "centre")}
        there = {"mean": fmean(self.elsewhere), "low": min(self.elsewhere), "high": max(self.elsewhere)}
        found = {"lowers": self.lowers, "depends": self.depends, "holds": self.holds, "verdict": self.verdict}
        return {**values, "elsewhere": there, "rank_correlation": self.likeness, **found, "text": str(self)}


@dataclass(frozen=True, repr=False)
class Check:
    """A verdict for each of T targets of B pictures; printed, it is plain sentences."""

    verdicts: list[list[Verdict]]

    @property
    def holds(self) -> bool:
        """Whether every map is faithful here."""
        return all(each.holds for row in self.verdicts for each in row)

    @property
    def verdict(self) -> str:
        """The verdict on the map, or how many of the maps are faithful here."""
        every = [each for row in self.verdicts for each in row]
        if len(every) == 1:
            return every[0].verdict
        return f"{sum(each.holds for each in every)} of {len(every)} maps are faithful here"

    def report(self) -> list[list[dict[str, Any]]]:
        """All of it as plain values, by picture and target."""
        return [[each.report() for each in row] for row in self.verdicts]

    def __repr__(self) -> str:
        return "\n".join(f"{row[0].picture}\n" + "\n".join(map(str, row)) for row in self.verdicts)

    def _repr_html_(self) -> str:
        parts = (f"<p><b>{html.escape(row[0].picture)}</b></p>{''.join(map(_paragraph, row))}" for row in self.verdicts)
        return "".join(parts)


def _paragraph(each: Verdict) -> str:
    return f"<p>{'✓' if each.holds else '✗'} {html.escape(str(each))}</p>"


def check(e: Explanation) -> Check:
    """The verdicts on all maps of an explanation; see `Explanation.check`."""
    pictures = [Rerun(e, image) for image in range(len(e))]
    others = [again(e, net) for net in track(_networks(e), DRAWS, "networks drawn anew")]
    told = (_verdicts(e, image, rerun, others) for image, rerun in enumerate(pictures))
    return Check([*track(told, len(e), "pictures checked")])


def _networks(e: Explanation) -> Iterator[nn.Module]:
    """Copies of the network whose upper half of layers was drawn anew, one after the other."""
    other, layers = copied(e.model.net), stages(e.model.net)
    for draw in range(DRAWS):
        for number, stage in enumerate(layers[: -(-len(layers) // 2)]):
            redraw(other, stage, SEED + draw * len(layers) + number)
        yield other


def _verdicts(e: Explanation, image: int, rerun: Rerun, others: list[Explanation]) -> list[Verdict]:
    anew = [other.heats(image).cpu() for other in others]
    found = []
    for t, heat in enumerate(e.heats(image)):
        mark = marked(heat)
        masks = [mark, _middle(mark), *_moved(mark)]
        score, removed, centre, *elsewhere = rerun.scores(_without(rerun.x[0], masks))[:, t].tolist()
        likeness = fmean(spearman(heat.cpu(), maps[t]) for maps in anew)
        name, share = e.targets[image][t], float(mark.float().mean())
        picture = e.pictures[image].name
        found.append(Verdict(name, picture, share, score, removed, tuple(elsewhere), centre, likeness))
    return found


def marked(heat: Tensor) -> Tensor:
    """The pixels ``(H, W)`` that a map marks: the highest fifth of them, or as many of these as are positive."""
    return (ranked(heat) < MOST * heat.numel()) & (heat > 0)


def _middle(mark: Tensor) -> Tensor:
    """As many pixels as are marked, those nearest to the middle, sides counting alike."""
    down, across = (torch.linspace(-1, 1, side, device=mark.device).square() for side in mark.shape)
    return ranked(-(down[:, None] + across)) < mark.sum()


def _moved(mark: Tensor) -> list[Tensor]:
    """What is marked in other places, drawn with a fixed seed: moved over the border and round."""
    dice, found = torch.Generator().manual_seed(SEED), list[Tensor]()
    while len(found) < PLACES:  # a fifth of the picture overlaps itself by a fifth on average: it ends
        down, across = (int(torch.randint(side, (), generator=dice)) for side in mark.shape)
        moved = mark.roll((down, across), (0, 1))
        if int((moved & mark).sum()) <= OVERLAP * int(mark.sum()):
            found.append(moved)
    return found


def _without(x: Tensor, masks: list[Tensor]) -> list[Tensor]:
    """A picture ``(C, H, W)``, and without each of some masks ``(H, W)``, which show its mean colour."""
    mean = x.mean((1, 2), keepdim=True)
    return [x, *(torch.where(mask.to(x.device), mean, x) for mask in masks)]
