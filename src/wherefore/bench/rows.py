"""What is measured: a row is one network, method, batch and number of classes, with the budget that ours must hold."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from wherefore.below import PLAIN
from wherefore.errors import Error
from wherefore.models.zoo import load
from wherefore.types import Model

ALL = 0  # as a number of classes: every class of the network
PEERS = ("pytorch-grad-cam", "Captum", "torch-cam")


@dataclass(frozen=True)
class Subject:
    """A network that is explained, and the layer at which everybody explains it."""

    title: str
    source: str
    layer: str

    def model(self) -> Model:
        """The network with random weights: the time does not depend on them, and nothing is downloaded."""
        if not self.source.startswith("timm:"):
            return load(self.source, weights=None)
        try:
            import timm
        except ImportError:
            raise Error(f"{self.title} needs timm: pip install 'wherefore[bench]'.") from None
        return Model(timm.create_model(self.source.removeprefix("timm:"), pretrained=False).eval(), name=self.source)


@dataclass(frozen=True)
class Row:
    """One line of the table.

    ``kind``: ``time`` (ratio of CPU time to the plain forward), ``memory`` (ratio of the extra peak of the process) or
    ``folder`` (photographs in, overlays out, against the forward alone). ``most``: ours over the forward, at most.
    ``least``: the peer ``than`` over ours, at least. ``count``: calls of a memory row, photographs of a folder row.
    ``heap``: memory with what the system's allocator holds back of freed memory, else only what is alive.
    ``options``: the method's, of ours alone, and ``below`` how ours runs the part below the layer.
    """

    subject: Subject
    batch: int = 1
    classes: int = 1
    most: float | None = None
    kind: str = "time"
    count: int = 0
    least: float | None = None
    than: str = PEERS[0]
    compile: bool = False
    below: str = PLAIN
    peers: tuple[str, ...] = PEERS
    size: int = 224
    heap: bool = False
    method: str = "grad-cam"
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The row in words: ``ResNet-50, grad-cam, batch 8, 10 classes``."""
        number = "all classes" if self.classes == ALL else f"{self.classes} class{'es' * (self.classes > 1)}"
        what = {
            "time": f"batch {self.batch}, {number}",
            "memory": f"batch {self.batch}, peak memory of {self.count} calls{', with the heap' * self.heap}",
            "folder": f"folder of {self.count} photographs",
        }[self.kind]
        method = " ".join([self.method, *(f"{key}={value}" for key, value in self.options.items())])
        below = "" if self.below == PLAIN else f", {self.below}"
        return f"{self.subject.title}, {method}, {what}{', compiled' * self.compile}{below}"

    def to_json(self) -> dict[str, Any]:
        """The row as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Row:
        """The row that `to_json` wrote."""
        return cls(**{**values, "subject": Subject(**values["subject"]), "peers": tuple(values["peers"])})


RESNET = Subject("ResNet-50", "resnet50", "layer4")
RESNET18 = Subject("ResNet-18", "resnet18", "layer4")
VGG = Subject("VGG-16", "vgg16", "features.29")
VIT = Subject("ViT-S/16", "timm:vit_small_patch16_224", "blocks.11.norm1")

# 1,000 classes are 1,000 forward passes for Captum and 3,000 for pytorch-grad-cam; torch-cam needs one.
ONE_PASS = ("torch-cam",)

OTHER_METHODS = [
    Row(RESNET, 1, 1, 2.40, method="guided-grad-cam"),
    Row(RESNET, 1, 1, method="guided-backprop"),
    Row(RESNET, 1, 1, method="gradient"),
    Row(RESNET, 32, kind="memory", count=2, least=2.0, than="Captum", method="guided-grad-cam"),
    Row(RESNET18, 1, 1, method="occlusion"),
    Row(RESNET18, 1, 10, method="occlusion", peers=()),
    Row(RESNET18, 1, 1, method="score-cam"),
    Row(RESNET18, 1, 1, method="score-cam", options={"masks": "layer"}, peers=()),
    Row(RESNET18, 1, 1, least=5.0, method="ablation-cam"),
    Row(RESNET, 1, 1, least=5.0, method="ablation-cam"),  # one call of pytorch-grad-cam takes minutes
]

# What `wherefore.tune` chooses from, on the CPU.
EXACT = ("channels-last", "folded", "folded+channels-last")
TUNED = [
    *(Row(RESNET, batch, below=below, peers=()) for batch in (1, 8) for below in EXACT),
    *(Row(subject, batch, below="channels-last", peers=()) for subject in (VGG, VIT) for batch in (1, 8)),
]

FULL = [
    Row(RESNET, 1, 1, 1.03),
    Row(RESNET, 1, 5, 1.05),
    Row(RESNET, 1, 10, 1.05),
    Row(RESNET, 1, 100, 1.10),
    Row(RESNET, 1, ALL, 1.30, peers=ONE_PASS),
    Row(RESNET, 8, 1, 1.03),
    Row(RESNET, 8, 5, 1.05),
    Row(RESNET, 8, 10, 1.05, peers=("Captum", "torch-cam")),
    Row(RESNET, 8, 100, 1.10, peers=ONE_PASS),
    Row(RESNET, 8, ALL, 1.30, peers=()),
    Row(RESNET, 32, 1, 1.03),
    Row(RESNET, 32, 10, 1.05, peers=ONE_PASS),
    Row(RESNET, 32, 100, 1.10, peers=()),
    Row(RESNET, 1, 1, 0.80, compile=True),
    Row(RESNET, 8, 1, 0.80, compile=True),
    Row(VGG, 1, 1, 1.08),
    Row(VGG, 8, 1, 1.08),
    Row(VGG, 32, 1, 1.08),
    Row(VIT, 1, 1, 1.13),
    Row(VIT, 1, 5),
    Row(VIT, 1, 10),
    Row(VIT, 8, 1, 1.13),
    Row(VIT, 32, 1, 1.13),
    Row(RESNET, 32, most=1.10, kind="memory", count=5),
    Row(RESNET, 32, most=1.10, kind="memory", count=5, heap=True),
    Row(VGG, 32, most=1.10, kind="memory", count=5),
    Row(VIT, 32, most=1.10, kind="memory", count=5),
    Row(RESNET, 8, most=1.05, kind="folder", count=64, least=3.0),
    Row(RESNET, 8, most=0.85, kind="folder", count=64, compile=True),
    *OTHER_METHODS,
    *TUNED,
]

# The headlines, in about five minutes of two cores.
QUICK = [
    Row(RESNET, 1, 1, 1.03),
    Row(RESNET, 1, 10, 1.05),
    Row(RESNET, 1, 100, 1.10, peers=ONE_PASS),
    Row(RESNET, 1, ALL, 1.30, peers=()),
    Row(RESNET, 8, 1, 1.03),
    Row(RESNET, 1, 1, 2.40, method="guided-grad-cam"),
    Row(RESNET, 1, 1, 0.80, compile=True, peers=()),
    Row(VGG, 1, 1, 1.08),
    Row(VIT, 1, 1, 1.13),
    Row(RESNET, 32, most=1.10, kind="memory", count=2, peers=()),
    Row(RESNET, 32, most=1.10, kind="memory", count=2, peers=(), heap=True),
    Row(RESNET, 8, most=1.05, kind="folder", count=16, least=3.0),
]
