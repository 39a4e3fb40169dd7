"""Networks that are wrong, fooled or biased: figures 6, 7 and 8."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from typing import Any

import torch
from PIL import Image

from wherefore.batch.maps import NOWHERE
from wherefore.datasets.matching import kin
from wherefore.diagnosis.attacks import BOUNDS, STEPS, SURE, attack, fed, probabilities, scores
from wherefore.diagnosis.failures import TOP
from wherefore.diagnosis.fooling import UNLIKELY, absent
from wherefore.errors import Error
from wherefore.explanation import Explanation
from wherefore.figures.choice import SOUGHT, Choice, Taken
from wherefore.figures.classes import methods, several
from wherefore.figures.sheets import ACROSS, SIZE, Drawing, Sheet, laid, mapped, photo
from wherefore.metrics.energy import shares
from wherefore.panels import panel
from wherefore.registry import FIGURES
from wherefore.subjects import Picture
from wherefore.tiling import Block, tile
from wherefore.types import Model

TAKES = ("images", "models", "weights", "targets", "data")
NOTES = 2  # lines of a note
LISTS = {True: f"the true class is among the first {TOP}", False: f"the true class is not among the first {TOP}"}


# -------------------------------------------------------------------------------------------- failures


@FIGURES(
    "6", title="where the network is wrong", section="6.1", networks=("scenes:alexnet",), data="single", count=4,
    seconds=4, takes=TAKES, asked=1,
)  # fmt: skip
def figure_6(choice: Choice) -> Drawing:
    """Pictures that a network takes for something else: what spoke for its answer, and what for the true class."""
    model = choice.network
    sheets = [_failure(choice, *each) for each in _failures(choice, model)]
    if not sheets:
        raise Error(f"{model.name} is right on every picture that was looked at: take others, or another seed.")
    words = (
        f"The first mistakes in the order of the seed: half of them pictures whose true class is among the first {TOP} "
        f"answers, half of them others, as far as there are some among {SOUGHT} pictures for each that is shown. Of a "
        "picture of your own `--target` is the true class."
    )
    return Drawing(sheets, [words])


def _failures(choice: Choice, model: Model) -> list[tuple[Taken, int, int]]:
    """Pictures, the class that is said and the true one; of each list of the paper as many as of the other."""
    if choice.settings.images:
        return [(taken, *_asked(choice, model, taken)) for taken in choice.pictures()]
    if choice.settings.targets:
        raise Error("the data say what is true of their pictures: leave --target out, or name a picture for it.")
    found: dict[bool, list[tuple[Taken, int, int]]] = {True: [], False: []}
    for taken in choice.order(lambda sample: any(label in choice.matched(model) for label in sample.labels)):
        there = [c for numbers in choice.outputs(model, taken).values() for c in numbers]
        values = choice.scores(model, taken)
        true, said = max(there, key=lambda c: float(values[c])), int(values.argmax())
        if said not in there:
            found[int((values > values[true]).sum()) < TOP].append((taken, said, true))
        if min(map(len, found.values())) >= choice.count // 2 and sum(map(len, found.values())) >= choice.count:
            break
    far = found[False][: max(choice.count // 2, choice.count - len(found[True]))]
    every = [*found[True][: choice.count - len(far)], *far]
    choice.taken = [taken.picture.name for taken, *_ in every]
    return every


def _asked(choice: Choice, model: Model, taken: Taken) -> tuple[int, int]:
    """The class that is said of a named picture, and the true one."""
    values, labels = choice.scores(model, taken), list(choice.outputs(model, taken).values())
    if not choice.settings.targets and not labels:
        raise Error(f"what is {taken.picture.name} in truth? Give its class with --target.")
    if choice.settings.targets:
        e = choice.why(model).on([choice.why(model).prepare(taken.picture)], choice.settings.targets[0])
        true = int(e.classes[0, 0])
    else:
        true = max((c for numbers in labels for c in numbers), key=lambda c: float(values[c]))
    return int(values.argmax()), true


def _failure(choice: Choice, taken: Taken, said: int, true: int) -> Sheet:
    """A block for the answer, and one for the true class."""
    model = choice.network
    found = panel(methods(choice, model, ("grad-cam", "guided-grad-cam")), taken.picture, [said, true])
    heads = [f"It says: {found.first.targets[0][0]}", f"In truth: {found.first.targets[0][-1]}"]
    blocks = [replace(block, heading=head) for block, head in zip(found.blocks(), heads, strict=True)]
    if said == true:
        blocks = [replace(blocks[0], heading=f"{heads[0]}, and rightly")]
    values = choice.scores(model, taken)
    place = int((values > values[true]).sum())
    words = f"Here {LISTS[place < TOP]} answers: it is number {place + 1} of {len(values)}."
    return Sheet(taken.picture.title, laid(blocks), found.ways, taken.sample, words, {"place": place + 1})


# -------------------------------------------------------------------------------------------- attacks


@FIGURES(
    "7", title="a picture that fools the network", section="6.2", networks=("scenes:vgg",), data="pair", count=1,
    seconds=1, takes=TAKES,
)  # fmt: skip
def figure_7(choice: Choice) -> Drawing:
    """The picture, the same after an attack, and of the latter the maps of what is there and of what it now sees."""
    sheets = [_fooled(choice, taken) for taken in several(choice)]
    words = (
        f"The attack is PGD with a target, a class to which the network gives the picture less than {UNLIKELY:g}, "
        f"drawn by the seed; steps of 1 of 255, up to {STEPS} within each bound of {', '.join(map(str, BOUNDS))}, "
        f"until its probability is above {SURE}. What was attacked is written as 8 bits and read again before it is "
        "judged. The paper does not name its attack."
    )
    return Drawing(sheets, [words])


def _fooled(choice: Choice, taken: Taken) -> Sheet:
    """The six panels of a picture."""
    model = choice.network
    there = choice.targets(model, taken, 2)
    if choice.settings.targets:
        own = choice.why(model)
        there = own.on([own.prepare(taken.picture)], there).classes[0].tolist()
    clean = fed(model, taken.picture.image)
    before = probabilities(model, scores(model, [clean]))[0]
    target = absent(before, _kin(choice, model, taken, there), random.Random(f"{choice.settings.seed}"))
    if target is None:
        raise Error(f"{model.name} has no class that is not in the picture: take a network of more classes.")
    [found] = attack(model, [clean], [target])
    picture = _as_file(found.picture)
    values = scores(model, [picture])
    after = probabilities(model, values)[0]
    known = {target, *_kin(choice, model, taken, there)}
    sees = [target, *[c for c in values[0].argsort(descending=True).tolist() if c not in known][:1]]
    why, larger = choice.why(model), -(-ACROSS // max(clean.size))  # as much as its pixels bear
    shown, whole = (Picture(taken.picture.name, each, NOWHERE, enlarged=larger) for each in (picture, clean))
    e = why.on([why.prepare(shown)], [*there, *sees])
    names, asked = e.targets[0], [*there, target]
    bound = f"(b) changed by up to {found.bound or max(BOUNDS)} of 255"
    tiles = [
        photo(whole, "(a) the picture", _told(names, asked, before), notes=NOTES),
        photo(shown, bound, _told(names, asked, after), notes=NOTES),
    ]
    roles = [*["in the picture"] * len(there), "made to see it", "its next answer"]
    for t, (letter, role) in enumerate(zip("cdefghijklm", roles[: len(names)], strict=False)):
        tiles.append(tile(mapped(e, t), f"({letter}) {names[t]}", f"{role}, {_likely(e, t)}", SIZE, notes=NOTES))
    likely = float(after[target])
    done = "fooled" if found.bound and likely > SURE else "not fooled"
    heading = (
        f"{taken.picture.title}, {done}: {names[len(there)]} has p {likely:.5f}, before {float(before[target]):.5f}"
    )
    detail = f"{model.name}, {e.method}, {e.layer}; (c) and so on are maps of the attacked picture (b)"
    blocks = [Block(heading, detail, tiles)]
    facts = {
        "fooled": done == "fooled",
        "bound": found.bound,
        "steps": found.steps,
        "before": {names[i]: float(before[c]) for i, c in enumerate([*there, *sees])},
        "after": {names[i]: float(after[c]) for i, c in enumerate([*there, *sees])},
    }
    return Sheet(taken.picture.title, laid(blocks, min(3, len(tiles))), {"Grad-CAM": e}, None, "", facts)


def _kin(choice: Choice, model: Model, taken: Taken, there: Sequence[int]) -> set[int]:
    """All classes that the labels of a picture mean, and those of one kind with them."""
    labels = (c for numbers in choice.outputs(model, taken).values() for c in numbers)
    return kin([*labels, *there], model.classes or ())


def _as_file(picture: Image.Image) -> Image.Image:
    """The picture as it is read from a file of 8 bits."""
    content = BytesIO()
    picture.save(content, "PNG")
    return Image.open(content).convert("RGB")


def _likely(e: Explanation, target: int) -> str:
    return f"score {float(e.scores[0, target]):.2f}, p {float(e.probabilities[0, target]):.3f}"


def _told(names: Sequence[str], classes: Sequence[int], likely: torch.Tensor) -> str:
    return ", ".join(f"{name} {float(likely[c]):.3f}" for name, c in zip(names, classes, strict=False))


# -------------------------------------------------------------------------------------------- bias


@FIGURES(
    "8", title="a biased network, and a balanced one", section="6.3", data="people", count=2, seconds=1, least=2,
    networks=("scenes:people-biased", "scenes:people-balanced"), takes=TAKES, asked=1,
)  # fmt: skip
def figure_8(choice: Choice) -> Drawing:
    """Where two networks look for the same answer, of which one was shown a biased choice of pictures."""
    biased, balanced = choice.networks
    sheets = [_looks(choice, *each) for each in _told_apart(choice, biased, balanced)]
    words = (
        "As in the paper: first pictures of which both networks are right, then pictures of which the first alone is "
        "wrong; of each kind the first in the order of the seed. The second kind is rare, and shows what was looked "
        "for. Drawn people stand in for photographs that are not public; their hair says nothing of anybody's gender."
    )
    return Drawing(sheets, [words] if choice.on_scenes else [words.split(" Drawn people")[0]])


def _told_apart(choice: Choice, *models: Model) -> list[tuple[Taken, str]]:
    """Pictures that both networks know, and pictures that the first alone gets wrong; or those that were named."""
    if choice.settings.images:
        return [(taken, "") for taken in choice.pictures()]
    found: dict[str, list[Taken]] = {"both are right": [], "the first is wrong, the second right": []}
    kinds, each = list(found), choice.count
    room = dict(zip(kinds, (each - each // 2, each // 2), strict=True))
    for taken in choice.order():
        right = [_is_right(choice, model, taken) for model in models]
        kind = kinds[0] if all(right) else kinds[1] if right == [False, True] else ""
        if kind and len(found[kind]) < room[kind]:
            found[kind].append(taken)
        if all(len(found[kind]) == room[kind] for kind in kinds):
            break
    every = [(taken, kind) for kind, some in found.items() for taken in some]
    if not every:
        raise Error(f"no picture of {choice.data.spec} shows what figure 8 shows: name some, or take another seed.")
    choice.taken = [taken.picture.name for taken, _ in every]
    return every


def _is_right(choice: Choice, model: Model, taken: Taken) -> bool:
    there = {c for numbers in choice.outputs(model, taken).values() for c in numbers}
    return int(choice.scores(model, taken).argmax()) in there


def _looks(choice: Choice, taken: Taken, kind: str) -> Sheet:
    """The picture, and what speaks for the answer of each network."""
    ways: dict[str, Explanation | str] = {}
    label = ", ".join(taken.labels)
    tiles = [photo(taken.picture, note=label and f"a {label}", notes=NOTES)]
    for model in choice.networks:
        why = choice.why(model)
        e = why.on([why.prepare(taken.picture)], choice.settings.targets[0] if choice.settings.targets else None)
        name = model.name if model.name not in ways else f"{model.name}, again"
        ways[name] = e
        tiles.append(tile(mapped(e), e.targets[0][0], f"{name}: {_on_parts(e, taken)}", SIZE, notes=NOTES))
    group = f" with {taken.sample.group}" if taken.sample and taken.sample.group else ""
    heading = f"A {label}{group}: {kind}" if kind else taken.picture.title
    scores_ = "; ".join(f"{name} {e.score_text(0, 0)}" for name, e in ways.items() if isinstance(e, Explanation))
    return Sheet(taken.picture.title, laid([Block(heading, scores_, tiles)]), ways, taken.sample, kind, {"kind": kind})


def _on_parts(e: Explanation, taken: Taken) -> str:
    """Which shares of a map lie on the named parts of a picture."""
    parts: Any = taken.sample.parts if taken.sample else {}
    if not parts:
        return e.evidence_text(0, 0)
    found = shares(next(e.placed(0)), dict(parts))
    return ", ".join(f"{name} {100 * value:.0f} %" for name, value in found.items() if value == value) or "no evidence"
