"""The networks with words at the size of their papers: ``paper:neuraltalk2``. `wherefore train` makes their weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from wherefore.errors import Error
from wherefore.imaging import Preprocess
from wherefore.models import answering, captioning
from wherefore.models.caffe import MEAN
from wherefore.models.zoo import Names, Weights, file_sha256, load_strictly, read_state, told
from wherefore.preparing import IMAGENET_MEAN, IMAGENET_STD
from wherefore.registry import MODELS, unknown
from wherefore.types import Model
from wherefore.vocabulary import END, Vocabulary


class Network(NamedTuple):
    """How a network is built of words (and a number of answers), its CNN, its input, and what is explained."""

    build: Callable[..., nn.Module]
    cnn: str
    preprocess: Preprocess
    layer: str
    asks: bool = False


def _bgr(mean: tuple[float, ...] = MEAN, bgr: bool = True) -> dict[str, Any]:
    """What networks of Caffe's see: 0..255, less the mean colour."""
    return {"mean": tuple(value / 255 for value in mean), "std": (1 / 255,) * 3, "bgr": bgr}


def _squashed(side: int, cnn: str) -> Preprocess:
    """The whole picture; VGG as Caffe has it, the other CNNs as torchvision does."""
    family = _bgr() if cnn in CAFFE else {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    return Preprocess(resize=(side, side), crop=side, **family)


CAFFE = ("vgg16", "vgg19")  # CNNs whose weights the papers took from Caffe
RECTIFIED = {
    "alexnet": "features.11", "vgg16": "features.29", "vgg19": "features.35", "resnet152": "layer4",
    "resnet200": "relu5", "inception_v3": "Mixed_7c",
}  # fmt: skip


def _answerer(build: Callable[..., nn.Module], cnn: str, side: int) -> Network:
    return Network(partial(build, cnn=cnn), cnn, _squashed(side, cnn), f"cnn.{RECTIFIED[cnn]}", asks=True)


NETWORKS = {
    "neuraltalk2": Network(  # the first convolution of Caffe's VGG is turned to RGB, which the pictures come in
        captioning.neuraltalk2, "vgg16", Preprocess((256, 256), 224, **_bgr(MEAN[::-1], bgr=False)), "cnn.features.29"
    ),
    "show-and-tell": Network(
        captioning.show_and_tell, "inception_v3", Preprocess((299, 299), 299, (0.5,) * 3, (0.5,) * 3), "cnn.Mixed_7c"
    ),
    "lu2015": _answerer(answering.lu2015, "vgg19", 224),
    **{f"lu2015-{cnn}": _answerer(answering.lu2015, cnn, 224) for cnn in ("vgg16", "alexnet", "resnet152")},
    "coattention": _answerer(answering.coattention, "resnet200", 448),
    **{f"coattention-{cnn}": _answerer(answering.coattention, cnn, 448) for cnn in ("resnet152", "vgg19")},
}
# What a network without weights, for looking at its layers, reads and says.
WORDS, ANSWERS = (END, *"how many are there".split()), ("yes", "no")


@MODELS("paper", names="paper:neuraltalk2, show-and-tell, lu2015, coattention ... at full size; weights from a file")
def paper_model(name: str, weights: Weights, classes: Names) -> Model:
    """The captioners and answerers of the papers at full size, with the weights that `wherefore train` writes."""
    network = known(name)
    if weights == "default":
        what = "vqa:DIR" if network.asks else "coco:DIR"
        raise Error(
            f"paper:{name} comes without weights: `wherefore train {name} --data {what}` makes a file of them, to be "
            "given with weights= (--weights FILE)."
        )
    facts = told(weights) if weights else _made_up(network)
    if "vocabulary" not in facts:
        raise Error(f"{weights} does not say which words its network knows: `wherefore train {name}` writes it so.")
    vocabulary = Vocabulary(tuple(facts["vocabulary"]), facts["longest"], f"paper:{name}")
    if classes is not None and [*classes] != [*facts["classes"]]:
        raise Error(f"the answers of paper:{name} are in its weights: leave classes= out.")
    net, sha256 = built(network, vocabulary, len(facts["classes"])), None
    if weights is not None:
        load_strictly(net, read_state(weights), weights, f"paper:{name}")
        sha256 = file_sha256(Path(weights))
    return Model(
        net.eval(),
        facts["classes"] or None,
        network.preprocess,
        network.layer,
        f"paper:{name}",
        sha256,
        question=partial(answering.read, vocabulary) if network.asks else None,
    )


def _made_up(network: Network) -> dict[str, Any]:
    return {"vocabulary": WORDS, "longest": 16, "classes": ANSWERS if network.asks else ()}


def built(network: Network, vocabulary: Vocabulary, answers: int) -> nn.Module:
    """The network with random weights; one that asks nothing has no answers."""
    return network.build(vocabulary, answers) if network.asks else network.build(vocabulary)


def paper_names() -> list[str]:
    """The names of the networks at full size."""
    return list(NETWORKS)


def known(name: str) -> Network:
    """The network of that name; an `Error` that lists the names where there is none."""
    if name not in NETWORKS:
        raise Error(unknown("model", f"paper:{name}", [f"paper:{each}" for each in NETWORKS]))
    return NETWORKS[name]
