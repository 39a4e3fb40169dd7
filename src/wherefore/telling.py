"""Pictures told one after the other, with the pages, pictures and raw maps of each in a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from PIL import Image
from torch import Tensor

from wherefore import drawing
from wherefore.errors import Error
from wherefore.explanation import Explanation
from wherefore.saving import can_be_made, jpeg, made, unique_names, write_tensors, write_whole

Report = dict[str, Any]
OF_PICTURE = ("target", "question")  # settings that a run has for each picture


class Reporter(Protocol):
    """What makes plain values of the maps of one picture, and may write the pictures of them."""

    def __call__(self, e: Explanation, kind: str = "") -> Report:
        """The values as of `Explanation.report`; ``kind``, if any, goes into the names of the files."""


class Told(Protocol):
    """What was said of a picture, with its maps."""

    def page(self, *, colours: str, scale: str) -> Image.Image:
        """All of it on one page."""

    def report(self, report: Reporter) -> Report:
        """All of it as plain values, given what makes them of the maps."""

    def maps(self) -> dict[str, Tensor]:
        """The raw maps by name."""

    def origin(self) -> Report:
        """Where the maps come from."""


def plain(e: Explanation, kind: str = "") -> Report:
    """The values alone."""
    return e.report(0)


@dataclass
class ToldRun:
    """A report per file, in order: what ``tell`` tells of it as plain values, or its ``error``.

    With ``out`` the page ``NAME.what.jpg``, pictures ``NAME.what....jpg`` and the raw maps ``NAME.what.safetensors``
    are written there; the maps of the last run also lie in ``NAME.safetensors``. ``origin`` says where the results come
    from, once the first is there.
    """

    tell: Callable[[str | Path], Told]
    paths: Sequence[str | Path]
    what: str  # names that differ for what is asked, so that one folder holds several runs
    out: Path | None = None
    colours: str = "heat"
    scale: str = "common"
    origin: Report = field(default_factory=dict)

    def __post_init__(self) -> None:
        drawing.check_look(self.colours, self.scale)
        if self.out:
            can_be_made(self.out)

    def __iter__(self) -> Iterator[Report]:
        for path, name in zip(self.paths, unique_names([str(p) for p in self.paths]), strict=True):
            try:
                told = self.tell(path)
            except Error as error:
                yield {"image": str(path), "error": str(error)}
                continue
            if not self.origin:
                self.origin |= {k: v for k, v in told.origin().items() if k not in OF_PICTURE}
            yield {
                "image": str(path),
                **(self._written(told, made(self.out), name) if self.out else told.report(plain)),
            }

    def _written(self, told: Told, out: Path, name: str) -> Report:
        own = f"{name}.{self.what}"

        def saved(e: Explanation, kind: str = "") -> Report:
            stem = f"{own}.{kind}" if kind else own
            return e.save_pictures(0, out, stem, colours=self.colours, scale=self.scale)

        report = told.report(saved)
        page = write_whole(out / f"{own}.jpg", jpeg(told.page(colours=self.colours, scale=self.scale)))
        tensors = {key: value.cpu().contiguous() for key, value in told.maps().items()}
        maps = [str(write_tensors(out / f"{each}.safetensors", tensors, told.origin())) for each in (own, name)]
        for target in report.get("targets", ()):
            target["files"]["maps"] = maps[0]
        return {**report, "files": {"page": str(page), "maps": maps[0]}}
