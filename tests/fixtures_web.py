"""Pictures to be sent, bad ones too, and services to send them to."""

from __future__ import annotations

import io
import os
import re
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from PIL import Image

from wherefore.scenes import scene


def sent(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """A picture as a file."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def drawn(number: int = 17) -> bytes:
    """A scene as a PNG."""
    return sent(scene(number).image)


def chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, data: bytes, *, depth: int = 8, colour: int = 2, adam7: int = 0) -> bytes:
    """A PNG by hand, whose header may lie."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, adam7)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@cache
def bomb() -> bytes:
    """300 MB of zeros, deflated to 300 kB."""
    stream = zlib.compressobj(9)
    return b"".join([stream.compress(b"\0" * 10**7) for _ in range(30)] + [stream.flush()])


def scans() -> bytes:
    """A progressive JPEG that says the last of its scans 200 times."""
    plain = sent(scene(17).image, "JPEG", progressive=True)
    last = plain.rindex(b"\xff\xda")
    return plain[:last] + plain[last:-2] * 200 + plain[-2:]


SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>'


@contextmanager
def serving(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`wherefore serve` in a process of its own, and its address."""
    command = [sys.executable, "-m", "wherefore", "serve", "--port", "0", *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout
        found = re.match(r"http://\S+", process.stdout.readline())
        assert found, process.stderr and process.stderr.read()
        yield process, found[0]
    finally:
        process.terminate()
        process.communicate(timeout=60)


@contextmanager
def served(app: Any) -> Iterator[str]:
    """An app served by a thread of this process, at the address that is given."""
    import uvicorn

    from wherefore.listening import address, listen

    with listen("127.0.0.1", 0) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield address(listening)
        finally:
            server.should_exit = True
            thread.join(60)
