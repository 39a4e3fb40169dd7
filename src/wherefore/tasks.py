"""What to explain of networks that do not classify: a region, a box, a similarity, an action.

Pixels(mask, "cat")     segmentation: the mean score of a class over a region, by default where it is the highest
Box(0), Box(label="dog"), Box((x0, y0, x1, y1))
                        detection: the class score of a box, by rank, class or place
Similarity(embedding)   embeddings: the cosine of the angle to another one
Action(2)               policies: the logarithm of an action's probability, by default of the likeliest

Where a network's output shows what it is, classes and ``None`` mean the same for it: the class of a segmentation where
it is the highest, the highest box of a detector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from wherefore.classes import TOP, Names, class_index, class_name, class_scores, indices, is_nested, is_number, top
from wherefore.errors import Error, ImageError, NothingSeen
from wherefore.outputs import Detections, dense, detections, embedding, overlaps
from wherefore.types import Block, Mark, Score, Target

BACKGROUND = ("background", "__background__")
LEAST_OVERLAP = 0.1  # of a box asked for by its place, with any that the detector sees


def blocks(target: Any, output: Any, names: Names) -> list[Block] | None:
    """What classes and ``None`` mean for the output of a segmentation or a detector; None for any other output."""
    if detections(output, names) is not None:
        if target is None or (isinstance(target, str) and TOP.fullmatch(target)):
            return [Box(rank).bind(output, names) for rank in range(top(target))]
        if isinstance(target, (list, tuple)) and not is_nested(target):
            return [Box(label=each).bind(output, names) for each in target]
        if target != "all" and (isinstance(target, str) or is_number(target)):
            return [Box(label=target).bind(output, names)]
        raise Error(f"{target!r} says no box of a detector: give a class, 'top5', wf.Box(...) or a list of these.")
    places = dense(output)
    if places is None:
        return None
    sizes = _sizes(places, names)
    if target is None or (isinstance(target, str) and TOP.fullmatch(target)):
        present = int((sizes > 0).sum(1).min())
        if present == 0:
            raise ImageError("the segmentation sees nothing but background in one of the images: name a class.")
        target = f"top{min(top(target), present)}"
    chosen = indices(target, sizes, names)
    return [_region(places, chosen[:, t], names) for t in range(chosen.shape[1])]


# -------------------------------------------------------------------------------------------- segmentation


@dataclass(frozen=True)
class Pixels(Target):
    """The mean score of a class over a region of a segmentation: ``wf.Pixels(mask, "cat")``.

    ``mask`` is ``(h, w)`` or one for each image ``(B, h, w)``, of any resolution, True (or a weight) where the region
    is, in the part of the picture that the network sees; None: where the class is the highest. ``target`` is an index
    or a name; None: the class with most pixels in the region.
    """

    mask: Any = None
    target: int | str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.mask, (str, tuple)):
            raise Error("a region is an array (h, w), True where it is: read the file, or mark the place, first.")

    def part(self, start: int, stop: int, images: int) -> Target:
        mask = self.mask
        if mask is None or np.ndim(mask) < 3:
            return self
        if len(mask) != images:
            raise Error(f"{len(mask)} masks do not fit {images} images: give (h, w), or one for each.")
        return replace(self, mask=mask[start:stop])

    def bind(self, output: Any, names: Names) -> Block:
        places = dense(output)
        if places is None:
            raise Error("Pixels explains networks that give every pixel class scores, (B, C, h, w): this one does not.")
        mask = None if self.mask is None else _mask(self.mask, places)
        if self.target is None:
            classes = _sizes(places, names, mask).argmax(1)
        else:
            index = class_index(self.target, places.shape[1], names)
            classes = torch.full((len(places),), index, device=places.device)
        return _region(places, classes, names, mask)


def _sizes(places: Tensor, names: Names, mask: Tensor | None = None) -> Tensor:
    """How many places ``(B, C)`` each class is the highest at; less than none for the background."""
    highest = places.detach().argmax(1).flatten(1)  # (B, places)
    counts = torch.ones_like(highest, dtype=torch.float32) if mask is None else mask.flatten(1).float()
    sizes = torch.zeros(len(places), places.shape[1], device=places.device).scatter_add_(1, highest, counts)
    for index, name in enumerate(names or ()):
        if name.lower() in BACKGROUND and index < places.shape[1]:
            sizes[:, index] = -1
    return sizes


def _mask(mask: Any, places: Tensor) -> Tensor:
    """A region at the output's resolution ``(B, h, w)``, as weights."""
    given = torch.as_tensor(np.array(mask) if not isinstance(mask, Tensor) else mask)
    given = given.to(places.device, places.dtype).detach()
    axes = places.ndim - 2
    if given.ndim == axes:
        given = given.expand(len(places), *given.shape)
    if given.ndim != axes + 1 or len(given) != len(places):
        raise Error(f"a mask of shape {tuple(given.shape)} fits no batch of {len(places)}: give (h, w) or (B, h, w).")
    if not bool((given.flatten(1).sum(1) > 0).all()):
        raise Error("the mask is empty: mark the pixels whose class is to be explained.")
    return F.interpolate(given[:, None], places.shape[2:], mode="area")[:, 0]  # none of a small region is lost


def _region(places: Tensor, classes: Tensor, names: Names, mask: Tensor | None = None) -> Block:
    """What reads the mean score of a class ``(B,)`` in a region, or where the class now is the highest, if anywhere."""
    absent = [False] * len(places)
    if mask is None:
        own = (places.detach().argmax(1) == classes.reshape(-1, *[1] * (places.ndim - 2))).to(places.dtype)
        nowhere = own.flatten(1).sum(1) == 0
        absent = nowhere.tolist()
        mask = torch.where(nowhere.reshape(-1, *[1] * (places.ndim - 2)), 1, own)
    weights = mask.flatten(1) / mask.flatten(1).sum(1, keepdim=True).clamp(min=1e-12)

    def score(output: Any) -> Tensor:
        found = dense(output)
        assert found is not None
        copies = len(found) // len(classes)
        of_class = found.flatten(2)[torch.arange(len(found), device=found.device), classes.repeat(copies)]
        return (of_class * weights.repeat(copies, 1)).sum(1)

    middle = places[(0, int(classes[0]), *(side // 2 for side in places.shape[2:]))]  # at the rim less is read
    labels = [
        class_name(c, names) + (" (highest nowhere: its mean)" if empty else "")
        for c, empty in zip(classes.tolist(), absent, strict=True)
    ]
    return Score(score, labels, head=places, place=middle, mark=Mark(mask))


# -------------------------------------------------------------------------------------------- detection


@dataclass(frozen=True)
class Box(Target):
    """The class score of a box that a detector sees: ``wf.Box()`` the highest, ``wf.Box(2)`` the third highest.

    ``wf.Box((x0, y0, x1, y1))`` is the box that covers this place best (in the detector's own units; IoU >= 0.1), and
    ``label`` keeps only those of one class. In the outputs of other pictures (a covered one) it is again the box of its
    class that covers the same place best; where there is none, its score is 0.
    """

    box: int | Sequence[float] = 0
    label: int | str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.box, str):
            raise Error(f"a box of a class is asked for as wf.Box(label={self.box!r}).")

    def bind(self, output: Any, names: Names) -> Block:
        every = detections(output, names)
        if every is None:
            raise Error("Box explains detectors (boxes, scores, labels): this network returns nothing of the kind.")
        found = [self._found(each, names) for each in every]

        def score(output: Any) -> Tensor:
            others = detections(output, names) or []
            matched = [_matched(each, *found[i % len(found)]) for i, each in enumerate(others)]
            if len(matched) % len(found):
                raise Error("the detector gives no boxes for some of the images.")
            return torch.stack(matched)

        labels = [class_name(label, names) for _, label in found]
        mark = Mark(torch.stack([box for box, _ in found]).float(), every[0].relative)
        return Score(score, labels, pyramid=True, mark=mark)

    def _found(self, seen: Detections, names: Names) -> tuple[Tensor, int]:
        """The box that is meant in an image, and its class."""
        kept = torch.ones_like(seen.labels, dtype=torch.bool)
        wanted = "box"
        if self.label is not None:
            label = class_index(self.label, len(names) if names else 2**31, names)
            kept, wanted = seen.labels == label, f"box of {class_name(label, names)}"
        boxes, labels = seen.boxes[kept], seen.labels[kept]
        if isinstance(self.box, (int, np.integer)):
            if self.box < 0:
                raise Error(f"boxes are counted from 0, the highest: {self.box} is none.")
            if self.box >= len(boxes):
                has = f"only {len(boxes)}" if len(boxes) else "none"
                raise NothingSeen(
                    f"the detector reports no {wanted} number {self.box}, but {has} above its threshold of scores",
                    "ask for another, or lower that threshold",
                )
            return boxes[int(self.box)], int(labels[int(self.box)])
        place = torch.as_tensor(self.box, dtype=boxes.dtype, device=boxes.device)
        if place.shape != (4,):
            raise Error(f"a box is a rank or x0, y0, x1, y1, not {self.box!r}.")
        shared = overlaps(place, boxes)
        if not len(boxes) or float(shared.max()) < LEAST_OVERLAP:
            raise NothingSeen(f"the detector reports no {wanted} at {self.box}", "ask for one that it sees")
        best = int(shared.argmax())
        return boxes[best], int(labels[best])


def _matched(seen: Detections, box: Tensor, label: int) -> Tensor:
    """The score of the box of that class which covers a place best, 0 where there is none."""
    shared = torch.where(seen.labels == label, overlaps(box.to(seen.boxes), seen.boxes), 0)
    if not len(shared) or float(shared.max()) < LEAST_OVERLAP:
        return seen.scores.sum() * 0
    return seen.scores[int(shared.argmax())]


# -------------------------------------------------------------------------------------------- embeddings, policies


@dataclass(frozen=True, eq=False)
class Similarity(Target):
    """The cosine of the angle between an image's embedding and another, ``(D,)`` or one for each image ``(B, D)``.

    The network's embedding is the part of its output that libraries call so (``image_embeds`` of a CLIP), else its
    output, or the part that ``output=`` says. ``wf.Similarity(wf.embed(model, "other.jpg"))`` compares with another
    picture.
    """

    embedding: Tensor
    name: str = "similarity"

    def __post_init__(self) -> None:
        if not isinstance(self.embedding, Tensor):
            raise Error("Similarity compares with an embedding, a tensor (D,): wf.embed(model, picture) makes one.")

    def part(self, start: int, stop: int, images: int) -> Target:
        if self.embedding.ndim < 2:
            return self
        if len(self.embedding) not in (1, images):
            raise Error(f"{len(self.embedding)} embeddings do not fit {images} images: give (D,) or (B, D).")
        return self if len(self.embedding) == 1 else replace(self, embedding=self.embedding[start:stop])

    def bind(self, output: Any, names: Names) -> Block:
        other = torch.as_tensor(self.embedding).detach()

        def score(output: Any) -> Tensor:
            own = embedding(output)
            if other.shape[-1] != own.shape[-1] or other.ndim not in (1, 2):
                raise Error(f"an embedding {tuple(other.shape)} cannot be compared with the network's, {own.shape[1]}.")
            same = other.to(own)
            if other.ndim == 2 and len(other) != len(own):
                if len(own) % len(other):
                    raise Error(f"{len(other)} embeddings do not fit {len(own)} images: give (D,) or (B, D).")
                same = same.repeat(len(own) // len(other), 1)
            return F.cosine_similarity(own, same.expand_as(own), dim=1)

        return Score(score, self.name, of_all=True)


@dataclass(frozen=True)
class Action(Target):
    """The logarithm of an action's probability under a policy's logits ``(B, actions)``; None: of the likeliest."""

    action: int | str | None = None

    def bind(self, output: Any, names: Names) -> Block:
        values = class_scores(output, names)
        if self.action is None:
            chosen = values.detach().argmax(1)
        else:
            index = class_index(self.action, values.shape[1], names)
            chosen = torch.full((len(values),), index, device=values.device)

        def score(output: Any) -> Tensor:
            found = class_scores(output, names).log_softmax(1)
            return found.gather(1, chosen.repeat(len(found) // len(chosen))[:, None])[:, 0]

        labels = [f"action {i}" if names is None else class_name(i, names) for i in chosen.tolist()]
        return Score(score, labels, head=values)
