"""pytorch-grad-cam's interface (1.5) over ours.

What differs, each a silent error of theirs, is told in ``docs/migration.md``: in-place functions behind a layer change
nothing that is explained, the model keeps its mode, its gradients and its modules, targets must be as many as images,
an exception is not swallowed, signs are not left to chance.
"""

from wherefore.compat import also_known
from wherefore.compat.pytorch_grad_cam.ablation_layer import AblationLayer as AblationLayer
from wherefore.compat.pytorch_grad_cam.ablation_layer import AblationLayerFasterRCNN as AblationLayerFasterRCNN
from wherefore.compat.pytorch_grad_cam.ablation_layer import AblationLayerVit as AblationLayerVit
from wherefore.compat.pytorch_grad_cam.activations_and_gradients import (
    ActivationsAndGradients as ActivationsAndGradients,
)
from wherefore.compat.pytorch_grad_cam.base_cam import BaseCAM as BaseCAM
from wherefore.compat.pytorch_grad_cam.feature_factorization import (
    DeepFeatureFactorization as DeepFeatureFactorization,
)
from wherefore.compat.pytorch_grad_cam.feature_factorization import run_dff_on_image as run_dff_on_image
from wherefore.compat.pytorch_grad_cam.guided_backprop import GuidedBackpropReLUModel as GuidedBackpropReLUModel
from wherefore.compat.pytorch_grad_cam.methods import *  # noqa: F403  all of its classes
from wherefore.compat.pytorch_grad_cam.sess import SESS as SESS
from wherefore.compat.pytorch_grad_cam.shapley_cam import ShapleyCAM as ShapleyCAM

_METHODS = (
    "grad_cam hirescam grad_cam_elementwise grad_cam_plusplus xgrad_cam ablation_cam score_cam layer_cam eigen_cam "
    "eigen_grad_cam fullgrad_cam finer_cam refine_cam random_cam kpca_cam seg_eigen_cam fem"
).split()
_METRICS = "cam_mult_image perturbation_confidence road arcc".split()

also_known(__name__, dict.fromkeys(_METHODS, "methods") | {f"metrics.{name}": "metrics" for name in _METRICS})
also_known(__name__, {"feature_factorization.deep_feature_factorization": "feature_factorization"})
