"""Every method of explanation; importing this package fills `registry.METHODS`."""

from wherefore.methods import cams, gradients, excitation, perturbation, integrated, gathered  # noqa: I001  in this order

__all__ = ["cams", "excitation", "gathered", "gradients", "integrated", "perturbation"]
