"""Pictures of several classes, and of random ones, by several methods: figures 1, 3, 17, 20 and C."""

from __future__ import annotations

from wherefore.datasets import Sample
from wherefore.explainer import Explainer
from wherefore.figures.choice import Choice, Taken
from wherefore.figures.sheets import ACROSS, SIZE, SPOKEN, Drawing, Sheet, laid, of_panel, photo
from wherefore.panels import Panel, panel
from wherefore.registry import FIGURES
from wherefore.tiling import Block, tile
from wherefore.types import Model

FIVE = ("guided-backprop", "deconvnet", "grad-cam", "guided-grad-cam", "deconv-grad-cam")
FINE = ("guided-backprop", "grad-cam", "guided-grad-cam")
TARGETS = (
    "Classes that are asked for are those that are said to be in the picture, as far as the network has them; else its "
    "first answers. `--target` names others."
)


def methods(choice: Choice, model: Model, names: tuple[str, ...]) -> dict[str, Explainer]:
    """What explains by each of some methods, under their spoken names."""
    return {SPOKEN[name]: choice.why(model, name) for name in names}


def several(choice: Choice) -> list[Taken]:
    """Pictures that are said to show several classes of the network."""

    def fits(sample: Sample) -> bool:
        known = choice.matched(choice.network)
        return sum(label in known for label in sample.labels) > 1

    return choice.pictures(fits, f"show two classes of {choice.network.name}'s")


def labelled(choice: Choice) -> list[Taken]:
    """Pictures that are said to show a class of the network."""
    return choice.pictures(
        lambda sample: any(label in choice.matched(choice.network) for label in sample.labels),
        f"show a class of {choice.network.name}'s",
    )


@FIGURES(
    "1", title="one picture, two classes, several methods", section="1", networks=("scenes:vgg", "scenes:resnet"),
    data="pair", count=1, seconds=2, takes=("images", "models", "weights", "targets", "data"),
)  # fmt: skip
def figure_1(choice: Choice) -> Drawing:
    """Guided backprop, Grad-CAM, Guided Grad-CAM and occlusion for two classes of a picture; Grad-CAM of a ResNet."""
    first, *others = choice.networks
    sheets = []
    for taken in several(choice):
        ways = methods(choice, first, (*FINE, "occlusion"))
        ways |= {f"Grad-CAM, {model.name}": choice.why(model) for model in others}
        found = panel(ways, taken.picture, choice.shared(taken, 2))
        sheets.append(of_panel(found, taken.sample))
    return Drawing(sheets, [TARGETS])


@FIGURES(
    "3", title="what speaks for a class, and what speaks against it", section="3.3", networks=("scenes:vgg",),
    data="pair", count=2, seconds=1, takes=("images", "models", "weights", "targets", "data"),
)  # fmt: skip
def figure_3(choice: Choice) -> Drawing:
    """Counterfactual explanations: regions whose removal would make the network surer of a class."""
    sheets = [_for_and_against(choice, taken) for taken in several(choice)]
    foot = "Both maps of a class are on one scale, up to the higher maximum of the two: a trifle looks like one."
    return Drawing(sheets, [TARGETS], foot)


def _for_and_against(choice: Choice, taken: Taken) -> Sheet:
    """A block for each class: the picture, what speaks for the class and what speaks against it."""
    ways = methods(choice, choice.network, ("grad-cam", "counterfactual"))
    found = panel(ways, taken.picture, choice.targets(choice.network, taken, 2))
    speaks, counters = (found.explanations[SPOKEN[name]] for name in ("grad-cam", "counterfactual"))
    blocks = []
    for t, name in enumerate(speaks.targets[0]):
        top = float(max(speaks.evidence[0, t], counters.evidence[0, t]))
        tiles = [photo(taken.picture)]
        for e, words in ((speaks, f"for {name}"), (counters, f"against {name}")):
            small = e.within(ACROSS)
            heat = [*small.placed(0)][t]
            drawn = small.pictures[0].overlay(heat, top if top > 0 else None, "heat")
            tiles.append(tile(drawn, words, e.evidence_text(0, t), SIZE))
        scale = ("heat", f"{top:.3g}") if top > 0 else None
        blocks.append(Block(name, f"{speaks.score_text(0, t)}, {speaks.model.name}", tiles, scale))
    return Sheet(taken.picture.title, laid(blocks), found.ways, taken.sample)


@FIGURES(
    "17", title="random pictures with the class that is predicted", section="C.1", networks=("scenes:vgg",),
    count=6, seconds=2, takes=("images", "models", "weights", "targets", "data"),
)  # fmt: skip
def figure_17(choice: Choice) -> Drawing:
    """Guided backprop, Grad-CAM and Guided Grad-CAM of pictures drawn by lot, for the network's first answer."""
    model, sheets = choice.network, []
    for taken in choice.pictures():
        asked = list(choice.settings.targets) or choice.scores(model, taken).argsort(descending=True)[:1].tolist()
        found = panel(methods(choice, model, FINE), taken.picture, asked)
        sheets.append(of_panel(found, taken.sample, _right(found, taken)))
    return Drawing(sheets, ["Nobody chose these pictures: the seed did. What is wrong is shown as it is."])


def _right(found: Panel, taken: Taken) -> str:
    """What is in the picture, as far as that is known."""
    asked = ", ".join(found.first.targets[0])
    return f"Asked for {asked}; it is said to show {', '.join(taken.labels)}." if taken.labels else ""


@FIGURES(
    "20", title="Grad-CAM, CAM and c-MWP", section="E", networks=("scenes:vgg", "scenes:vgg-cam"), data="pair",
    count=3, seconds=2, takes=("images", "models", "weights", "targets", "data"),
)  # fmt: skip
def figure_20(choice: Choice) -> Drawing:
    """Grad-CAM and c-MWP of one network, beside CAM of another that has the head which CAM needs."""
    first, last = choice.networks[0], choice.networks[-1]
    ways = methods(choice, first, ("grad-cam",))
    ways |= {"CAM" if last is first else f"CAM, {last.name}": choice.why(last, "cam")}
    ways |= methods(choice, first, ("c-mwp",))
    sheets = [of_panel(panel(ways, taken.picture, choice.shared(taken, 2)), taken.sample) for taken in labelled(choice)]
    words = "In the paper the network is VGG-16, fine-tuned on VOC 2012 (`wherefore finetune vgg16 --data voc:DIR`)."
    return Drawing(sheets, [TARGETS, words])


@FIGURES(
    "C", title="pictures of several categories under five visualisations", section="C", networks=("scenes:vgg",),
    data="pair", count=4, seconds=2, takes=("images", "models", "weights", "targets", "data"),
)  # fmt: skip
def figure_c(choice: Choice) -> Drawing:
    """Guided backprop, deconvolution, Grad-CAM and the two products, for each category of pictures of several."""
    ways = methods(choice, choice.network, FIVE)
    sheets = [
        of_panel(panel(ways, taken.picture, choice.targets(choice.network, taken, 5)), taken.sample)
        for taken in several(choice)
    ]
    return Drawing(sheets, [TARGETS])
