"""Explanations in the names of a network's units: figures 9 and 21."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from wherefore.concepts import Named, dissect, read, words
from wherefore.datasets import opened
from wherefore.errors import Error
from wherefore.figures.choice import Choice
from wherefore.figures.sheets import Drawing, Sheet
from wherefore.registry import FIGURES

TAKES = ("images", "models", "weights", "targets", "data", "words")
DISSECTED = 200  # pictures that units are named with


@FIGURES(
    "9", title="visual and textual explanations", section="7", networks=("scenes:places",), count=2, seconds=10,
    takes=TAKES,
)  # fmt: skip
def figure_9(choice: Choice) -> Drawing:
    """Why a network says what it says: the map, and the named units of the highest and of the lowest weights."""
    return _told(choice)


@FIGURES(
    "21", title="more visual and textual explanations", section="F", networks=("scenes:places",), count=4, seconds=10,
    takes=TAKES,
)  # fmt: skip
def figure_21(choice: Choice) -> Drawing:
    """The same as figure 9, of more pictures."""
    return _told(choice)


def _told(choice: Choice) -> Drawing:
    names, why = _names(choice), choice.why(choice.network)
    sheets = []
    for taken in choice.pictures():
        e = why.on([why.prepare(taken.picture)], list(choice.settings.targets) or None)
        for wording in words(e, names)[0]:
            title, facts = f"{taken.picture.title}: {wording.target}", {"words": wording.report()}
            sheets.append(Sheet(title, wording.figure(), {"Grad-CAM": e}, taken.sample, str(wording), facts))
    given = choice.settings.words
    source = f"the file {Path(given).name}" if given else f"{DISSECTED} pictures of the dev split, by lot"
    return Drawing(sheets, [f"Units are named by Network Dissection: {source}. {NAMING}"], "")


NAMING = "A unit has a name where its mask overlaps with a concept's pixels with an IoU of at least 0.05."


def _names(choice: Choice) -> Sequence[Named]:
    """The names of the units: those in the user's file, else found by dissection."""
    settings = choice.settings
    if settings.words:
        return read(Path(settings.words))
    if settings.models and (settings.images or not settings.data):
        raise Error(
            f"names of the units of {settings.models[0]} are wanted: `wherefore dissect --model {settings.models[0]} "
            "--data broden:DIR --out units.csv` writes them, to be given as --words units.csv."
        )
    data = opened(settings.data or "scenes", "dev")
    numbers = random.Random(settings.seed).sample(range(len(data)), min(DISSECTED, len(data)))
    with TemporaryDirectory() as folder:
        return dissect(choice.network, data, numbers, Path(folder)).units
