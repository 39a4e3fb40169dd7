"""A program that a type checker understands: ``mypy --strict examples/typed.py``, with wherefore installed.

Run, it prints for a scene what the network says and where it looked.
"""

from __future__ import annotations

from typing import assert_type

from PIL import Image
from torch import Tensor

import wherefore as wf


def strongest(e: wf.Explanation) -> dict[str, float]:
    """Of each target of the first picture, by name, the largest positive value of its map."""
    return dict(zip(e.targets[0], e.evidence[0].tolist(), strict=True))


def main() -> None:
    model = wf.load("scenes:vgg")
    assert_type(model, wf.Model)
    e = wf.explain(model, "scenes:17", "top5")
    assert_type(e, wf.Explanation)
    assert_type(e.maps, Tensor | list[Tensor])  # a list where grids differ
    assert_type(e.scores, Tensor)
    assert_type(e.evidence, Tensor)
    why = wf.Explainer(model, method="hires-cam", layer="features.20")
    assert_type(why(Image.new("RGB", (96, 96)), target="dog"), wf.Explanation)
    for name, evidence in strongest(e).items():
        print(f"{name}: {evidence:.2f}")


if __name__ == "__main__":
    main()
