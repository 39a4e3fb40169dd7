"""Ablation layers: what is put in a layer's place there; here nothing is, and they only say what kind is meant."""

from __future__ import annotations

from wherefore.compat import refused


class AblationLayer:
    """For layers of channels first. Taken for the sake of programs that pass one; it need not be passed."""


class AblationLayerVit(AblationLayer):
    """For layers of tokens. Taken for the sake of programs that pass one; it need not be passed."""


AblationLayerFasterRCNN = refused("AblationLayerFasterRCNN", "give AblationCAM a layer that returns one tensor")
