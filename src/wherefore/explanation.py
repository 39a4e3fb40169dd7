"""Explanation: raw maps and scores with where they came from; it can draw, measure and save itself."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor

from wherefore import drawing
from wherefore.errors import Error
from wherefore.imaging import box, peak, resample, stretched
from wherefore.saving import file_name, gif, jpeg, made, unique_names, write_json, write_tensors, write_whole
from wherefore.subjects import Clip, Picture, Subject, extent
from wherefore.types import Model, Patches

if TYPE_CHECKING:
    from wherefore.checking import Check

Maps = Tensor | list[Tensor]
MOST_DRAWN = 15  # overlays in a sheet


@dataclass(frozen=True)
class Explanation:
    """Where a network looked: raw maps ``(B, T, *grid)`` for T targets of B pictures, their scores, and their origin.

    ``maps``: float32, not normalised, on the input's device; a list of ``(T, *grid)`` where the grids differ.
    ``scores`` ``(B, T)``: logits before softmax, of a caption log p; ``probabilities`` ``(B, T)``: of a word that after
    those before it; NaN where the target is no class, word, caption or answer.
    ``targets``: B lists of T names; ``classes`` ``(B, T)``: their indices, -1 for none.
    ``pixels`` ``(B, T, C, H, W)``: the signed result of pixel methods, else None; a list where inputs differ. Channels
    are in the network's order: blue first, where its `Preprocess` is ``bgr``.
    ``against``: what speaks against the target, like ``maps``, where it was asked for (``counter=True``).
    ``filled``: which share of a map's height and width each picture fills, where the network pads what it is fed.
    ``marks``: for each image and target the box ``(4,)`` in shares of the input, or the region ``(h, w)``, that was
    asked about; drawn as an outline. ``patches``: what the cells of an occlusion map are. ``measures`` ``(B, T)`` each:
    what else the method says. ``target``: what was asked for, as it was given.
    """

    maps: Maps
    scores: Tensor
    targets: list[list[str]]
    classes: Tensor
    probabilities: Tensor
    pictures: list[Subject]  # or clips, signals, texts
    input_sizes: list[tuple[int, ...]]  # (H, W) of each; (t, H, W), (L,)
    model: Model = field(repr=False)
    settings: dict[str, Any] = field(repr=False)  # version, method, layer, grid, fit, options
    pixels: Maps | None = field(default=None, repr=False)
    patches: Patches | None = field(default=None, repr=False)
    against: Maps | None = field(default=None, repr=False)
    filled: list[tuple[float, float]] = field(default_factory=list, repr=False)
    marks: list[list[Tensor | None]] = field(default_factory=list, repr=False)
    measures: dict[str, Tensor] = field(default_factory=dict, repr=False)
    target: Any = field(default=None, repr=False)

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

        Linear along each axis (align_corners=False); of an occlusion map each pixel is the mean over the patches that
        cover it.
        """
        large = [self.heats(i) for i in range(len(self))]
        return torch.stack(large) if len(set(self.input_sizes)) == 1 else large

    def heats(self, image: int) -> Tensor:
        """The maps ``(T, H, W)`` of one picture at the network's input resolution, still raw."""
        maps, size = self.maps[image], self.input_sizes[image]
        if len(size) != 2:
            return stretched(maps, size)
        whole = (0.0, 0.0, float(size[1]), float(size[0]))
        return resample(self._spread(maps, image), (size[1], size[0]), extent(whole, self._filled(image)))

    def _filled(self, image: int) -> tuple[float, float]:
        return self.filled[image] if self.filled else (1.0, 1.0)

    def _spread(self, maps: Tensor, image: int) -> Tensor:
        """An occlusion map, whose cells are no tiles, at the network's input resolution; others as they are."""
        height_width = self.input_sizes[image]
        return self.patches.spread(maps, (height_width[0], height_width[1])) if self.patches else maps

    def placed(self, image: int, maps: Maps | None = None) -> Iterator[Tensor]:
        """The maps of one picture, one by one, at its own pixels ``(H, W)``; 0 where the network did not see it."""
        for m in (self.maps if maps is None else maps)[image].cpu():
            yield self.pictures[image].placed(self._spread(m, image), self._filled(image))

    def boxes(self, threshold: float = 0.15) -> Tensor:
        """Boxes ``(B, T, 4)`` as inclusive ``x0, y0, x1, y1`` in each picture's own pixels.

        Around the largest 8-connected part above ``threshold`` of the map's maximum (Selvaraju et al. 2020, 4.1); all
        that the network saw where a map has no positive value. Of clips ``x0, y0, t0, x1, y1, t1``, of signals and
        texts the first and the last place.
        """
        return self._measured(lambda heat: box(heat, threshold))

    def peaks(self) -> Tensor:
        """The hottest pixel ``(B, T, 2)`` as ``x, y`` in each picture's own pixels; ``x, y, t`` of clips."""
        return self._measured(peak)

    def _measured(self, measure: Callable[[Tensor], tuple[int, ...]]) -> Tensor:
        return torch.tensor([[self._in_seen(b, heat, measure) for heat in self.placed(b)] for b in range(len(self))])

    def _in_seen(self, image: int, heat: Tensor, measure: Callable[[Tensor], tuple[int, ...]]) -> list[int]:
        """Places ``x, y`` (and ``x, y``) measured on a placed map, in the part of the picture that the network saw.

        Elsewhere the map is 0, which is more than what a signed map may hold.
        """
        seen = self.pictures[image].seen()
        starts = [part.start for part in seen[::-1]]
        return [v + starts[i % len(starts)] for i, v in enumerate(measure(heat[seen]))]

    # ---------------------------------------------------------------------------------------- check

    def check(self) -> Check:
        """Whether each map is true to the network here, in words, with the numbers that say so.

        It is where (1) the score falls further when the pixels that the map marks (the highest fifth, as far as they
        are positive) show the picture's mean colour than when as many in the middle do, and further than for the same
        shape in at least 19 of 20 other places, drawn at random, which at most half of it overlaps; and (2) the map
        becomes another with the weights of the upper half of the layers drawn anew: mean rank correlation of 5 draws
        below 0.7 (Adebayo et al. 2018 draw them so). The network runs 23 times per target, and the method 5 times. The
        network is left as it is; equal at every run. Raises `Error` for what is no picture.
        """
        from wherefore.checking import check  # a door to what is built on explanations

        return check(self)

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
        drawable = isinstance(self.pictures[image], Picture)
        return drawable and self.pixels is not None and self.pixels[image].shape[1] in (1, 3)

    def _overlay(
        self, image: int, target: int, heat: Tensor, top: float | None, colours: str, legend: bool
    ) -> Image.Image:
        """One map on its picture, up to ``top`` or its own maximum."""
        subject = self.pictures[image]
        if self._is_relief(image):
            assert self.pixels is not None and isinstance(subject, Picture)
            signed = self.pixels[image][target].cpu()
            signed = signed.flip(0) if getattr(self.model.preprocess, "bgr", False) else signed
            drawn = drawing.relief(subject.image, signed, subject.region, top)
            return drawing.captioned(drawn, *self.legend(image, target)) if legend else drawn
        top = float(heat.numpy().max()) if top is None else top
        result = self._marked(subject.overlay(heat, top, colours), image, target)
        if not legend:
            return result
        ends = ("0", f"{top:.3g}") if top > 0 else ("", "")
        return drawing.captioned(result, *self.legend(image, target), subject.scale(colours) if top > 0 else None, ends)

    def _mark(self, image: int, target: int) -> Tensor | None:
        return self.marks[image][target] if self.marks and self.marks[image] else None

    def _marked(self, drawn: Image.Image, image: int, target: int) -> Image.Image:
        """The drawing with an outline of the box or the region that was asked about, if any."""
        mark, subject = self._mark(image, target), self.pictures[image]
        if mark is None or not isinstance(subject, Picture):
            return drawn
        return drawing.outlined(drawn, mark, subject.region)

    def counter(self, image: int, *, colours: str = "heat", legend: bool = True) -> Iterator[Image.Image]:
        """One picture under what speaks against each of its T targets; asked for with ``counter=True``."""
        if self.against is None:
            raise Error("what speaks against the targets was not asked for: explain with counter=True.")
        for target, heat in enumerate(self.placed(image, self.against)):
            # On the scale of what speaks for it: a trifle must not look as strong.
            top = max(float(heat.max()), float(_evidence(self.maps[image][target : target + 1])))
            subject = self.pictures[image]
            drawn = subject.overlay(heat, top, colours)
            words = f"up to {float(heat.max()):.3g}" if float(heat.max()) > 0 else "nothing speaks against it"
            ends = ("0", f"{top:.3g}") if top > 0 else ("", "")
            title = f"against {self.targets[image][target]}"
            scale = subject.scale(colours) if top > 0 else None
            yield drawing.captioned(drawn, title, words, scale, ends) if legend else drawn

    def animation(
        self, image: int = 0, target: int = 0, *, colours: str = "heat", top: float | None = None
    ) -> list[Image.Image]:
        """The frames of a clip under their maps, with a legend; all on one scale, up to ``top`` or the maximum."""
        clip = self.pictures[image]
        if not isinstance(clip, Clip):
            raise Error(f"{clip.name} is no clip: an animation shows the frames of a video.")
        heat = next(islice(self.placed(image), target, None))
        top = float(heat.max()) if top is None else top
        words = *self.legend(image, target), clip.scale(colours) if top > 0 else None, ("0", f"{top:.3g}")
        return [drawing.captioned(frame, *words) for frame in clip.overlays(heat, top, colours)]

    def within(self, largest: int, image: int = 0) -> Explanation:
        """The same with the longer side of one picture at most ``largest``, to be drawn small."""
        picture = self.pictures[image].within(largest)
        return replace(self, pictures=[*self.pictures[:image], picture, *self.pictures[image + 1 :]])

    def sheet(
        self, image: int = 0, *, colours: str = "heat", scale: str = "each", largest: int = 1024, truth: bool = False
    ) -> Image.Image:
        """One picture, with what was asked of it, beside its overlays (of the first 15 targets).

        Each is at most ``largest`` pixels wide and high. With what speaks against the targets, where it was
        asked for, a row for each target. With ``truth`` what is known to be in the picture is outlined and named: of a
        scene everything.
        """
        small = self.within(largest, image)
        subject = small.pictures[image]
        overlays = list(islice(small.overlays(image, colours=colours, scale=scale), MOST_DRAWN))
        more = len(self.targets[image]) - len(overlays)
        detail = f"{self.model.name}, {self.method}, {self.layer}" + (f", and {more} more targets" if more else "")
        plain = drawing.captioned(subject.known() if truth else subject.image, self._title(image), detail)
        if self.against is None:
            return drawing.sheet([plain, *overlays])
        beside = islice(small.counter(image, colours=colours), MOST_DRAWN)
        rows = zip(overlays, beside, strict=True)
        return drawing.sheet([each for speaks in rows for each in (plain, *speaks)], columns=3)

    def _title(self, image: int) -> str:
        """The name of a picture, and what was asked of it."""
        asked = self.settings.get("question")
        text = asked if asked is None or isinstance(asked, str) else asked[image]
        return f"{self.pictures[image].title}: {text}" if text else self.pictures[image].title

    def legend(self, image: int, target: int) -> tuple[str, str]:
        """A target's name, and its score in words."""
        score, evidence = self.score_text(image, target), self.evidence_text(image, target)
        return self.targets[image][target], score if evidence.startswith("up to") else f"{evidence}, {score}"

    def score_text(self, image: int, target: int) -> str:
        """A target's score, and its probability where it has one, in words."""
        score, probability = float(self.scores[image, target]), float(self.probabilities[image, target])
        return f"score {score:.2f}" + ("" if math.isnan(probability) else f", p {probability:.3f}")

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
            **self._asked(image, target),
            "files": {},
        }

    def _asked(self, image: int, target: int) -> dict[str, Any]:
        """The box that was asked about as ``asked``, in the picture's own pixels."""
        mark, subject = self._mark(image, target), self.pictures[image]
        if mark is None or mark.ndim != 1 or not isinstance(subject, Picture):
            return {}
        return {"asked": [round(v, 1) for v in drawing.box_in(mark, subject.region)]}

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
        if isinstance(self.against, Tensor):
            tensors["against"] = self.against.cpu().contiguous()
        elif self.against is not None:
            tensors |= {f"against.{b}": m.cpu().contiguous() for b, m in enumerate(self.against)}
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
        view = self._legible(image)
        larger = view.placed(image) if view is not self else repeat(None)
        heats = zip(self.placed(image), larger, strict=False)  # one at a time in memory
        for t, (part, (heat, shown)) in enumerate(zip(parts, heats, strict=True)):
            targets.append(self._measures(image, t, heat))
            drawn = view._overlay(image, t, heat if shown is None else shown, top, colours, legend=True)
            files = targets[-1]["files"]
            files["overlay"] = str(write_whole(folder / f"{name}.{part}.jpg", jpeg(drawn)))
            if isinstance(self.pictures[image], Clip):
                frames = self.animation(image, t, colours=colours, top=top)
                files["animation"] = str(write_whole(folder / f"{name}.{part}.gif", gif(frames)))
        if self.against is not None:
            for part, target, drawn in zip(parts, targets, view.counter(image, colours=colours), strict=True):
                target["files"]["against"] = str(write_whole(folder / f"{name}.{part}.against.jpg", jpeg(drawn)))
        return self._report(image, targets)

    def _legible(self, image: int) -> Explanation:
        """The same, with a scene as large as words beneath it need."""
        picture = self.pictures[image]
        if not isinstance(picture, Picture) or picture.enlarged == 1:
            return self
        return self.within(picture.enlarged * max(picture.size), image)


def _evidence(maps: Tensor) -> Tensor:
    """The highest positive value of each of T maps."""
    return maps.flatten(1).amax(1).clamp(min=0)


def _finite(value: Any) -> float | None:
    """A number as JSON can hold it: None for NaN and infinity."""
    return float(value) if math.isfinite(float(value)) else None
