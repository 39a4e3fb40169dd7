"""Pictures, targets, reshaping, finding layers."""

from wherefore.compat.pytorch_grad_cam.utils.image import deprocess_image as deprocess_image
