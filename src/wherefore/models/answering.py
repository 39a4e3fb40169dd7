"""Networks that answer questions about a picture: Lu et al. 2015 and the co-attention of Lu et al. 2016, of any size.

Both take images and a question in numbers of words, ``net(images, question)``, and score the answers ``(B, answers)``.
A question is ``(B, L)``, filled up with 0 behind its last word.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence

from wherefore.errors import Error
from wherefore.models.captioning import headless
from wherefore.models.preact import PreactResNet
from wherefore.registry import unknown
from wherefore.vocabulary import Vocabulary

# The CNNs of the full size: how many features are behind their second last layer, and channels in their last map.
CNNS = {
    "alexnet": (4096, 256), "vgg16": (4096, 512), "vgg19": (4096, 512), "resnet152": (2048, 2048),
    "resnet200": (2048, 2048),
}  # fmt: skip


class LstmAnswerer(nn.Module):
    """Answers from the product of what is seen and what is asked (Lu et al. 2015; Antol et al. 2015, deeper LSTM).

    ``cnn`` makes ``(B, features)`` of images, which are brought to length 1. The question goes through a two-layer
    LSTM, of which the last hidden and cell states of both layers are kept. Each side is projected to ``common``
    numbers and squashed by tanh; their product is what the answers are scored by.
    """

    def __init__(
        self,
        cnn: nn.Module,
        features: int,
        vocabulary: Vocabulary,
        answers: int,
        embedding: int = 200,
        hidden: int = 512,
        common: int = 1024,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.cnn, self.vocabulary = cnn, vocabulary
        self.words = nn.Embedding(len(vocabulary), embedding, padding_idx=0)  # a linear map of one-hot words
        self.bias = nn.Parameter(torch.zeros(embedding))
        self.lstm = nn.LSTM(embedding, hidden, num_layers=2, batch_first=True)
        self.question = nn.Linear(4 * hidden, common)
        self.image = nn.Linear(features, common)
        self.answer = nn.Linear(common, answers)
        self.dropout = nn.Dropout(dropout)

    def forward(self, images: Tensor, question: Tensor) -> Tensor:
        return self.answered(self.cnn(images), question)

    def asked(self, question: Tensor) -> Tensor:
        """What is asked, ``(B, 4 hidden)``."""
        words = torch.tanh(self.dropout(self.words(question) + self.bias))
        packed = pack_padded_sequence(words, lengths(question), batch_first=True, enforce_sorted=False)
        _, (hidden, cell) = self.lstm(packed)
        return torch.cat([cell[0], hidden[0], cell[1], hidden[1]], 1)

    def answered(self, seen: Tensor, question: Tensor) -> Tensor:
        """The scores of the answers ``(B, answers)``; the gradient passes through the normalisation."""
        image = torch.tanh(self.image(self.dropout(F.normalize(seen, dim=1))))
        asked = torch.tanh(self.question(self.dropout(self.asked(question))))
        scores: Tensor = self.answer(self.dropout(image * asked))
        return scores


class CoAttention(nn.Module):
    """Hierarchical question-image co-attention, alternating (Lu et al. 2016), over the places of a CNN's last map.

    ``cnn`` makes ``(B, channels, h, w)`` of images. The question is read at three levels: words, phrases of one to
    three words (the highest of each), and the whole of it so far. At every level attention goes over the question, then
    by what it found over the places, and by that over the question once more; the three finds are fused from the words
    up.
    """

    def __init__(
        self,
        cnn: nn.Module,
        channels: int,
        vocabulary: Vocabulary,
        answers: int,
        hidden: int = 512,
        fused: int = 1024,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.cnn, self.vocabulary = cnn, vocabulary
        self.image = nn.Linear(channels, hidden)
        self.words = nn.Embedding(len(vocabulary), hidden, padding_idx=0)
        self.phrases = nn.ModuleList([nn.Conv1d(hidden, hidden, n) for n in (1, 2, 3)])
        self.lstm = nn.LSTM(hidden, hidden, num_layers=2, batch_first=True)
        self.attention = nn.ModuleList([Alternating(hidden, dropout) for _ in range(3)])
        self.fuse = nn.ModuleList([nn.Linear(hidden, hidden), nn.Linear(2 * hidden, hidden)])
        self.fuse.append(nn.Linear(2 * hidden, fused))
        self.answer = nn.Linear(fused, answers)
        self.dropout = nn.Dropout(dropout)

    def forward(self, images: Tensor, question: Tensor) -> Tensor:
        return self.answered(self.places(images), question)

    def places(self, images: Tensor) -> Tensor:
        """What is seen at each place, ``(B, places, hidden)``."""
        return self.projected(self.cnn(images))

    def projected(self, seen: Tensor) -> Tensor:
        """The CNN's maps ``(B, channels, h, w)`` as places ``(B, places, hidden)``."""
        found: Tensor = torch.tanh(self.image(seen.flatten(2).mT))
        return self.dropout(found)

    def answered(self, places: Tensor, question: Tensor) -> Tensor:
        """The scores of the answers ``(B, answers)``."""
        there = torch.arange(question.shape[1], device=question.device) < lengths(question).to(question.device)[:, None]
        finds = [
            attend(places, level, there)
            for attend, level in zip(self.attention, self.levels(question, there), strict=True)
        ]
        fused = torch.tanh(self.fuse[0](self.dropout(finds[0])))
        for layer, find in zip(self.fuse[1:], finds[1:], strict=True):
            fused = torch.tanh(layer(self.dropout(torch.cat([find, fused], 1))))
        scores: Tensor = self.answer(self.dropout(fused))
        return scores

    def levels(self, question: Tensor, there: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The question by words, by phrases and as a whole, ``(B, L, hidden)`` each; 0 where there is no word."""
        kept = there[..., None]
        words = self.dropout(torch.tanh(self.words(question))) * kept
        # n words from each place on; beyond the last there are zeros.
        across = [conv(F.pad(words.mT, (0, n))) for n, conv in enumerate(self.phrases)]
        phrases = self.dropout(torch.tanh(torch.stack(across)).amax(0).mT) * kept
        whole, _ = self.lstm(phrases)
        return words, phrases, self.dropout(whole) * kept


class Alternating(nn.Module):
    """Attention to the question, by that to the picture, by that to the question: their sum ``(B, hidden)``.

    Each step (Lu et al. 2016, eq. 4): H = tanh(W_x X + W_g g), a = softmax(w H), and what is found is sum_i a_i x_i.
    """

    def __init__(self, hidden: int, dropout: float) -> None:
        super().__init__()
        self.of = nn.ModuleList([nn.Linear(hidden, hidden) for _ in range(3)])
        self.by = nn.ModuleList([nn.Linear(hidden, hidden) for _ in range(2)])
        self.weigh = nn.ModuleList([nn.Linear(hidden, 1) for _ in range(3)])
        self.dropout = nn.Dropout(dropout)

    def forward(self, places: Tensor, words: Tensor, there: Tensor) -> Tensor:
        question = self._step(0, words, None, there)
        image = self._step(1, places, question)
        return image + self._step(2, words, image, there)

    def _step(self, number: int, x: Tensor, guide: Tensor | None, there: Tensor | None = None) -> Tensor:
        states = self.of[number](x)
        if guide is not None:
            states = states + self.by[number - 1](guide)[:, None]
        weights = self.weigh[number](self.dropout(torch.tanh(states)))
        if there is not None:
            weights = weights.masked_fill(~there[..., None], -torch.inf)
        return (weights.softmax(1) * x).sum(1)


def lu2015(vocabulary: Vocabulary, answers: int, cnn: str = "vgg19") -> LstmAnswerer:
    """The network of Lu et al. (2015) at full size, with one of `CNNS` up to its second last layer.

    It sees pictures squashed to 224 pixels. Raises `Error` for a CNN that it does not come with.
    """
    return LstmAnswerer(headless(_classifier(cnn)), CNNS[cnn][0], vocabulary, answers)


def coattention(vocabulary: Vocabulary, answers: int, cnn: str = "resnet200") -> CoAttention:
    """The co-attention of Lu et al. (2016) at full size, over the last map of one of `CNNS`.

    It sees pictures squashed to 448 pixels, at 14x14 places. Raises `Error` for a CNN that it does not come with.
    """
    places = nn.Sequential(OrderedDict([*_classifier(cnn).named_children()][:-2]))  # without pooling and scores
    return CoAttention(places, CNNS[cnn][1], vocabulary, answers)


def _classifier(cnn: str) -> nn.Module:
    """A CNN with random weights and the 1,000 scores of ImageNet."""
    if cnn not in CNNS:
        raise Error(unknown("CNN of networks that answer", cnn, CNNS))
    if cnn == "resnet200":
        return PreactResNet(1000)
    from torchvision.models import get_model

    options = {"init_weights": False} if cnn.startswith("vgg") else {}  # which would take half a minute
    net: nn.Module = get_model(cnn, weights=None, **options)
    return net


def read(vocabulary: Vocabulary, question: str) -> dict[str, Tensor]:
    """What such a network is fed of a question, ``{"question": (L,)}``.

    All questions are as long, so that layers are looked for once. Raises `Error` for words that it does not know.
    """
    numbers = vocabulary.numbers(question)
    return {"question": torch.tensor([*numbers, *[0] * (vocabulary.longest - len(numbers))])}


def lengths(question: Tensor) -> Tensor:
    """How many words each question ``(B, L)`` has, on the CPU."""
    return (question != 0).sum(1).clamp(min=1).cpu()
