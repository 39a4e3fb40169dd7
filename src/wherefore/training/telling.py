"""How each network with words is trained on scenes: everything that its numbers depend on, and where it begins.

The words are trained together with the CNN, which begins as that of a network that names what is there.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wherefore.errors import Error
from wherefore.models.scenes import WORDED
from wherefore.models.zoo import load
from wherefore.scenes.world import CATEGORIES, COLOURS, TEXTURES, VERSION
from wherefore.training.recipes import Mix
from wherefore.training.resumable import Resumable
from wherefore.training.texts import asked, spoken


@dataclass(frozen=True)
class Telling:
    """How a network with words is trained: AdamW with one cycle of the learning rate, pictures shifted and dimmed.

    ``each``: captions or questions that go with a picture in a step. ``start`` names the network whose CNN it begins
    with; it learns at ``cnn`` times the rate, where that is 0 not at all. Pictures are not mirrored, for left would be
    right.
    """

    network: str
    epochs: int
    lr: float
    start: str
    mix: Mix = ((1, 12000), (2, 12000), (None, 6000))
    batch: int = 64
    each: int = 6
    weight_decay: float = 0.02
    warm_up: float = 0.15
    cnn: float = 0.5
    parts: float = 0.0  # weight of a second aim, dropped afterwards: what is at each place of the last map
    blind: bool = False  # without the picture: what the questions alone tell
    flip: bool = False
    shift: int = 4
    brightness: float = 0.1
    seed: int = 0

    @property
    def settings(self) -> dict[str, Any]:
        """All that the weights depend on, as a card holds it."""
        return {key: value for key, value in asdict(self).items() if key != "seed"}

    @property
    def source(self) -> dict[str, Any]:
        """Which pictures it is trained on, as a card says it."""
        mix = [{"objects": objects or "1-4", "pictures": count} for objects, count in self.mix]
        return {"scenes": "train", "world": VERSION, "mix": mix, "pictures": sum(count for _, count in self.mix)}


TELLING = {
    "captioner": Telling("captioner", epochs=3, lr=2e-3, start="vgg", cnn=1.0, parts=1.0),
    "show-and-tell": Telling("show-and-tell", epochs=3, lr=2e-3, start="googlenet", cnn=1.0, parts=1.0),
    "vqa": Telling("vqa", epochs=5, lr=2e-3, start="captioner", each=10, cnn=0.0),
    "vqa-alexnet": Telling("vqa-alexnet", epochs=3, lr=2e-3, start="alexnet", each=10, cnn=0.0),
    "coattention": Telling("coattention", epochs=3, lr=2e-3, start="resnet", each=4, cnn=1.0, parts=1.0),
}


AIM = "parts."  # the weights of the second aim
# Two passes over the questions without a picture: what they alone tell is soon learned.
BLIND: dict[str, Any] = {"blind": True, "epochs": 2, "cnn": 0.0, "each": 10}


def changed(recipe: Telling, epochs: int | None, seed: int | None) -> Telling:
    """The recipe with another number of epochs or seed where these are given."""
    if epochs is not None and epochs < 1:
        raise Error(f"a network is trained for one epoch or more, not {epochs}.")
    given = {key: value for key, value in (("epochs", epochs), ("seed", seed)) if value is not None}
    return replace(recipe, **given)  # type: ignore[arg-type]


class Run(Resumable):
    """The training of a network with words; ``start`` is the sha256 of the weights that its CNN begins with."""

    def __init__(self, recipe: Telling, net: nn.Module, device: str | None = None, start: str | None = None) -> None:
        self.recipe, self.start = recipe, start
        groups: dict[tuple[bool, bool], list[Tensor]] = {}
        for name, weight in net.named_parameters():
            groups.setdefault((name.startswith("cnn."), weight.ndim > 1), []).append(weight)
        # Biases and norms do not decay; the CNN, which knows something already, learns more slowly.
        shares = [(params, recipe.cnn if of_cnn else 1.0, decays) for (of_cnn, decays), params in groups.items()]
        optimizer = torch.optim.AdamW(
            [
                {"params": params, "share": share, "weight_decay": recipe.weight_decay * decays}
                for params, share, decays in shares
                if share
            ],
            lr=recipe.lr,
        )
        super().__init__(net, optimizer, [recipe.settings, recipe.seed, recipe.source, start], device)


class Parts(nn.Module):
    """What the last map says of each place, ``scores`` ``(B, 35, h, w)`` for categories, colours and textures."""

    def __init__(self, layer: nn.Module, channels: int) -> None:
        super().__init__()
        self.head = nn.Conv2d(channels, len(CATEGORIES) + len(COLOURS) + len(TEXTURES), 1)
        self.scores = torch.empty(0)
        layer.register_forward_hook(self._read)

    def _read(self, layer: nn.Module, inputs: Any, output: Tensor) -> None:
        if self.training:
            self.scores = self.head(output)


def built(recipe: Telling, folder: Path) -> tuple[nn.Module, str]:
    """The network with its first weights: its words' random, its CNN's those of another, whose sha256 comes with it."""
    torch.manual_seed(recipe.seed)
    network = WORDED[recipe.network]
    if network.asks:
        vocabulary, answers = asked(recipe.mix, f"scenes:{recipe.network}")
        net: Any = network.build(vocabulary, len(answers))
    else:
        vocabulary, answers = spoken(recipe.mix, f"scenes:{recipe.network}"), ()
        net = network.build(vocabulary)
    net.answers = answers
    if recipe.parts:
        net.parts = Parts(net.get_submodule(network.layer), network.channels)
    own = folder / f"{recipe.start}.safetensors"
    first = load(f"scenes:{recipe.start}", weights=own if own.is_file() else "default")
    state = first.net.state_dict()
    trunk = {k: v for k, v in net.state_dict().items() if k.startswith("cnn.")}
    begun = {k: state.get(k, state.get(k.removeprefix("cnn."))) for k in trunk}
    lacking = [k for k, v in begun.items() if v is None or v.shape != trunk[k].shape]
    if lacking:
        raise Error(f"the CNN of {recipe.network} cannot begin as that of {recipe.start}: it lacks {lacking[0]}.")
    net.load_state_dict({**net.state_dict(), **begun})
    return net, first.weights_sha256
