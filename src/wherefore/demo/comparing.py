"""The second half of the story: other heads, other layers, a mistake, all methods at once, and how to go on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import nn

from wherefore.demo.cast import Cast
from wherefore.demo.measures import gap, pointing
from wherefore.demo.networks import classes, indices, names_first
from wherefore.demo.pictures import known_figure, map_figure
from wherefore.demo.telling import POINTING, how_many, points
from wherefore.explainer import explain
from wherefore.pages import Command, Commands, Figure, Figures, Section, Table, Verdict
from wherefore.panels import panel
from wherefore.registry import METHODS
from wherefore.scenes import Scene
from wherefore.types import Model
from wherefore.ways import by_method

RESNET = ("stem", "layer1", "layer2", "layer3")
SPREAD = 25  # scenes, at most, that the layers are measured on: there are ten of them


def generalises(cast: Cast) -> Section:
    """CAM and Grad-CAM on a network whose head allows both: how far they differ."""
    model, scene = cast.network("googlenet"), cast.shown[0]
    ways = {way: explain(model, scene, indices(model, [scene]), method=way.lower()) for way in ("CAM", "Grad-CAM")}
    figures = [map_figure(e, 0, t, scene, f"{way}: {e.targets[0][t]}") for t in (0, 1) for way, e in ways.items()]
    furthest = difference(model, cast.pairs)
    return Section(
        "CAM is a special case",
        "CAM needs a head of average pooling and one linear layer, whose weights it reads. Grad-CAM takes the gradient "
        "in their place, and so explains any head. Where both exist, as on `scenes:googlenet`, the positive part of "
        "CAM and Grad-CAM are one map, but for a constant: the number of places that the pooling averages over.",
        Figures(figures, 4),
        Verdict(
            "Where CAM exists, Grad-CAM is CAM.",
            furthest < 1e-3,
            f"On {cast.count} scenes, both names asked, the maps differ nowhere by more than {100 * furthest:.1g} % of "
            "their maximum.",
        ),
    )  # fmt: skip


def difference(model: Model, scenes: Sequence[Scene]) -> float:
    """The largest difference of CAM's positive part and Grad-CAM, in shares of the map's maximum."""
    pictures, asked = list(scenes), indices(model, scenes)
    cam, grad = (explain(model, pictures, asked, method=m) for m in ("cam", "grad-cam"))
    pairs = [(c.relu(), g) for b in range(len(scenes)) for c, g in zip(cam.maps[b], grad.maps[b], strict=True)]
    lit = [(c / c.max(), g / g.max()) for c, g in pairs if c.max() > 0 and g.max() > 0]
    return max((float((c - g).abs().max()) for c, g in lit), default=0.0)


def layers(cast: Cast) -> Section:
    """Grad-CAM at every convolution of vgg and behind every stage of resnet, and how often each points right."""
    scene, measured = cast.shown[0], cast.pairs[:SPREAD]
    sweeps = {"vgg": rectified(cast.vgg), "resnet": RESNET}
    found = {
        (n, name): pointing(cast.network(n), measured, layer=name) for n, names in sweeps.items() for name in names
    }
    deepest = {network: (found[network, names[0]], found[network, names[-1]]) for network, names in sweeps.items()}
    gains = {network: gap(last.named, first.named) for network, (first, last) in deepest.items()}
    return Section(
        "Why the last convolutional layer",
        "Early layers see edges and colours at a fine grid, late ones see things at a coarse grid. The last layer that "
        "still has a grid is the compromise; `wherefore` finds it by itself. Here is Grad-CAM at every layer; where a "
        "map looks empty, a few pixels hold all of it.",
        *[_sweep(cast.network(network), scene, names) for network, names in sweeps.items()],
        Table(
            ("layer", *POINTING),
            [(f"`{network}` {name}", *p.shares) for (network, name), p in found.items()],
            how_many(len(measured)),
            marked=[i for i, (network, name) in enumerate(found) if name == sweeps[network][-1]],
        ),
        Verdict(
            "The last convolutional layer points better than the first.",
            all(gain.low > 0 for gain in gains.values()),
            "Peaks on the named object: "
            + ", ".join(f"{network} {points(gain)}" for network, gain in gains.items())
            + ".",
        ),
    )


def rectified(model: Model) -> list[str]:
    """The ReLUs behind the convolutions of a VGG, the first first."""
    return [name for name, module in model.net.named_modules() if name.startswith("features.") and _is_relu(module)]


def _is_relu(module: nn.Module) -> bool:
    return isinstance(module, nn.ReLU)


def _sweep(model: Model, scene: Scene, names: Sequence[str]) -> Figures:
    """Grad-CAM for the first name of a scene at each of some layers."""
    asked, figures = indices(model, [scene]), []
    for name in names:
        e = explain(model, scene, [asked[0][:1]], layer=name)
        figure = map_figure(e, 0, 0, scene, name)
        size = "\N{MULTIPLICATION SIGN}".join(str(side) for side in e.settings["grid"])
        figures.append(replace(figure, note=f"{size}; {figure.note.split('; ')[-1]}"))
    return Figures(figures, 6 if len(names) > 4 else 4, f"{model.name}: where is the {scene.labels[0]}?")


def mistake(cast: Cast) -> Section:
    """The first picture that the network gets wrong, with the maps of what it says and of what it misses."""
    title, scene = "A mistake, explained", cast.mistaken
    if scene is None:
        return Section(title, "The network named every scene right that was tried.")
    first = [name for name, _ in names_first(cast.vgg, scene.image, len(classes(cast.vgg)))]
    said = next(name for name in first if name not in scene.labels)
    missed = max(scene.labels, key=first.index)
    e = explain(cast.vgg, scene, [[classes(cast.vgg).index(name) for name in (said, missed)]])
    return Section(
        title,
        f"Number {scene.world.number} is the first test scene, of any number of objects, that the network does not "
        f"name completely: {said}, which is not there, comes before {missed}, which is. The maps show where "
        "it found evidence for the one, and what it saw of the other all the same.",
        Figures(
            [
                known_figure(scene),
                map_figure(e, 0, 0, scene, f"Why {said}?"),
                map_figure(e, 0, 1, scene, f"And the {missed}?"),
            ]
        ),
    )


def everything(cast: Cast) -> Section:
    """One picture by every method that this network allows."""
    scene = cast.shown[0]
    explainers = by_method(cast.vgg, ["all"])
    subject = next(iter(explainers.values())).reader.read(scene)[0].picture
    shown = panel(explainers, subject, indices(cast.vgg, [scene])[0][:1])
    maps = [map_figure(e, 0, 0, scene, name, e.evidence_text(0, 0)) for name, e in shown.explanations.items()]
    not_here = "; ".join(f"{name}: {why}" for name, why in shown.failures.items())
    return Section(
        "All methods on one picture",
        f"{len(maps)} of the {len(METHODS)} methods of `wherefore methods` explain {scene.labels[0]} here. Every map "
        "is drawn up to its own maximum, the values below are raw.",
        Figures(
            [Figure(scene.image, "the scene", scene.name), *maps], 6, words=f"Not here. {not_here}" if not_here else ""
        ),
    )


def onward(cast: Cast) -> Section:
    """What to type next."""
    return Section("How to go on", Commands(COMMANDS))


COMMANDS = (
    Command("wherefore explain scenes:17 --model scenes:vgg --truth", "Any scene, with what is known of it."),
    Command("wherefore explain photo.jpg --target top5", "A photograph of your own, by a ResNet-50 of torchvision's."),
    Command("wherefore caption scenes:17 --out out", "A caption, with a map for each of its words."),
    Command('wherefore ask scenes:17 "is there a dog?" --out out', "An answer and others, each with its map."),
    Command("wherefore explain photo.jpg --method all", "Every method on one page."),
    Command("wherefore layers --model resnet50", "Every layer that can be explained, and which one is the default."),
    Command("wherefore methods guided-grad-cam", "Formula, source, cost and options of a method."),
    Command("wherefore train vgg", "The network of this page, from scratch."),
)
