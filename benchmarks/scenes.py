"""How many scenes are drawn in a second, on one core: ``python benchmarks/scenes.py``.

Processor time, so that other work on the machine counts as little as it can.
"""

from __future__ import annotations

import time

from wherefore.scenes import scene

COUNT = 400


def rate(objects: int | None, size: int) -> float:
    """Pictures a second, with masks, of scenes with so many objects."""
    _ = scene(0, "train", objects, size).masks  # what is done once
    begun = time.process_time()
    for number in range(COUNT):
        _ = scene(number, "train", objects, size).masks
    return COUNT / (time.process_time() - begun)


if __name__ == "__main__":
    for size in (96, 128, 256):
        rates = {objects or "1-4": rate(objects, size) for objects in (1, 2, 4, None)}
        print(f"{size} px  " + "  ".join(f"{name} objects {value:.0f}/s" for name, value in rates.items()))
