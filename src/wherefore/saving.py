"""Files that are whole or not there, in folders that can be written, under names that do not clash."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from wherefore.errors import Error

if TYPE_CHECKING:  # who writes text alone needs neither
    from PIL import Image
    from torch import Tensor


def made(folder: str | Path) -> Path:
    """The folder, made where it is missing; an `Error` where it cannot be made or written."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".wherefore"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise Error(f"{folder} cannot be written ({error.strerror}): give another folder.") from None
    return folder


def can_be_made(folder: str | Path) -> Path:
    """The folder, not made yet; an `Error` where it is plain already that it cannot be."""
    folder = Path(folder)
    there = next(f for f in (folder, *folder.absolute().parents) if os.path.lexists(f))
    if not there.is_dir() or not os.access(there, os.W_OK):
        why = "may not be written" if there.is_dir() else "is no folder"
        raise Error(f"{folder} cannot be written ({there} {why}): give another folder.")
    return folder


def file_name(text: str) -> str:
    """Text as a part of a file name: letters, digits and dashes, at most 60 of them."""
    plain = "".join(c.lower() if c.isascii() and c.isalnum() else "-" for c in text)
    return "-".join(part for part in plain.split("-") if part)[:60] or "target"


def unique_names(names: Sequence[str]) -> list[str]:
    """The stems of file names, made different where they repeat: cat, cat-2; of at most 120 bytes."""
    taken: dict[str, int] = {}  # and how many of that stem there were
    result = []
    for name in names:
        plain = name.replace(":", "-").replace("/", "-") if name.startswith("scenes:") else Path(name).stem
        stem = wanted = os.fsencode(plain)[:120].decode(errors="ignore") or "picture"
        count = taken.get(wanted.lower(), 1)
        while stem.lower() in taken:
            count += 1
            stem = f"{wanted}-{count}"
        taken |= {wanted.lower(): count, stem.lower(): 1} if stem != wanted else {stem.lower(): 1}
        result.append(stem)
    return result


MARK = b"drawn by wherefore"  # the comment of the JPEG files that we write


def is_drawn(path: Path) -> bool:
    """Whether a picture is one of our overlays, by the comment that we leave in them."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return image.info.get("comment") == MARK
    except Exception:  # not a picture at all: whoever reads it says so
        return False


def jpeg(picture: Image.Image) -> bytes:
    """A picture as a JPEG file with our mark."""
    # PNG at the size of a photograph costs as much time as the network.
    buffer = io.BytesIO()
    if max(picture.size) > 65500:  # the format ends there
        picture.thumbnail((65500, 65500))
    picture.save(buffer, "JPEG", quality=90, comment=MARK)
    return buffer.getvalue()


def gif(frames: list[Image.Image], seconds: float = 0.2) -> bytes:
    """Frames as an animated GIF file that repeats."""
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=round(seconds * 1000), loop=0)
    return buffer.getvalue()


def write_whole(path: Path, content: bytes) -> Path:
    """Writes a file in one step: it is whole or not there, also where two processes write it at once."""
    part = path.with_name(f"{path.name}.{token_hex(4)}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise Error(f"{path} cannot be written ({error.strerror}).") from None
    return path


def write_tensors(path: Path, tensors: dict[str, Tensor], origin: dict[str, Any]) -> Path:
    """Writes safetensors in one step; their metadata says where they come from."""
    from safetensors.torch import save

    metadata = {
        key: value if isinstance(value, str) else json.dumps(value, default=str) for key, value in origin.items()
    }
    return write_whole(path, _in_order(save(tensors, metadata)))


def _in_order(content: bytes) -> bytes:
    """A safetensors file with its metadata sorted: the library writes them in another order each time."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the tensors begin at a multiple of eight
    return len(text).to_bytes(8, "little") + text + content[end:]


def write_json(path: Path, value: Any) -> Path:
    """Writes JSON in one step."""
    return write_whole(path, (json.dumps(value, indent=1, allow_nan=False, default=str) + "\n").encode())
