"""Data sets, read as they lie on disk: pictures with what people said of them: ``opened("voc:DIR")[17].labels``."""

from __future__ import annotations

from wherefore.datasets import broden as _broden  # noqa: F401  importing the package fills DATASETS
from wherefore.datasets import coco as _coco  # noqa: F401
from wherefore.datasets import folder as _folder  # noqa: F401
from wherefore.datasets import genome as _genome  # noqa: F401
from wherefore.datasets import imagenet as _imagenet  # noqa: F401
from wherefore.datasets import manifest as _manifest  # noqa: F401
from wherefore.datasets import scenes as _scenes  # noqa: F401
from wherefore.datasets import voc as _voc  # noqa: F401
from wherefore.datasets import vqa as _vqa  # noqa: F401
from wherefore.datasets.checking import report
from wherefore.datasets.files import Unreadable
from wherefore.datasets.matching import matched
from wherefore.datasets.sample import VOID, Array, Asked, Box, Concepts, Dataset, Instance, Sample
from wherefore.registry import DATASETS
from wherefore.scenes.annotated import Region

__all__ = [
    "VOID", "Array", "Asked", "Box", "Concepts", "Dataset", "Instance", "Region", "Sample", "Unreadable", "matched",
    "opened", "report",
]  # fmt: skip


def opened(spec: str, split: str = "test") -> Dataset:
    """The data set that a spec names: ``scenes``, ``scenes:pair``, ``imagenet:DIR``, ``voc:DIR``, ``coco:DIR``,
    ``genome:DIR``, ``vqa:DIR``, ``broden:DIR``, ``folder:DIR``, ``manifest:FILE``, ``scenes:people``.

    ``split``: ``test`` is what is measured on, ``dev`` what thresholds are chosen on and ``train`` what is trained on;
    which part of a real data set that is, its reader says. Raises `Error` for an unknown data set, a folder that is
    missing or holds no such data set.
    """
    name, _, where = spec.partition(":")
    found: Dataset = DATASETS[name].run(where, split)
    return found
