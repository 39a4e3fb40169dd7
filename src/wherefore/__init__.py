"""wherefore shows where a network looked and why it decided as it did.

import wherefore as wf

model = wf.load("resnet50")
e = wf.explain(model, "cat_dog.jpg", target=["tiger cat", "boxer"])
e.overlay()
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from wherefore import scenes as scenes
    from wherefore.batch.results import open_results as open_results
    from wherefore.capture import Capture as Capture
    from wherefore.concepts.wording import words as words
    from wherefore.errors import Error as Error
    from wherefore.explainer import Explainer as Explainer
    from wherefore.explainer import embed as embed
    from wherefore.explainer import explain as explain
    from wherefore.explanation import Explanation as Explanation
    from wherefore.feeding import Inputs as Inputs
    from wherefore.imaging import Preprocess as Preprocess
    from wherefore.methods import METHODS as METHODS
    from wherefore.models.zoo import load as load
    from wherefore.registry import MODELS as MODELS
    from wherefore.saying import answers as answers
    from wherefore.saying import captions as captions
    from wherefore.targets import ClassScore as ClassScore
    from wherefore.targets import Difference as Difference
    from wherefore.tasks import Action as Action
    from wherefore.tasks import Box as Box
    from wherefore.tasks import Pixels as Pixels
    from wherefore.tasks import Similarity as Similarity
    from wherefore.tuning import tune as tune
    from wherefore.types import Grid as Grid
    from wherefore.types import Model as Model
    from wherefore.worded import Answer as Answer
    from wherefore.worded import Caption as Caption
    from wherefore.worded import Word as Word

# Imported when first asked for, so that `import wherefore` costs nothing.
_HOME = {
    "Action": "tasks",
    "Answer": "worded",
    "Box": "tasks",
    "Caption": "worded",
    "Capture": "capture",
    "ClassScore": "targets",
    "Difference": "targets",
    "Error": "errors",
    "Explainer": "explainer",
    "Explanation": "explanation",
    "Grid": "types",
    "Inputs": "feeding",
    "METHODS": "methods",
    "MODELS": "registry",
    "Model": "types",
    "Pixels": "tasks",
    "Preprocess": "imaging",
    "Similarity": "tasks",
    "Word": "worded",
    "answers": "saying",
    "captions": "saying",
    "embed": "explainer",
    "explain": "explainer",
    "load": "models.zoo",
    "open_results": "batch.results",
    "scenes": "",  # a package
    "tune": "tuning",
    "words": "concepts.wording",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'wherefore' has no attribute {name!r}")
    home = _HOME[name]
    value = (
        getattr(importlib.import_module(f"wherefore.{home}"), name)
        if home
        else importlib.import_module(f"wherefore.{name}")
    )
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
