"""What to explain: the score of a class before softmax, the difference of two, or any number per image.

None                        the class with the highest score (one target per image)
"top5"                      the five highest
281, "tiger cat"            a class by index or name (a unique part of the name is enough)
[281, "boxer"]              several targets, for every image
tensor (B,), nested (B, T)  other targets for each image
"all"                       every class
Difference("boxer", 281)    why boxer rather than 281: the difference of the two scores
any callable                output -> (B,)

A callable is asked for every piece of the images that goes through the network at once; ``batch_size=`` says how many
those are, for one that must see all of them together.
"""

from __future__ import annotations

import operator
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wherefore.errors import Error
from wherefore.registry import unknown
from wherefore.types import Chosen

Names = Sequence[str] | None
Block = Tensor | Callable[[Any], Tensor]  # (B, t) class indices, or what reads one score (B,) from the output

TOP = re.compile(r"top-?(\d+)")


@dataclass(frozen=True)
class ClassScore:
    """The score of one class before softmax, by index or name: ``wf.ClassScore("boxer")``."""

    target: int | str


@dataclass(frozen=True)
class Difference:
    """Why ``target`` rather than ``other``: the difference of their scores before softmax."""

    target: int | str
    other: int | str


def choose(target: Any, output: Any, names: Names = None) -> Chosen:
    """The scores ``(B, T)`` that ``target`` asks for, read from a network's output, with their names.

    Raises `Error` for a class that does not exist, a name that fits several, a number of targets that does not fit
    the batch, or an output without a class dimension.
    """
    blocks = _blocks(target, output, names)
    scores, classes, labels = _scores(blocks, output), [], []
    for number, block in enumerate(blocks):
        if isinstance(block, Tensor):
            classes.append(block)
            labels.append([[class_name(c, names) for c in row] for row in block.tolist()])
        else:
            classes.append(torch.full((len(scores), 1), -1, device=scores.device))
            labels.append([[_label(block, number)]] * len(scores))
    indices = torch.cat(classes, 1)
    rows = [[name for part in parts for name in part] for parts in zip(*labels, strict=True)]
    values = logits(output) if bool((indices >= 0).any()) else None
    on_copies = all(isinstance(block, Tensor) or getattr(block, "on_copies", False) for block in blocks)
    return Chosen(scores, rows, indices, _probabilities(values, indices), values, partial(_scores, blocks), on_copies)


def _scores(blocks: Sequence[Block], output: Any) -> Tensor:
    """The scores ``(B, T)`` of the targets in blocks; indices are repeated for an output of copies of their images."""
    scores = []
    for block in blocks:
        if isinstance(block, Tensor):
            values = logits(output)
            scores.append(values.gather(1, block.repeat(len(values) // len(block), 1)))
        else:
            scores.append(_checked(block(output), block)[:, None])
    if len({len(s) for s in scores}) != 1:
        raise Error("the targets give different numbers of scores: each must give one per image, (B,).")
    return torch.cat(scores, 1)


def for_images(target: Any, start: int, stop: int, images: int) -> Any:
    """The part of a per-image target (tensor or nested list) that belongs to images ``start`` to ``stop``."""
    if not is_per_image(target):
        return target
    if len(target) != images:
        raise Error(f"targets for {len(target)} images do not fit {images}: give one row per image, (B,) or (B, T).")
    return target[start:stop]


def is_per_image(target: Any) -> bool:
    """Whether a target holds other classes for each image: a tensor or array ``(B,)``, ``(B, T)`` or a nested list."""
    return (isinstance(target, (Tensor, np.ndarray)) and target.ndim > 0) or _is_nested(target)


def warn_if_flat(target: Any, images: int) -> None:
    """A flat list means the same T targets for every image; as long as the batch, it is easily meant otherwise."""
    if isinstance(target, (list, tuple)) and len(target) == images > 1 and not _is_nested(target):
        warnings.warn(
            f"a flat list of {images} targets explains all {images} for every image; for one per image pass a tensor "
            "or a nested list, [[a], [b], ...].",
            stacklevel=3,
        )


def logits(output: Any) -> Tensor:
    """The class scores ``(B, C)`` in an output: itself, ``.logits``, ``["logits"]``, ``["out"]`` or the first part."""
    if isinstance(output, Mapping):
        output = next((output[key] for key in ("logits", "out") if key in output), output)
    elif hasattr(output, "logits"):
        output = output.logits
    elif isinstance(output, (tuple, list)) and output:
        output = output[0]
    if not isinstance(output, Tensor):
        raise Error(
            f"the network returns {type(output).__name__}, not class scores: "
            "pass target= a callable that turns the output into one number per image, (B,)."
        )
    if output.ndim != 2:
        raise Error(
            f"the output {tuple(output.shape)} is not (images, classes): "
            "pass target= a callable that turns it into one number per image, (B,)."
        )
    return output


def class_index(target: int | str, count: int, names: Names) -> int:
    """The index of a class given by index, name, unique part of a name, or an index written as text."""
    if isinstance(target, str):
        target = _by_name(target, count, names)
    if not 0 <= target < count:
        raise Error(f"class {target} is out of range: the model has {count} classes, 0 to {count - 1}.")
    return target


def _by_name(text: str, count: int, names: Names) -> int:
    """The index of the class of that name, else that number, else the class that alone has it as a word or a part."""
    wanted, number = text.strip().lower(), re.fullmatch(r"-?\d+", text.strip())
    if names is None or len(names) == 0:
        if number:
            return int(text)
        raise Error(f"this model has no class names, so {text!r} means nothing: give an index, 0 to {count - 1}.")
    tests: list[Callable[[str], bool]] = [
        lambda name: name == wanted,
        lambda name: re.search(rf"\b{re.escape(wanted)}\b", name) is not None,
        lambda name: wanted in name,
    ]
    for strictness, test in enumerate(tests):
        found = [i for i, name in enumerate(names) if test(str(name).lower())]
        if len(found) > 1:
            some = ", ".join(f"{names[i]} ({i})" for i in found[:8]) + (" ..." if len(found) > 8 else "")
            raise Error(f"{text!r} fits {len(found)} classes: {some}; give the index.")
        if found:
            return found[0]
        if number and strictness == 0:
            return int(text)
    raise Error(unknown("class", text, [str(name) for name in names]))


def class_name(index: int, names: Names) -> str:
    """The name of a class, or ``class 7`` where the model has none."""
    return str(names[index]) if names is not None and index < len(names) else f"class {index}"


# -------------------------------------------------------------------------------------------- taking a target apart


def _blocks(target: Any, output: Any, names: Names) -> list[Block]:
    """The T targets in blocks: class indices ``(B, t)``, or a callable for one target."""
    if isinstance(target, ClassScore):
        target = target.target
    if isinstance(target, Difference):
        return [_difference(target, logits(output), names)]
    if callable(target):
        return [target]
    if isinstance(target, (list, tuple)) and target and not _is_nested(target):
        if any(map(_is_row, target)):
            raise Error("the target mixes classes and lists of classes: give one flat list, or one list per image.")
        if not all(map(_is_number, target)):
            return [block for part in target for block in _blocks(part, output, names)]
    values = logits(output)
    images, count = values.shape
    if isinstance(target, (list, tuple)) and target and not _is_nested(target):  # numbers alone: one block
        indices = [class_index(int(number), count, names) for number in target]
        return [torch.tensor(indices, device=values.device).expand(images, -1)]
    if _is_nested(target):
        return [_nested(target, images, count, names, values.device)]
    if isinstance(target, (Tensor, np.ndarray)):
        return [_per_image(torch.as_tensor(target), images, count).to(values.device)]
    if target is None or (isinstance(target, str) and TOP.fullmatch(target)):
        most = int(TOP.fullmatch(target)[1]) if target else 1  # type: ignore[index]
        if most < 1:
            raise Error(f"{target!r} asks for no class: give 'top1' or more.")
        return [values.detach().topk(min(most, count), dim=1).indices]
    if target == "all":
        return [torch.arange(count, device=values.device).expand(images, -1)]
    if isinstance(target, str) or _is_number(target):
        index = class_index(target if isinstance(target, str) else int(target), count, names)
        return [torch.full((images, 1), index, device=values.device)]
    raise Error(
        f"{target!r} is no target: give a class index or name, 'top5', 'all', a list of these, "
        "a tensor of indices, or a callable output -> (B,)."
    )


def _is_number(target: Any) -> bool:
    return isinstance(target, (int, np.integer)) and not isinstance(target, bool)


def _is_nested(target: Any) -> bool:
    return isinstance(target, (list, tuple)) and bool(target) and all(map(_is_row, target))


def _is_row(part: Any) -> bool:
    return isinstance(part, (list, tuple)) or (isinstance(part, (Tensor, np.ndarray)) and part.ndim > 0)


def _per_image(target: Tensor, images: int, count: int) -> Tensor:
    """A tensor ``(B,)`` or ``(B, T)`` of class indices as ``(B, T)``; a single number serves all images."""
    if target.is_floating_point() or target.dtype == torch.bool:
        raise Error(f"targets are class indices: the tensor must hold whole numbers, not {target.dtype}.")
    if target.ndim == 0:
        target = target.expand(images)
    if target.ndim not in (1, 2) or len(target) != images or 0 in target.shape:
        raise Error(f"targets of shape {tuple(target.shape)} do not fit {images} images: give (B,) or (B, T).")
    for index in target.flatten().tolist():
        class_index(index, count, None)
    return target.long().reshape(images, -1)


def _nested(target: Any, images: int, count: int, names: Names, device: torch.device) -> Tensor:
    """A nested list, for each image its own T classes, as ``(B, T)``."""
    lengths = {len(row) for row in target}
    if len(target) != images or len(lengths) != 1 or 0 in lengths:
        raise Error(
            f"a nested list of targets needs one list per image, all of one length: got {len(target)} lists of "
            f"{' and '.join(map(str, sorted(lengths)))} for {images} images."
        )
    try:
        rows = [[class_index(c if isinstance(c, str) else _whole(c), count, names) for c in row] for row in target]
    except TypeError:
        raise Error("a nested list of targets holds class indices and names alone.") from None
    return torch.tensor(rows, device=device)


def _whole(number: Any) -> int:
    """The number as an int; TypeError for what is none."""
    if isinstance(number, (bool, np.bool_)):
        raise TypeError
    return operator.index(number)


def _difference(target: Difference, values: Tensor, names: Names) -> Callable[[Any], Tensor]:
    one, other = (class_index(c, values.shape[1], names) for c in (target.target, target.other))

    def score(output: Any) -> Tensor:
        scores = logits(output)
        return scores[:, one] - scores[:, other]

    score.on_copies = True  # type: ignore[attr-defined]  # it reads each image by itself
    score.__name__ = f"{class_name(one, names)} rather than {class_name(other, names)}"
    return score


def _checked(score: Any, target: Any) -> Tensor:
    if not isinstance(score, Tensor) or score.ndim != 1 or not score.is_floating_point():
        got = tuple(score.shape) if isinstance(score, Tensor) else type(score).__name__
        raise Error(f"the target {_label(target, 0)!r} must return one number per image, a tensor (B,), not {got}.")
    return score


def _label(target: Any, number: int) -> str:
    name = getattr(target, "__name__", type(target).__name__)
    return f"target {number}" if name == "<lambda>" else str(name)


def _probabilities(values: Tensor | None, classes: Tensor) -> Tensor:
    """Softmax (sigmoid for a single logit) of the chosen classes; NaN where the target is no class."""
    nothing = torch.full(classes.shape, torch.nan, device=classes.device)
    if values is None:
        return nothing
    values = values.detach().float()
    probabilities = values.softmax(1) if values.shape[1] > 1 else values.sigmoid()
    return torch.where(classes >= 0, probabilities.gather(1, classes.clamp(min=0)), nothing)
