"""Tiny networks with words, of float64 and random weights large enough that what they say depends on the picture."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

import wherefore as wf
from wherefore.models.answering import CoAttention, LstmAnswerer, read
from wherefore.models.captioning import Captioner, initialised
from wherefore.vocabulary import END, Vocabulary

SIDE = 6
SAID = Vocabulary((END, "a", "dog", "cat", "on", "grass", "red"), longest=6, name="the tiny captioner")
ASKED = Vocabulary((END, "what", "colour", "is", "the", "dog", "cat", "on"), longest=7, name="the tiny answerer")
ANSWERS = ("red", "blue", "two dogs", "yes", "no")


def maps() -> nn.Sequential:
    """Two convolutions and a ReLU each: images ``(B, 3, 6, 6)`` become maps ``(B, 4, 3, 3)``, the layer ``cnn.3``."""
    layers = nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU()
    return nn.Sequential(*layers)


def seen() -> nn.Sequential:
    """The same and 5 features of all places."""
    return nn.Sequential(*maps(), nn.Flatten(), nn.Linear(4 * 9, 5), nn.ReLU())


def _drawn(net: nn.Module, spread: float = 0.8) -> nn.Module:
    return initialised(net, spread).double().eval()


def captioner(rectified: bool = True, vocabulary: Vocabulary = SAID) -> Captioner:
    """A captioner; without ``rectified`` it has no bias and no ReLU behind the picture's projection."""
    net = _drawn(Captioner(seen(), 5, vocabulary, embedding=4, hidden=3, rectified=rectified))
    assert isinstance(net, Captioner)
    with torch.no_grad():
        net.image.weight.mul_(4)  # so that pictures differ
    return net


def answerer(answers: int = len(ANSWERS)) -> LstmAnswerer:
    """The network of Lu et al. (2015)."""
    net = _drawn(LstmAnswerer(seen(), 5, ASKED, answers, embedding=4, hidden=3, common=6))
    assert isinstance(net, LstmAnswerer)
    return net


def coattention(answers: int = len(ANSWERS)) -> CoAttention:
    """The co-attention of Lu et al. (2016)."""
    net = _drawn(CoAttention(maps(), 4, ASKED, answers, hidden=4, fused=6))
    assert isinstance(net, CoAttention)
    return net


def images(count: int = 2) -> Tensor:
    """Noise, float64."""
    return torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(3), dtype=torch.float64) * 2 - 0.5


def model(net: nn.Module) -> wf.Model:
    """The network with what reads its questions."""
    asks = not isinstance(net, Captioner)
    question = partial(read, ASKED) if asks else None
    return wf.Model(net, ANSWERS if asks else None, layer="cnn.3", name="tiny", question=question)
