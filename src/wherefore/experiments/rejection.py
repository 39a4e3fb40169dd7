"""The paper's own pointing game, in which maps may be rejected: section 4.3 and appendix D (protocols: section F).

Maps of the top-5 predicted classes: right are those that are kept and hit a class that is there, and those rejected
whose class is absent. A predicted class that is no category of the data is no claim, for nobody looked for it; of
several outputs for one category that with the highest score is. The threshold on the maximum of a raw map is chosen for
each network and method on other pictures (the dev split), frozen, and applied to the test split.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from wherefore.batch.maps import Seen
from wherefore.datasets import Dataset
from wherefore.experiments.charts import curves
from wherefore.experiments.lab import Lab
from wherefore.experiments.pointing import TOLERANCES, headline_of, in_boxes
from wherefore.experiments.result import Result
from wherefore.experiments.showing import drawn
from wherefore.experiments.tables import Row, need, paper_of, refused, row, table, where
from wherefore.experiments.tables import claim as judged
from wherefore.metrics.pointing import hits, region
from wherefore.metrics.rejection import KEEP_ALL, REJECT_ALL, Claim, best, curve, right
from wherefore.metrics.summary import Summary, pooled
from wherefore.pages import Figure, Figures, Section, Verdict
from wherefore.registry import EXPERIMENTS
from wherefore.types import Model

NETWORKS = ("googlenet", "vgg")
METHODS = ("grad-cam", "c-mwp")
PAPER = {("googlenet", "grad-cam"): 0.7058, ("googlenet", "c-mwp"): 0.6030}
FROZEN, ORACLE, KEEP, REJECT = "chosen on dev", "oracle", "keep all", "reject all"
MEASURES = ("accuracy", "presence", "precision", "recall")
WORDS = {
    "accuracy": "Of all maps, those kept that hit a class that is there, and those rejected whose class is absent.",
    "presence": "Maps kept whose class is there, wherever they point, and those rejected whose class is absent.",
    "precision": "Of the maps kept, those that hit a class that is there.",
    "recall": "Of the maps whose class is there, those kept that hit it.",
}
CURVE = (
    "How often maps are right by how many a threshold rejects, on the test split: at the left it keeps all, at "
    "the right it rejects all; the top of a curve is the oracle's. Dotted lines: the thresholds that dev chose."
)


@dataclass(frozen=True)
class Game:
    """What one method on one network claims of the pictures of the test split, and the threshold that dev chose."""

    kept: Sequence[Seen]  # the first of them, to be looked at
    claims: list[list[Claim]]  # of each picture
    threshold: float

    @property
    def thresholds(self) -> dict[str, float]:
        """What maps are rejected below, by how that was chosen."""
        oracle = best([c for some in self.claims for c in some])
        return {FROZEN: self.threshold, ORACLE: oracle, KEEP: KEEP_ALL, REJECT: REJECT_ALL}


@EXPERIMENTS("pointing-rejection", title="The pointing game with rejection", section="4.3, appendix D", minutes=3)
def rejection(lab: Lab) -> Result:
    """How often maps point at what is there and stay below a threshold for what is not, for Grad-CAM and c-MWP."""
    dataset = lab.dataset()
    numbers = lab.numbers(dataset, 400, 32)
    dev, others = lab.others("", numbers, 400, 32)
    tolerance, boxes = headline_of(lab), in_boxes(dataset)
    left: dict[str, str] = {}
    rows: list[Row] = []
    games: dict[tuple[str, str], Game] = {}
    for model in lab.networks(*NETWORKS):
        for method in lab.fitting(model, METHODS, dataset):
            chosen = claims(_seen(lab, model, method, dev, others), tolerance, boxes)
            kept = _seen(lab, model, method, dataset, numbers)
            game = Game(kept[:2], claims(kept, tolerance, boxes), best([c for some in chosen for c in some]))
            games[model.name, method] = game
            rows += _rows(model.name, method, game)
            left[f"left out on {model.name}"] = left_out(kept)
    verdicts, trivial = _verdicts(games), _trivial(games)
    thresholds = {f"threshold of {m} on {n}": f"{game.threshold:.4g}" for (n, m), game in games.items()}
    sections = _sections(rows, verdicts, trivial, games, lab)
    return Result(rows, [*verdicts, *trivial], sections, {"tolerance": tolerance, **thresholds, **left})


def _seen(lab: Lab, model: Model, method: str, dataset: Dataset, numbers: Sequence[int]) -> list[Seen]:
    """The maps of the top-5 classes of samples, whose annotations must say what is where."""
    kept = list(lab.seen(model, method, dataset, numbers, "top5"))
    several = any(len({thing.category for thing in each.sample.instances}) > 1 for each in kept)
    need(
        several,
        f"whether a class is absent cannot be told from {dataset.spec}, which names one thing per picture or says "
        "nowhere what is where: give scenes, voc:DIR or coco:DIR.",
    )
    need(
        any(claiming(each) for each in kept),
        f"no class that {model.name} predicts is a category of {dataset.spec}: give a network for these.",
    )
    return kept


def claiming(each: Seen) -> dict[str, int]:
    """The categories that a picture's maps claim, each with the number of its map: that of the highest score."""
    found: dict[str, int] = {}
    for t in each.explanation.scores[0].argsort(descending=True, stable=True).tolist():
        if category := each.rows[t]["category"]:
            found.setdefault(category, t)
    return found


def left_out(kept: Sequence[Seen]) -> str:
    """How many maps claim nothing, and why."""
    count: Counter[str] = Counter()
    for each in kept:
        named = sum(bool(row["category"]) for row in each.rows)
        count["of no category of the data"] += len(each.rows) - named
        count["of a category with another output of a higher score"] += named - len(claiming(each))
    return ", ".join(f"{number} maps {why}" for why, number in count.items())


def claims(kept: Sequence[Seen], tolerance: str, boxes: bool = False) -> list[list[Claim]]:
    """What the maps of each picture claim, and whether it is true; things are where masks are, or their ``boxes``."""
    found = []
    for each in kept:
        sample, reach = each.sample, TOLERANCES[tolerance](each.sample.size)
        points, maxima = each.explanation.peaks()[0].tolist(), each.explanation.evidence[0].tolist()
        some = []
        for category, t in claiming(each).items():
            there = bool(sample.of(category))
            hit = there and hits(points[t], region(sample, category, boxes), reach)
            some.append(Claim(sample.name, category, there, hit, maxima[t]))
        found.append(some)
    return found


def measured(game: Sequence[Sequence[Claim]], threshold: float, measure: str) -> Summary:
    """One of the `MEASURES` at a threshold, pooled over the claims of all pictures (see `metrics.rejection`)."""
    parts, wholes = [], []
    for some in game:
        kept = [claim.maximum >= threshold for claim in some]
        found = sum(claim.hit and keep for claim, keep in zip(some, kept, strict=True))
        part, whole = {
            "accuracy": (int(right(some, threshold).sum()), len(some)),
            "presence": (sum(claim.present == keep for claim, keep in zip(some, kept, strict=True)), len(some)),
            "precision": (found, sum(kept)),
            "recall": (found, sum(claim.present for claim in some)),
        }[measure]
        parts.append(part)
        wholes.append(whole)
    return pooled(parts, wholes, [claim.maximum for some in game for claim in some])


def _rows(network: str, method: str, game: Game) -> list[Row]:
    rows = []
    for rule, threshold in game.thresholds.items():
        for measure in MEASURES if rule == FROZEN else MEASURES[:1]:
            paper = paper_of(PAPER, network, method) if (rule, measure) == (FROZEN, "accuracy") else None
            figure = measured(game.claims, threshold, measure)
            rows.append(row(method, figure, paper, network=network, threshold=rule, measure=measure))
    return rows


def _verdicts(games: Mapping[tuple[str, str], Game]) -> list[Verdict]:
    found = []
    for network in dict.fromkeys(network for network, method in games if method == "grad-cam"):
        figures = {m: measured(g.claims, g.threshold, "accuracy") for (n, m), g in games.items() if n == network}
        if "c-mwp" in figures:
            found.append(judged(f"On {network} Grad-CAM is right more often than c-MWP", figures, METHODS))
    return found


def _trivial(games: Mapping[tuple[str, str], Game]) -> list[Verdict]:
    """Whether Grad-CAM is worth more than rules that look at no map; the paper does not ask."""
    found = []
    for network, own in ((network, game) for (network, method), game in games.items() if method == "grad-cam"):
        trivial = {rule: measured(own.claims, own.thresholds[rule], "accuracy") for rule in (KEEP, REJECT)}
        better = max(trivial, key=lambda rule: trivial[rule].value)
        words = f"On {network} Grad-CAM is right more often than who keeps all maps, or rejects all"
        figures = {"grad-cam": measured(own.claims, own.threshold, "accuracy"), **trivial}
        found.append(judged(words, figures, ["grad-cam", better]))
    return found


def _sections(
    rows: Sequence[Row],
    verdicts: Sequence[Verdict],
    trivial: Sequence[Verdict],
    games: Mapping[tuple[str, str], Game],
    lab: Lab,
) -> list[Section]:
    networks = list(dict.fromkeys(network for network, _ in games))
    charts = [
        Figure(
            _curves({m: g for (name, m), g in games.items() if name == network}),
            f"What the threshold does on {network}",
        )
        for network in networks
    ]
    columns = {"name": "method", "network": "network", "threshold": "maps rejected"}
    tables = [table(where(rows, measure=measure), columns, measure, WORDS[measure]) for measure in MEASURES]
    parts = [
        Section("What the paper claims, here", *verdicts),
        Section("Pictures", _gallery(next(iter(games.values())))),
        Section("The threshold", CURVE, Figures(charts, 1)),
        Section("How often maps are right", *trivial, *tables),
    ]
    return [*parts, *([Section("What does not go together", *refused(lab.refused))] if lab.refused else [])]


def _curves(games: Mapping[str, Game]) -> Image.Image:
    """Accuracy by the share of maps that a threshold rejects, with the one that dev chose marked."""
    lines, marks = {}, []
    for method, game in games.items():
        every = [claim for some in game.claims for claim in some]
        maxima = np.sort([claim.maximum for claim in every])
        thresholds, accuracies = curve(every)
        lines[method] = (np.searchsorted(maxima, thresholds) / len(maxima)).tolist(), accuracies.tolist()
        marks.append((float(np.searchsorted(maxima, game.threshold) / len(maxima)), method))
    return curves(lines, "share of maps rejected", "accuracy", marks)


def _gallery(game: Game) -> Figures:
    figures = []
    for each, some in zip(game.kept, game.claims, strict=False):
        for t, claim in zip(claiming(each).values(), some, strict=True):
            said = "kept" if claim.maximum >= game.threshold else "rejected"
            truth = ("hit" if claim.hit else "missed") if claim.present else "not there"
            name = f"{claim.category}: {said}"
            figures.append(
                drawn(each, t, None, each.sample.boxes(claim.category), f"{truth}, up to {claim.maximum:.2g}", name)
            )
    method = game.kept[0].explanation.method
    words = f"{method} of the top-5 classes, the likeliest first. The ring is the peak; boxes show the class, if any."
    return Figures(figures, 5, "", words)
