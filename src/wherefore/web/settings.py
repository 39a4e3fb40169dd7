"""What a service is started with."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from wherefore.errors import Error

SHIPPED = ("scenes:vgg", "scenes:resnet", "scenes:places", "scenes:captioner", "scenes:vqa")
VARIABLE = "WHEREFORE_TOKEN"
SHORTEST = 16  # letters of a token: a shorter one can be guessed


@dataclass(frozen=True)
class Settings:
    """The limits of a service, and its token.

    ``queue``: how many requests to explain may be under way at once, waiting or running; ``batch``: how many pictures
    go through a network together, and ``linger``: how many seconds the first of them waits for others;
    ``most_bytes`` of a request, ``most_pixels`` of a picture; ``patience``: how many seconds a request may take to
    arrive; ``token``: what callers must show, if anything.
    """

    token: str | None = None
    queue: int = 64
    batch: int = 8
    linger: float = 0.004
    most_bytes: int = 10 * 2**20
    most_pixels: int = 16_000_000
    patience: float = 30.0


def token(file: Path | None) -> str | None:
    """The token in a file, else in the environment; None where there is none. Raises `Error` for one that is weak."""
    text = os.environ.get(VARIABLE)
    where = f"the variable {VARIABLE}"
    if file is not None:
        where = str(file)
        try:
            text = file.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError):
            raise Error(f"{file} cannot be read: give a file with the token, in plain ASCII.") from None
    if text is None:
        return None
    text = text.strip()
    if len(text) < SHORTEST or not text.isascii() or not text.isprintable() or " " in text:
        raise Error(
            f"{where} holds no token: it is one word of {SHORTEST} ASCII letters or more (openssl rand -hex 32)."
        )
    return text
