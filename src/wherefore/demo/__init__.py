"""The demonstration: the story of the Grad-CAM paper, told and measured on scenes by the networks of the package."""

from __future__ import annotations

from pathlib import Path

from wherefore import pages
from wherefore.demo import bias, comparing, telling, words
from wherefore.demo.cast import Cast
from wherefore.guard import one_thread
from wherefore.progress import track
from wherefore.saving import can_be_made

TITLE = "Where a network looks, and why it says so"
LEAD = (
    "Grad-CAM and its family, told and measured on small networks that come with the package. Every picture and every "
    "number below was made on this machine, offline, by `wherefore demo`."
)
CHAPTERS = (
    telling.sights,
    telling.apart,
    telling.detail,
    telling.against,
    comparing.generalises,
    comparing.layers,
    comparing.mistake,
    words.caption,
    words.answer,
    bias.bias,
    comparing.everything,
    comparing.onward,
)


def run(folder: str | Path, count: int = 100) -> Path:
    """Writes the page and its pictures into a folder; the path of the page. Equal at every run on a machine.

    Numbers are taken on the first ``count`` test scenes with two objects. Raises `Error` where the folder cannot be
    written.
    """
    folder, cast = can_be_made(folder), Cast(count)
    with one_thread():
        sections = [chapter(cast) for chapter in track(CHAPTERS, len(CHAPTERS), "telling the story")]
    networks = {f"scenes:{name}": f"weights sha256 {model.weights_sha256}" for name, model in cast.networks.items()}
    return pages.write(folder, TITLE, LEAD, sections, {"numbers on": f"test scenes 0 to {count - 1}", **networks})
