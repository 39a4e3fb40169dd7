"""Every method of explanation; importing this package fills `registry.METHODS`."""

from wherefore.methods import cams

__all__ = ["cams"]
