"""The weights that the CNN of a network with words begins with: those of ImageNet, torchvision's or Caffe's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from wherefore.errors import Error
from wherefore.models import caffe, caffemodel
from wherefore.models.paper import CAFFE, Network
from wherefore.models.zoo import State, Weights, load, load_strictly, read_state
from wherefore.preparing import IMAGENET_MEAN, IMAGENET_STD, Preprocess


def started(cnn: nn.Module, network: Network, weights: Weights) -> Preprocess:
    """What the network is to see of a picture: as its paper has it, with torchvision's VGG in torchvision's colours.

    ``cnn`` gets the weights: by default those that torchvision has, which are downloaded; None leaves it as it is.
    Raises `Error` where they do not fit.
    """
    if weights is None:
        return network.preprocess
    name, preprocess = network.cnn, network.preprocess
    if weights == "default":
        state: State = load(f"preact:{name}" if name == "resnet200" else name).net.state_dict()
    else:
        state = _read(Path(weights), name)
    if name in CAFFE and not any(key.startswith("conv1_1") for key in state):
        preprocess = replace(preprocess, mean=IMAGENET_MEAN, std=IMAGENET_STD, bgr=False)
    elif name in CAFFE:
        state = _renamed(state, name, cnn, preprocess.bgr)
    own = cnn.state_dict()
    load_strictly(cnn, {key: value for key, value in state.items() if key in own}, str(weights), f"the CNN {name}")
    return preprocess


def _read(path: Path, name: str) -> State:
    """A state dict in a file, Caffe's own kind as well."""
    if path.suffix != ".caffemodel":
        return read_state(path)
    if name not in CAFFE:
        raise Error(f"Caffe's {path} does not fit {name}, which is torchvision's: give a state dict of that.")
    with torch.device("meta"):  # for the shapes alone
        net = caffe.known(name).build(1000)
    return caffemodel.state(caffemodel.read(path), net)


def _renamed(state: State, name: str, cnn: nn.Module, bgr: bool) -> State:
    """Caffe's weights under torchvision's names, which stand in the same order; turned for pictures in RGB."""
    with torch.device("meta"):
        theirs = caffe.known(name).build(1000).state_dict()
    own = [key for key, value in cnn.state_dict().items()]
    found = {ours: state[key] for ours, key in zip(own, theirs, strict=False) if key in state}
    if not bgr:
        found[own[0]] = found[own[0]].flip(1)
    return found
