"""Networks with words once more, number by number in float64, from the equations of their papers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from wherefore.models.answering import Alternating, CoAttention, LstmAnswerer
from wherefore.models.captioning import Captioner

Vector = list[float]


def linear(layer: nn.Linear, x: Vector) -> Vector:
    """W x + b."""
    bias = [0.0] * layer.out_features if layer.bias is None else layer.bias.tolist()
    return [
        b + sum(w * v for w, v in zip(row, x, strict=True)) for row, b in zip(layer.weight.tolist(), bias, strict=True)
    ]


def tanh(x: Vector) -> Vector:
    return [math.tanh(v) for v in x]


def softmax(x: Vector) -> Vector:
    powers = [math.exp(v) for v in x]
    return [p / sum(powers) for p in powers]


def lstm(layer: nn.LSTM, inputs: Sequence[Vector]) -> tuple[list[Vector], list[Vector], list[Vector]]:
    """The last layer's outputs, and the last hidden and cell states of all layers (Hochreiter and Schmidhuber 1997).

    i, f, o = sigmoid(...), g = tanh(...), c = f c + i g, h = o tanh(c); the rows of the weights are i, f, g, o.
    """
    sequence, hidden, cells = list(inputs), [], []
    for number in range(layer.num_layers):
        w, u, b, d = (
            getattr(layer, f"{name}_l{number}").tolist() for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        n = layer.hidden_size
        h, c, out = [0.0] * n, [0.0] * n, []
        for x in sequence:
            pre = [
                b[row]
                + d[row]
                + sum(p * q for p, q in zip(w[row], x, strict=True))
                + sum(p * q for p, q in zip(u[row], h, strict=True))
                for row in range(4 * n)
            ]
            for unit in range(n):
                i, f, o = (1 / (1 + math.exp(-pre[gate * n + unit])) for gate in (0, 1, 3))
                c[unit] = f * c[unit] + i * math.tanh(pre[2 * n + unit])
                h[unit] = o * math.tanh(c[unit])
            h = list(h)
            out.append(list(h))
        sequence = out
        hidden.append(h)
        cells.append(list(c))
    return sequence, hidden, cells


def word_scores(net: Captioner, features: Tensor, words: Sequence[int]) -> list[Vector]:
    """The scores of the first word and of the one behind each: the LSTM sees the picture, START, and the words."""
    picture = linear(net.image, features.tolist())
    if net.image.bias is not None:
        picture = [max(v, 0.0) for v in picture]
    table = net.embedding.weight.tolist()
    states, _, _ = lstm(net.lstm, [picture, *(table[word] for word in (0, *words))])
    return [linear(net.scores, state) for state in states[1:]]


def caption_likelihood(net: Captioner, features: Tensor, words: Sequence[int], end: bool) -> float:
    """log p of a caption: the sum over its words, and its end."""
    wanted = [*words, 0] if end else [*words]
    scores = word_scores(net, features, words)
    return sum(math.log(softmax(row)[word]) for row, word in zip(scores, wanted, strict=False))


def lu2015(net: LstmAnswerer, features: Tensor, question: Sequence[int]) -> Vector:
    """Lu et al. 2015: words by a linear map and tanh, states of two layers, the image of length 1, the product."""
    table, bias = net.words.weight.tolist(), net.bias.tolist()
    words = [tanh([w + b for w, b in zip(table[number], bias, strict=True)]) for number in question]
    _, hidden, cells = lstm(net.lstm, words)
    asked = tanh(linear(net.question, [*cells[0], *hidden[0], *cells[1], *hidden[1]]))
    length = math.sqrt(sum(v * v for v in features.tolist()))
    seen = tanh(linear(net.image, [v / length for v in features.tolist()]))
    return linear(net.answer, [q * v for q, v in zip(asked, seen, strict=True)])


def coattention(net: CoAttention, maps: Tensor, question: Sequence[int]) -> Vector:
    """Lu et al. 2016 with alternating attention: words, phrases and the question, fused from the words up."""
    seen, (channels, height, width) = maps.tolist(), maps.shape
    places = [
        tanh(linear(net.image, [seen[k][y][x] for k in range(channels)])) for y in range(height) for x in range(width)
    ]
    table = net.words.weight.tolist()
    words = [tanh(table[number]) for number in question]
    phrases = [phrase(net, words, start) for start in range(len(words))]
    whole, _, _ = lstm(net.lstm, phrases)
    fused: Vector = []
    for attend, fuse, level in zip(net.attention, net.fuse, (words, phrases, whole), strict=True):
        assert isinstance(attend, Alternating) and isinstance(fuse, nn.Linear)
        fused = tanh(linear(fuse, [*alternating(attend, places, level), *fused]))
    return linear(net.answer, fused)


def phrase(net: CoAttention, words: Sequence[Vector], start: int) -> Vector:
    """Eq. 1 and 2: the highest of tanh(W_s [w_t ... w_{t+s-1}]) for s of 1, 2 and 3."""
    of_each = []
    for size, conv in enumerate(net.phrases, 1):
        assert isinstance(conv, nn.Conv1d) and conv.bias is not None
        weight, out = conv.weight.tolist(), conv.bias.tolist()
        for row in range(len(out)):
            for offset in range(size):
                if start + offset < len(words):
                    for channel, value in enumerate(words[start + offset]):
                        out[row] += weight[row][channel][offset] * value
        of_each.append(tanh(out))
    return [max(values) for values in zip(*of_each, strict=True)]


def alternating(net: Alternating, places: Sequence[Vector], words: Sequence[Vector]) -> Vector:
    """Eq. 4, three times: of the question; of the picture by what was found; of the question by that."""

    def step(number: int, items: Sequence[Vector], guide: Vector | None) -> Vector:
        heights = []
        for item in items:
            state = linear(net.of[number], item)  # type: ignore[arg-type]
            if guide is not None:
                state = [s + g for s, g in zip(state, linear(net.by[number - 1], guide), strict=True)]  # type: ignore[arg-type]
            heights += linear(net.weigh[number], tanh(state))  # type: ignore[arg-type]
        shares = softmax(heights)
        return [sum(a * item[i] for a, item in zip(shares, items, strict=True)) for i in range(len(items[0]))]

    asked = step(0, words, None)
    found = step(1, places, asked)
    again = step(2, words, found)
    return [p + q for p, q in zip(found, again, strict=True)]
