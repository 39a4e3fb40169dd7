"""Which classes are meant: by index, name, part of a name, ``top5``, ``all``, or other ones for each image."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wherefore.errors import Error
from wherefore.outputs import logits
from wherefore.registry import unknown

Names = Sequence[str] | None

TOP = re.compile(r"top-?(\d+)")


def class_scores(output: Any, names: Names = None) -> Tensor:
    """The scores ``(B, C)`` of the classes: a single one ``(B, 1)`` for two named classes is that of the second.

    What speaks for the second of two classes speaks against the first.
    """
    values = logits(output, None if names is None else len(names))
    return torch.cat([-values, values], 1) if values.shape[1] == 1 and names is not None and len(names) == 2 else values


def indices(target: Any, values: Tensor, names: Names) -> Tensor:
    """The class indices ``(B, T)`` that a target without callables means, for scores ``(B, C)``."""
    images, count = values.shape
    if isinstance(target, (list, tuple)) and target and not is_nested(target):  # numbers alone
        found = [class_index(int(number), count, names) for number in target]
        return torch.tensor(found, device=values.device).expand(images, -1)
    if is_nested(target):
        return _nested(target, images, count, names, values.device)
    if isinstance(target, (Tensor, np.ndarray)):
        return _per_image(torch.as_tensor(target), images, count).to(values.device)
    if target is None or (isinstance(target, str) and TOP.fullmatch(target)):
        return values.detach().topk(min(top(target), count), dim=1).indices
    if target == "all":
        return torch.arange(count, device=values.device).expand(images, -1)
    if isinstance(target, str) or is_number(target):
        index = class_index(target if isinstance(target, str) else int(target), count, names)
        return torch.full((images, 1), index, device=values.device)
    raise Error(
        f"{target!r} is no target: give a class index or name, 'top5', 'all', a list of these, "
        "a tensor of indices, or a callable output -> (B,)."
    )


def top(target: str | None) -> int:
    """How many of the highest are asked for: 5 by ``top5``, 1 by None."""
    match = TOP.fullmatch(target or "top1")
    most = int(match[1]) if match else 0
    if most < 1:
        raise Error(f"{target!r} asks for no class: give 'top1' or more.")
    return most


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


# -------------------------------------------------------------------------------------------- lists and tensors


def is_number(target: Any) -> bool:
    """Whether it is a whole number."""
    return isinstance(target, (int, np.integer)) and not isinstance(target, bool)


def is_nested(target: Any) -> bool:
    """Whether it is a list of lists: other classes for each image."""
    return isinstance(target, (list, tuple)) and bool(target) and all(map(is_row, target))


def is_row(part: Any) -> bool:
    """Whether it is what a list of lists consists of."""
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
