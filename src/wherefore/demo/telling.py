"""The first half of the story: what the network sees, and which methods tell the objects of a picture apart."""

from __future__ import annotations

from itertools import islice
from statistics import fmean

from wherefore.demo.cast import Cast, many
from wherefore.demo.measures import Pointing, covering, gap, pointing, share
from wherefore.demo.networks import indices, names_first
from wherefore.demo.pictures import against_figure, known_figure, map_figure, scene_figure
from wherefore.explainer import explain
from wherefore.explanation import Explanation
from wherefore.metrics import interval
from wherefore.pages import Figure, Figures, Section, Share, Table, Verdict
from wherefore.scenes import Scene

POINTING = ("peak on the named object", "on the other one", "right for both names")


def sights(cast: Cast) -> Section:
    """What scenes are, and what the network calls the things in the first six."""
    figures = []
    for each in islice(many(None), 6):
        said = ", ".join(f"{name} {p:.2f}" for name, p in names_first(cast.vgg, each.image, len(each.labels)))
        figures.append(scene_figure(each, f"{each.name}; the network says {said}"))
    return Section(
        "What the network sees",
        "A scene is drawn by a program from a number, so everything is known about it: what is where, in which colour "
        "and texture, and which pixels show it. `scenes:vgg` is a VGG with a quarter of the channels, trained on other "
        "scenes than these: it has never seen such a thing in such a colour at such a place.",
        Figures(
            figures,
            3,
            "The first six test scenes",
            "The number behind a name is the probability that the network gives it, by itself: a picture may show "
            "several things.",
        ),
    )


def apart(cast: Cast) -> Section:
    """Grad-CAM for one object, then for the other; how often the peak lies where it should."""
    named, other, both = cast.grad_cam.shares
    return Section(
        "One picture, two questions",
        "Grad-CAM asks how much each channel of the last convolutional layer matters to a class (its mean gradient), "
        "and adds the channels up with these weights. What comes out is a coarse map of the evidence for that class. "
        "One forward pass serves all classes.",
        *[Figures([known_figure(each), *_asked(cast, each)]) for each in cast.shown],
        "These are the first test scenes with two objects of which the network puts both names first. The thing that "
        "was asked for is outlined, the ring is the peak of the map. So often it lies where it should:",
        Table(("asked of scenes:vgg", *POINTING), [("Grad-CAM", named, other, both)], how_many(cast.count)),
        Verdict(
            "Grad-CAM tells the two objects of a picture apart.",
            named.low > other.high,
            f"Its peak lies on the named object for {named} of the names, on the other one for {other}.",
        ),
    )  # fmt: skip


def _asked(cast: Cast, scene: Scene) -> list[Figure]:
    """The maps of each name of a scene."""
    e = explain(cast.vgg, scene, indices(cast.vgg, [scene]))
    return [map_figure(e, 0, t, scene, f"Where is the {name}?") for t, name in enumerate(scene.labels)]


def how_many(count: int) -> str:
    """What a table of peaks says of itself."""
    return (
        f"The first {count} test scenes with two objects, both names of each asked; "
        "in parentheses and as a thin line the 95 % interval over scenes (bootstrap; at 0 and 100 % Wilson's). "
        "Just beside is a miss."
    )


def detail(cast: Cast) -> Section:
    """Guided backprop, which hardly tells classes apart, and Guided Grad-CAM, which does."""
    scene = cast.shown[0]
    ways = {m: explain(cast.vgg, scene, indices(cast.vgg, [scene]), method=m) for m in FINE}
    rows = [
        Figures([map_figure(e, 0, t, scene, SPOKEN[m]) for m, e in ways.items()], 3, f"Why {name}?")
        for t, name in enumerate(scene.labels)
    ]
    found = {m: cast.grad_cam if m == "grad-cam" else pointing(cast.vgg, cast.pairs, m) for m in FINE}
    return Section(
        "Fine detail that knows its class",
        "Guided backprop runs back to the pixels and lets only positive signals through. Its edges are crisp, but "
        "similar whatever was asked. Guided Grad-CAM multiplies it with the Grad-CAM map.",
        *rows,
        Table(
            ("method", *POINTING, "likeness"),
            [(SPOKEN[m], *p.shares, number(fmean(p.alike), "+.2f")) for m, p in found.items()],
            how_many(cast.count) + " Of pixel methods the peak is the pixel of largest absolute value. "
            "Likeness is the mean correlation of the maps for the two names: 1 says that they are the same picture.",
        ),
        *_fine_verdicts(**{m.replace("-", "_"): p for m, p in found.items()}),
    )


SPOKEN = {"grad-cam": "Grad-CAM", "guided-backprop": "Guided backprop", "guided-grad-cam": "Guided Grad-CAM"}
FINE = tuple(SPOKEN)


def _fine_verdicts(grad_cam: Pointing, guided_backprop: Pointing, guided_grad_cam: Pointing) -> list[Verdict]:
    strays, better = gap(guided_backprop.other, grad_cam.other), gap(guided_grad_cam.named, guided_backprop.named)
    leans = gap(guided_backprop.named, guided_backprop.other)
    alike = [Share(fmean(p.alike), *interval(p.alike)) for p in (guided_backprop, grad_cam)]
    return [
        Verdict(
            "The maps of guided backprop for two classes are more alike than those of Grad-CAM.",
            alike[0].low > alike[1].high,
            f"Their correlation is {number(alike[0].value, '+.2f')}, of Grad-CAM's {number(alike[1].value, '+.2f')}.",
        ),
        Verdict(
            "Guided backprop strays to the other object more often than Grad-CAM.",
            strays.low > 0,
            f"Its peak lies on the other object for {share(guided_backprop.other)} of the names, Grad-CAM's for "
            f"{share(grad_cam.other)}: {points(strays)}.",
        ),
        Verdict(
            "Guided backprop does not depend on the class at all: it finds both objects equally.",
            leans.low <= 0 <= leans.high,
            f"Its peak lies on the named object for {share(guided_backprop.named)} of the names, on the other one for "
            f"{share(guided_backprop.other)}: {points(leans)}. Were it blind to the class, they would be alike.",
        ),
        Verdict(
            "Guided Grad-CAM points better than guided backprop.",
            better.low > 0,
            f"Its peak lies on the named object for {share(guided_grad_cam.named)} of the names, that of guided "
            f"backprop for {share(guided_backprop.named)}: {points(better)}.",
        ),
    ]


def points(gap: Share) -> str:
    """A difference of shares in words."""
    value, low, high = (number(100 * v, "+.1f") for v in gap)
    return f"{value} points ({low} to {high})"


def number(value: float, form: str) -> str:
    """A number with a proper minus sign; no sign before 0."""
    text = format(value, form)
    return (text if float(text) else text.lstrip("+-")).replace("-", "\N{MINUS SIGN}")


def against(cast: Cast) -> Section:
    """What speaks against a name; what happens to the score when it is covered."""
    speaks, counters, control = covering(cast.vgg, cast.pairs)
    lowers, raises, other = share(speaks.lowers), share(counters.raises), share(counters.other)
    rows: list[tuple[str | Share, ...]] = [
        (name, share(c.named), share(c.other), share(c.lowers), share(c.raises))
        for name, c in (("what speaks for the name", speaks), ("what speaks against it", counters))
    ]
    rows.append(("as much beside the objects", "", "", share(control.lowers), share(control.raises)))
    more = gap(*zip(*zip(counters.raises, control.raises, strict=True), strict=True))
    return Section(
        "What speaks against it",
        "With its weights negated Grad-CAM shows the counterfactual: regions that make the network less sure of a "
        "name. Without them its score should rise, as it falls without what speaks for the name.",
        *[Figures(_for_and_against(cast, each), 4) for each in cast.shown[:2]],
        Table(
            ("", *POINTING[:2], "covering it lowers the score", "raises it"),
            rows,
            how_many(cast.count) + " Covered, that is blurred beyond recognition, is what exceeds half of the map's "
            "maximum; the last row covers what speaks against the name moved to where it hides least of the objects. "
            "Empty maps are left out.",
        ),
        Verdict(
            "What speaks against one object is the other one.",
            other.low > 0.5,
            f"The peak of the counterfactual lies on the other object for {other} of the names.",
        ),
        Verdict(
            "Without what speaks against a name its score rises.",
            raises.low > 0.5 and more.low > 0,
            f"It rises in {raises} of the cases, where as much is covered elsewhere in {share(control.raises)}: "
            f"{points(more)}. It falls in {lowers} of those where what speaks for the name is covered.",
        ),
    )


def _for_and_against(cast: Cast, scene: Scene) -> list[Figure]:
    """For each name of a scene the map of what speaks for it, and that of what speaks against it."""
    e: Explanation = explain(cast.vgg, scene, indices(cast.vgg, [scene]), counter=True)
    return [
        figure
        for t, name in enumerate(scene.labels)
        for figure in (map_figure(e, 0, t, scene, f"for: {name}"), against_figure(e, 0, t, scene))
    ]
