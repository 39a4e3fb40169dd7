"""Runs a network that `wherefore export` wrote as ONNX on a picture; needs numpy, Pillow and onnxruntime alone.

python examples/run_exported.py explained.onnx photo.jpg                        # explains the first answer
python examples/run_exported.py explained.onnx photo.jpg --target dog --out dog.jpg

Prints the likeliest answers, and writes the picture under its map. How pictures are prepared and what the classes are
called stands in the file's metadata. The functions are meant to be copied.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image

HEAT = np.array([[68, 1, 84], [187, 55, 84], [249, 142, 9], [252, 255, 164]])  # violet, red, orange, yellow
FILTERS = {name.lower(): Image.Resampling[name] for name in ("NEAREST", "BILINEAR", "BICUBIC", "LANCZOS")}
Box = tuple[int, int, int, int]


class Explained:
    """An exported network: ``explained(picture, target)`` is ``(logits (C,), map (h, w))``, raw."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise ValueError(f"there is no file {path}.")
        self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        about = self.session.get_modelmeta().custom_metadata_map
        self.preprocess: dict[str, Any] | None = json.loads(about["preprocess"])
        self.classes: list[str] | None = json.loads(about["classes"])
        self.asks = len(self.session.get_inputs()) == 2  # for a target; else it explains its first answer

    def __call__(self, picture: Image.Image, target: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        if self.preprocess is None:
            raise ValueError("the file does not say how pictures are prepared: write a `prepare` of your own.")
        if target is not None and not self.asks:
            raise ValueError("the file was exported with --top1 and explains its first answer: leave --target out.")
        given = {"image": prepare(picture, self.preprocess)[0]}
        if self.asks:
            given["target"] = np.array([target or 0])
        logits, maps = self.session.run(None, given)
        if self.asks and target is None and logits[0].argmax() != 0:
            return self(picture, int(logits[0].argmax()))
        return logits[0], maps[0]

    def number(self, name: str) -> int:
        """The index of a class, which is told by its name or its index."""
        if name.isdecimal():
            return int(name)
        if not self.classes or name not in self.classes:
            raise ValueError(f"the file has no class {name!r}.")
        return self.classes.index(name)


def prepare(picture: Image.Image, how: dict[str, Any]) -> tuple[np.ndarray, Box]:
    """What the network takes of an RGB picture, ``(1, 3, H, W)``, and which box of the picture's pixels that shows."""
    if how["longest"] or not how["antialias"]:
        raise ValueError("pictures are prepared in a way that this program lacks: write a `prepare` of your own.")
    width, height = _resized(picture.size, how)
    crop = None if how["squash"] else how["crop"]
    across, down = (width, height) if crop is None else _pair(crop)[::-1]
    left, top = _margin(width - across, how), _margin(height - down, how)
    seen = picture.resize((width, height), FILTERS[how["interpolation"]])
    seen = seen.crop((left, top, left + across, top + down))
    channels = np.asarray(seen).transpose(2, 0, 1)[:: -1 if how["bgr"] else 1]
    mean, std = (np.array(how[name], np.float32)[:, None, None] for name in ("mean", "std"))
    x, y = picture.width / width, picture.height / height
    box = round(left * x), round(top * y), round((left + across) * x), round((top + down) * y)
    return ((channels / np.float32(255) - mean) / std)[None], box


def _resized(size: tuple[int, int], how: dict[str, Any]) -> tuple[int, int]:
    """Width and height before the crop: an int is the short side's length, a pair (height, width)."""
    resize, short = how["resize"], min(size)
    if how["squash"] and how["crop"] is not None:
        resize = _pair(how["crop"])
    if resize is None:
        return size
    if not isinstance(resize, int):
        return resize[1], resize[0]
    width, height = (resize if side == short else int(resize * side / short) for side in size)
    return width, height


def _pair(sides: int | list[int]) -> list[int]:
    return [sides, sides] if isinstance(sides, int) else sides


def _margin(left_over: int, how: dict[str, Any]) -> int:
    """What is cut off on the left, or at the top; negative where a picture that is too small is padded."""
    if left_over < 0:
        return -(-left_over // 2)
    return left_over // 2 if how["rounds_down"] else round(left_over / 2)


def laid_over(picture: Image.Image, heat: np.ndarray, box: Box) -> Image.Image:
    """The picture under a map of the part in the box: the more evidence, the hotter and the less of the picture."""
    size = box[2] - box[0], box[3] - box[1]
    large = np.asarray(Image.fromarray(heat).resize(size, Image.Resampling.BILINEAR)).clip(0)
    share = large / (heat.max() or 1)
    colours = np.stack([np.interp(share, np.linspace(0, 1, len(HEAT)), each) for each in HEAT.T], -1)
    shown = picture.copy()
    cover = Image.fromarray((200 * share**0.5).astype(np.uint8))
    shown.paste(Image.fromarray(colours.astype(np.uint8)), box[:2], cover)
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--target", help="a class, by default the first answer")
    parser.add_argument("--out", type=Path, default=Path("explained.jpg"))
    given = parser.parse_args()
    try:
        explained, picture = Explained(given.network), Image.open(given.picture).convert("RGB")
        target = None if given.target is None else explained.number(given.target)
        logits, heat = explained(picture, target)
    except (ValueError, OSError) as error:
        print(f"run_exported: {error}", file=sys.stderr)
        sys.exit(2)
    shares = np.exp(logits - logits.max())
    shares /= shares.sum()
    for i in np.argsort(-logits)[:5]:
        print(f"{explained.classes[i] if explained.classes else i}: p {shares[i]:.3f}")
    assert explained.preprocess
    laid_over(picture, heat, prepare(picture, explained.preprocess)[1]).save(given.out, quality=92)
    print(given.out)


if __name__ == "__main__":
    main()
