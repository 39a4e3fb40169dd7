"""A training that can be stopped: what a checkpoint holds, and what must be the same for it to be gone on from."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from wherefore.errors import Error
from wherefore.saving import write_whole


class Resumable:
    """A training under way: the network on its device, its optimizer, and what has been done so far.

    ``settings`` must be the same for a checkpoint to be gone on from. ``device`` is by default a graphics card, if any.
    """

    def __init__(
        self, net: nn.Module, optimizer: torch.optim.Optimizer, settings: list[Any], device: str | None = None
    ) -> None:
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        try:
            self.device = torch.device(device)
            self.net = net.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            raise Error(f"device {device!r} cannot be used: {str(error).splitlines()[0]}") from None
        self.optimizer = optimizer
        self.settings: list[Any] = json.loads(json.dumps(settings))
        self.seconds, self.rows = 0.0, list[dict[str, Any]]()

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return len(self.rows)

    def write(self, path: Path) -> None:
        """A checkpoint: whole or not there."""
        state = {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}
        about = {"settings": self.settings, "rows": self.rows, "seconds": self.seconds}
        buffer = io.BytesIO()
        torch.save({**state, "about": json.dumps(about)}, buffer)
        write_whole(path, buffer.getvalue())

    def read(self, path: Path) -> None:
        """Goes on from a checkpoint."""
        try:
            found = torch.load(path, map_location=self.device, weights_only=True)
            about = json.loads(found["about"])
        except Exception:
            raise Error(f"{path} is not a readable checkpoint: --fresh starts anew.") from None
        if about["settings"] != self.settings:
            raise Error(f"{path} was trained otherwise (seed, epochs or recipe): --fresh starts anew.")
        self.net.load_state_dict(found["net"])
        self.optimizer.load_state_dict(found["optimizer"])
        self.rows, self.seconds = about["rows"], about["seconds"]
