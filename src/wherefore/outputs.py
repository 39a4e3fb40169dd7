"""What comes out of a network: where in it the class scores, boxes and embeddings lie."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from wherefore.errors import Error
from wherefore.places import entries

# Names under which libraries return class scores, and embeddings.
SCORES = ("logits", "out", "logits_per_image", "pred_logits", "scores")
EMBEDDINGS = ("image_embeds", "embeds", "embeddings", "pooler_output", "last_hidden_state")
OWN_TARGET = "pass target= a callable that turns the output into one number per image, (B,)."


def select(output: Any, which: Any) -> Any:
    """The part of an output that is asked for: by a key, a field's name, an index, or a function of it."""
    if which is None:
        return output
    if callable(which):
        return which(output)
    parts = entries(output)
    if str(which) not in parts:
        there = ", ".join(map(str, parts)) or f"a {type(output).__name__} without parts"
        raise Error(f"the output has no part {which!r}: there is {there}.")
    return parts[str(which)]


def scores(output: Any, count: int | None = None) -> Tensor:
    """The tensor in an output that holds scores: itself, the part with a usual name, or the first of several.

    Of several tensors in a tuple it is the first with ``count`` columns, where that many are known to be classes.
    """
    if isinstance(output, Tensor):
        return output
    parts = entries(output) or {name: getattr(output, name) for name in SCORES if hasattr(output, name)}
    tensors = {key: value for key, value in parts.items() if isinstance(value, Tensor) and value.is_floating_point()}
    found = next((tensors[name] for name in SCORES if name in tensors), None)
    if found is None and isinstance(output, (tuple, list)) and tensors:
        fits = (each for each in tensors.values() if each.ndim == 2 and each.shape[1] == count)
        found = next(fits, next(iter(tensors.values())))
    if found is None and len(tensors) == 1:
        found = next(iter(tensors.values()))
    if found is None:
        has = f" of {', '.join(map(str, parts))}" if parts else ""
        raise Error(
            f"the network returns a {type(output).__name__}{has}, not class scores: say which part holds them with "
            f"output= (a key, an index or a function), or {OWN_TARGET}"
        )
    return found


def logits(output: Any, count: int | None = None) -> Tensor:
    """The class scores ``(B, C)`` in an output; one score ``(B,)`` per image counts as one class.

    Raises `Error` for an output without a class dimension.
    """
    found = scores(output, count)
    if found.ndim == 1:
        return found[:, None]
    if found.ndim > 3 and math.prod(found.shape[2:]) == 1:
        return found.flatten(1)
    if found.ndim != 2:
        raise Error(
            f"the output {tuple(found.shape)} has no class dimension, (images, classes) is wanted: say which part "
            f"holds the scores with output=, or {OWN_TARGET}"
        )
    return found


def dense(output: Any) -> Tensor | None:
    """Scores ``(B, C, h, w)`` of every class at every place, as segmentation gives; None for any other output."""
    try:
        found = scores(output)
    except Error:
        return None
    return found if found.ndim in (4, 5) and math.prod(found.shape[2:]) > 1 else None


def embedded(output: Any) -> bool:
    """Whether an output has a part that libraries call an embedding."""
    parts = entries(output)
    return any(isinstance(parts.get(name), Tensor) for name in EMBEDDINGS)


def embedding(output: Any) -> Tensor:
    """The embedding ``(B, D)`` in an output: itself, the part with a usual name, the mean over tokens or places."""
    if not isinstance(output, Tensor):
        parts = entries(output)
        named = [parts[name] for name in EMBEDDINGS if isinstance(parts.get(name), Tensor)]
        output = named[0] if named else scores(output)
    if output.ndim == 3:  # tokens last but one
        return output.mean(1)
    return output.flatten(2).mean(2) if output.ndim > 3 else output


# -------------------------------------------------------------------------------------------- detections


class Detections(NamedTuple):
    """The boxes that a detector sees in one image."""

    boxes: Tensor  # (N, 4) as x0, y0, x1, y1, in the detector's own units
    scores: Tensor  # (N,) of each box's class, attached to the graph
    labels: Tensor  # (N,) class indices
    relative: bool = False  # whether boxes are shares of the input's width and height


def detections(output: Any, names: Sequence[str] | None = None) -> list[Detections] | None:
    """What a detector returns, image by image, the highest score first; None for what is no detector's output.

    Known are lists of ``boxes, scores, labels`` (torchvision), ``logits`` with ``pred_boxes`` (DETR and its kin; one
    class more than there are ``names``, where these are known, is "nothing"), and one tensor of boxes and scores
    (YOLO): ``(B, 4 + C, N)``, ``(B, N, 5 + C)``, or ``(B, N, 6)`` with a score and a class.
    """
    if isinstance(output, (list, tuple)) and output and all(_is_listed(each) for each in output):
        return [_sorted(each["boxes"], each["scores"], each["labels"]) for each in output]
    parts = entries(output)
    classes = parts.get("logits", parts.get("pred_logits"))
    if isinstance(parts.get("pred_boxes"), Tensor) and isinstance(classes, Tensor):
        nothing = names is None or classes.shape[2] == len(names) + 1
        likely = classes.detach().softmax(2)[..., :-1] if nothing else classes.detach().sigmoid()
        return [
            _queries(boxes, *each)._replace(relative=True)
            for boxes, *each in zip(parts["pred_boxes"], classes, likely, strict=True)
        ]
    if isinstance(output, (list, tuple)) and output and isinstance(output[0], Tensor) and _is_yolo(output[0]):
        output = output[0]
    if isinstance(output, Tensor) and _is_yolo(output):
        return [_yolo(each) for each in output]
    return None


def _queries(boxes: Tensor, values: Tensor, likely: Tensor) -> Detections:
    """A DETR's boxes, the likeliest first; their scores are logits."""
    labels = likely.argmax(1)
    order = likely.amax(1).argsort(descending=True)
    scores = values.gather(1, labels[:, None])[:, 0]
    return Detections(_corners(boxes).detach()[order], scores[order], labels[order])


def _is_listed(each: Any) -> bool:
    return isinstance(each, Mapping) and {"boxes", "scores", "labels"} <= set(each)


def _is_yolo(output: Tensor) -> bool:
    """``(B, 4 + C, N)`` with many more boxes than classes or ``(B, N, 5 + C)``: sizes, and scores in 0..1."""
    if output.ndim != 3 or min(output.shape[1:]) < 5 or max(output.shape[1:]) < 2 * min(output.shape[1:]):
        return False
    columns = output.detach() if output.shape[1] < output.shape[2] else output.detach().mT
    sizes, values = columns[:, 2:4], columns[:, 4:5] if _is_final(output) else columns[:, 4:]
    in_pixels = bool((sizes >= 0).all()) and bool(columns[:, :4].max() > 1.5)
    return in_pixels and bool((values >= 0).all()) and bool((values <= 1).all())


def _is_final(output: Tensor) -> bool:
    """``(B, N, 6)``: corners, a score, and the number of a class."""
    last = output.detach()[..., -1]
    return output.shape[2] == 6 and output.shape[1] > 6 and bool((last == last.round()).all())


def _yolo(each: Tensor) -> Detections:
    """One image of a YOLO: columns x, y, width, height, (in the older ones "an object",) and a score per class."""
    if _is_final(each[None]):
        return _sorted(each[:, :4], each[:, 4], each[:, 5].detach().long())
    if each.shape[0] < each.shape[1]:  # (4 + C, N)
        boxes, values = each[:4].T, each[4:].T
    else:  # (N, 5 + C)
        boxes, values = each[:, :4], each[:, 5:] * each[:, 4:5]
    highest = values.max(1)
    return _sorted(_corners(boxes), highest.values, highest.indices)


def _corners(boxes: Tensor) -> Tensor:
    """Boxes ``(N, 4)`` given by centre and size as corners."""
    centre, half = boxes[:, :2], boxes[:, 2:] / 2
    return torch.cat([centre - half, centre + half], 1)


def _sorted(boxes: Tensor, values: Tensor, labels: Tensor) -> Detections:
    order = values.detach().argsort(descending=True)
    return Detections(boxes.detach()[order], values[order], labels[order])


def overlaps(box: Tensor, boxes: Tensor) -> Tensor:
    """The intersection over union of one box ``(4,)`` with each of ``(N, 4)``."""
    corner, other = torch.maximum(box[:2], boxes[:, :2]), torch.minimum(box[2:], boxes[:, 2:])
    shared = (other - corner).clamp(min=0).prod(1)
    areas = [(b[..., 2:] - b[..., :2]).clamp(min=0).prod(-1) for b in (box, boxes)]
    return shared / (areas[0] + areas[1] - shared).clamp(min=1e-12)
