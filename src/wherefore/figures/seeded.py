"""Segmentation from the seeds of Grad-CAM: figure 4."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn
from torch.nn import functional as F

from wherefore.datasets import VOID, Array
from wherefore.drawing import INK, PAPER, font
from wherefore.errors import Error
from wherefore.explanation import Explanation
from wherefore.figures.choice import Choice, Taken
from wherefore.figures.classes import labelled
from wherefore.figures.sheets import ACROSS, SIZE, Drawing, Sheet, laid, mapped, photo
from wherefore.imaging import resample
from wherefore.registry import FIGURES
from wherefore.segmenting.crf import refined
from wherefore.segmenting.figures import BACKGROUND, UNSAID, colour, painted
from wherefore.segmenting.networks import LargeFov, conv_names, stage_start
from wherefore.segmenting.predicting import predicted
from wherefore.segmenting.recipes import FULL, SCENES, Recipe
from wherefore.segmenting.seeds import FOREGROUND, background, foreground, saliency, together
from wherefore.tiling import Block, tile

PIXELS, PICTURE = 128, 500  # a picture's longer side for the CRF, and that of the pictures which its lengths are for


@FIGURES(
    "4", title="segmentation from seeds of Grad-CAM", section="4.2", networks=("scenes:vgg",), data="pair", count=3,
    seconds=2, takes=("images", "models", "weights", "targets", "data"), segments=True,
)  # fmt: skip
def figure_4(choice: Choice) -> Drawing:
    """Pictures, the seeds that Grad-CAM gives for what is in them, a segmentation made of these, and the true one."""
    trained = choice.checkpoints
    recipe = SCENES if choice.on_scenes else FULL
    net = _trained(Path(trained[0]), recipe, len(choice.data.classes)) if trained else None
    sheets = [_segmented(choice, taken, recipe, net) for taken in labelled(choice)]
    how = TRAINED if net else UNTRAINED
    return Drawing(sheets, [SEEDS, how], "")


SEEDS = (
    "Seeds are where the map of a class that is said to be in the picture exceeds a fifth of its maximum; background "
    "is the tenth of the cells that the classes depend on least. All else is undecided."
)
UNTRAINED = (
    "Nothing is trained here. In place of the paper's network, which learns from the seeds of many pictures by SEC, a "
    "dense CRF draws the maps of each picture to its edges, the background having a fifth of their maximum. `wherefore "
    "experiment segmentation` trains the network; its grad-cam-0.checkpoint.pt is taken as `--weights`."
)
TRAINED = "The network learned from seeds by SEC (`wherefore experiment segmentation`); the CRF is that of the paper."


def _trained(path: Path, recipe: Recipe, classes: int) -> nn.Module:
    """The network that segments, with the weights of a checkpoint."""
    net = LargeFov(recipe.shape, 1 + classes, recipe.dropout)
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        net.load_state_dict(found.get("net", found))
    except Exception:
        raise Error(f"{path} is no checkpoint of a segmentation with {classes} classes.") from None
    return net.eval()


def _segmented(choice: Choice, taken: Taken, recipe: Recipe, net: nn.Module | None) -> Sheet:
    """The picture, the maps, the seeds, what is made of them, and the truth where it is annotated."""
    model = choice.network
    why = choice.why(model)
    one = why.prepare(taken.picture)
    e = why.on([one], _asked(choice, taken))
    asked = _numbered(choice, taken, e)
    heats = resample(e.maps[0].cpu(), (recipe.shape.grid,) * 2).numpy()
    behind = background(_dependence(model.net, one.tensor[None], recipe))
    seeds = together(dict(zip(asked, map(foreground, heats), strict=True)), behind)
    image, small = taken.picture.image, taken.picture.within(ACROSS).image
    made = predicted([net], image, recipe).crf[0] if net else _refined(dict(zip(asked, heats, strict=True)), image)
    tiles = [photo(taken.picture)]
    tiles += [tile(mapped(e, t), f"Grad-CAM: {name}", e.score_text(0, t), SIZE) for t, name in enumerate(e.targets[0])]
    tiles.append(tile(painted(small, seeds), "seeds", f"{int((seeds != VOID).sum())} of {seeds.size} cells", SIZE))
    tiles.append(tile(painted(small, made), "learned from seeds" if net else "maps, and a CRF", "", SIZE))
    truth = taken.sample.segmentation if taken.sample else None
    if truth is not None:
        tiles.append(tile(painted(small, truth), "annotated", "", SIZE))
    blocks = [Block(taken.picture.title, f"{model.name}, {e.method}, {e.layer}", tiles)]
    return Sheet(taken.picture.title, _keyed(laid(blocks), _names(choice, asked, seeds, made, truth)), {"Grad-CAM": e},
                 taken.sample)  # fmt: skip


def _asked(choice: Choice, taken: Taken) -> list[Any]:
    """What the network is asked for: the user's classes, else all that are said to be in the picture."""
    return choice.targets(choice.network, taken, len(taken.labels) or 1)


def _numbered(choice: Choice, taken: Taken, e: Explanation) -> dict[int, str]:
    """The names of the classes that are seeded by their places in the data set; what it lacks has places after these.

    What the user asked for keeps its own name.
    """
    there = {c: name for name, numbers in choice.matched(choice.network).items() for c in numbers}
    own, free, found = bool(choice.settings.targets), len(choice.data.classes), dict[int, str]()
    for c, asked in zip(e.classes[0].tolist(), e.targets[0], strict=True):
        name = there.get(c)
        place = free if name is None else choice.data.number(name)
        place = max(free, *found) + 1 if place in found else place  # two breeds of one kind
        found[place] = asked if own or name is None or name not in taken.labels else name
    return found


def _names(choice: Choice, asked: dict[int, str], *painted: Array | None) -> dict[str, int]:
    """All that is painted, by its name: what was asked for, and what else is annotated or found."""
    seen = {int(n) for classes in painted if classes is not None for n in np.unique(classes)} - {0, VOID}
    numbers = sorted(seen | {1 + place for place in asked})
    return {"background": 0, **{asked.get(n - 1) or choice.data.classes[n - 1]: n for n in numbers}}


def _dependence(net: nn.Module, images: Tensor, recipe: Recipe) -> Array:
    """How much all classes depend on each cell; of a VGG by an early layer as SEC has it, else by the pixels."""
    names, start = conv_names(net), stage_start(recipe.shape)
    if len(names) > start:
        values = torch.from_numpy(saliency(net, names[start], images))
    else:
        pixels = images.detach().clone().requires_grad_()
        values = torch.autograd.grad(net(pixels).sum(), pixels)[0].abs().amax(1)
    grid = recipe.shape.grid
    return F.interpolate(values[None], (grid, grid), mode="area")[0, 0].numpy()


def _refined(heats: dict[int, Array], image: Image.Image) -> Array:
    """The classes ``(H, W)`` that a dense CRF makes of the maps of some, with what a seed must exceed as background."""
    small = image.copy()
    small.thumbnail((PIXELS, PIXELS))
    shares = [torch.from_numpy(heat).clamp(min=0) / max(float(heat.max()), 1e-12) for heat in heats.values()]
    p = torch.stack([torch.full_like(shares[0], FOREGROUND), *shares])
    q = refined((p / p.sum(0))[None], small, PICTURE / max(small.size)).q[0]
    found: Array = torch.tensor([0, *(1 + number for number in heats)], dtype=torch.uint8)[q.argmax(0)].numpy()
    return found


def _keyed(picture: Image.Image, names: dict[str, int]) -> Image.Image:
    """The sheet with the colours of classes below."""
    line = round(SIZE * 1.6)
    canvas = Image.new("RGB", (picture.width, picture.height + line), PAPER)
    canvas.paste(picture, (0, 0))
    pen, x = ImageDraw.Draw(canvas), 12.0
    for name, number in {**names, "undecided": VOID}.items():
        shade = KEYS.get(number) or colour(number)
        pen.rectangle((x, picture.height, x + SIZE, picture.height + SIZE), fill=shade, outline=INK)
        pen.text((x + SIZE * 1.4, picture.height - 2), name, fill=INK, font=font(SIZE))
        x += SIZE * 2.6 + font(SIZE).getlength(name)
    return canvas


KEYS = {0: BACKGROUND, VOID: UNSAID}
