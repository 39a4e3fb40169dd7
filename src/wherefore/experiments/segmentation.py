"""Weakly supervised segmentation: section 4.2 of the paper (protocols: section E). It trains, and takes its time."""

from __future__ import annotations

import sys
from typing import Any

from PIL import Image

from wherefore.experiments.charts import dots
from wherefore.experiments.lab import Lab
from wherefore.experiments.result import Result
from wherefore.experiments.tables import Row, need, table, where
from wherefore.pages import Figure, Figures, Section, Verdict
from wherefore.registry import EXPERIMENTS
from wherefore.segmenting.comparing import run_segmentation

COLUMNS = {"name": "seeds", "crf": "CRF at test time"}
WORDS = (
    "A network learns which pixel shows what from the names of what is in each picture alone, by SEC: it is told by "
    "seeds, the cells that a classifier's maps make sure of. Beside it the same network learns from true masks. Three "
    "networks of each; a figure is the mean of the three, its interval that over test pictures."
)


@EXPERIMENTS("segmentation", title="Weakly supervised segmentation", section="4.2", minutes=25, trains=True)
def segmentation(lab: Lab) -> Result:
    """Mean IoU of networks that learn to segment from seeds of Grad-CAM, from seeds of CAM, and from true masks."""
    settings = lab.settings
    need(settings.limit is None, "segmentation has pictures enough to train on by its own recipe: leave --limit out.")
    need(settings.model is None, "segmentation trains its own networks: leave --model out.")
    dataset, folder = lab.dataset(), lab.folder / "segmenting"
    found = run_segmentation(settings.data, folder, quick=settings.quick, device=settings.device, say=_say)
    rows = [_shares(each) for each in found]
    words = WORDS + (" With `--quick` nothing is learned: it shows that everything runs." if settings.quick else "")
    lab.counts[f"{dataset.spec} {dataset.split}"] = max(each["n"] for each in rows)
    verdicts = [_verdict(each) for each in where(rows, name="grad-cam - cam")]
    return Result(
        rows, verdicts, _sections(words, rows, verdicts, Image.open(folder / "segmentation.jpg")), {"runs": 3}
    )


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _shares(found: dict[str, Any]) -> Row:
    """A row with shares, 0 to 1, in place of per cent."""
    values = {key: None if found[key] is None else found[key] / 100 for key in ("value", "low", "high", "paper")}
    runs = {"runs": [round(each / 100, 4) for each in found["runs"]]} if "runs" in found else {}
    return {"degenerate": 0, **found, **values, **runs, "crf": found["crf"] or "none"}


def _verdict(gap: Row) -> Verdict:
    """Whether seeds of Grad-CAM serve better than seeds of CAM."""
    chance = "" if gap["low"] > 0 or gap["high"] < 0 else ", which may be chance"
    said = f"{100 * gap['value']:+.1f} points of mean IoU ({100 * gap['low']:+.1f} to {100 * gap['high']:+.1f}{chance})"
    words = f"Seeds of Grad-CAM serve better than seeds of CAM under one recipe (CRF at test time: {gap['crf']})"
    return Verdict(words, gap["value"] > 0, f"{said}; the paper: +5.0 on VOC 2012.", not chance)


def _sections(words: str, rows: list[Row], verdicts: list[Verdict], picture: Image.Image) -> list[Section]:
    overlaps = [each for each in where(rows, measure="mean IoU") if each["name"] != "grad-cam - cam"]
    names = [f"{each['name']}, CRF: {each['crf']}" for each in overlaps]
    seeds = [each for each in rows if "seeds" in each["measure"]]
    chart = Figure(dots(overlaps, "mean IoU over the whole set", names), "Mean IoU with its interval over pictures")
    said = "The first test pictures: seeds, what the first network of each source predicts, and the truth"
    return [
        Section("What the paper claims, here", words, *verdicts),
        Section("Pictures", Figures([Figure(picture.convert("RGB"), said)], 1)),
        Section(
            "Mean IoU",
            Figures([chart], 1),
            table(overlaps, COLUMNS, "mean IoU", "One confusion matrix over all pictures; the background counts."),
        ),
        Section("How good the seeds are", table(seeds, {"name": "seeds", "measure": "measure"}, "share")),
    ]
