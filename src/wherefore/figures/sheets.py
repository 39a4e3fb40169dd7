"""Sheets: what a figure consists of, one or more for each picture; they become one JPEG, a page and a manifest."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from wherefore import __version__, pages
from wherefore.datasets import Sample
from wherefore.drawing import PAPER
from wherefore.experiments.result import notice_of
from wherefore.explanation import Explanation
from wherefore.figures.choice import Choice
from wherefore.imaging import peak
from wherefore.pages import Figure, Figures, Section, Table
from wherefore.panels import Panel, reported
from wherefore.registry import Entry
from wherefore.saving import jpeg, made, write_json, write_whole
from wherefore.subjects import Subject
from wherefore.tiling import Block, page, tile

ACROSS, SIZE, GAP = 320, 20, 12  # pixels of a tile, of the letters, between tiles
SMALL = 15  # letters of smaller tiles
WIDEST = 2800  # pixels of a sheet of two columns
Report = dict[str, Any]
Ways = Mapping[str, Explanation | str]
SPOKEN = {
    "grad-cam": "Grad-CAM", "guided-backprop": "Guided backprop", "guided-grad-cam": "Guided Grad-CAM",
    "deconvnet": "Deconvolution", "deconv-grad-cam": "Deconvolution Grad-CAM", "occlusion": "Occlusion", "cam": "CAM",
    "c-mwp": "c-MWP", "counterfactual": "Counterfactual",
}  # fmt: skip
EACH = "Every map is scaled to its own maximum."
GREY = "On grey, the strongest hundredth of the pixels saturates."
HEADER = ("map", "of", "network", "method", "layer", "score", "p", "highest", "peak")
SCORES = "Scores are those before softmax (of a caption log p); the highest value is that of the raw map."


@dataclass(frozen=True)
class Sheet:
    """What is drawn of one picture: the maps by their names (a sentence where one cannot be had), and how it looks.

    ``sample`` is what is known of the picture, ``words`` what is to be said of it, ``facts`` what the manifest has
    beside the maps.
    """

    title: str
    picture: Image.Image
    ways: Ways
    sample: Sample | None = None
    words: str = ""
    facts: Report = field(default_factory=dict)

    @property
    def explanations(self) -> dict[str, Explanation]:
        """What came out, by name."""
        return {name: e for name, e in self.ways.items() if isinstance(e, Explanation)}

    def rows(self) -> list[list[str]]:
        """For each map, or why there is none: its name, target, origin, score, probability, maximum and peak."""
        found = []
        for name, e in self.ways.items():
            if isinstance(e, str):
                found.append([name, e, *[""] * (len(HEADER) - 2)])
                continue
            for t, (target, heat) in enumerate(zip(e.targets[0], e.placed(0), strict=True)):
                made_by = [e.model.name, e.method, e.layer, _score(e.scores[0, t]), _score(e.probabilities[0, t], 3)]
                found.append([name, target, *made_by, f"{float(e.evidence[0, t]):.3g}", self._peak(heat)])
        return found

    def _peak(self, heat: Tensor) -> str:
        """Where a map is highest: its pixel, and on what that lies as far as it is known."""
        if float(heat.max()) <= 0:
            return "no evidence"
        x, y = peak(heat)
        things = {i.category for i in (self.sample.instances if self.sample else ()) if self._shows(i.category, x, y)}
        beside = "beside" if self.sample and self.sample.instances else ""
        on = f"on {' and '.join(sorted(things))}" if things else beside
        return f"{x}, {y} {on}".rstrip()

    def _shows(self, category: str, x: int, y: int) -> bool:
        assert self.sample is not None
        return bool(self.sample.mask(category)[y, x])

    @property
    def alt(self) -> str:
        """What those should know who cannot see it."""
        maps = [f"{name} for {of}, peak {where}" if where else f"{name}: {of}" for name, of, *_, where in self.rows()]
        more = f"; and {len(maps) - 8} more maps, in the table" if len(maps) > 8 else ""
        labels = f", which shows {', '.join(self.sample.labels)}" if self.sample and self.sample.labels else ""
        return f"{self.title}{labels}. {'; '.join(maps[:8])}{more}."

    def report(self) -> Report:
        """Plain values for the manifest."""
        runs = [
            {"name": name, "error": e} if isinstance(e, str) else {"name": name, **e.origin(), "targets": reported(e)}
            for name, e in self.ways.items()
        ]
        size = [list(e.pictures[0].size) for e in self.explanations.values()][:1]
        return {"image": self.title, "size": size[0] if size else None, **self.facts, "runs": runs}


def _score(value: Tensor, digits: int = 2) -> str:
    return "" if math.isnan(float(value)) else f"{float(value):.{digits}f}"


# -------------------------------------------------------------------------------------------- made of panels


def of_panel(panel: Panel, sample: Sample | None, words: str = "", facts: Report | None = None, **look: Any) -> Sheet:
    """The sheet of a panel, with its foot left to the figure."""
    blocks = panel.blocks(**look)
    drawn = laid(blocks, panel.columns, panel.letters)
    return Sheet(panel.picture.title, drawn, panel.ways, sample, words, facts or {})


def laid(blocks: Sequence[Block], columns: int | None = None, size: int = SIZE) -> Image.Image:
    """Blocks as a picture, in letters of that size; by default all tiles of the first stand in a row."""
    return page([*blocks], columns or len(blocks[0].tiles), "", size, GAP)


def mapped(e: Explanation, target: int = 0, across: int = ACROSS) -> Image.Image:
    """The picture under one of its maps, scaled to that map's maximum."""
    return [*e.within(across).overlays(0, legend=False)][target]


def photo(
    picture: Subject, name: str = "", note: str = "", across: int = ACROSS, size: int = SIZE, notes: int = 1
) -> Image.Image:
    """The tile of a picture without a map."""
    return tile(picture.within(across).image, name or picture.title, note, size, notes=notes)


# -------------------------------------------------------------------------------------------- the whole


@dataclass(frozen=True)
class Drawing:
    """What a figure's function gives: its sheets, what is to be said of all of them, and of their colours."""

    sheets: Sequence[Sheet]
    words: Sequence[str] = ()
    foot: str = EACH
    facts: Report = field(default_factory=dict)


@dataclass(frozen=True)
class Made:
    """A figure that was drawn, with what it was drawn of."""

    number: str
    entry: Entry
    choice: Choice
    drawing: Drawing

    @property
    def title(self) -> str:
        """Its number and what it shows."""
        return f"Figure {self.number}, drawn anew: {self.entry.about['title']}"

    @property
    def foot(self) -> str:
        """What is to be known of the colours."""
        drawn = [e for each in self.drawing.sheets for e in each.explanations.values()]
        if not self.drawing.foot:  # its sheets say it themselves
            return ""
        grey = GREY if any(e.pixels is not None for e in drawn) else ""
        return f"{self.drawing.foot} {grey}".strip()

    @property
    def notice(self) -> str:
        """What the pictures are not."""
        comparable = not self.choice.settings.images and self.choice.data.comparable
        return notice_of(self.choice.on_scenes, comparable)

    def sheet(self) -> Image.Image:
        """All of it in one picture; narrow sheets, of which there are many, stand in two columns."""
        pictures = [each.picture for each in self.drawing.sheets]
        width, tall = max(each.width for each in pictures) - 2 * GAP, sum(each.height for each in pictures)
        columns = 2 if len(pictures) % 2 == 0 and 2 * width < WIDEST and tall > 1.5 * width else 1
        width += 2 * GAP * (columns - 1)  # so that columns stand apart
        rows = [pictures[i : i + columns] for i in range(0, len(pictures), columns)]
        tiles = [[_fitting(each, width, max(p.height for p in row)) for each in row] for row in rows]
        heads = [(self.title, self.notice), *[("", "")] * (len(rows) - 1)]
        blocks = [Block(*head, row) for head, row in zip(heads, tiles, strict=True)]
        return page(blocks, columns, self.foot, SIZE, GAP)

    def json(self) -> Report:
        """The manifest: how it was made, and of each map its target, score, probability, peak and box."""
        settings = self.choice.settings
        sheets = [each.report() for each in self.drawing.sheets]
        runs = [run for each in sheets for run in each["runs"] if "error" not in run]
        weights = self.choice.weights
        return {
            "figure": self.number,
            "title": self.entry.about["title"],
            "section": self.entry.about["section"],
            "version": __version__,
            "model": list(weights),
            "weights_sha256": list(weights.values()),
            **{key: list(dict.fromkeys(run[key] for run in runs)) for key in ("method", "layer")},
            "targets": list(dict.fromkeys(t["name"] for run in runs for t in run["targets"])),
            "data": None if settings.images else self.choice.data.spec,
            "comparable": not settings.images and self.choice.data.comparable,
            "seed": settings.seed,
            "settings": {**settings.given, "count": len(self.choice.taken), "pictures": self.choice.taken},
            "notice": self.notice,
            **self.drawing.facts,
            "images": sheets,
        }

    def save(self, folder: Path) -> dict[str, str]:
        """Writes the sheet, the page with its pictures, and the manifest into a folder; their paths."""
        folder = made(folder)
        sheet = write_whole(folder / f"figure-{self.number}.jpg", jpeg(self.sheet()))
        page_ = pages.write(folder, self.title, self.entry.summary, self._sections(), self._facts(), self.notice)
        files = {"sheet": str(sheet), "page": str(page_), "manifest": str(folder / "manifest.json")}
        write_json(folder / "manifest.json", {**self.json(), "files": files})
        return files

    def _sections(self) -> list[Section]:
        sheets = self.drawing.sheets
        first = Section("What is drawn", *self.drawing.words, *([self.foot] if self.foot else []))
        return [first, *[self._section(each) for each in sheets]]

    def _section(self, sheet: Sheet) -> Section:
        figure = Figure(sheet.picture, sheet.words or sheet.title, "", sheet.alt)
        return Section(sheet.title, Figures([figure], 1), Table(HEADER, sheet.rows(), SCORES))

    def _facts(self) -> dict[str, str]:
        about = self.json()
        networks = {name: f"weights sha256 {sha}" for name, sha in self.choice.weights.items()}
        settings = {"data": about["data"] or "pictures that were named", "seed": str(about["seed"])}
        return {"after": f"Selvaraju et al. 2020, section {about['section']}", **settings, **networks}


def _fitting(picture: Image.Image, width: int, height: int) -> Image.Image:
    """A sheet of that size, without the rim at its left, which the whole has again."""
    canvas = Image.new("RGB", (width, height), PAPER)
    canvas.paste(picture, (-GAP, 0))
    return canvas
