"""How each network with words is trained on scenes: everything that its numbers depend on, and where it begins.

First the CNN learns to see, which begins as that of a network that names what is there; then the rest learns words.
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
from wherefore.training.texts import FACTS, asked, spoken


@dataclass(frozen=True)
class Telling:
    """How a network with words is trained: AdamW with a cycle of the learning rate for sight and one for words.

    For ``sight`` passes the CNN, which begins as that of ``start``, learns what is where in pictures that are shifted
    and dimmed (not mirrored, for left would be right); then it stays as it is, and for ``epochs`` passes the rest
    learns the words. ``each``: captions or questions that go with a picture in a step. ``blind``: without the picture,
    to see what questions alone tell.
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
    sight: int = 1
    blind: bool = False
    shift: int = 4
    brightness: float = 0.1
    seed: int = 0

    @property
    def flip(self) -> bool:
        """Pictures are not mirrored."""
        return False

    @property
    def passes(self) -> int:
        """All passes through the pictures."""
        return self.sight + self.epochs

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
    "captioner": Telling("captioner", epochs=6, lr=2e-3, start="vgg", sight=10),
    "show-and-tell": Telling("show-and-tell", epochs=5, lr=2e-3, start="googlenet", sight=4),
    "vqa": Telling("vqa", epochs=8, lr=2e-3, start="captioner", sight=0),
    "vqa-alexnet": Telling("vqa-alexnet", epochs=8, lr=2e-3, start="alexnet", sight=6),
    "coattention": Telling("coattention", epochs=3, lr=2e-3, start="resnet", each=4, sight=2),
}


AIM = "aim."  # the weights of what is dropped
BLIND: dict[str, Any] = {"blind": True, "sight": 0}  # as often told, but shown nothing


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
        groups: dict[bool, list[Tensor]] = {}
        for weight in net.parameters():
            groups.setdefault(weight.ndim > 1, []).append(weight)
        optimizer = torch.optim.AdamW(
            [
                {"params": params, "weight_decay": recipe.weight_decay * decays}
                for decays, params in groups.items()  # biases and norms do not decay
            ],
            lr=recipe.lr,
        )
        super().__init__(net, optimizer, [recipe.settings, recipe.seed, recipe.source, start], device)


class Aim(nn.Module):
    """What a network learns before words and drops afterwards: what is at each place, and what is true of the whole.

    ``places`` ``(B, 35, h, w)``: scores of categories, colours and textures at the places of the last map.
    """

    def __init__(self, layer: nn.Module, channels: int, features: int) -> None:
        super().__init__()
        self.head = nn.Conv2d(channels, len(CATEGORIES) + len(COLOURS) + len(TEXTURES), 1)
        self.facts = nn.Linear(features, FACTS)
        self.places = torch.empty(0)
        layer.register_forward_hook(self._read)

    def _read(self, layer: nn.Module, inputs: Any, output: Tensor) -> None:
        if self.training:
            self.places = self.head(output)


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
    if recipe.sight:
        net.aim = Aim(net.get_submodule(network.layer), network.channels, net.image.in_features)
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
