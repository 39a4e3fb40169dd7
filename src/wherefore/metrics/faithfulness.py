"""Does the score depend on what a map marks: deletion, insertion, average drop. The network is run again, many times.

What is removed is 0 in the network's input, the mean colour of the pictures that it was trained on. References:

    Petsiuk et al., RISE, BMVC 2018, section 4.2
    Chattopadhay et al., Grad-CAM++, WACV 2018, section 4.1; Zhang et al., Opti-CAM, 2024 (average gain)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from wherefore.datasets.sample import Sample
from wherefore.explanation import Explanation
from wherefore.metrics.rerunning import Rerun, blurred, ranked
from wherefore.registry import METRICS

STEPS = 28  # RISE: 8 rows of pixels of 224 at a time
BLUR = 5 / 224  # RISE: a Gaussian of 5 pixels, cut off at 11 x 11, of 224


@METRICS("deletion", better="lower", bounds=(0, 1), paper="Petsiuk et al. 2018, section 4.2")
def deletion(e: Explanation, samples: Sequence[Sample] = ()) -> Tensor:
    """The area ``(B, T)`` under the probability of each class while the picture is removed, highest pixels first.

    NaN where a target is no class. The curves are those of `deleted`.
    """
    return torch.stack([_area(deleted(e, image)) for image in range(len(e))])


@METRICS("insertion", better="higher", bounds=(0, 1), paper="Petsiuk et al. 2018, section 4.2")
def insertion(e: Explanation, samples: Sequence[Sample] = ()) -> Tensor:
    """The area ``(B, T)`` under the probability of each class while a blurred picture is made sharp, highest first.

    NaN where a target is no class. The curves are those of `inserted`.
    """
    return torch.stack([_area(inserted(e, image)) for image in range(len(e))])


def deleted(e: Explanation, image: int) -> Tensor:
    """The probability ``(T, 29)`` of each class of a picture with 0, 1/28, 2/28 ... 1 of its pixels removed.

    The highest pixels of the map, at the network's input resolution, go first; of equal ones any, by a fixed seed.
    """
    again = Rerun(e, image)
    return _curves(again, e.heats(image), again.x[0], torch.zeros_like(again.x[0]))


def inserted(e: Explanation, image: int) -> Tensor:
    """The probability ``(T, 29)`` of each class of a blurred picture with 0, 1/28, 2/28 ... 1 of its pixels sharp.

    Blurred by a Gaussian of 5 pixels that is cut off at 11 x 11, of an input of 224, and in that proportion of others.
    """
    again = Rerun(e, image)
    deviation = BLUR * min(again.x.shape[2:])
    return _curves(again, e.heats(image), blurred(again.x[0], deviation, max(1, round(deviation))), again.x[0])


def _curves(again: Rerun, maps: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """The probability ``(T, 29)`` of each target while its map's highest pixels go from one picture to another."""
    curves = [again.probabilities(_steps(ranked(heat), start, end))[:, t] for t, heat in enumerate(maps)]
    return torch.stack(curves)


def _steps(ranks: Tensor, start: Tensor, end: Tensor) -> Iterator[Tensor]:
    for step in range(STEPS + 1):
        yield torch.where((ranks < round(step * ranks.numel() / STEPS)).to(start.device), end, start)


def _area(curves: Tensor) -> Tensor:
    """The area below curves ``(T, n + 1)`` over 0..1, by trapezia."""
    return torch.trapezoid(curves, dx=1 / (curves.shape[1] - 1), dim=1)


# -------------------------------------------------------------------------------------------- seen through the map


@METRICS("average-drop", better="lower", bounds=(0, 1), paper="Chattopadhay et al. 2018, section 4.1")
def average_drop(e: Explanation, samples: Sequence[Sample] = ()) -> Tensor:
    """The share ``(B, T)`` of a class's probability that is lost when only what the map marks is seen; 0 for a gain.

    max(0, p - o) / p, with o the probability of the picture times its map, which is scaled to 0..1.
    """
    before, after = _through(e)
    return (before - after).clamp(min=0) / before


@METRICS("increase", better="higher", bounds=(0, 1), paper="Chattopadhay et al. 2018, section 4.1")
def increase(e: Explanation, samples: Sequence[Sample] = ()) -> Tensor:
    """Whether ``(B, T)`` a class's probability rises when only what the map marks is seen: 1 or 0."""
    before, after = _through(e)
    return torch.where((before + after).isnan(), torch.nan, (after > before).float())


@METRICS("average-gain", better="higher", bounds=(0, 1), paper="Zhang et al. 2024, section 4")
def average_gain(e: Explanation, samples: Sequence[Sample] = ()) -> Tensor:
    """The share ``(B, T)`` of what a class's probability lacks to 1 that is gained when only what the map marks shows.

    max(0, o - p) / (1 - p); 0 for a loss. The counterpart of the average drop, which is 0 for a map of ones.
    """
    before, after = _through(e)
    return (after - before).clamp(min=0) / (1 - before).clamp(min=1e-12)


def _through(e: Explanation) -> tuple[Tensor, Tensor]:
    """The probabilities ``(B, T)`` of the pictures, and of the pictures times their maps."""
    before, after = [], []
    for image in range(len(e)):
        again = Rerun(e, image)
        seen = [again.x[0] * _unit(heat).to(again.x) for heat in e.heats(image)]
        before.append(again.probabilities([again.x[0]])[0])
        after.append(again.probabilities(seen).diagonal())
    return torch.stack(before), torch.stack(after)


def _unit(heat: Tensor) -> Tensor:
    """A map on a scale of 0..1; zeros for a constant one."""
    low, high = heat.min(), heat.max()
    return (heat - low) / (high - low) if high > low else torch.zeros_like(heat)


# -------------------------------------------------------------------------------------------- maps that know nothing


def at_random(e: Explanation, seed: int = 0) -> Explanation:
    """The same with noise for maps: what any metric gives a map that knows nothing."""
    dice = torch.Generator().manual_seed(seed)
    return _instead(
        e, "random", [torch.rand(len(e.targets[i]), *e.input_sizes[i], generator=dice) for i in range(len(e))]
    )


def at_the_centre(e: Explanation) -> Explanation:
    """The same with a Gaussian in the middle for maps, of a quarter of the sides: where pictures show their things."""
    maps = []
    for targets, size in zip(e.targets, e.input_sizes, strict=True):
        down, across = (torch.linspace(-2, 2, side).square() for side in size)
        maps.append(torch.exp(-(down[:, None] + across) / 2).expand(len(targets), -1, -1))
    return _instead(e, "centre", maps)


def _instead(e: Explanation, name: str, maps: list[Tensor]) -> Explanation:
    same = len(set(e.input_sizes)) == 1
    settings = {**e.settings, "method": name, "layer": "input", "grid": list(e.input_sizes[0])}
    return replace(
        e,
        maps=torch.stack(maps) if same else maps,
        settings=settings,
        pixels=None,
        patches=None,
        filled=[],
        against=None,
    )
