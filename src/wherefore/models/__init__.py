"""Sources of models; importing this package fills `registry.MODELS`."""

from wherefore.models import zoo

__all__ = ["zoo"]
