"""The seeds that SEC's authors published (``localization_cues.pickle``): trained on, they check the rest of a run."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from wherefore.datasets import VOID, Array
from wherefore.errors import Error

ARRAYS = {
    "_reconstruct",
    "scalar",
    "ndarray",
    "dtype",
    "_frombuffer",
    "encode",
    "bytes",
}  # all that arrays are pickled by
HOMES = {"numpy", "_codecs", "__builtin__", "builtins"}


class _ArraysOnly(pickle.Unpickler):
    """Reads arrays and what holds them: a pickle could otherwise run any code."""

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] not in HOMES or name not in ARRAYS:
            raise pickle.UnpicklingError(f"{module}.{name} is no array")
        return super().find_class(module, name)


def read_seeds(path: str | Path, count: int, grid: int = 41) -> Array:
    """The seeds ``(count, grid, grid)`` of a file of SEC's, in the order of its list of pictures.

    Such a file is a pickled dict with ``i_cues`` ``(3, n)`` for picture i: class (0 background), row and column of each
    seed. Raises `Error` for any other file, or where a picture has no seeds there.
    """
    try:
        with open(path, "rb") as file:
            found = _ArraysOnly(file, encoding="latin1").load()
        seeds = np.full((count, grid, grid), VOID, np.uint8)
        for i in range(count):
            classes, rows, columns = np.asarray(found[f"{i}_cues"])
            seeds[i, rows, columns] = classes
    except FileNotFoundError:
        raise Error(f"{path} does not exist.") from None
    except KeyError as error:
        raise Error(f"{path} has no {error.args[0]!r}: it needs seeds for each of {count} pictures.") from None
    except Exception as error:
        raise Error(f"{path} holds no seeds as SEC's authors published them ({error}).") from None
    return seeds
