"""One picture explained in several ways on one page: by several methods (the paper's Figures 1 and 20) or at several
layers (its Figures 13 and 14).
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from torch import nn

from wherefore import drawing, imaging
from wherefore.errors import Error, ImageError
from wherefore.explainer import Explainer, method_options
from wherefore.explanation import Explanation, Picture, jpeg
from wherefore.layers import find_layers
from wherefore.progress import track
from wherefore.registry import METHODS
from wherefore.saving import can_be_made, made, unique_names, write_tensors, write_whole
from wherefore.targets import choose
from wherefore.types import Model

Report = dict[str, Any]
TILE = 240  # pixels across


@dataclass(frozen=True)
class Panel:
    """One picture's explanations by name of the method or layer, and why others have none."""

    picture: Picture
    explanations: dict[str, Explanation]
    failures: dict[str, str]

    def page(self, *, colours: str = "heat", scale: str = "each") -> Image.Image:
        """The page: a block for each target, in it the picture and a tile for each way, failures with their reason."""
        if not self.explanations:
            raise Error(next(iter(self.failures.values())))
        small = self.picture.within(TILE)
        blocks = []
        for t, target in enumerate(next(iter(self.explanations.values())).targets[0]):
            tiles = [drawing.tile(small.image, Path(self.picture.name).name)]
            for name, e in self.explanations.items():
                if len(e.targets[0]) > t:
                    drawn = e.drawn_on(small, t, colours=colours, scale=scale)
                    nothing = not float(e.evidence[0, t]) > 0
                    tiles.append(drawing.tile(drawn, name, "no positive evidence" if nothing else ""))
            tiles += [drawing.excused(small.size, name, why) for name, why in self.failures.items()]
            first = next(iter(self.explanations.values()))
            blocks.append((target, first.legend(0, t)[1], tiles))
        return drawing.page(blocks, _columns(len(blocks[0][2])))

    def report(self) -> list[Report]:
        """Plain values for each way: what `Explanation.report` gives, or the ``error``."""
        done = [
            {"name": name, "method": e.method, "layer": e.layer, "grid": e.settings["grid"], **_targets(e)}
            for name, e in self.explanations.items()
        ]
        return [*done, *({"name": name, "error": why} for name, why in self.failures.items())]


def _columns(tiles: int) -> int:
    """How many tiles stand in a row: all of a few, else as many as leave the fewest places empty."""
    return tiles if tiles <= 6 else min(range(6, 10), key=lambda columns: (-tiles % columns, -columns))


def _targets(e: Explanation) -> Report:
    return {"targets": [{k: v for k, v in t.items() if k != "files"} for t in e.report(0)["targets"]]}


def by_method(
    model: Model | nn.Module, methods: Sequence[str], layer: str | None = None, **options: Any
) -> dict[str, Explainer]:
    """An explainer for each method (``["all"]``: every one); layer and options go to those that take them."""
    names = list(METHODS) if list(methods) == ["all"] else list(dict.fromkeys(methods))
    own = {name: set(method_options(name)) for name in names}
    shared = {key: value for key, value in options.items() if key in ("fit", "flips", "compile", "batch_size")}
    for key in options.keys() - shared.keys():
        if not any(key in known for known in own.values()):
            raise Error(f"{key!r} is an option of none of {', '.join(names)}.")
    explainers = {}
    for name in names:
        wanted = {key: value for key, value in options.items() if key in own[name]}
        takes = METHODS[name].about.get("at", "layer") in ("layer", "stage")
        explainers[name] = Explainer(model, name, layer if takes else None, **shared, **wanted)
    return explainers


def by_layer(
    model: Model, image: Path, pattern: str = "all", method: str = "grad-cam", **options: Any
) -> dict[str, Explainer]:
    """An explainer for each layer that a pattern such as ``features.*`` fits (``all``: every one), in their order."""
    first = Explainer(model, method, **options)
    images = first.prepare(Picture(str(image), imaging.read(image), (0, 0, 0, 0))).tensor[None]
    every = find_layers(model.net, first.on_device(images), lambda output: choose(None, output)).every
    names = [layer.name for layer in every if pattern == "all" or fnmatch.fnmatchcase(layer.name, pattern)]
    if not names:
        raise Error(f"no layer's name fits {pattern!r}: `wherefore layers` lists them.")
    return {name: Explainer(model, method, name, **options) for name in names}


def panel(explainers: Mapping[str, Explainer], picture: Picture, target: Any = None) -> Panel:
    """One picture explained by each of several explainers; what cannot be done is kept as its reason.

    Raises `Error` where not even the first sentence about the picture or the target holds: none can explain it.
    """
    explanations: dict[str, Explanation] = {}
    failures: dict[str, str] = {}
    for name, explainer in track(explainers.items(), len(explainers), Path(picture.name).name):
        try:
            explanations[name] = explainer.on([explainer.prepare(picture)], target)
        except Error as error:
            failures[name] = str(error)
    if not explanations:
        raise Error(next(iter(failures.values())))
    return Panel(next(iter(explanations.values())).pictures[0], explanations, failures)


@dataclass
class PanelRun:
    """A report per file: its size and its ways, or its ``error``. With ``out`` a page and the raw maps are written.

    ``NAME.page.jpg`` is the page; ``NAME.safetensors`` holds the maps ``(T, *grid)`` under the names of the ways.
    """

    explainers: Mapping[str, Explainer]
    paths: Sequence[Path]
    target: Any = None
    out: Path | None = None
    colours: str = "heat"
    scale: str = "each"
    origin: Report = field(default_factory=dict)

    def __post_init__(self) -> None:
        drawing.check_look(self.colours, self.scale)
        if self.out:
            can_be_made(self.out)

    def __iter__(self) -> Iterator[Report]:
        for path, name in zip(self.paths, unique_names([str(p) for p in self.paths]), strict=True):
            try:
                picture = Picture(str(path), imaging.read(path), (0, 0, 0, 0))
            except Error as error:
                yield {"image": str(path), "error": str(error)}
                continue
            try:
                done = panel(self.explainers, picture, self.target)
            except ImageError as error:
                yield {"image": str(path), "error": str(error)}
                continue
            self._note_origin(done)
            report: Report = {"image": str(path), "size": list(picture.size), "runs": done.report()}
            if self.out:
                report["files"] = self._written(done, made(self.out), name)
            yield report

    def _note_origin(self, done: Panel) -> None:
        """Where the results come from: what all ways have in common, and their methods."""
        every = list(done.explanations.values())
        common: dict[str, Any] = {
            k: v for k, v in every[0].origin().items() if k not in ("method", "layer", "grid", "options")
        }
        if not self.origin:
            self.origin |= {**common, "method": list(dict.fromkeys(e.method for e in every))}

    def _written(self, done: Panel, out: Path, name: str) -> Report:
        page = write_whole(out / f"{name}.page.jpg", jpeg(done.page(colours=self.colours, scale=self.scale)))
        tensors = {way: e.maps[0].cpu().contiguous() for way, e in done.explanations.items()}
        maps = write_tensors(out / f"{name}.safetensors", tensors, self.origin)
        return {"page": str(page), "maps": str(maps)}
