"""Report: what a study shows, as JSON and as a page; all of it says so where nobody but simulated workers answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from wherefore import __version__, pages
from wherefore.experiments.result import notice_of, plain
from wherefore.saving import made, write_json
from wherefore.study import power, regression
from wherefore.study.clusters import Estimate
from wherefore.study.exclusions import Progress, Sifted, counted, progress, sift
from wherefore.study.plan import Plan, Rating, read
from wherefore.study.regression import Fitted
from wherefore.study.scores import Scores

NOTICE = (
    "SIMULATED: nobody was asked. These are answers of simulated workers, who answer as they were set to. "
    "They show that the analysis finds what was set, and nothing about people."
)


@dataclass(frozen=True)
class Report:
    """What a study shows, over the ratings that count."""

    plan: Plan
    sifted: Sifted
    scores: Scores
    progress: Progress

    @property
    def simulated(self) -> bool:
        """Whether all of it rests on simulated workers."""
        return self.sifted.simulated

    @property
    def two(self) -> bool:
        """Whether answers are right or wrong, of two options; else they are scores, -2 to 2."""
        return self.plan.kind == "class-discrimination"

    @property
    def comparable(self) -> bool:
        """Whether these could be the paper's numbers: people were asked, about pictures of the paper's data."""
        return bool(self.plan.source.get("comparable", False)) and not self.simulated

    @cached_property
    def model(self) -> Fitted:
        """The mixed model of class discrimination, or the ordinal model of trust."""
        scores, pairs = self.scores, [(each.one, each.other) for each in self.scores.contrasts]
        methods = scores.method.tolist()
        if not self.two:
            return regression.ordinal(scores.values, methods, scores.crossed, pairs)
        workers, items = zip(*((each.worker, each.item) for each in scores.ratings), strict=True)
        found = regression.mixed(scores.values, methods, workers, items, pairs)
        return replace(found, methods=sorted(found.methods, key=lambda row: scores.names.index(row["name"])))

    @cached_property
    def power(self) -> power.Power:
        """How often a study of this plan would find a difference that is there."""
        return power.of_plan(self.plan)

    def json(self) -> dict[str, Any]:
        """What ``wherefore study analyze --json`` prints."""
        plan, model = self.plan, self.model
        return {
            "experiment": "study",
            "kind": plan.kind,
            "study": plan.name,
            "version": __version__,
            "says": self._lead(),
            "simulated": self.simulated,
            **({"notice": NOTICE} if self.simulated else {}),
            "data": str(plan.source.get("data", "")),
            "n": len(self.sifted.ratings),
            "workers": self.sifted.workers,
            "progress": {**vars(self.progress), "complete": self.progress.complete, "says": str(self.progress)},
            "comparable": self.comparable,
            "settings": self.settings,
            "rows": [plain(row) for row in [*self._rows(), *self._modelled(), *self._agreed()]],
            "contrasts": [plain(row) for row in self._contrasts()],
            "model": {
                "name": model.name,
                "converged": model.converged,
                "problem": model.problem,
                "assumes": model.assumes,
                "spreads": plain(model.spreads),
                "contrasts": [plain(row) for row in model.contrasts],
            },
            "sides": self._sides(),
            "left_out": [vars(each) for each in self.sifted.left_out],
            "power": {"power": self.power.share, "says": str(self.power)},
        }

    def save(self, folder: str | Path) -> Path:
        """Writes ``index.html`` with its figures and ``analysis.json`` into a folder; the path of the page."""
        from wherefore.study.sections import sections

        folder, said = made(folder), sections(self)
        write_json(folder / "analysis.json", self.json())
        data = str(self.plan.source.get("data", ""))
        notice = notice_of(data.partition(":")[0] == "scenes", self.comparable)
        title, lead = self.plan.name, self._lead()
        if self.simulated:
            title, notice = f"SIMULATED: {title}", f"{NOTICE} {notice}"
        facts = {"data": data, **{name: _fact(value) for name, value in self.settings.items()}}
        return pages.write(folder, title, lead, said, facts, notice)

    @property
    def settings(self) -> dict[str, Any]:
        """What the numbers depend on."""
        plan, sifted = self.plan, self.sifted
        return {
            "plan": plan.digest,
            "seed": plan.seed,
            "items": len(plan.items),
            "ratings of each": plan.ratings,
            "workers planned": plan.workers,
            "draws": self.scores.crossed.draws,
            "catch trials failed, to be left out": plan.rules.catches_failed,
            "median time, to be left out": f"less than {plan.rules.fastest_ms} ms",
            "workers kept who did not finish": sifted.unfinished,
            "surplus answers left out": sifted.surplus,
            "answers of simulated workers left out": sifted.apart,
        }

    def _lead(self) -> str:
        who = "simulated workers" if self.simulated else "people"
        said = f"{counted(len(self.sifted.ratings), 'answers')} by {counted(self.sifted.workers, who)}."
        return f"{said} {'Complete' if self.progress.complete else 'Not complete'}: {self.progress}."

    def _rows(self) -> list[dict[str, Any]]:
        """The figure of each method, with the interval that takes its ratings for independent beside it."""
        found = []
        for name, figure in self.scores.methods.items():
            naive_low, naive_high = self.scores.naive(name)
            row = {**_said(figure), "paper": self.scores.paper.get(name)}
            row |= {"naive_low": naive_low, "naive_high": naive_high, "design_effect": self.scores.design_effect(name)}
            found.append({"name": name, "measure": self.scores.measure, **row})
        return found

    def _modelled(self) -> list[dict[str, Any]]:
        measure = f"{self.scores.measure}, {self.model.name}"
        rated = {name: figure.n for name, figure in self.scores.methods.items()}
        return [
            {
                "name": row["name"],
                "measure": measure,
                **row,
                "paper": self.scores.paper.get(row["name"]),
                "n": rated[row["name"]],
            }
            for row in self.model.methods
        ]

    def _agreed(self) -> list[dict[str, Any]]:
        found = []
        for name, figure in self.scores.methods.items():
            value, low, high = self.scores.agreement[name]
            row = {"value": value, "low": low, "high": high, "paper": None, "n": figure.n}
            found.append({"name": name, "measure": "agreement (Krippendorff's alpha)", **row})
        return found

    def _contrasts(self) -> list[dict[str, Any]]:
        return [
            {"one": each.one, "other": each.other, **_said(each.gap), "p": each.p, "paper": each.paper}
            for each in self.scores.contrasts
        ]

    def _sides(self) -> dict[str, Any]:
        sides = self.scores.sides
        what = "share of answers on the left" if self.two else "left picture favoured"
        return {"measure": what, **plain({**_said(sides.figure), "p": sides.p})}


def analysed(folder: Path, database: str | None = None) -> Report:
    """What the answers to a study's folder show, or those in the database of a URL. Raises `Error` if none count."""
    from wherefore.study.store import opened

    plan = read(folder)
    store = opened(folder, plan, database, made=True)
    try:
        return report(store.ratings(), plan)
    finally:
        store.close()


def report(ratings: Sequence[Rating], plan: Plan) -> Report:
    """What ratings show of a plan's methods. Raises `Error` where there are none that count."""
    sifted = sift(ratings, plan)
    return Report(plan, sifted, Scores(plan.kind, plan.methods, sifted.ratings), progress(ratings, plan))


def _said(figure: Estimate) -> dict[str, Any]:
    return {"value": figure.value, "low": figure.low, "high": figure.high, "n": figure.n}


def _fact(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and value > 9999 else str(value)
