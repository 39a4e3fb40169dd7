"""Every method of explanation; importing this package fills `registry.METHODS`."""

from wherefore.methods import cams, gradients, excitation, perturbation, integrated, gathered  # noqa: I001  in this order

from wherefore.registry import METHODS

__all__ = ["METHODS", "cams", "excitation", "gathered", "gradients", "integrated", "perturbation"]
