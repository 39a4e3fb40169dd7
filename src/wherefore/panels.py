"""One picture explained in several ways on one page: by several methods (the paper's Figures 1 and 20) or at several
layers (its Figures 13 and 14).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from wherefore import drawing, tiling
from wherefore.batch.local import FileRun, Words
from wherefore.errors import Error, ImageError
from wherefore.explainer import Explainer
from wherefore.explanation import MOST_DRAWN, Explanation
from wherefore.guard import prepared
from wherefore.inputs import Input
from wherefore.progress import track
from wherefore.saving import can_be_made, jpeg, made, unique_names, write_tensors, write_whole
from wherefore.subjects import Subject

Report = dict[str, Any]
FEW = 6  # tiles that stand in one row, and larger
TILE, LARGE_TILE = (240, 15), (320, 20)  # pixels across, and the size of the letters
OWN = ("method", "layer", "grid", "options", "flips", "compile", "below")  # settings in which the ways may differ


@dataclass(frozen=True)
class Panel:
    """One picture's explanations by name of the method or layer; a sentence where one cannot be had."""

    picture: Subject
    ways: dict[str, Explanation | str]

    @property
    def explanations(self) -> dict[str, Explanation]:
        """What came out, by name."""
        return {name: e for name, e in self.ways.items() if isinstance(e, Explanation)}

    @property
    def failures(self) -> dict[str, str]:
        """Why nothing came out, by name."""
        return {name: why for name, why in self.ways.items() if isinstance(why, str)}

    @property
    def first(self) -> Explanation:
        """The first explanation; its targets and scores are those of all."""
        found = next(iter(self.explanations.values()), None)
        if found is None:
            raise Error(next(iter(self.failures.values())))
        return found

    def page(self, *, colours: str = "heat", scale: str = "each", truth: bool = False) -> Image.Image:
        """The page: a block for each target (the first 15), in it the picture and a tile for each way in their order.

        A way that failed says why. ``scale="common"`` draws all targets of a way on one scale, ``truth`` what is known
        to be in the picture.
        """
        blocks = self.blocks(colours=colours, scale=scale, truth=truth)
        return tiling.page(blocks, self.columns, self.foot(scale), self.letters)

    @property
    def columns(self) -> int:
        """How many tiles stand in a row."""
        return _columns(len(self.ways) + 1)

    @property
    def letters(self) -> int:
        """The size of its letters."""
        return _size(len(self.ways) + 1)[1]

    def blocks(self, *, colours: str = "heat", scale: str = "each", truth: bool = False) -> list[tiling.Block]:
        """The blocks of the page, for one that shows more."""
        drawing.check_look(colours, scale)
        first, (across, size) = self.first, _size(len(self.ways) + 1)
        small = self.picture.within(across)
        shown = small.known() if truth else small.image
        names = first.targets[0][:MOST_DRAWN]
        rows = [[tiling.tile(shown, self.picture.title, size=size)] for _ in names]
        for name, e in self.ways.items():
            for row, tile in zip(rows, _tiles(name, e, shown.size, size, colours, scale), strict=False):
                row.append(tile)
        return [tiling.Block(name, self._scores(t), row) for t, (name, row) in enumerate(zip(names, rows, strict=True))]

    def _scores(self, target: int) -> str:
        """A target's score and probability, of each network that explains it."""
        said = {}
        for e in self.explanations.values():
            seen = f"{e.model.name}, squash" if e.settings.get("fit") == "squash" else e.model.name
            said[seen] = f"{e.score_text(0, target)}, {seen}"
        return "; ".join(said.values())

    def foot(self, scale: str = "each") -> str:
        """What is to be known of the colours, and of what is not drawn."""
        grey = any(e.pixels is not None for e in self.explanations.values())
        each = "Each tile is scaled to its own maximum"
        common = "The tiles of one name share a scale over all targets, up to their highest maximum"
        words = (common if scale == "common" else each) + (
            "; on grey, the strongest hundredth of the pixels saturates." if grey else "."
        )
        more = len(self.first.targets[0]) - MOST_DRAWN
        return words + (f" {more} more targets are not drawn." if more > 0 else "")

    def report(self) -> list[Report]:
        """Plain values for each way: how it was made and its targets as in `Explanation.report`, or the ``error``."""
        return [
            {"name": name, "error": e} if isinstance(e, str) else {"name": name, **_made_by(e), "targets": reported(e)}
            for name, e in self.ways.items()
        ]

    def origin(self) -> Report:
        """Where the maps come from: what all ways have in common, and ``runs`` with what each has of its own."""
        common = {key: value for key, value in self.first.origin().items() if key not in OWN}
        runs = [{"name": name, **_made_by(e)} for name, e in self.explanations.items()]
        return {**common, "method": list(dict.fromkeys(run["method"] for run in runs)), "runs": runs}


def _size(tiles: int) -> tuple[int, int]:
    """How many pixels wide the tiles of a page of so many are, and the size of the letters."""
    return LARGE_TILE if tiles <= FEW else TILE


def _columns(tiles: int) -> int:
    """How many tiles stand in a row: all of a few, else as many as leave the fewest places empty."""
    return tiles if tiles <= FEW else min(range(FEW, 10), key=lambda columns: (-tiles % columns, -columns))


def _tiles(
    name: str, e: Explanation | str, room: tuple[int, int], size: int, colours: str, scale: str
) -> Iterator[Image.Image]:
    """The tiles of one way, drawn target by target as they are asked for; or its reason, without end."""
    while isinstance(e, str):
        yield tiling.excused(room, name, e, size)
    overlays = e.within(max(room)).overlays(0, colours=colours, scale=scale, legend=False)
    for t, drawn in enumerate(overlays):
        yield tiling.tile(drawn, name, e.evidence_text(0, t), size)


def _made_by(e: Explanation) -> Report:
    """How an explanation was made, as far as ways differ in that; the cells of an occlusion map too."""
    cells = {"patches": {"size": e.patches.size, "stride": e.patches.stride}} if e.patches else {}
    return {**{key: e.settings[key] for key in OWN if key in e.settings}, **cells}


def reported(e: Explanation) -> list[Report]:
    """The measures of the targets of its first picture as in `Explanation.report`, without files."""
    return [{k: v for k, v in t.items() if k != "files"} for t in e.report(0)["targets"]]


def panel(
    explainers: Mapping[str, Explainer], picture: Subject, target: Any = None, question: str | None = None
) -> Panel:
    """One picture explained by each of several explainers; what cannot be done is kept as its reason.

    ``question`` is asked of models that answer questions.
    Raises `Error` where the target itself is wrong or nothing can be done; `ImageError` where that is the picture's.
    """
    ways: dict[str, Explanation | str] = {}
    errors: list[Exception] = []
    shown = picture
    right = False  # the target, as far as is known
    for name, explainer in track(explainers.items(), len(explainers), picture.title):
        one = explainer.prepare(picture)
        shown = one.picture
        try:
            ways[name] = explainer.on([one], target, question)
        except (Error, RuntimeError, TypeError, IndexError, MemoryError) as error:  # memory of a GPU: a RuntimeError
            if not right and isinstance(error, Error) and not isinstance(error, ImageError):
                _check_target(explainer, one, target, question)
                right = True
            errors.append(error)
            ways[name] = (str(error).strip() or type(error).__name__).splitlines()[0]
    if len(errors) == len(ways):
        of_picture = all(isinstance(error, ImageError) for error in errors)
        raise (ImageError if of_picture else Error)(
            next(iter(map(str, ways.values())), "there is no way to explain it.")
        )
    return Panel(shown, ways)


def _check_target(explainer: Explainer, one: Input, target: Any, question: str | None) -> None:
    """Raises what is wrong with the target, whatever the method."""
    with prepared(explainer.net), torch.no_grad():
        net, images = explainer.fed(explainer.reader.asked([explainer.batch_of([one])], question)[0])
        output = net(images)
    explainer.choose(target, output)


@dataclass
class PanelRun:
    """A report per file: its size and its ways, or its ``error``. With ``out`` a page and the raw maps are written.

    ``NAME.page.jpg`` is the page; ``NAME.safetensors`` holds the maps ``(T, *grid)`` under the names of the ways.
    """

    explainers: Mapping[str, Explainer]
    paths: Sequence[str | Path]
    target: Any = None
    out: Path | None = None
    colours: str = "heat"
    scale: str = "each"
    truth: bool = False
    origin: Report = field(default_factory=dict)

    def __post_init__(self) -> None:
        drawing.check_look(self.colours, self.scale)
        if self.out:
            can_be_made(self.out)

    def __iter__(self) -> Iterator[Report]:
        for path, name in zip(self.paths, unique_names([str(p) for p in self.paths]), strict=True):
            try:
                picture = self._prepared(path)
            except Error as error:
                yield {"image": str(path), "error": str(error)}
                continue
            try:
                done = panel(self.explainers, picture, self.target)
            except ImageError as error:
                yield {"image": str(path), "error": f"{path}: {error}"}
                continue
            report: Report = {"image": str(path), "size": list(picture.size), "runs": done.report()}
            if not self.origin:
                self.origin |= {key: value for key, value in done.origin().items() if key != "runs"}
            if self.out:
                report["files"] = self._written(done, made(self.out), name)
            yield report

    def _prepared(self, path: str | Path) -> Subject:
        """The picture, of which the network can be fed something."""
        first = next(iter(self.explainers.values()))
        picture = first.open(path)
        try:
            first.prepare(picture)
            return picture
        except Error:
            raise
        except Exception as error:  # a preprocess of the user's own can raise anything
            raise Error(f"{path} cannot be prepared: {error}") from None

    def _written(self, done: Panel, out: Path, name: str) -> Report:
        drawn = done.page(colours=self.colours, scale=self.scale, truth=self.truth)
        page = write_whole(out / f"{name}.page.jpg", jpeg(drawn))
        tensors = {way: e.maps[0].cpu().contiguous() for way, e in done.explanations.items()}
        maps = write_tensors(out / f"{name}.safetensors", tensors, done.origin())
        return {"page": str(page), "maps": str(maps)}


def run(
    ways: Explainer | Mapping[str, Explainer],
    paths: Sequence[str | Path],
    target: Any = None,
    out: Path | None = None,
    *,
    colours: str = "heat",
    scale: str = "each",
    truth: bool = False,
    check: bool = False,
    words: Words | None = None,
) -> FileRun | PanelRun:
    """What explains each file: by one explainer, or a page by several."""
    if isinstance(ways, Explainer):
        return FileRun(ways, paths, target, out, colours=colours, scale=scale, truth=truth, check=check, words=words)
    if words:
        raise Error("--words tells of the units of one layer: give one --method and one --layer.")
    if check:
        raise Error("--check looks at the maps of one method at one layer: give one --method and one --layer.")
    return PanelRun(ways, paths, target, out, colours, scale, truth)
