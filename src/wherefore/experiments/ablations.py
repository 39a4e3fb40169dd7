"""What each choice of Grad-CAM is worth: Table 3 and section 7 of the paper (protocols: sections A and D).

One thing is changed at a time, and boxes are made and counted as in `localization`. A signed map has its box above the
same share of its maximum. The rules of guided backprop and deconvnet are laid on the way from the score to the layer
alone: where no ReLU lies there, as behind the last map of GoogLeNet and ResNet, they change nothing.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from wherefore.backward import is_relu
from wherefore.batch.maps import Seen
from wherefore.capture import Capture
from wherefore.datasets import Dataset
from wherefore.experiments.charts import dots
from wherefore.experiments.lab import Lab, annotated
from wherefore.experiments.localization import CROPS, LEAST, errors
from wherefore.experiments.result import Result
from wherefore.experiments.showing import drawn, gallery
from wherefore.experiments.tables import Row, between, claim, need, paper_of, row, table, unchanged, where
from wherefore.explainer import Explainer
from wherefore.graph import reachable
from wherefore.metrics.localization import box_iou, share_box
from wherefore.metrics.rerunning import Rerun
from wherefore.metrics.summary import Summary
from wherefore.pages import Figure, Figures, Section, Verdict
from wherefore.registry import EXPERIMENTS
from wherefore.types import Model

PLAIN, NO_RELU, GUIDED, DECONV = "Grad-CAM as it is", "without the ReLU", "guided ReLUs above", "deconvnet ReLUs above"
ABSOLUTE, MAX = "absolute gradients pooled", "gradients max-pooled"
CHANGES: dict[str, dict[str, Any]] = {
    PLAIN: {},
    NO_RELU: {"relu": False},
    ABSOLUTE: {"pooling": "absolute"},
    MAX: {"pooling": "max"},
    GUIDED: {"backward": "guided"},
    DECONV: {"backward": "deconv"},
}
# Table 3: top-1 localization error of VGG-16, ten crops.
PAPER = {
    ("vgg", PLAIN): 0.5965,
    ("vgg", NO_RELU): 0.7498,
    ("vgg", ABSOLUTE): 0.5819,
    ("vgg", MAX): 0.5996,
    ("vgg", GUIDED): 0.5914,
    ("vgg", DECONV): 0.8395,
}
WORSE, ALIKE = 0.10, 0.02  # by how much the ReLU must help, and within how much pooling and guided ReLUs must stay
WHY = (
    "What the ReLU is worth depends on how a box is made of a map. Above a share of its positive maximum, as here, a "
    "signed map and its positive part are the same but for what crops and interpolation mix into it. The paper does "
    "not say how it made boxes of signed maps."
)
SAME = 1e-3  # of a map's maximum: what float16 keeps
Found = dict[tuple[str, str], dict[str, Summary]]  # by network and crops, of each change


@EXPERIMENTS("ablations", title="What each choice of Grad-CAM is worth", section="7, Table 3", minutes=4)
def ablations(lab: Lab) -> Result:
    """Localization errors of Grad-CAM with one thing changed: its ReLU, its pooling, or the ReLUs above its layer."""
    dataset = lab.dataset("single")
    numbers = lab.numbers(dataset, 300, 24, annotated)
    need(numbers, f"{dataset.spec} has no boxes to measure localization by: give imagenet:DIR, voc:DIR or coco:DIR.")
    rows: list[Row] = []
    verdicts: list[Verdict] = []
    first, *others = lab.networks("vgg", "googlenet")
    for crops, tencrop in CROPS.items():
        shown = _kept(lab, first, dataset, numbers, tencrop)
        figures = _figures(shown)
        rows += _rows(first, crops, figures)
    rectifies = meets_relus(first, shown[PLAIN][0].sample.image)
    verdicts += _claims(first, figures, rectifies)
    verdicts += [] if rectifies else [_changes_nothing(first, shown)]
    for model in others:  # squashed alone: ten crops take ten times as long, and would show nothing else
        kept = _kept(lab, model, dataset, numbers)
        rows += _rows(model, "squash", _figures(kept))
        if not meets_relus(model, kept[PLAIN][0].sample.image):
            verdicts.append(_changes_nothing(model, kept))
    return Result(rows, verdicts, _sections(rows, verdicts, shown), {"least IoU": LEAST, "box": "15 % of the maximum"})


def meets_relus(model: Model, picture: Image.Image) -> bool:
    """Whether a ReLU lies between a network's scores and the layer it is explained at, by the graph of a pass."""
    e = Explainer(model, fit="squash")(picture, 0)
    rerun = Rerun(e, 0)
    with Capture(rerun.net, e.layer) as seen:
        scores = rerun.query.choose(seen(rerun.x)).scores
    return any(is_relu(node) for node in reachable(scores.grad_fn))


def _kept(
    lab: Lab, model: Model, dataset: Dataset, numbers: Sequence[int], tencrop: bool = False
) -> dict[str, list[Seen]]:
    """What Grad-CAM says of each sample, with each of the changes."""
    with warnings.catch_warnings():  # that a rule changes nothing is a result here
        warnings.filterwarnings("ignore", message=r"the \w+ rule meets no ReLU")
        return {
            change: list(lab.seen(model, "grad-cam", dataset, numbers, tencrop=tencrop, **options))
            for change, options in CHANGES.items()
        }


def _figures(kept: Mapping[str, Sequence[Seen]]) -> dict[str, Summary]:
    """The top-1 localization error with each of the changes."""
    return {change: errors(some, share_box)["top-1"] for change, some in kept.items()}


def _rows(model: Model, crops: str, figures: Mapping[str, Summary]) -> list[Row]:
    papers = {change: paper_of(PAPER, model.name, change) if CROPS[crops] else None for change in figures}
    return [
        row("grad-cam", figure, papers[change], network=model.name, crops=crops, change=change, measure="top-1")
        for change, figure in figures.items()
    ]


def _claims(model: Model, figures: Mapping[str, Summary], rectifies: bool) -> list[Verdict]:
    """The orderings of Table 3 on one network, in ten crops as there."""
    words = f"On {model.name} boxes without the ReLU err more often by over {100 * WORSE:.0f} points"
    found = [between(words, figures, NO_RELU, PLAIN, WORSE)]
    if rectifies:
        runner = max((change for change in figures if change != DECONV), key=lambda change: figures[change].value)
        same = f"On {model.name} deconvnet's ReLUs above the layer change no error"
        words = f"On {model.name} boxes with deconvnet's ReLUs above the layer err most often of all"
        found.append(unchanged(same, figures, PLAIN, DECONV) or claim(words, figures, [runner, DECONV], "lower"))
    for change in (ABSOLUTE, MAX, *([GUIDED] if rectifies else [])):
        words = f"On {model.name} errors with {change} stay within {100 * ALIKE:.0f} points of Grad-CAM's"
        found.append(between(words, figures, change, PLAIN, -ALIKE, ALIKE))
    return found


def _changes_nothing(model: Model, kept: Mapping[str, Sequence[Seen]]) -> Verdict:
    """Where no ReLU lies above the layer: whether maps under the two rules are those of Grad-CAM."""
    furthest = max(
        float((a.explanation.maps[0] - b.explanation.maps[0]).abs().max())
        / max(float(a.explanation.evidence.max()), 1e-12)
        for rule in (GUIDED, DECONV)
        for a, b in zip(kept[PLAIN], kept[rule], strict=True)
    )
    return Verdict(
        f"On {model.name}, with no ReLU between layer and score, guided and deconvnet ReLUs change nothing",
        furthest <= SAME,
        f"On {len(kept[PLAIN])} pictures maps differ by no more than {furthest:.1g} of their maximum.",
    )


def _sections(rows: Sequence[Row], verdicts: Sequence[Verdict], shown: Mapping[str, Sequence[Seen]]) -> list[Section]:
    parts = [Section("What the paper claims, here", *verdicts, WHY), Section("Pictures", _gallery(shown))]
    for network, crops in dict.fromkeys((each["network"], each["crops"]) for each in rows):
        some = where(rows, network=network, crops=crops)
        chart = dots(some, "top-1 localization error", [each["change"] for each in some])
        figure = Figure(chart, f"Top-1 localization error on {network}, {crops}")
        words = {"change": "what is changed", "network": "network", "crops": "seen"}
        parts.append(
            Section(
                f"Errors on {network}, {crops}",
                Figures([figure], 1),
                table(some, words, "top-1 error", marked=lambda each: each["change"] == PLAIN),
            )
        )
    return parts


def _gallery(shown: Mapping[str, Sequence[Seen]]) -> Figures:
    def draw(change: str, each: Seen) -> Figure:
        box = share_box(each.sample.image, next(each.explanation.placed(0)))
        overlap = float(box_iou(each.explanation, [each.sample])[0, 0])
        label = each.explanation.targets[0][0]
        return drawn(each, 0, box, each.sample.boxes(label), f"IoU {overlap:.2f}", f"{change}: {label}")

    words = "White: the box of the map, above 15 % of its maximum. Blue: that of the object. Ten crops, merged."
    return gallery(shown, draw, 2, "", words)
