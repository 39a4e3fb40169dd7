"""Overview: a page for the researcher, with what is asked of how many and some items with their answers."""

from __future__ import annotations

import io
from collections.abc import Iterator

from PIL import Image

from wherefore.experiments.result import notice_of
from wherefore.pages import Command, Commands, Figure, Figures, Section, Table
from wherefore.pages.building import rendered
from wherefore.study import power
from wherefore.study.plan import Item, Plan
from wherefore.study.rendering import SIDE
from wherefore.study.stimuli import NOISE, Stimuli
from wherefore.study.texts import SECONDS, duration

SHOWN = 4  # pictures
NOT_FOR_THEM = (
    "For the researcher alone: it holds the answers, and photographs that participants must not see. `wherefore study "
    "serve` does not show it; do not put it where they find it."
)
DRAWN = (
    "Grey is 0, brighter and darker are plus and minus, in each colour by itself. All three channels of a map are "
    "scaled together, up to what 99.5 % of its values stay below; one rule for all methods, as the paper does not say "
    "how it drew them. The photograph on the left is shown here only."
)
READ = (
    "Change it under `texts` in `study.json` before the first answer, and fill in `contact`. An empty line begins a "
    "paragraph."
)
CATCHES = {
    "class-discrimination": "The catch trials are plain photographs of one category: whoever looks cannot miss it.",
    "trust": "In catch trials one of the pictures is a map of the better network, the other the same with its pixels "
    "shuffled: whatever leans to the first is right.",
}  # fmt: skip


def overview(made: Stimuli) -> bytes:
    """The page ``how.html``, which holds its pictures itself."""
    plan = made.plan
    source = plan.source
    notice = notice_of(source["data"].partition(":")[0] == "scenes", source["comparable"])
    lead = f"{_capital(plan.name)}. {NOT_FOR_THEM}"
    sections = [
        Section("What is asked of how many", _numbers(plan), str(power.of_plan(plan)), *_accuracy(plan), *_empty(plan)),
        Section("Some of the items", DRAWN, *_rows(made)),
        Section("Catch trials", CATCHES[plan.kind], Figures([_catch(made, item) for item in plan.catches], 2)),
        Section("What people read", READ, *_texts(plan)),
        Section("What comes next", _commands(plan)),
    ]
    facts = {
        "data": f"{source['data']}, {source['split']}",
        **{f"weights of {name}": sha for name, sha in source["networks"].items()},
        **{f"layers of {name}": ", ".join(map(": ".join, by.items())) for name, by in source["layers"].items()},
        "seed": str(plan.seed),
    }
    return rendered("A study, before it begins", lead, sections, facts, notice)


def _numbers(plan: Plan) -> Table:
    """How much is asked of whom."""
    count, ratings = len(plan.items), len(plan.items) * plan.ratings
    methods, trials = len(plan.methods), plan.trials + len(plan.catches)
    one = "a picture with one of its categories" if plan.kind == "class-discrimination" else "two networks' maps"
    rows = [
        ("pictures", str(len({item.picture for item in plan.items}))),
        ("items", f"{count}: {count // methods} x {methods} methods; each is {one}"),
        ("methods", ", ".join(plan.methods)),
        ("ratings", f"{ratings:,}: {plan.ratings} of each item, by {plan.ratings} different people"),
        ("people", str(plan.workers)),
        ("trials of each", f"{trials}: {plan.trials} items at most and {len(plan.catches)} catch trials, in all about "
         f"{duration(plan.kind, trials)} minutes (at {SECONDS[plan.kind]} seconds for a trial, which is a guess)"),
        ("left out afterwards", f"who fails {plan.rules.catches_failed} catch trials, or answers in less than "
         f"{plan.rules.fastest_ms} ms (median)"),
    ]  # fmt: skip
    return Table(["what", "how many"], rows)


def _accuracy(plan: Plan) -> list[str]:
    """Which network is the better, and how that is known."""
    own = plan.source.get("accuracy")
    if not own:
        return []
    shares = " and ".join(f"{name} {100 * value:.1f} %" for name, value in own.items())
    (better, other), alike = plan.items[0].models, len({*own.values()}) == 1
    known = f"The first class is among the labels: {shares} of {plan.source['pictures']['looked at']} pictures."
    if alike:
        return [f"{known} Neither is better: an answer for the first, {better}, counts as plus all the same."]
    return [f"{known} So {better} is the better one, and an answer for it counts as plus, for {other} as minus."]


def _empty(plan: Plan) -> list[str]:
    """How many maps show nothing."""
    some = [f"{count} by {method}" for method, count in plan.source["empty maps"].items() if count]
    return [f"Maps that are 0 everywhere, and so a grey square: {', '.join(some)}."] if some else []


def _rows(made: Stimuli) -> list[Figures]:
    """The first pictures, each with the photograph and all that is asked of it."""
    plan, found = made.plan, []
    for picture in list(dict.fromkeys(item.picture for item in plan.items))[:SHOWN]:
        items = [item for item in plan.items if item.picture == picture]
        for category in dict.fromkeys(item.category for item in items):
            own = [item for item in items if item.category == category]
            figures = [_photograph(made, picture), *(each for item in own for each in _figures(made, item))]
            found.append(Figures(figures, len(figures), f"{category}, in {picture}"))
    return found


def _photograph(made: Stimuli, picture: str) -> Figure:
    sample = made.samples[picture]
    return Figure(sample.image.convert("RGB").resize((SIDE, SIDE)), "the photograph", ", ".join(sample.labels))


def _figures(made: Stimuli, item: Item) -> list[Figure]:
    """What is shown of an item, with its answer."""
    captions = [f"{item.method}"] if not item.models else [f"{item.method}: {model}" for model in item.models]
    note = f"{item.truth}, not {_other(item)}" if item.truth and not item.models else ""
    return [
        Figure(_opened(made, file), caption, note, f"Map by {caption} of {item.category} in {item.picture}")
        for file, caption in zip(item.files, captions, strict=True)
    ]


def _catch(made: Stimuli, item: Item) -> Figure:
    """A catch trial; of two pictures both, the first on the left."""
    pictures = [_opened(made, file) for file in item.files]
    canvas = Image.new("RGB", (len(pictures) * (SIDE + 16) - 16, SIDE), (255, 255, 255))
    for at, picture in enumerate(pictures):
        canvas.paste(picture, (at * (SIDE + 16), 0))
    if item.method == NOISE:
        return Figure(canvas, f"Both said: {item.category}", f"the first is {item.models[0]}, the second noise")
    return Figure(canvas, item.truth, f"not {_other(item)}", f"A plain photograph of: {item.category}")


def _opened(made: Stimuli, file: str) -> Image.Image:
    return Image.open(io.BytesIO(made.files[file])).convert("RGB")


def _other(item: Item) -> str:
    return ", ".join(option for option in item.options if option != item.truth)


def _texts(plan: Plan) -> Iterator[str]:
    """All texts, paragraph by paragraph, each headed by its name in the plan."""
    for name, text in plan.texts.items():
        head, *others = text.split("\n\n")
        yield f"`{name}` {head}"
        yield from others


def _commands(plan: Plan) -> Commands:
    return Commands(
        [
            Command("wherefore study serve DIR", "Answer some of it yourself, in a browser."),
            Command(
                f"wherefore study simulate DIR --workers {plan.workers}",
                "Have it answered by simulated workers, in a copy of the folder: to see that all is in order.",
            ),
            Command("wherefore study analyze DIR", "What the answers show."),
        ]
    )


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]
