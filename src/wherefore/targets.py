"""What to explain: the score of a class before softmax, the difference of two, or any number per image.

None                        the class with the highest score (one target per image)
"top5"                      the five highest
281, "tiger cat"            a class by index or name (a unique part of the name is enough)
[281, "boxer"]              several targets, for every image
tensor (B,), nested (B, T)  other targets for each image
"all"                       every class
Difference("boxer", 281)    why boxer rather than 281: the difference of the two scores
Pixels, Box, Similarity, Action    see `wherefore.tasks`
Caption, Word, Answer       see `wherefore.worded`
any callable                output -> (B,)

Of a segmentation a class is explained where it is the highest (`wherefore.tasks.Pixels`), of a detector's output it is
the class's highest box (`wherefore.tasks.Box`); by default the class with most pixels, and the highest box of all.

A callable is asked for every piece of the images that goes through the network at once; ``batch_size=`` says how many
those are, for one that must see all of them together.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wherefore import tasks, worded
from wherefore.classes import Names, class_index, class_name, class_scores, indices, is_nested, is_number, is_row
from wherefore.errors import Error
from wherefore.outputs import embedded, logits, select
from wherefore.speech import Speech
from wherefore.types import Block, Chosen, Mark, Score, Target


@dataclass(frozen=True)
class ClassScore(Target):
    """The score of one class before softmax, by index or name: ``wf.ClassScore("boxer")``."""

    target: int | str

    def bind(self, output: Any, names: Names) -> Block:
        return _blocks(self.target, output, names)[0]


@dataclass(frozen=True)
class Difference(Target):
    """Why ``target`` rather than ``other``: the difference of their scores before softmax."""

    target: int | str
    other: int | str

    def bind(self, output: Any, names: Names) -> Block:
        values = class_scores(output, names)
        one, other = (class_index(c, values.shape[1], names) for c in (self.target, self.other))

        def score(output: Any) -> Tensor:
            values = class_scores(output, names)
            return values[:, one] - values[:, other]

        return Score(score, f"{class_name(one, names)} rather than {class_name(other, names)}", head=values)


def choose(target: Any, output: Any, names: Names = None, *, which: Any = None, multilabel: bool = False) -> Chosen:
    """The scores ``(B, T)`` that ``target`` asks for, read from a network's output, with their names.

    ``which`` part of the output holds the scores: a key, an index, a function (None: it is found). ``multilabel``:
    classes do not exclude each other. Raises `Error` for a class that does not exist, a name that fits several, a
    number of targets that does not fit the batch, or an output without a class dimension.
    """
    part = select(output, which)
    blocks = _blocks(target, part, names)
    scores, classes, labels = _scores(blocks, names, which, output), [], []
    for number, block in enumerate(blocks):
        if isinstance(block, Tensor):
            classes.append(block)
            alone = names is None and class_scores(part).shape[1] == 1
            labels.append([["output" if alone else class_name(c, names) for c in row] for row in block.tolist()])
        else:
            classes.append(torch.full((len(scores), 1), -1, device=scores.device))
            labels.append([[label] for label in _labels(block, number, len(scores))])
    chosen = torch.cat(classes, 1)
    values = class_scores(part, names) if bool((chosen >= 0).any()) else None
    scores_of = [block for block in blocks if isinstance(block, Score)]
    heads = [block.head for block in scores_of] if values is None else [values]
    return Chosen(
        scores,
        names=[[name for each in image for name in each] for image in zip(*labels, strict=True)],
        classes=chosen,
        probabilities=_likely(blocks, part, _probabilities(part, names, chosen, multilabel)),
        logits=values,
        follow=partial(_scores, blocks, names, which),
        every=lambda output: class_scores(select(output, which), names)[
            :, : None if values is None else values.shape[1]
        ],
        on_copies=all(isinstance(block, Tensor) or getattr(block, "on_copies", False) for block in blocks),
        head=next((head for head in heads if head is not None), None),
        place=next((block.place for block in scores_of if block.place is not None), None),
        marks=_marks(blocks),
        pyramid=any(block.pyramid for block in scores_of),
    )


def _blocks(target: Any, output: Any, names: Names) -> list[Block]:
    """The T targets in blocks: class indices ``(B, t)``, or what reads the score of one target."""
    if isinstance(target, Target):
        return [target.bind(output, names)]
    if callable(target):
        return [target]
    if isinstance(target, (list, tuple)) and target and not is_nested(target):
        if any(map(is_row, target)):
            raise Error("the target mixes classes and lists of classes: give one flat list, or one list per image.")
        if not all(map(is_number, target)):
            return [block for part in target for block in _blocks(part, output, names)]
    if isinstance(output, Speech):
        return worded.blocks(target, output)
    found = tasks.blocks(target, output, names)
    return [indices(target, class_scores(output, names), names)] if found is None else found


def _marks(blocks: Sequence[Block]) -> tuple[Mark | None, ...]:
    """What is drawn of each target: its box or region; nothing at all where none has one."""
    marks: list[Mark | None] = []
    for block in blocks:
        marks += [None] * block.shape[1] if isinstance(block, Tensor) else [getattr(block, "mark", None)]
    return tuple(marks) if any(mark is not None for mark in marks) else ()


def _scores(blocks: Sequence[Block], names: Names, which: Any, output: Any) -> Tensor:
    """The scores ``(B, T)`` of the targets in blocks; indices are repeated for an output of copies of their images."""
    part, scores = select(output, which), []
    for block in blocks:
        if isinstance(block, Tensor):
            values = class_scores(part, names)
            scores.append(values.gather(1, block.repeat(len(values) // len(block), 1)))
        else:
            scores.append(
                _checked(block(output if getattr(block, "of_all", False) and embedded(output) else part), block)[
                    :, None
                ]
            )
    if len({len(s) for s in scores}) != 1:
        raise Error("the targets give different numbers of scores: each must give one per image, (B,).")
    return torch.cat(scores, 1)


def _checked(score: Any, target: Callable[[Any], Any]) -> Tensor:
    if not isinstance(score, Tensor) or score.ndim != 1 or not score.is_floating_point():
        got = tuple(score.shape) if isinstance(score, Tensor) else type(score).__name__
        name = _labels(target, 0, 1)[0]
        raise Error(f"the target {name!r} must return one number per image, a tensor (B,), not {got}.")
    return score


def _labels(block: Callable[[Any], Any], number: int, images: int) -> list[str]:
    """The name of a target for each image."""
    if isinstance(block, Score) and not isinstance(block.name, str):
        return block.name
    name = getattr(block, "name", None) or getattr(block, "__name__", type(block).__name__)
    return [f"target {number}" if name == "<lambda>" else str(name)] * images


def _probabilities(output: Any, names: Names, classes: Tensor, multilabel: bool) -> Tensor:
    """Softmax of the chosen classes; sigmoid for a single score, and for classes that do not exclude each other.

    NaN where the target is no class.
    """
    nothing = torch.full(classes.shape, torch.nan, device=classes.device)
    if not bool((classes >= 0).any()):
        return nothing
    values = class_scores(output, names).detach().float()
    alone = logits(output).shape[1] == 1
    probabilities = values.sigmoid() if multilabel or alone else values.softmax(1)
    return torch.where(classes >= 0, probabilities.gather(1, classes.clamp(min=0)), nothing)


def _likely(blocks: Sequence[Block], output: Any, probabilities: Tensor) -> Tensor:
    """The probabilities with those of targets that are no classes and have one: words, captions."""
    columns, start = [], 0
    for block in blocks:
        width = block.shape[1] if isinstance(block, Tensor) else 1
        known = block.likely(output) if isinstance(block, Score) and block.likely else None
        columns.append(probabilities[:, start : start + width] if known is None else known.detach().float()[:, None])
        start += width
    return torch.cat(columns, 1)


# -------------------------------------------------------------------------------------------- of each image


def for_images(target: Any, start: int, stop: int, images: int) -> Any:
    """The part of a per-image target (tensor or nested list) that belongs to images ``start`` to ``stop``."""
    if isinstance(target, Target):
        return target.part(start, stop, images)
    if isinstance(target, (list, tuple)) and any(isinstance(each, Target) for each in target):
        return [for_images(each, start, stop, images) for each in target]
    if not is_per_image(target):
        return target
    if len(target) != images:
        raise Error(f"targets for {len(target)} images do not fit {images}: give one row per image, (B,) or (B, T).")
    return target[start:stop]


def is_per_image(target: Any) -> bool:
    """Whether a target holds other classes for each image: a tensor or array ``(B,)``, ``(B, T)`` or a nested list."""
    return (isinstance(target, (Tensor, np.ndarray)) and target.ndim > 0) or is_nested(target)


def warn_if_flat(target: Any, images: int) -> None:
    """A flat list means the same T targets for every image; as long as the batch, it is easily meant otherwise."""
    if isinstance(target, (list, tuple)) and len(target) == images > 1 and not is_nested(target):
        warnings.warn(
            f"a flat list of {images} targets explains all {images} for every image; for one per image pass a tensor "
            "or a nested list, [[a], [b], ...].",
            stacklevel=3,
        )
