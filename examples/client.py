"""Asks a running service (`wherefore serve`) about a picture; needs nothing but Python.

python examples/client.py photo.jpg
python examples/client.py photo.jpg --target dog --target bird --out maps
python examples/client.py photo.jpg --question "what colour is the bird?"
WHEREFORE_TOKEN=... python examples/client.py photo.jpg --url https://example.org/wherefore
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import Any


class Service:
    """A service at an address; it is asked again, as it wishes, where its queue is full."""

    def __init__(self, url: str = "http://127.0.0.1:7860", token: str | None = None, tries: int = 5) -> None:
        self.url, self.token, self.tries = url.rstrip("/"), token, tries

    def post(self, route: str, image: Path, **fields: str | list[str]) -> dict[str, Any]:
        """What the service says of a picture. Raises `RuntimeError` with its sentence."""
        boundary = uuid.uuid4().hex
        request = urllib.request.Request(self.url + route, _form(boundary, image, fields), method="POST")
        request.add_header("Content-Type", f"multipart/form-data; boundary={boundary}")
        if self.token:
            request.add_header("Authorization", f"Bearer {self.token}")
        for left in range(self.tries, 0, -1):
            try:
                with urllib.request.urlopen(request, timeout=120) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                if error.code != 503 or left == 1:
                    raise RuntimeError(json.load(error)["error"]) from None
                time.sleep(float(error.headers["Retry-After"]))
        raise AssertionError


def _form(boundary: str, image: Path, fields: dict[str, str | list[str]]) -> bytes:
    """Fields and a file as multipart/form-data."""
    start = f"--{boundary}\r\nContent-Disposition: form-data; name="
    parts = [
        f'{start}"{name}"\r\n\r\n{value}\r\n'.encode()
        for name, values in fields.items()
        for value in ([values] if isinstance(values, str) else values)
    ]
    head = f'{start}"image"; filename="picture{image.suffix}"\r\n\r\n'.encode()
    return b"".join([*parts, head, image.read_bytes(), f"\r\n--{boundary}--\r\n".encode()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=Path)
    parser.add_argument("--url", default="http://127.0.0.1:7860")
    parser.add_argument("--target", action="append", default=[], help="a class, by default the five likeliest")
    parser.add_argument("--question")
    parser.add_argument("--out", type=Path, help="a folder for the pictures under their maps")
    given = parser.parse_args()
    service = Service(given.url, os.environ.get("WHEREFORE_TOKEN"))
    include = ["overlay"] if given.out else []
    try:
        if given.question:
            told = service.post("/v1/ask", given.image, question=given.question, include=include)
        else:
            told = service.post("/v1/explain", given.image, target=given.target or ["top5"], include=include)
    except (RuntimeError, OSError) as error:
        print(f"client: {error}", file=sys.stderr)
        sys.exit(2)
    for number, target in enumerate(told["images"][0]["targets"]):
        print(f"{target['name']}: p {target['probability']:.3f}, looked hardest at {target['peak']}")
        if given.out:
            given.out.mkdir(parents=True, exist_ok=True)
            content = base64.b64decode(target["overlay"].split(",")[1])
            (given.out / f"{given.image.stem}.{number}.jpg").write_bytes(content)


if __name__ == "__main__":
    main()
