"""Callbacks that draw, while a network is trained, where it looks: for Lightning, and for the Trainer of transformers.

    trainer = lightning.Trainer(callbacks=[LightningMaps(pictures, preprocess=transform, classes=names)])
    trainer = transformers.Trainer(..., callbacks=[TrainerMaps(pictures, preprocess=processor_to_tensor)])

After every epoch a sheet is written, and shown where the logger takes pictures. Training is not altered by it: the
network is left as it was found, and so is the state of the random numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from wherefore.errors import Error
from wherefore.explainer import Explainer
from wherefore.explanation import Explanation
from wherefore.saving import jpeg, made, write_whole
from wherefore.types import Model

if TYPE_CHECKING:
    from PIL import Image


class Maps:
    """The maps of some pictures for a network as it is now; what both callbacks do.

    ``pictures``: what `wherefore.explain` takes, tensors ``(B, C, H, W)`` as the network is fed or pictures with a
    ``preprocess``. ``target``, ``method``, ``layer``, ``output`` as there. ``every`` so many epochs ``folder`` gets a
    sheet, ``epoch-0003.jpg``; ``part`` says which attribute of the trained module is the network, by default itself.
    """

    def __init__(
        self,
        pictures: Any,
        target: Any = None,
        *,
        preprocess: Callable[[Any], Tensor] | None = None,
        classes: Sequence[str] | None = None,
        method: str = "grad-cam",
        layer: str | None = None,
        output: Any = None,
        part: str | None = None,
        every: int = 1,
        folder: str | Path = "maps",
    ) -> None:
        if every < 1:
            raise Error(f"every= says after how many epochs maps are drawn: 1 or more, not {every}.")
        self.pictures, self.target, self.preprocess, self.classes = pictures, target, preprocess, classes
        self.method, self.layer, self.output, self.part = method, layer, output, part
        self.every, self.folder = every, Path(folder)

    def explained(self, module: nn.Module) -> Explanation:
        """The explanation of the pictures by the network as it is; nothing of it or of the random numbers changes."""
        net = module.get_submodule(self.part) if self.part else module
        devices = list({p.device.index for p in net.parameters() if p.device.type == "cuda"})
        with torch.random.fork_rng(devices):
            model = Model(net, classes=self.classes, preprocess=self.preprocess)
            return Explainer(model, self.method, self.layer, output=self.output)(self.pictures, self.target)

    def drawn(self, module: nn.Module, epoch: int) -> Image.Image | None:
        """The sheet after an epoch, counted from 1, which is written; None where it is not its turn."""
        if epoch % self.every:
            return None
        sheet = self.explained(module).sheet()
        write_whole(made(self.folder) / f"epoch-{epoch:04}.jpg", jpeg(sheet))
        return sheet


def _shown(writer: Any, sheet: Image.Image, epoch: int) -> None:
    """Gives a sheet to a logger that takes pictures as TensorBoard's does."""
    if hasattr(writer, "add_image"):
        from torchvision.transforms.functional import pil_to_tensor

        writer.add_image("wherefore", pil_to_tensor(sheet), epoch)


def _lightning() -> Any:
    try:
        from lightning.pytorch import Callback
    except ImportError:
        raise Error("LightningMaps needs Lightning: pip install lightning") from None
    return Callback


def _transformers() -> Any:
    try:
        from transformers import TrainerCallback
    except ImportError:
        raise Error("TrainerMaps needs transformers: pip install 'wherefore[models]'") from None
    return TrainerCallback


def LightningMaps(*given: Any, **named: Any) -> Any:
    """A callback for ``lightning.Trainer``: a sheet of maps after every epoch of training; parameters as of `Maps`."""
    maps = Maps(*given, **named)

    class Drawing(_lightning()):  # type: ignore[misc]  # made here, so that Lightning is imported where it is used
        def on_train_epoch_end(self, trainer: Any, pl_module: nn.Module) -> None:
            epoch = trainer.current_epoch + 1
            sheet = maps.drawn(pl_module, epoch) if trainer.is_global_zero else None
            if sheet is not None:
                for logger in trainer.loggers:
                    _shown(getattr(logger, "experiment", None), sheet, epoch)

    return Drawing()


def TrainerMaps(*given: Any, **named: Any) -> Any:
    """A callback for ``transformers.Trainer``: a sheet of maps after every epoch; parameters as of `Maps`."""
    maps = Maps(*given, **named)

    class Drawing(_transformers()):  # type: ignore[misc]
        def on_epoch_end(self, args: Any, state: Any, control: Any, model: nn.Module, **_: Any) -> None:
            if state.is_world_process_zero:
                maps.drawn(model, round(state.epoch))

    return Drawing()
