"""Pictures of the story: scenes with what is true of them, maps with what they should have found."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage
from torch import Tensor

from wherefore.demo.measures import peaked_on
from wherefore.drawing import known
from wherefore.explanation import Explanation
from wherefore.imaging import peak
from wherefore.pages import Figure
from wherefore.scenes import Scene

FINER = 4  # rings are drawn so many times larger, then reduced


def map_figure(e: Explanation, image: int, target: int, scene: Scene, caption: str = "", note: str = "") -> Figure:
    """One map on its scene: the thing that was asked for outlined, a ring around the peak, and where that lies."""
    drawn = next(islice(e.overlays(image, legend=False), target, None))
    name = e.targets[image][target]
    if e.pixels is None and name in scene.labels:
        drawn = _outlined(drawn, scene, name)
    heat = next(islice(e.placed(image), target, None))
    if e.pixels is None and float(heat.max()) > 0:
        drawn = ringed(drawn, peak(heat))
    shown = caption or f"{e.method}: {name}"
    said = note or f"{probability(e, image, target)}; {peak_text(heat, scene)}"
    return Figure(drawn, shown, said, f"{shown}, drawn over {in_words(scene)}: {said}")


def against_figure(e: Explanation, image: int, target: int, scene: Scene) -> Figure:
    """What speaks against a name, on its scene, on the scale of what speaks for it."""
    drawn = next(islice(e.counter(image, legend=False), target, None))
    assert e.against is not None
    heat = next(islice(e.placed(image, e.against), target, None))
    if float(heat.max()) > 0:
        drawn = ringed(drawn, peak(heat))
    caption, said = f"against: {e.targets[image][target]}", peak_text(heat, scene)
    return Figure(drawn, caption, said, f"What speaks {caption.replace(':', '')}, drawn over {in_words(scene)}: {said}")


def scene_figure(scene: Scene, note: str) -> Figure:
    """A scene, its caption, and a note."""
    return Figure(scene.image, in_words(scene), note)


def known_figure(scene: Scene) -> Figure:
    """A scene with its things outlined and named."""
    return Figure(known(scene.image, scene.truth()), in_words(scene), f"{scene.name}, with what is known of it")


def in_words(scene: Scene) -> str:
    """The first of a scene's captions that names all of its things, without a stop."""
    fitting = [c for c in scene.captions if all(name in c for name in scene.labels)]
    return (fitting or [*scene.captions])[0].rstrip(".")


def peak_text(heat: Tensor, scene: Scene) -> str:
    """Where a map is highest, in words."""
    if float(heat.max()) <= 0:
        return "no evidence anywhere"
    thing = peaked_on(heat, scene)
    return f"peak on the {thing}" if thing else "peak beside the objects" if len(scene.things) > 1 else "peak beside it"


def probability(e: Explanation, image: int, target: int) -> str:
    """A target's probability."""
    return f"p {float(e.probabilities[image, target]):.2f}"


def ringed(picture: Image.Image, place: Sequence[int]) -> Image.Image:
    """The picture with a white ring in dark lines around a pixel."""
    x, y, radius = place[0] + 0.5, place[1] + 0.5, picture.width / 40
    mask = Image.new("L", (picture.width * FINER, picture.height * FINER))
    result = picture
    for width, colour in ((5.0, (28, 28, 32)), (2.0, (255, 255, 255))):
        line, pen = width * picture.width / 384, ImageDraw.Draw(mask)
        reach = radius + line / 2
        pen.rectangle((0, 0, *mask.size), fill=0)
        box = ((x - reach) * FINER, (y - reach) * FINER, (x + reach) * FINER, (y + reach) * FINER)
        pen.ellipse(box, outline=255, width=round(line * FINER))
        result = Image.composite(Image.new("RGB", picture.size, colour), result, mask.resize(picture.size))
    return result


def _outlined(picture: Image.Image, scene: Scene, category: str) -> Image.Image:
    """The picture with the outline of the things of a category: white, in a dark shade, smooth at any size."""
    away = ndimage.distance_transform_edt(~scene.mask(category)) * 384 / picture.width
    for width, colour, strength in ((3.6, (28, 28, 32), 150), (2.3, (255, 255, 255), 255)):
        line = strength * np.clip(width - away, 0, 1) * np.clip(away, 0, 1)
        cover = Image.fromarray(line.round().astype(np.uint8))
        picture = Image.composite(Image.new("RGB", picture.size, colour), picture, cover)
    return picture
