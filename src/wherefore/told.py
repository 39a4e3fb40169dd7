"""What a network says of pictures, and where it looked: a caption word by word, an answer beside other answers.

Section 8 of Selvaraju et al. 2020.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from wherefore import strips
from wherefore.errors import Error
from wherefore.explainer import Explainer
from wherefore.explanation import Explanation
from wherefore.inputs import Input, is_scene
from wherefore.metrics.energy import ratio
from wherefore.saying import Said, answers, captions, spoken
from wherefore.scenes import Region, named
from wherefore.subjects import Picture, Subject
from wherefore.telling import OF_PICTURE, Report, Reporter, plain
from wherefore.types import Target
from wherefore.vocabulary import tokens
from wherefore.worded import Answer, Caption, Word

FINE = "guided-grad-cam"  # what is shown beside a coarse map


# -------------------------------------------------------------------------------------------- captions


@dataclass(frozen=True)
class Captioned:
    """A caption of a picture: the map of the whole, a map for each word, and Guided Grad-CAM of the whole.

    ``steps``: which word of the caption each is, from 0. ``fine`` is a sentence where there is none, and None where
    nobody wants it. ``says``: the network's own caption, which a search with ``beam`` found; ``given``: whether another
    one is explained.
    """

    whole: Explanation
    words: Explanation
    steps: Sequence[int]
    fine: strips.Fine
    says: str
    given: bool
    beam: int

    def page(self, *, colours: str = "heat", scale: str = "common") -> Image.Image:
        """See `wherefore.strips.caption_page`."""
        says = self.says if self.given else None
        return strips.caption_page(self.whole, self.words, self.fine, says, colours=colours, scale=scale)

    def report(self, report: Reporter) -> Report:
        """The ``caption``, if it was ``given``, what the network ``says``; measures: ``whole``, ``targets`` (words)."""
        words, (whole,) = report(self.words), _targets(report, self.whole, "whole", self.fine)
        told = {"caption": whole["name"], "given": self.given, "says": self.says, "whole": whole}
        targets = [{**target, "step": step} for target, step in zip(words["targets"], self.steps, strict=True)]
        return {"size": words["size"], **told, "targets": targets}

    def maps(self) -> dict[str, Tensor]:
        """The words' under ``maps`` ``(T, h, w)``, the caption's under ``whole`` ``(1, h, w)``."""
        return {"maps": self.words.maps[0], "whole": self.whole.maps[0]}

    def origin(self) -> Report:
        """Where the maps come from."""
        return {**self.words.origin(), "beam": self.beam}


def captioned(
    why: Explainer,
    path: str | Path | Subject,
    text: str | None = None,
    words: Sequence[str] = (),
    beam: int = 1,
    fine: bool = True,
) -> Captioned:
    """A caption and its maps: ``text``, or what the network says itself, by a search with ``beam``.

    ``words``: only these of it, else all in their order. Without ``fine`` there is no Guided Grad-CAM. Raises `Error`
    for words that the network does not know or the caption does not have, for a caption that is too long, and for a
    model that says none.
    """
    one = why.prepare(why.open(path))
    own = spoken(why.model, [one], text=text, beam=beam)
    whole, every = why.on([one], Caption(own)), Caption(own).words()
    if not every:
        raise Error(f"{why.model.name} says no words of it, but {own.texts[0]!r}: give a caption.")
    first = {tuple(tokens(each.word)): each for each in reversed(every)}
    asked = [first.get(tuple(tokens(word))) or Word(word, own) for word in words] or every
    says = own.texts[0] if text is None else captions(why.model, [one], beam=beam)[0]
    maps, finer = why.on([one], asked), _fine(why, one, [Caption(own)]) if fine else None
    return Captioned(whole, maps, [word.step or 0 for word in asked], finer, says, text is not None, beam)


@dataclass(frozen=True)
class Listed:
    """Several captions of a picture, or of its regions, a map for each, and what the network ``says`` itself."""

    captions: Explanation
    says: str
    beam: int

    def page(self, *, colours: str = "heat", scale: str = "common") -> Image.Image:
        """See `wherefore.strips.list_page`."""
        return strips.list_page(self.captions, self.says, colours=colours, scale=scale)

    def report(self, report: Reporter) -> Report:
        """What the network ``says``, and measures of the captions, which are ``given``, as ``targets``.

        Of a region the box that it is about is ``asked``, and ``ratio`` is how many times higher its map is inside.
        """
        found = report(self.captions)
        return {"size": found["size"], "given": True, "says": self.says, "targets": found["targets"]}

    def maps(self) -> dict[str, Tensor]:
        """The captions' under ``maps`` ``(T, h, w)``."""
        return {"maps": self.captions.maps[0]}

    def origin(self) -> Report:
        """Where the maps come from."""
        return {**self.captions.origin(), "beam": self.beam}


def listed(
    why: Explainer,
    path: str | Path | Subject,
    texts: Sequence[str] = (),
    beam: int = 1,
    regions: Sequence[Region] = (),
) -> Listed:
    """Captions of a picture and their maps: ``texts``, or those of ``regions``, each with its box; else of a scene's.

    Raises `Error` as `captioned` does, and for a picture whose regions have no captions.
    """
    if not texts and not regions:
        if isinstance(path, Subject) or not is_scene(path):
            name = path.name if isinstance(path, Subject) else path
            raise Error(f"{name} comes without captions of its regions: a scene has them (scenes:17).")
        regions = named(str(path)).regions
    one = why.prepare(why.open(path))
    found = why.on([one], [Caption(text) for text in texts or [region.caption for region in regions]])
    says = captions(why.model, one.tensor[None], beam=beam)[0]
    return Listed(found if texts else _boxed(found, [region.box for region in regions]), says, beam)


def _boxed(e: Explanation, boxes: Sequence[tuple[int, int, int, int]]) -> Explanation:
    """The maps with the boxes, in pixels, inclusive, that their targets are about."""
    picture = e.pictures[0]
    assert isinstance(picture, Picture)
    x0, y0, x1, y1 = picture.region
    start, size = torch.tensor([x0, y0] * 2), torch.tensor([x1 - x0, y1 - y0] * 2)
    ends = torch.tensor(boxes) + torch.tensor([0, 0, 1, 1])
    ratios = torch.tensor([[ratio(heat, box) for heat, box in zip(e.placed(0), boxes, strict=True)]])
    return replace(e, marks=[[*((ends - start) / size)]], measures={"ratio": ratios})


# -------------------------------------------------------------------------------------------- answers


@dataclass(frozen=True)
class Answered:
    """What a network answers, the best first, and of answers the maps and Guided Grad-CAM, or why there is none."""

    question: str
    said: Sequence[Said]
    answers: Explanation
    fine: strips.Fine

    def page(self, *, colours: str = "heat", scale: str = "common") -> Image.Image:
        """See `wherefore.strips.answer_page`."""
        says = f"it {self.says}"
        return strips.answer_page(self.question, says, self.answers, self.fine, colours=colours, scale=scale)

    @property
    def says(self) -> str:
        """The network's own answer, in words."""
        return f"says {self.said[0].text}, p {self.said[0].probability:.3f}"

    def report(self, report: Reporter) -> Report:
        """The ``question``, the network's own ``answer`` and how likely it is, the answers' measures as ``targets``."""
        targets, own = _targets(report, self.answers, "", self.fine), self.said[0]
        told = {"question": self.question, "answer": own.text, "probability": own.probability}
        return {"size": [*self.answers.pictures[0].size], **told, "targets": targets}

    def maps(self) -> dict[str, Tensor]:
        """The answers' under ``maps`` ``(T, h, w)``."""
        return {"maps": self.answers.maps[0]}

    def origin(self) -> Report:
        """Where the maps come from."""
        return self.answers.origin()


def answered(
    why: Explainer,
    path: str | Path | Subject,
    question: str,
    wanted: Sequence[str] = (),
    most: int = 5,
    fine: bool = True,
) -> Answered:
    """The answer to a question about a picture, and maps: of the answers ``wanted``, else of the ``most`` likeliest.

    Without ``fine`` there is no Guided Grad-CAM. Raises `Error` for a question without words or with unknown ones, for
    an answer that the network does not know, and for a model that answers no questions.
    """
    one = why.prepare(why.open(path))
    said = answers(why.model, one.tensor[None], question, most=most)[0]
    asked = [Answer(answer) for answer in wanted or [each.text for each in said]]
    found = why.on([one], asked, question)
    return Answered(question, said, found, _fine(why, one, asked, question) if fine else None)


@dataclass(frozen=True)
class Compared:
    """A question answered by several networks, or explained at several layers: by name, or why that cannot be."""

    question: str
    ways: Mapping[str, Answered | str]

    def page(self, *, colours: str = "heat", scale: str = "common") -> Image.Image:
        """See `wherefore.strips.column_page`."""
        shown = {n: each if isinstance(each, str) else each.answers for n, each in self.ways.items()}
        fines = {n: None if isinstance(each, str) else each.fine for n, each in self.ways.items()}
        return strips.column_page(self.question, self._says(), shown, fines, colours=colours, scale=scale)

    def _says(self) -> str:
        """What each says itself, in words, where another answer is explained first."""
        if all(each.said[0].text == each.answers.targets[0][0] for each in self.found.values()):
            return ""
        says = {f"{name} {each.says}": f"it {each.says}" for name, each in self.found.items()}
        return ", ".join(says if len({*says.values()}) > 1 else {*says.values()})

    @property
    def found(self) -> dict[str, Answered]:
        """What could be answered."""
        return {name: each for name, each in self.ways.items() if isinstance(each, Answered)}

    def report(self, report: Reporter) -> Report:
        """The ``question``, and as ``runs`` the ``answer`` and ``targets`` of each, or its ``error``."""
        runs = []
        for name, each in self.ways.items():
            if isinstance(each, str):
                runs.append({"name": name, "error": each})
                continue
            own = replace(each, fine=None).report(plain)  # whose files nobody wants
            told = {key: own[key] for key in ("answer", "probability", "targets")}
            runs.append({"name": name, **self._own(each), **told})
        size = next(iter(self.found.values())).answers.pictures[0].size
        return {"size": list(size), "question": self.question, "runs": runs}

    def _own(self, each: Answered) -> Report:
        return {key: value for key, value in each.origin().items() if key not in {*self.origin(), *OF_PICTURE}}

    def maps(self) -> dict[str, Tensor]:
        """The answers' ``(T, h, w)`` under the name of each."""
        return {name: each.answers.maps[0] for name, each in self.found.items()}

    def origin(self) -> Report:
        """What all have in common of where their maps come from."""
        first, *others = [each.origin() for each in self.found.values()]
        return {k: v for k, v in first.items() if all(other.get(k) == v for other in others)}


def compared(
    ways: Mapping[str, Explainer],
    path: str | Path | Subject,
    question: str,
    wanted: Sequence[str] = (),
    most: int = 1,
    fine: bool = True,
) -> Compared:
    """What `answered` says by each of several explainers; an `Error` where none of them can."""
    found: dict[str, Answered | str] = {}
    for name, why in ways.items():
        try:
            found[name] = answered(why, path, question, wanted, most, fine)
        except Error as error:
            found[name] = str(error)
    if all(isinstance(each, str) for each in found.values()):
        raise Error(" ".join(dict.fromkeys(map(str, found.values()))))
    return Compared(question, found)


def _targets(report: Reporter, e: Explanation, kind: str, fine: strips.Fine) -> list[Report]:
    """The measures of targets; the picture of Guided Grad-CAM of each, where it is written, as ``fine`` among files."""
    targets: list[Report] = report(e, kind)["targets"]
    if isinstance(fine, Explanation):
        for target, finer in zip(targets, report(fine, "fine")["targets"], strict=True):
            target["files"] |= {"fine": finer["files"]["overlay"]} if finer["files"] else {}
    return targets


def _fine(why: Explainer, one: Input, targets: Sequence[Target], question: str | None = None) -> strips.Fine:
    """Guided Grad-CAM of targets, or why there is none; None where the maps are that already."""
    if why.method == FINE:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that tanh and sigmoid keep their gradient: so they do in the paper
            finer = Explainer(why.model, FINE, why.layer if why.at == "layer" else None, fit=why.fit)
            return finer.on([one], targets, question)
    except Error as error:
        return str(error)
