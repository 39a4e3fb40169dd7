"""What networks with words are taught by: the scores of words and answers, and how wrong they are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wherefore.models.answering import CoAttention
from wherefore.models.captioning import Captioner


def told(net: Any, found: Tensor) -> Tensor:
    """What the words are given of what the CNN has found in pictures: ``(B, embedding)``, or places ``(B, N, hidden)``.

    ``found`` ``(B, features)``, for co-attention ``(B, features, h, w)``; answers of Lu et al. (2015) take it as it is.
    """
    if isinstance(net, Captioner):
        return net.rectify(net.image(found))
    return net.projected(found) if isinstance(net, CoAttention) else found


def scores_of(net: Any, found: Tensor, texts: Tensor) -> Tensor:
    """The scores before softmax of what the CNN has ``found`` in n pictures and of texts ``(n each, L)``.

    Those of captions ``(n each, L + 1, words)``, of the first word and of what follows each; of answers
    ``(n each, answers)``.
    """
    pictures = told(net, found).repeat_interleave(len(texts) // len(found), 0)
    return net.decode(pictures, texts) if isinstance(net, Captioner) else net.answered(pictures, texts)


def loss_of(net: nn.Module, found: Tensor, texts: Tensor, answers: Tensor) -> Tensor:
    """Cross-entropy: of the answers, or of all words of captions and their ends; the mean over all of them, in nats.

    ``texts`` ``(n each, L)`` of numbers of words, 0 behind the last; ``answers`` ``(n each,)``, of captions not read.
    """
    scores = scores_of(net, found, texts)
    if not isinstance(net, Captioner):
        return F.cross_entropy(scores, answers)
    wanted = torch.cat([texts, torch.zeros_like(texts[:, :1])], 1)  # 0 is the end, and what is behind it
    counted = torch.cat([torch.ones_like(texts[:, :1]), texts], 1) != 0  # each word, and what follows a word
    return F.cross_entropy(scores[counted], wanted[counted])
