"""Sources of models; importing this package fills `registry.MODELS`."""

from __future__ import annotations

from wherefore.errors import Error
from wherefore.models import caffe, from_timm, from_torchvision, from_transformers, paper, preact, scenes, zoo
from wherefore.registry import unknown

__all__ = ["caffe", "from_timm", "from_torchvision", "from_transformers", "named", "paper", "preact", "scenes", "zoo"]

_LISTS = {
    "torchvision": from_torchvision.torchvision_names,
    "timm": from_timm.timm_names,
    "scenes": scenes.scenes_names,
    "caffe": caffe.caffe_names,
    "preact": preact.preact_names,
    "paper": paper.paper_names,
}


def named(part: str = "", source: str | None = None) -> list[str]:
    """The names that can be given to `load`, of one source, with ``part`` in them; ``timm:part`` asks among timm's.

    Raises `Error` where there are none, and for a source that has no list.
    """
    prefix, colon, rest = part.partition(":")
    source, part = (prefix, rest) if colon else (source or "torchvision", part)
    if source == "hf":
        raise Error("hf:ORG/NAME is any repository of Hugging Face's: there is no list of them.")
    if source not in _LISTS:
        raise Error(unknown("source of models", source, _LISTS))
    before = "" if source == "torchvision" else f"{source}:"
    names = [before + name for name in _LISTS[source]() if part in name]
    if not names:
        command = f"wherefore models {before}".strip()
        raise Error(f"no model's name has {before + part!r} in it: `{command}` lists them all.")
    return names
