"""Explanation: raw maps and scores with where they came from; it can draw, measure and save itself."""

from __future__ import annotations

import base64
import html
import io
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from wherefore import drawing
from wherefore.errors import Error
from wherefore.imaging import Region, box, peak, resample
from wherefore.types import Model

Maps = Tensor | list[Tensor]


@dataclass(frozen=True)
class Picture:
    """A picture as it was read, and the part of it that the network saw."""

    name: str
    image: Image.Image
    region: Region

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.image.size


@dataclass(frozen=True)
class Explanation:
    """Where a network looked: raw maps ``(B, T, *grid)`` for T targets of B pictures, their scores, and their origin.

    ``maps``: float32, not normalised, on the input's device; a list of ``(T, *grid)`` where the grids differ.
    ``scores`` ``(B, T)``: logits before softmax; ``probabilities`` ``(B, T)``, NaN where the target is no class.
    ``targets``: B lists of T names; ``classes`` ``(B, T)``: their indices, -1 for none.
    ``pixels`` ``(B, T, C, H, W)``: the signed result of pixel methods, else None.
    """

    maps: Maps
    scores: Tensor
    targets: list[list[str]]
    classes: Tensor
    probabilities: Tensor
    pictures: list[Picture]
    input_size: tuple[int, int]  # (H, W)
    model: Model = field(repr=False)
    settings: dict[str, Any] = field(repr=False)  # version, method, layer, grid, fit, options
    pixels: Tensor | None = field(default=None, repr=False)

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
        return torch.stack([m.flatten(1).amax(1).clamp(min=0) for m in self.maps])

    def heatmaps(self) -> Maps:
        """The maps bilinearly at the network's input resolution ``(B, T, H, W)``, still raw (align_corners=False)."""
        height, width = self.input_size
        large = [resample(m, (width, height)) for m in self.maps]
        return torch.stack(large) if isinstance(self.maps, Tensor) else large

    def placed(self, image: int) -> Iterator[Tensor]:
        """The maps of one picture, one by one, at its own pixels ``(H, W)``; 0 where the network did not see it."""
        picture = self.pictures[image]
        for m in self.maps[image]:
            yield resample(m, picture.size, picture.region)

    def boxes(self, threshold: float = 0.15) -> Tensor:
        """Boxes ``(B, T, 4)`` as inclusive ``x0, y0, x1, y1`` in each picture's own pixels.

        Around the largest 8-connected part above ``threshold`` of the map's maximum (Selvaraju et al. 2020, 4.1).
        """
        return self._measured(lambda heat: box(heat, threshold))

    def peaks(self) -> Tensor:
        """The hottest pixel ``(B, T, 2)`` as ``x, y`` in each picture's own pixels."""
        return self._measured(peak)

    def _measured(self, measure: Callable[[Tensor], tuple[int, ...]]) -> Tensor:
        return torch.tensor([[measure(heat) for heat in self.placed(b)] for b in range(len(self))])

    # ---------------------------------------------------------------------------------------- pictures

    def overlay(self, *, colours: str = "heat", scale: str = "each", legend: bool = True) -> Any:
        """The pictures under their maps: a PIL picture, or nested lists ``[image][target]`` for several.

        One picture with one target gives the picture itself; one with several, or several with one, a flat list.
        ``scale="common"`` draws all maps of a picture on one scale, so that their colours can be compared.
        """
        drawn = [self.overlays(b, colours=colours, scale=scale, legend=legend) for b in range(len(self))]
        if len(drawn) == 1:
            return drawn[0][0] if len(drawn[0]) == 1 else drawn[0]
        return [row[0] for row in drawn] if all(len(row) == 1 for row in drawn) else drawn

    def overlays(
        self, image: int, *, colours: str = "heat", scale: str = "each", legend: bool = True
    ) -> list[Image.Image]:
        """One picture under each of its T maps."""
        if scale not in ("each", "common"):
            raise Error(f"scale is 'each' or 'common', not {scale!r}.")
        picture = self.pictures[image]
        common = float(self.evidence[image].max()) if scale == "common" else None
        drawn = []
        for target, heat in enumerate(self.placed(image)):
            top = common if common is not None else float(heat.max())
            result = drawing.overlay(picture.image, heat, picture.region, top, colours)
            if legend:
                ends = ("0", f"{top:.3g}") if top > 0 else ("", "")
                result = drawing.captioned(result, *self._legend(image, target), colours if top > 0 else None, ends)
            drawn.append(result)
        return drawn

    def sheet(self, image: int = 0, *, colours: str = "heat", scale: str = "each") -> Image.Image:
        """One picture beside all of its overlays."""
        overlays = self.overlays(image, colours=colours, scale=scale)
        picture = self.pictures[image]
        plain = drawing.captioned(
            picture.image, Path(picture.name).name, f"{self.model.name}, {self.method}, {self.layer}"
        )
        return drawing.sheet([plain, *overlays])

    def _legend(self, image: int, target: int) -> tuple[str, str]:
        score, probability = float(self.scores[image, target]), float(self.probabilities[image, target])
        detail = f"score {score:.2f}" + ("" if math.isnan(probability) else f"   p {probability:.3f}")
        if not float(self.evidence[image, target]) > 0:
            detail = f"no positive evidence   {detail}"
        return self.targets[image][target], detail

    def _repr_html_(self) -> str:
        """The sheets, for notebooks."""
        parts = []
        for b in range(min(len(self), 8)):
            view = self.sheet(b)
            view.thumbnail((1200, 1200))
            alt = html.escape(f"{self.pictures[b].name}: {', '.join(self.targets[b])}")
            parts.append(f'<img alt="{alt}" src="data:image/jpeg;base64,{base64.b64encode(_jpeg(view)).decode()}">')
        more = f"<p>and {len(self) - 8} more</p>" if len(self) > 8 else ""
        return "".join(parts) + more

    # ---------------------------------------------------------------------------------------- files

    def report(self, image: int) -> dict[str, Any]:
        """One picture's result as plain values, as ``wherefore explain --json`` prints it."""
        picture = self.pictures[image]
        targets = []
        for t, (heat, evidence) in enumerate(zip(self.placed(image), self.evidence[image].tolist(), strict=True)):
            index, probability = int(self.classes[image, t]), float(self.probabilities[image, t])
            targets.append(
                {
                    "index": index if index >= 0 else None,
                    "name": self.targets[image][t],
                    "score": float(self.scores[image, t]),
                    "probability": None if math.isnan(probability) else probability,
                    "evidence": evidence,
                    "peak": list(peak(heat)),
                    "box": list(box(heat)),
                    "files": {},
                }
            )
        return {"image": picture.name, "size": list(picture.size), "targets": targets}

    def save(self, folder: str | Path, *, colours: str = "heat", scale: str = "each") -> Path:
        """Writes pictures, ``maps.safetensors`` and ``manifest.json`` into a folder; returns the manifest's path.

        The maps lie under ``maps`` ``(B, T, *grid)``, or under ``maps.0``, ``maps.1`` ... where grids differ.
        """
        folder = made(folder)
        names = unique_names([p.name for p in self.pictures])
        reports = [self.save_pictures(b, folder, name, colours=colours, scale=scale) for b, name in enumerate(names)]
        if isinstance(self.maps, Tensor):
            tensors = {"maps": self.maps.cpu().contiguous()}
        else:
            tensors = {f"maps.{b}": m.cpu().contiguous() for b, m in enumerate(self.maps)}
        if self.pixels is not None:
            tensors["pixels"] = self.pixels.cpu().contiguous()
        write_tensors(folder / "maps.safetensors", tensors)
        return write_json(folder / "manifest.json", {**self.origin(), "images": reports})

    def save_pictures(
        self, image: int, folder: Path, name: str, *, colours: str = "heat", scale: str = "each"
    ) -> dict[str, Any]:
        """Writes one picture's overlays (and a sheet of several) as JPEG; returns its report with the files named."""
        report = self.report(image)
        overlays = self.overlays(image, colours=colours, scale=scale)
        used: list[str] = []
        for target, drawn in zip(report["targets"], overlays, strict=True):
            used.append(file_name(target["name"]))
            suffix = f"-{used.count(used[-1])}" if used.count(used[-1]) > 1 else ""
            path = folder / f"{name}.{used[-1]}{suffix}.jpg"
            path.write_bytes(_jpeg(drawn))
            target["files"]["overlay"] = str(path)
        return report


def _jpeg(picture: Image.Image) -> bytes:
    # PNG at the size of a photograph costs as much time as the network.
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def made(folder: str | Path) -> Path:
    """The folder, made where it is missing; an `Error` where it cannot be made or written."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".wherefore"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise Error(f"{folder} cannot be written ({error.strerror}): give another folder.") from None
    return folder


def file_name(text: str) -> str:
    """Text as a part of a file name: letters, digits and dashes, at most 60 of them."""
    plain = "".join(c.lower() if c.isascii() and c.isalnum() else "-" for c in text)
    return "-".join(part for part in plain.split("-") if part)[:60] or "target"


def unique_names(names: Sequence[str]) -> list[str]:
    """The stems of file names, made different where they repeat: cat, cat-2."""
    taken: set[str] = set()
    result = []
    for name in names:
        stem = wanted = Path(name).stem or "picture"
        count = 1
        while stem.lower() in taken:
            count += 1
            stem = f"{wanted}-{count}"
        taken.add(stem.lower())
        result.append(stem)
    return result


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> Path:
    """Writes safetensors in one step: the file is whole or not there."""
    from safetensors.torch import save

    part = path.with_name(path.name + ".part")
    part.write_bytes(save(tensors))
    part.replace(path)
    return path


def write_json(path: Path, value: Any) -> Path:
    """Writes JSON in one step: the file is whole or not there."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n")
    part.replace(path)
    return path
