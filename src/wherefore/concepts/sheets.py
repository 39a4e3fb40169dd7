"""Contact sheets: the pictures in which units fire most, dimmed where they do not; and the page of a dissection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from wherefore.concepts.dissect import Dissection
from wherefore.concepts.names import TEXT, Named
from wherefore.concepts.recording import TOP, Recorded
from wherefore.datasets import Array
from wherefore.drawing import PAPER
from wherefore.pages import STAND_IN, Figure, Figures, Section, Table, rendered
from wherefore.progress import track
from wherefore.saving import write_whole

SIDE, GAP = 120, 4  # pixels of a picture, and between two
SMALL = 56  # pixels of a picture of a unit without a name: a sheet takes 7 kB of the page, a third of a large one
DIMMED = 0.35  # of the light where a unit does not fire
BY_TEXT = (
    "These names were given by a network that compares pictures with words, not by labelled pixels: another method "
    "than Network Dissection, without an IoU. It gives every unit that fires a name, fitting or not."
)
PHOTOGRAPHS = "Names depend on the pictures that units were dissected with, and on their labels."
SHEETS = "Each row is a unit and its five pictures with the highest activation, bright where it exceeds its threshold."


def write_page(found: Dissection, path: Path) -> Path:
    """Writes the page of a dissection, one file that needs nothing else; its path."""
    about = {key: str(value) for key, value in found.report().items() if key != "units"}
    layer, model = (f"`{about[key]}`" for key in ("layer", "model"))
    lead = f"What the units of {layer} of {model} look for: {about['named']} of {len(found.units)} have a name."
    notice = STAND_IN if found.recorded.dataset.drawn else PHOTOGRAPHS
    return write_whole(path, rendered(f"Units of {about['model']}", lead, sections(found), about, notice))


def sections(found: Dissection) -> list[Section]:
    """The page of a dissection: a table of kinds, contact sheets of named units by kind, and those of the others."""
    drawn = sheets(found.recorded, found.named())
    table = Table(["kind", "units", "names", "best"], kinds(found))
    first = Section("How many", *([BY_TEXT] if TEXT in found.kinds else []), table)
    return [
        first,
        *(Section(kind, SHEETS, contact(drawn, units)) for kind, units in found.kinds.items()),
        *_unnamed(found),
    ]


def contact(drawn: Mapping[int, Image.Image], units: Sequence[Named]) -> Figures:
    """The contact sheets of units, with their names."""
    return Figures([Figure(drawn[each.unit], each.plain, note(each)) for each in units], 2)


def _unnamed(found: Dissection) -> list[Section]:
    """The smaller contact sheets of the units without a name, by their numbers; none where all have one."""
    units = [each for each in found.units if not each.has_name]
    firing = [each for each in units if found.recorded.tops[each.unit]]
    if not units:
        return []
    drawn = sheets(found.recorded, firing, SMALL)
    figures = [Figure(drawn[each.unit], f"unit {each.unit}", _nearest(each)) for each in firing]
    silent = (
        f"Left out are those that fire in no picture: {len(units) - len(firing)}." if len(firing) < len(units) else ""
    )
    words = f"What the {len(firing)} units fire on whose masks fit no concept well enough. {silent}".rstrip()
    return [Section("Without a name", words, Figures(figures, 4))]


def _nearest(each: Named) -> str:
    """What a unit without a name is most like."""
    return f"no name; nearest {each.plain}, IoU {each.iou:.2f}" if each.iou > 0 else "no name"


def kinds(found: Dissection) -> list[list[str]]:
    """For each kind how many units have a name of it, how many names there are, and the best."""
    return [
        [kind, str(len(units)), str(len({u.name for u in units})), f"{units[0].plain} ({note(units[0])})"]
        for kind, units in found.kinds.items()
    ]


def note(each: Named) -> str:
    """Which unit it is, and how sure its name."""
    return f"unit {each.unit}, by text" if each.category == TEXT else f"unit {each.unit}, IoU {each.iou:.2f}"


def sheets(recorded: Recorded, units: Sequence[Named], side: int = SIDE) -> dict[int, Image.Image]:
    """The contact sheet of each unit, by its number; each picture ``side`` pixels wide and high."""
    width = TOP * (side + GAP) - GAP
    found = {each.unit: Image.new("RGB", (width, side), PAPER) for each in units}
    for name, some in track(recorded.shown.items(), len(recorded.shown), "drawing units"):
        wanted = [unit for unit in some if unit in found]
        if not wanted:
            continue
        picture = recorded.sample(name).image.resize((side, side))  # squashed, as the network sees it
        for unit in wanted:
            mask = recorded.mask(name, unit, (side, side)).numpy()
            found[unit].paste(dimmed(picture, mask), (recorded.tops[unit].index(name) * (side + GAP), 0))
    return found


def dimmed(picture: Image.Image, mask: Array) -> Image.Image:
    """The picture, dark where a mask ``(H, W)`` of bool is not."""
    pixels = np.asarray(picture, np.float32) * np.where(mask, 1, DIMMED)[..., None]
    return Image.fromarray(pixels.round().astype(np.uint8))
