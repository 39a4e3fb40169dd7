"""Explanation: raw maps and scores with where they came from; it can draw, measure and save itself."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from wherefore import drawing
from wherefore.imaging import Region, box, peak, resample, seen_pixels
from wherefore.saving import MARK, file_name, made, unique_names, write_json, write_tensors, write_whole
from wherefore.types import Model, Patches

Maps = Tensor | list[Tensor]
MOST_DRAWN = 15  # overlays in a sheet


@dataclass(frozen=True)
class Picture:
    """A picture as it was read (or what draws it when it is looked at), and the part of it that the network saw."""

    name: str
    source: Image.Image | Callable[[], Image.Image] = field(repr=False)
    region: Region

    @cached_property
    def image(self) -> Image.Image:
        """The picture itself."""
        return self.source if isinstance(self.source, Image.Image) else self.source()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.image.size

    def within(self, largest: int) -> Picture:
        """The same with its longer side at most ``largest``."""
        share = largest / max(self.size)
        if share >= 1:
            return self
        width, height = (max(1, round(side * share)) for side in self.size)
        across, down = width / self.size[0], height / self.size[1]
        x0, y0, x1, y1 = self.region
        return replace(
            self, source=self.image.resize((width, height)), region=(x0 * across, y0 * down, x1 * across, y1 * down)
        )


@dataclass(frozen=True)
class Explanation:
    """Where a network looked: raw maps ``(B, T, *grid)`` for T targets of B pictures, their scores, and their origin.

    ``maps``: float32, not normalised, on the input's device; a list of ``(T, *grid)`` where the grids differ.
    ``scores`` ``(B, T)``: logits before softmax; ``probabilities`` ``(B, T)``, NaN where the target is no class.
    ``targets``: B lists of T names; ``classes`` ``(B, T)``: their indices, -1 for none.
    ``pixels`` ``(B, T, C, H, W)``: the signed result of pixel methods, else None; a list where inputs differ.
    ``patches``: what the cells of an occlusion map are. ``measures`` ``(B, T)`` each: what else the method says.
    """

    maps: Maps
    scores: Tensor
    targets: list[list[str]]
    classes: Tensor
    probabilities: Tensor
    pictures: list[Picture]
    input_sizes: list[tuple[int, int]]  # (H, W) of each
    model: Model = field(repr=False)
    settings: dict[str, Any] = field(repr=False)  # version, method, layer, grid, fit, options
    pixels: Maps | None = field(default=None, repr=False)
    patches: Patches | None = field(default=None, repr=False)
    measures: dict[str, Tensor] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def method(self) -> str:
        """The method's registry name."""
        return str(self.settings["method"])

    @property
    def layer(self) -> str:
        """The layer that was explained."""
        return str(self.settings["layer"])

    def origin(self) -> dict[str, Any]:
        """Where the result came from: version, model, the weights' sha256, method, layer, grid, settings."""
        return {"model": self.model.name, "weights_sha256": self.model.weights_sha256, **self.settings}

    @property
    def evidence(self) -> Tensor:
        """The highest positive value of each map ``(B, T)``; 0 says that nothing speaks for the target."""
        return torch.stack([_evidence(m) for m in self.maps])

    def heatmaps(self) -> Maps:
        """The maps at the network's input resolution ``(B, T, H, W)``, still raw.

        Bilinear (align_corners=False); of an occlusion map each pixel is the mean over the patches that cover it.
        """
        large = [self._heat(m, size) for m, size in zip(self.maps, self.input_sizes, strict=True)]
        return torch.stack(large) if len(set(self.input_sizes)) == 1 else large

    def _heat(self, maps: Tensor, size: tuple[int, int]) -> Tensor:
        return self.patches.spread(maps, size) if self.patches else resample(maps, (size[1], size[0]))

    def placed(self, image: int) -> Iterator[Tensor]:
        """The maps of one picture, one by one, at its own pixels ``(H, W)``; 0 where the network did not see it."""
        picture = self.pictures[image]
        for m in self.maps[image].cpu():
            m = self.patches.spread(m, self.input_sizes[image]) if self.patches else m  # whose cells are no tiles
            yield resample(m, picture.size, picture.region)

    def boxes(self, threshold: float = 0.15) -> Tensor:
        """Boxes ``(B, T, 4)`` as inclusive ``x0, y0, x1, y1`` in each picture's own pixels.

        Around the largest 8-connected part above ``threshold`` of the map's maximum (Selvaraju et al. 2020, 4.1); all
        that the network saw where a map has no positive value.
        """
        return self._measured(lambda heat: box(heat, threshold))

    def peaks(self) -> Tensor:
        """The hottest pixel ``(B, T, 2)`` as ``x, y`` in each picture's own pixels."""
        return self._measured(peak)

    def _measured(self, measure: Callable[[Tensor], tuple[int, ...]]) -> Tensor:
        return torch.tensor([[self._in_seen(b, heat, measure) for heat in self.placed(b)] for b in range(len(self))])

    def _in_seen(self, image: int, heat: Tensor, measure: Callable[[Tensor], tuple[int, ...]]) -> list[int]:
        """Pixels ``x, y`` (and ``x, y``) measured on a placed map, in the part of the picture that the network saw.

        Elsewhere the map is 0, which is more than what a signed map may hold.
        """
        picture = self.pictures[image]
        x0, y0, x1, y1 = seen_pixels(picture.size, picture.region)
        if x1 <= x0 or y1 <= y0:  # less than a pixel
            return list(measure(heat))
        return [v + (y0 if i % 2 else x0) for i, v in enumerate(measure(heat[y0:y1, x0:x1]))]

    # ---------------------------------------------------------------------------------------- pictures

    def overlay(self, *, colours: str = "heat", scale: str = "each", legend: bool = True) -> Any:
        """The pictures under their maps: a PIL picture, or nested lists ``[image][target]`` for several.

        One picture with one target gives the picture itself; one with several, or several with one, a flat list.
        ``scale="common"`` draws all maps of a picture on one scale, so that their colours can be compared.
        """
        drawn = [list(self.overlays(b, colours=colours, scale=scale, legend=legend)) for b in range(len(self))]
        if len(drawn) == 1:
            return drawn[0][0] if len(drawn[0]) == 1 else drawn[0]
        return [row[0] for row in drawn] if all(len(row) == 1 for row in drawn) else drawn

    def overlays(
        self, image: int, *, colours: str = "heat", scale: str = "each", legend: bool = True
    ) -> Iterator[Image.Image]:
        """One picture under each of its T maps, drawn one by one."""
        drawing.check_look(colours, scale)
        top = self._common(image) if scale == "common" else None
        for target, heat in enumerate(self.placed(image)):
            yield self._overlay(image, target, heat, top, colours, legend)

    def _common(self, image: int) -> float:
        """What is drawn strongest on a scale for all targets of a picture."""
        if self._is_relief(image):
            assert self.pixels is not None
            return max(drawing.strength(pixels.cpu()) for pixels in self.pixels[image])
        return float(_evidence(self.maps[image]).max())

    def _is_relief(self, image: int) -> bool:
        """Whether there are signed pixels that a picture can show."""
        return self.pixels is not None and self.pixels[image].shape[1] in (1, 3)

    def _overlay(
        self, image: int, target: int, heat: Tensor, top: float | None, colours: str, legend: bool
    ) -> Image.Image:
        """One map on its picture, up to ``top`` or its own maximum."""
        picture = self.pictures[image]
        if self._is_relief(image):
            assert self.pixels is not None
            drawn = drawing.relief(picture.image, self.pixels[image][target].cpu(), picture.region, top)
            return drawing.captioned(drawn, *self.legend(image, target)) if legend else drawn
        top = float(heat.numpy().max()) if top is None else top
        result = drawing.overlay(picture.image, heat, picture.region, top, colours)
        if not legend:
            return result
        ends = ("0", f"{top:.3g}") if top > 0 else ("", "")
        return drawing.captioned(result, *self.legend(image, target), colours if top > 0 else None, ends)

    def within(self, largest: int, image: int = 0) -> Explanation:
        """The same with the longer side of one picture at most ``largest``, to be drawn small."""
        picture = self.pictures[image].within(largest)
        return replace(self, pictures=[*self.pictures[:image], picture, *self.pictures[image + 1 :]])

    def sheet(self, image: int = 0, *, colours: str = "heat", scale: str = "each", largest: int = 1024) -> Image.Image:
        """One picture beside its overlays (of the first 15 targets), each at most ``largest`` pixels wide and high."""
        small = self.within(largest, image)
        picture = small.pictures[image]
        overlays = list(islice(small.overlays(image, colours=colours, scale=scale), MOST_DRAWN))
        more = len(self.targets[image]) - len(overlays)
        detail = f"{self.model.name}, {self.method}, {self.layer}" + (f", and {more} more targets" if more else "")
        return drawing.sheet([drawing.captioned(picture.image, Path(picture.name).name, detail), *overlays])

    def legend(self, image: int, target: int) -> tuple[str, str]:
        """A target's name, and its score in words."""
        score, evidence = self.score_text(image, target), self.evidence_text(image, target)
        return self.targets[image][target], score if evidence.startswith("up to") else f"{evidence}   {score}"

    def score_text(self, image: int, target: int) -> str:
        """A target's score, and its probability where it is a class, in words."""
        score, probability = float(self.scores[image, target]), float(self.probabilities[image, target])
        return f"score {score:.2f}" + ("" if math.isnan(probability) else f"   p {probability:.3f}")

    def evidence_text(self, image: int, target: int) -> str:
        """How much evidence a map holds, in words."""
        evidence = float(_evidence(self.maps[image][target : target + 1]))
        return f"up to {evidence:.3g}" if evidence > 0 else "no positive evidence"

    def _repr_html_(self) -> str:
        """The sheets, for notebooks."""
        parts = []
        for b in range(min(len(self), 8)):
            view = self.sheet(b)
            view.thumbnail((1200, 1200))
            alt = html.escape(f"{self.pictures[b].name}: {', '.join(self.targets[b])}")
            parts.append(f'<img alt="{alt}" src="data:image/jpeg;base64,{base64.b64encode(jpeg(view)).decode()}">')
        more = f"<p>and {len(self) - 8} more</p>" if len(self) > 8 else ""
        return "".join(parts) + more

    # ---------------------------------------------------------------------------------------- files

    def report(self, image: int) -> dict[str, Any]:
        """One picture's result as plain values, as ``wherefore explain --json`` prints it."""
        return self._report(image, [self._measures(image, t, heat) for t, heat in enumerate(self.placed(image))])

    def _report(self, image: int, targets: list[dict[str, Any]]) -> dict[str, Any]:
        picture = self.pictures[image]
        return {"image": picture.name, "size": list(picture.size), "targets": targets}

    def _measures(self, image: int, target: int, heat: Tensor) -> dict[str, Any]:
        index = int(self.classes[image, target])
        return {
            "index": index if index >= 0 else None,
            "name": self.targets[image][target],
            "score": _finite(self.scores[image, target]),
            "probability": _finite(self.probabilities[image, target]),
            "evidence": _finite(_evidence(self.maps[image][target : target + 1])),
            "peak": self._in_seen(image, heat, peak),
            "box": self._in_seen(image, heat, box),
            **{name: _finite(values[image, target]) for name, values in self.measures.items()},
            "files": {},
        }

    def save(self, folder: str | Path, *, colours: str = "heat", scale: str = "each") -> Path:
        """Writes pictures, ``maps.safetensors`` and ``manifest.json`` into a folder; returns the manifest's path.

        The maps lie under ``maps`` ``(B, T, *grid)``, or under ``maps.0``, ``maps.1`` ... where grids differ.
        """
        drawing.check_look(colours, scale)
        folder = made(folder)
        names = unique_names([p.name for p in self.pictures])
        reports = [self.save_pictures(b, folder, name, colours=colours, scale=scale) for b, name in enumerate(names)]
        if isinstance(self.maps, Tensor):
            tensors = {"maps": self.maps.cpu().contiguous()}
        else:
            tensors = {f"maps.{b}": m.cpu().contiguous() for b, m in enumerate(self.maps)}
        if isinstance(self.pixels, Tensor):
            tensors["pixels"] = self.pixels.cpu().contiguous()
        elif self.pixels is not None:
            tensors |= {f"pixels.{b}": p.cpu().contiguous() for b, p in enumerate(self.pixels)}
        write_tensors(folder / "maps.safetensors", tensors, self.origin())
        return write_json(folder / "manifest.json", {**self.origin(), "images": reports})

    def save_pictures(
        self, image: int, folder: Path, name: str, *, colours: str = "heat", scale: str = "each"
    ) -> dict[str, Any]:
        """Writes one picture's overlays as JPEG; returns its report with the files named."""
        drawing.check_look(colours, scale)
        parts = unique_names([file_name(target) for target in self.targets[image]])
        top = self._common(image) if scale == "common" else None
        targets = []
        for t, (part, heat) in enumerate(zip(parts, self.placed(image), strict=True)):  # one at a time in memory
            targets.append(self._measures(image, t, heat))
            drawn = self._overlay(image, t, heat, top, colours, legend=True)
            targets[-1]["files"]["overlay"] = str(write_whole(folder / f"{name}.{part}.jpg", jpeg(drawn)))
        return self._report(image, targets)


def _evidence(maps: Tensor) -> Tensor:
    """The highest positive value of each of T maps."""
    return maps.flatten(1).amax(1).clamp(min=0)


def jpeg(picture: Image.Image) -> bytes:
    """A picture as a JPEG file with our mark."""
    # PNG at the size of a photograph costs as much time as the network.
    buffer = io.BytesIO()
    if max(picture.size) > 65500:  # the format ends there
        picture.thumbnail((65500, 65500))
    picture.save(buffer, "JPEG", quality=90, comment=MARK)
    return buffer.getvalue()


def _finite(value: Any) -> float | None:
    """A number as JSON can hold it: None for NaN and infinity."""
    return float(value) if math.isfinite(float(value)) else None
