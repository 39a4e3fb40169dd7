"""Occlusion by a window that slides over all axes of the input."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import torch
from torch import Tensor

from wherefore.compat.captum.attr.running import (
    Attribution,
    Refused,
    arguments,
    as_module,
    as_tuple,
    like_inputs,
    selected,
)
from wherefore.guard import prepared
from wherefore.methods.perturbation import groups
from wherefore.progress import track

Window = tuple[slice, ...]


class PerturbationAttribution(Attribution):
    """A method that changes the input and watches the score."""


class Occlusion(PerturbationAttribution):
    """How far the score falls when a window is covered, at each place the mean over the windows that cover it.

    Zeiler & Fergus 2014, section 4.2. Windows at the border reach beyond it.

        Occlusion(model).attribute(images, (3, 32, 32), strides=(3, 16, 16), target=281)
    """

    def attribute(
        self,
        inputs: Any,
        sliding_window_shapes: Any,
        strides: Any = None,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        perturbations_per_eval: int = 1,
        show_progress: bool = False,
    ) -> Any:
        """Tensors of the shapes of the inputs; ``(1, ...)`` for a function that returns one number for all images.

        Windows and strides are tuples without the images' axis, for several inputs tuples of these; ``baselines`` is
        what covers, 0 by default. ``perturbations_per_eval`` windows are covered at once, each in a copy of its own.
        """
        if not isinstance(perturbations_per_eval, int) or perturbations_per_eval < 1:
            raise Refused("perturbations_per_eval is at least 1.")
        given = [x.detach() for x in as_tuple(inputs)]
        windows = _windows(given, sliding_window_shapes, strides)
        sweep = _Sweep(as_module(self.forward_func), given, arguments(additional_forward_args), target)
        covers = as_tuple(baselines) if isinstance(baselines, (tuple, list)) else (baselines,) * len(given)
        if len(covers) != len(given):
            raise Refused(f"{len(covers)} baselines do not fit {len(given)} inputs: give one for each.")
        filled = [_cover(cover, x) for cover, x in zip(covers, given, strict=True)]
        with prepared(sweep.net), torch.no_grad():
            sweep.start()
            found = [
                sweep.over(number, filled[number], windows[number], perturbations_per_eval, show_progress)
                for number in range(len(given))
            ]
        return like_inputs(inputs, found)


class _Sweep:
    """The falls of the scores, window by window."""

    def __init__(self, net: Any, inputs: list[Tensor], further: tuple[Any, ...], target: Any) -> None:
        self.net, self.inputs, self.further, self.target = net, inputs, further, target

    def start(self) -> None:
        """The scores of the inputs as they are."""
        self.plain = self._scores(self.inputs, 1).reshape(1, -1)
        self.rows = self.plain.shape[1]
        if self.rows not in (1, len(self.inputs[0])):
            raise Refused("the output has several scores for each image: say with target= which is explained.")

    def over(self, number: int, cover: Tensor, windows: list[Window], together: int, show: bool) -> Tensor:
        """The mean fall at each place of one of the inputs."""
        x = self.inputs[number]
        if self.rows != len(x) and together > 1:
            raise Refused("a function that returns one number for all images takes perturbations_per_eval=1.")
        falls, counts = x.new_zeros((2, self.rows, *x.shape[1:]), dtype=torch.float32)
        some = list(groups(windows, together))
        for covered in track(some, len(some), "occlusion") if show else some:
            images = torch.stack([x] * len(covered))
            for image, window in zip(images, covered, strict=True):
                image[(slice(None), *window)] = cover[(slice(None), *window)]
            copies = [torch.cat([other] * len(covered)) for other in self.inputs]
            copies[number] = images.flatten(0, 1)
            lower = self.plain - self._scores(copies, len(covered)).reshape(len(covered), -1)
            for fall, window in zip(lower, covered, strict=True):
                falls[(slice(None), *window)] += fall.reshape(-1, *[1] * (x.ndim - 1))
                counts[(slice(None), *window)] += 1
        return falls / counts

    def _scores(self, inputs: list[Tensor], copies: int) -> Tensor:
        count, target = len(self.inputs[0]), self.target
        further = [
            torch.cat([each] * copies) if isinstance(each, Tensor) and each.ndim and len(each) == count else each
            for each in self.further
        ]
        if isinstance(target, list):
            target = target * copies
        elif isinstance(target, Tensor) and target.numel() > 1:
            target = torch.cat([target] * copies)
        return selected(self.net(*(x.clone() for x in inputs), *further), target)


def _cover(baseline: Any, like: Tensor) -> Tensor:
    """What covers, in the shape of an input."""
    value = torch.as_tensor(0 if baseline is None else baseline).to(like)
    try:
        return value.expand_as(like)
    except RuntimeError:
        raise Refused(f"a baseline {tuple(value.shape)} does not fit an input {tuple(like.shape)}.") from None


def _windows(inputs: list[Tensor], shapes: Any, strides: Any) -> list[list[Window]]:
    """All windows over each of the inputs."""
    shapes = shapes if isinstance(shapes, (tuple, list)) else (shapes,)
    shapes = tuple(shapes) if all(isinstance(s, (tuple, list)) for s in shapes) and shapes else (tuple(shapes),)
    if strides is None or isinstance(strides, int):
        strides = (1 if strides is None else strides,) * len(inputs)
    elif len(inputs) == 1 and not (len(strides) == 1 and isinstance(strides[0], (tuple, list))):
        strides = (tuple(strides),)
    if len(shapes) != len(inputs) or len(strides) != len(inputs):
        raise Refused(f"{len(shapes)} windows and {len(strides)} strides do not fit {len(inputs)} inputs.")
    return [list(_slid(x, tuple(s), t)) for x, s, t in zip(inputs, shapes, strides, strict=True)]


def _slid(x: Tensor, shape: tuple[int, ...], strides: Any) -> Iterator[Window]:
    sides = tuple(x.shape[1:])
    steps = (strides,) * len(sides) if isinstance(strides, int) else tuple(strides)
    if len(shape) != len(sides) or len(steps) != len(sides):
        raise Refused(
            f"a window {shape} every {steps} does not fit an input {tuple(x.shape)}: leave out its first axis."
        )
    for side, width, step in zip(sides, shape, steps, strict=True):
        if not 1 <= width <= side:
            raise Refused(f"a window of {width} does not fit {side} places.")
        if width < side and not 1 <= step <= width:
            raise Refused(
                f"a stride of {step} leaves places uncovered by a window of {width}: make it at most as large."
            )
    starts = [
        [i * step for i in range(1 + -(-(side - width) // max(step, 1)))]
        for side, width, step in zip(sides, shape, steps, strict=True)
    ]
    for corner in product(*starts):
        yield tuple(slice(start, start + width) for start, width in zip(corner, shape, strict=True))
