"""Attribution by layers, gradients and occlusion; what else Captum has can be imported, and says what to take."""

from wherefore.compat import also_known, refused
from wherefore.compat.captum.attr import visualization as visualization
from wherefore.compat.captum.attr.gradients import Deconvolution as Deconvolution
from wherefore.compat.captum.attr.gradients import GuidedBackprop as GuidedBackprop
from wherefore.compat.captum.attr.gradients import InputXGradient as InputXGradient
from wherefore.compat.captum.attr.gradients import Saliency as Saliency
from wherefore.compat.captum.attr.layers import GuidedGradCam as GuidedGradCam
from wherefore.compat.captum.attr.layers import LayerAttribution as LayerAttribution
from wherefore.compat.captum.attr.layers import LayerGradCam as LayerGradCam
from wherefore.compat.captum.attr.occlusion import Occlusion as Occlusion
from wherefore.compat.captum.attr.running import Attribution as Attribution

_NOT_HERE = (
    "IntegratedGradients DeepLift DeepLiftShap GradientShap NoiseTunnel FeatureAblation FeaturePermutation Lime "
    "LimeBase KernelShap ShapleyValues ShapleyValueSampling LRP LayerActivation LayerConductance LayerDeepLift "
    "LayerDeepLiftShap LayerFeatureAblation LayerGradientShap LayerGradientXActivation LayerIntegratedGradients "
    "LayerLRP InternalInfluence NeuronConductance NeuronDeconvolution NeuronDeepLift NeuronDeepLiftShap "
    "NeuronFeatureAblation NeuronGradient NeuronGradientShap NeuronGuidedBackprop NeuronIntegratedGradients "
    "DataLoaderAttribution LLMAttribution LLMGradientAttribution"
)
for _name in _NOT_HERE.split():
    globals()[_name] = refused(_name, "run the program with Captum itself, or take LayerGradCam, Saliency or Occlusion")

also_known(
    __name__,
    {
        "_core": "gradients",
        "_core.saliency": "gradients",
        "_core.input_x_gradient": "gradients",
        "_core.guided_backprop_deconvnet": "gradients",
        "_core.guided_grad_cam": "layers",
        "_core.occlusion": "occlusion",
        "_core.layer": "layers",
        "_core.layer.grad_cam": "layers",
        "_utils": "running",
        "_utils.attribution": "layers",
        "_utils.visualization": "visualization",
    },
)
