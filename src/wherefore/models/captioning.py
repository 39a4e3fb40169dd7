"""Networks that put a picture into words: NeuralTalk2 and Show and Tell, of any size.

Both show the picture to an LSTM as if it were the first word, and never again; what explains a word by the picture
goes through that first step alone. They return a `wherefore.speech.Speech`, which scores any words.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wherefore.speech import Speech
from wherefore.vocabulary import Vocabulary


class Captioner(nn.Module):
    """An LSTM whose first input is the picture; ``net(images)`` is a `Speech` of the vocabulary.

    ``cnn`` makes ``(B, features)`` of images. The picture, START and the words go into one LSTM (Vinyals et al. 2015,
    eq. 10-12): x_{-1} = W_I CNN(I), x_t = W_e S_t, p_{t+1} = softmax(W_h LSTM(x_t)). ``rectified``: a ReLU behind
    W_I, and a bias in it, as in NeuralTalk2; Show and Tell has neither.
    """

    def __init__(
        self,
        cnn: nn.Module,
        features: int,
        vocabulary: Vocabulary,
        embedding: int = 512,
        hidden: int = 512,
        dropout: float = 0.5,
        rectified: bool = True,
    ) -> None:
        super().__init__()
        self.cnn, self.vocabulary = cnn, vocabulary
        self.image = nn.Linear(features, embedding, bias=rectified)
        self.rectify = nn.ReLU() if rectified else nn.Identity()
        self.embedding = nn.Embedding(len(vocabulary), embedding)
        self.lstm = nn.LSTM(embedding, hidden, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.scores = nn.Linear(hidden, len(vocabulary))

    def forward(self, images: Tensor) -> Speech:
        return Speech(self.rectify(self.image(self.cnn(images))), self.decode, self.vocabulary)

    def decode(self, pictures: Tensor, words: Tensor) -> Tensor:
        """The scores ``(B, L + 1, V)`` of the first word, and of the one behind each of ``words`` ``(B, L)``."""
        start = torch.full((len(words), 1), self.vocabulary.end, device=words.device)  # END is read as START
        said = self.embedding(torch.cat([start, words], 1))
        states, _ = self.lstm(torch.cat([pictures[:, None], self.dropout(said)], 1))
        scores: Tensor = self.scores(self.dropout(states[:, 1:]))
        return scores


def headless(net: nn.Module) -> nn.Module:
    """The network without its last linear layer: what it says of a picture before it scores classes.

    ``net`` is changed: the last `nn.Linear` in it becomes the identity.
    """
    name = [name for name, module in net.named_modules() if isinstance(module, nn.Linear)][-1]
    parent, _, last = name.rpartition(".")
    setattr(net.get_submodule(parent), last, nn.Identity())
    return net


def neuraltalk2(vocabulary: Vocabulary) -> Captioner:
    """NeuralTalk2 at full size: VGG-16 up to its second layer of 4,096 units, an LSTM of 512 units.

    It sees pictures of 224 pixels in RGB, 0..255 less the mean of ImageNet (Karpathy's code, train.lua).
    """
    from torchvision.models import vgg16

    return Captioner(headless(vgg16(weights=None, init_weights=False)), 4096, vocabulary)


def show_and_tell(vocabulary: Vocabulary) -> Captioner:
    """Show and Tell at full size (Vinyals et al. 2017): Inception-v3 and an LSTM of 512 units.

    It sees pictures of 299 pixels in -1..1.
    """
    from torchvision.models import inception_v3

    cnn = inception_v3(weights=None, aux_logits=False, init_weights=False)
    return Captioner(headless(cnn), 2048, vocabulary, dropout=0.3, rectified=False)


def initialised(net: nn.Module, spread: float = 0.08) -> nn.Module:
    """The network with all but its CNN drawn evenly from -``spread`` to ``spread``, as Lu et al. (2015) do it."""
    for name, weight in net.named_parameters():
        if not name.startswith("cnn."):
            nn.init.uniform_(weight, -spread, spread)
    return net
