"""How the networks of weakly supervised segmentation are trained: everything that their numbers depend on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from wherefore.preparing import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from wherefore.segmenting.losses import DECAY
from wherefore.segmenting.networks import PAPER, SMALL, Shape


@dataclass(frozen=True)
class Schedule:
    """SGD with momentum: the learning rate falls to a tenth every ``drop`` steps.

    Weights decay, biases do not and take twice the rate; the last layer takes ten times the rate.
    """

    steps: int = 8000
    drop: int = 2000
    lr: float = 1e-3
    batch: int = 15
    momentum: float = 0.9
    decay: float = 5e-4


@dataclass(frozen=True)
class Recipe:
    """SEC on one kind of pictures.

    ``splits`` are those trained and measured on, ``pictures`` and ``tested`` how many of each, None for all. ``start``
    names the network whose convolutions all others begin with. Where its classes are those of the data set it is the
    classifier of Grad-CAM and of the background as it stands; else it is fine-tuned for them. ``schedule`` is that of
    SEC, ``supervised`` that of full supervision, ``cues`` that of the networks of seeds. ``expansion`` are the decays
    of the expand loss; ``spacing`` is how many pixels of the CRF lie between two cells of the grid, ``native`` between
    two pixels of a picture (see `crf`). ``seen`` is the side of the pictures that the classifier of Grad-CAM sees,
    ``dropout`` that of the segmentation network.
    """

    splits: tuple[str, str] = ("trainaug", "val")
    start: str = "vgg16"
    shape: Shape = PAPER
    schedule: Schedule = Schedule()
    supervised: Schedule = Schedule()
    cues: Schedule = Schedule(drop=4000)
    pictures: int | None = None
    tested: int | None = None
    expansion: tuple[float, float] = DECAY
    spacing: float = 12.0
    native: float = 1.0
    seen: int = 224
    dropout: float = 0.5
    mean: tuple[float, ...] = field(default=IMAGENET_MEAN, repr=False)
    std: tuple[float, ...] = field(default=IMAGENET_STD, repr=False)

    def preprocess(self, side: int) -> Preprocess:
        """A picture squashed to that side, normalised as the convolutions want it."""
        return Preprocess(side, side, self.mean, self.std, squash=True)


FULL = Recipe()
# Lengths and shares are those of the paper: a CRF that reaches as far across the picture, decays that weigh as large a
# share of the 24x24 cells as of 41x41 (0.996^(1681/576)).
SCENES = Recipe(
    splits=("train", "test"),
    start="scenes:vgg",
    shape=SMALL,
    schedule=Schedule(steps=240, drop=160, lr=2e-3),
    supervised=Schedule(steps=300, drop=220, lr=2e-2),
    cues=Schedule(steps=500, drop=400, lr=2e-2),
    pictures=3000,
    tested=150,
    expansion=(0.9884, 0.9971),
    spacing=20.5,
    native=3.84,
    seen=96,
    dropout=0.1,  # 64 channels do not bear that half of them are missing
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
)
FEW = Schedule(steps=4, batch=6)
QUICK = replace(SCENES, schedule=FEW, supervised=FEW, cues=FEW, pictures=24, tested=8)  # seconds; means nothing
