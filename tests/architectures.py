"""Networks of every family that is explained without a word on layer or grid: how they are built, and what comes out.

Weights are random and seeded. Each network is as small as its kind allows: few and narrow blocks, small pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
import transformers
from torch import Tensor, nn

import wherefore as wf


@dataclass(frozen=True)
class Row:
    """One architecture: how it is built and fed, and the default layer, its grid and what is explained by default."""

    family: str
    name: str
    build: Callable[[], nn.Module] = field(repr=False)
    feed: Callable[[], Any] = field(repr=False)
    layer: str
    grid: tuple[int, ...]
    target: str = "class"
    options: dict[str, Any] = field(default_factory=dict)  # of `wherefore.explain`: none but a target of its own kind
    slow: bool = False

    @property
    def label(self) -> str:
        """What the row is called where the same network is fed several sizes: ``timm resnet18 2x2``."""
        return f"{self.name} {'x'.join(map(str, self.grid))}"

    def network(self) -> nn.Module:
        """The network in eval mode; weights that start at zero, which would explain nothing, are drawn anew."""
        torch.manual_seed(0)
        net = self.build().eval()
        for module in net.modules():
            for name, weight in module.named_parameters(recurse=False):
                if name == "weight" and not bool(weight.any()):
                    nn.init.normal_(weight, std=0.02)
        return net

    def inputs(self) -> Any:
        """What it is fed."""
        torch.manual_seed(1)
        return self.feed()


ROWS: list[Row] = []


def pictures(*size: int, count: int = 2) -> Callable[[], Tensor]:
    """A batch of noise ``(count, 3, *size)``; one number is the side of a square."""
    return lambda: torch.rand(count, 3, *(size if len(size) > 1 else size * 2))


def of_timm(
    family: str, name: str, side: int | tuple[int, int], layer: str, grid: tuple[int, ...], slow: bool = False, **o: Any
) -> None:
    size = (side,) if isinstance(side, int) else side
    ROWS.append(
        Row(
            family,
            f"timm {name}",
            lambda: timm.create_model(name, num_classes=10, **o),
            pictures(*size),
            layer,
            grid,
            slow=slow,
        )
    )


def of_torchvision(
    family: str, name: str, feed: Callable[[], Any], layer: str, grid: tuple[int, ...], target: str = "class", **o: Any
) -> None:
    slow = o.pop("slow", False)

    def build() -> nn.Module:
        backbone = {"weights_backbone": None} if "segmentation" in family or family == "detection" else {}
        return torchvision.models.get_model(name, weights=None, num_classes=5, **backbone, **o)

    ROWS.append(Row(family, f"torchvision {name}", build, feed, layer, grid, target, slow=slow))


def of_transformers(
    family: str,
    name: str,
    config: Callable[[], Any],
    feed: Callable[[], Any],
    layer: str,
    grid: tuple[int, ...],
    target: str = "class",
    options: dict[str, Any] | None = None,
    slow: bool = False,
) -> None:
    def build() -> nn.Module:
        return getattr(transformers, name)(config())

    ROWS.append(Row(family, f"transformers {name}", build, feed, layer, grid, target, options or {}, slow))


# ------------------------------------------------------------------------------------------ convolutions

CNN = "CNN classifier"
of_timm(CNN, "resnet18", 64, "layer4", (2, 2))
of_timm(CNN, "seresnet50", 64, "layer4", (2, 2))
of_timm(CNN, "skresnet18", 64, "layer4", (2, 2))
of_timm(CNN, "res2net50_26w_4s", 64, "layer4", (2, 2))
of_timm(CNN, "nf_resnet26", 64, "final_act", (2, 2))
of_timm(CNN, "densenet121", 64, "features", (2, 2))
of_timm(CNN, "dpn48b", 64, "features", (2, 2))
of_timm(CNN, "efficientnet_b0", 64, "bn2", (2, 2))
of_timm(CNN, "tf_efficientnetv2_b0", 64, "bn2", (2, 2))
of_timm(CNN, "mobilenetv3_small_050", 64, "blocks", (2, 2))
of_timm(CNN, "mobilenetv4_conv_small_035", 64, "blocks", (2, 2))
of_timm(CNN, "ghostnet_050", 64, "blocks", (2, 2))
of_timm(CNN, "lcnet_035", 64, "blocks", (2, 2))
of_timm(CNN, "regnety_002", 64, "s4", (2, 2))
of_timm(CNN, "repvgg_a0", 64, "stages", (2, 2))
of_timm(CNN, "repvit_m0_9", 64, "stages", (2, 2))
of_timm(CNN, "nfnet_l0", 64, "final_act", (2, 2))
of_timm(CNN, "dla34", 64, "level5", (2, 2))
of_timm(CNN, "hrnet_w18_small", 64, "final_layer", (2, 2))
of_timm(CNN, "vovnet39a", 64, "stages", (2, 2))
of_timm(CNN, "inception_v4", 128, "features", (2, 2))
of_timm(CNN, "xception41", 64, "blocks", (2, 2))
of_timm(CNN, "cspresnet50", 64, "stages", (2, 2))
of_timm(CNN, "darknet53", 64, "stages", (2, 2))
of_timm(CNN, "starnet_s1", 64, "norm", (2, 2))
of_timm(CNN, "rdnet_tiny", 64, "dense_stages", (2, 2))
of_timm(CNN, "convmixer_768_32", 63, "blocks", (9, 9))
of_torchvision(CNN, "vgg11", pictures(64), "features.19", (4, 4))
of_torchvision(CNN, "squeezenet1_1", pictures(96), "features", (5, 5))
of_torchvision(CNN, "mnasnet0_5", pictures(64), "layers", (2, 2))
of_torchvision(CNN, "shufflenet_v2_x0_5", pictures(64), "conv5", (2, 2))
CONVNEXT = "ConvNeXt"
of_timm(CONVNEXT, "convnext_atto", 64, "stages", (2, 2))
of_timm(CONVNEXT, "convnextv2_atto", 64, "stages", (2, 2))
of_timm(CONVNEXT, "inception_next_atto", 64, "stages", (2, 2))
of_torchvision(CONVNEXT, "convnext_tiny", pictures(64), "features", (2, 2), slow=True)

# ------------------------------------------------------------------------------------------ transformers of pictures

VIT = "ViT"
tiny = {"img_size": 64, "depth": 3, "embed_dim": 32, "num_heads": 4}
of_timm(VIT, "vit_tiny_patch16_224", 64, "blocks.2.norm1", (4, 4), **tiny)
of_timm(VIT, "deit_tiny_distilled_patch16_224", 64, "blocks.2.norm1", (4, 4), **tiny)
of_timm(VIT, "deit3_small_patch16_224", 64, "blocks.2.norm1", (4, 4), **tiny)
of_timm(VIT, "flexivit_small", (64, 96), "blocks.2.norm1", (4, 6), **{**tiny, "img_size": (64, 96)})
of_timm(VIT, "vit_small_patch14_reg4_dinov2", 56, "blocks.2.norm1", (4, 4), **{**tiny, "img_size": 56})
of_timm(VIT, "vit_small_patch14_reg4_dinov2", (56, 98), "blocks.2.norm1", (4, 7), **{**tiny, "img_size": (56, 98)})
of_timm(VIT, "vit_small_patch16_dinov3", 64, "norm", (4, 4), **tiny)
of_timm(VIT, "beit_base_patch16_224", 64, "blocks.2", (4, 4), **tiny)
of_timm(VIT, "eva02_tiny_patch14_224", 56, "blocks.2", (4, 4), **{**tiny, "img_size": 56})
of_timm(VIT, "vit_base_patch16_siglip_224", 64, "norm", (4, 4), **tiny)
of_timm(VIT, "vit_base_patch16_clip_224", 64, "blocks.2.norm1", (4, 4), **tiny)
of_timm(VIT, "vit_relpos_small_patch16_224", 64, "blocks.2", (4, 4), **tiny)
of_timm(VIT, "naflexvit_base_patch16_gap", 64, "blocks.2", (4, 4), **{k: tiny[k] for k in tiny if k != "img_size"})
of_timm(VIT, "samvit_base_patch16_224", 64, "neck", (4, 4), **tiny)
of_timm(VIT, "cait_xxs24_224", 64, "blocks_token_only.1.norm1", (4, 4), **tiny)
of_timm(VIT, "convit_tiny", 64, "blocks.2.norm1", (4, 4), **{**tiny, "local_up_to_layer": 2})
of_timm(VIT, "hiera_tiny_224", 224, "blocks.11", (7, 7), slow=True)
of_timm(VIT, "vit_tiny_patch16_224", 224, "blocks.11.norm1", (14, 14), slow=True)
SWIN = "Swin"
small_swin = {"embed_dim": 24, "depths": (1, 1, 2, 2), "num_heads": (2, 2, 4, 4)}
of_timm(SWIN, "swin_tiny_patch4_window7_224", 128, "norm", (4, 4), img_size=128, window_size=4, **small_swin)
of_timm(SWIN, "swinv2_tiny_window8_256", 128, "norm", (4, 4), img_size=128, window_size=4, **small_swin)
of_timm(SWIN, "swinv2_cr_tiny_224", 128, "stages", (4, 4), img_size=128, **small_swin)
of_timm(SWIN, "swin_tiny_patch4_window7_224", 224, "norm", (7, 7), slow=True)
of_torchvision(SWIN, "swin_t", pictures(64), "permute", (2, 2), slow=True)
of_torchvision(SWIN, "swin_v2_t", pictures(64), "permute", (2, 2), slow=True)
HYBRID = "hybrid"
of_timm(HYBRID, "maxvit_pico_rw_256", 128, "norm", (4, 4), img_size=128)
of_timm(HYBRID, "coatnet_nano_rw_224", 64, "norm", (2, 2), img_size=64)
of_timm(HYBRID, "mobilevit_xxs", 64, "final_conv", (2, 2))
of_timm(HYBRID, "mobilevitv2_050", 64, "stages", (2, 2))
of_timm(HYBRID, "edgenext_xx_small", 64, "stages", (2, 2))
of_timm(HYBRID, "levit_128s", 224, "stages", (4, 4))
of_timm(HYBRID, "efficientformer_l1", 224, "norm", (7, 7))
of_timm(HYBRID, "fastvit_t8", 64, "final_conv", (2, 2))
of_timm(HYBRID, "efficientvit_b0", 64, "head.in_conv", (2, 2))
of_timm(HYBRID, "visformer_tiny", 224, "norm", (7, 7))
of_timm(HYBRID, "tiny_vit_5m_224", 64, "stages", (2, 2))
of_timm(HYBRID, "xcit_nano_12_p16_224", 64, "cls_attn_blocks.1.norm1", (4, 4), img_size=64)
of_timm(HYBRID, "caformer_s18", 64, "stages", (2, 2))
of_timm(HYBRID, "botnet26t_256", 128, "stages", (4, 4), img_size=128)
PYRAMID = "pyramid of attention"
of_timm(PYRAMID, "pvt_v2_b0", 64, "stages", (2, 2))
of_timm(PYRAMID, "poolformer_s12", 64, "stages", (2, 2))
of_timm(PYRAMID, "mvitv2_tiny", 64, "norm", (2, 2), img_size=64)
of_timm(PYRAMID, "nest_tiny", 224, "norm", (14, 14), slow=True)
of_timm(PYRAMID, "twins_pcpvt_small", 64, "norm", (2, 2), img_size=64)
of_timm(
    PYRAMID,
    "davit_tiny",
    64,
    "stages",
    (2, 2),
    depths=(1, 1, 1, 1),
    embed_dims=(16, 32, 48, 64),
    num_heads=(1, 2, 3, 4),
    window_size=2,
)
of_timm(PYRAMID, "focalnet_tiny_srf", 64, "norm", (2, 2))
of_timm(PYRAMID, "gcvit_xxtiny", 224, "stages", (7, 7))
of_timm(PYRAMID, "pit_ti_224", 224, "transformers.2.blocks.3.norm1", (7, 7))
of_timm(PYRAMID, "volo_d1_224", 224, "post_network.1.norm1", (14, 14), slow=True)
of_timm(PYRAMID, "crossvit_tiny_240", 240, "blocks.2.fusion.1.norm1", (20, 20), slow=True)
MIXER = "mixer"
of_timm(MIXER, "mixer_s32_224", 128, "norm", (4, 4), img_size=128)
of_timm(MIXER, "resmlp_12_224", 64, "blocks", (4, 4), img_size=64)
of_timm(MIXER, "gmlp_ti16_224", 64, "norm", (4, 4), img_size=64)
of_timm(MIXER, "sequencer2d_s", 224, "norm", (16, 16), slow=True)
of_timm(MIXER, "mambaout_femto", 64, "stages", (2, 2))

# ------------------------------------------------------------------------------------------ transformers' own

narrow = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}
square = {"image_size": 64, "patch_size": 8}
words = {"vocab_size": 50, "max_position_embeddings": 32, "bos_token_id": 0, "eos_token_id": 1}
FOUR = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}
SWINS = {"image_size": 64, "patch_size": 2, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 2], "window_size": 4}


def config(name: str, **options: Any) -> Callable[[], Any]:
    return lambda: getattr(transformers, name)(**options)


def tokens(count: int = 2, length: int = 9) -> Tensor:
    ids = torch.randint(2, 49, (count, length))
    ids[:, -1] = 1
    return ids


def pictures_and(texts: int) -> Callable[[], dict[str, Tensor]]:
    """Two pictures and some texts."""
    return lambda: {"input_ids": tokens(texts), "pixel_values": torch.rand(2, 3, 64, 64)}


both = {**narrow, **square}
of_transformers(
    VIT, "ViTForImageClassification", config("ViTConfig", **both), pictures(64), "vit.layers.2.layernorm_before", (8, 8)
)
of_transformers(
    VIT,
    "DeiTForImageClassificationWithTeacher",
    config("DeiTConfig", **both),
    pictures(64),
    "deit.layers.2.layernorm_before",
    (8, 8),
)
of_transformers(VIT, "BeitForImageClassification", config("BeitConfig", **both), pictures(64), "beit.layers.2", (8, 8))
of_transformers(
    VIT, "Dinov2ForImageClassification", config("Dinov2Config", **both), pictures(64), "dinov2.layernorm", (8, 8)
)
of_transformers(
    VIT,
    "Dinov2WithRegistersForImageClassification",
    config("Dinov2WithRegistersConfig", **both),
    pictures(48, 96),
    "dinov2_with_registers.layernorm",
    (6, 12),
)
of_transformers(
    SWIN, "SwinForImageClassification", config("SwinConfig", **SWINS), pictures(64), "swin.layernorm", (16, 16)
)
of_transformers(
    SWIN, "Swinv2ForImageClassification", config("Swinv2Config", **SWINS), pictures(64), "swinv2.layernorm", (16, 16)
)
of_transformers(
    CONVNEXT,
    "ConvNextForImageClassification",
    config("ConvNextConfig", **FOUR),
    pictures(64),
    "convnext.encoder.stages.3",
    (2, 2),
)
resnet = {"embedding_size": 8, "layer_type": "basic", **FOUR}
of_transformers(
    CNN,
    "ResNetForImageClassification",
    config("ResNetConfig", **resnet),
    pictures(64),
    "resnet.encoder.stages.3",
    (2, 2),
)
mobile = {
    "initializer_range": 0.2,
    "image_size": 64,
    "hidden_sizes": [16, 24, 32],
    "neck_hidden_sizes": [8, 8, 16, 16, 24, 32, 48],
}
of_transformers(
    HYBRID,
    "MobileViTForImageClassification",
    config("MobileViTConfig", **mobile),
    pictures(64),
    "mobilevit.conv_1x1_exp",
    (2, 2),
)

PICTURE_TEXT = "picture and text"
CLIP = {"text_config": {**words, **narrow}, "vision_config": both}
of_transformers(
    PICTURE_TEXT,
    "CLIPModel",
    config("CLIPConfig", projection_dim=16, **CLIP),
    pictures_and(3),
    "vision_model.encoder.layers.2.layer_norm1",
    (8, 8),
    "text",
)
of_transformers(
    PICTURE_TEXT,
    "SiglipModel",
    config("SiglipConfig", **CLIP),
    pictures_and(3),
    "vision_model.post_layernorm",
    (8, 8),
    "text",
)
of_transformers(
    PICTURE_TEXT,
    "CLIPVisionModelWithProjection",
    config("CLIPVisionConfig", projection_dim=16, **both),
    pictures(64),
    "vision_model.encoder.layers.2.layer_norm1",
    (8, 8),
    "similarity",
    {"target": wf.Similarity(torch.linspace(-1, 1, 16))},
)
of_transformers(
    PICTURE_TEXT,
    "ViltForQuestionAnswering",
    config("ViltConfig", num_labels=4, **words, **both),
    pictures_and(2),
    "vilt.embeddings.patch_embeddings",
    (8, 8),
)

# ------------------------------------------------------------------------------------------ places and boxes

SEGMENTATION = "segmentation"
REGION = "class, where it is highest"
of_torchvision(SEGMENTATION, "fcn_resnet50", pictures(64), "backbone.layer4", (8, 8), REGION, slow=True)
of_torchvision(SEGMENTATION, "deeplabv3_mobilenet_v3_large", pictures(64), "backbone.16", (4, 4), REGION)
of_torchvision(SEGMENTATION, "lraspp_mobilenet_v3_large", pictures(64), "backbone.16", (4, 4), REGION)
segformer = {"num_attention_heads": [1, 1, 2, 2], "decoder_hidden_size": 16, "num_labels": 4}
of_transformers(
    SEGMENTATION,
    "SegformerForSemanticSegmentation",
    config("SegformerConfig", **FOUR, **segformer),
    pictures(256, count=1),
    "segformer.stages.3.blocks.0.layernorm_before",
    (8, 8),
    REGION,
)
DETECTION = "detection"
BOX = "box with the highest score"
of_torchvision(
    DETECTION,
    "fasterrcnn_mobilenet_v3_large_320_fpn",
    pictures(160),
    "backbone.body.16",
    (10, 10),
    BOX,
    box_score_thresh=0.0,
)
of_torchvision(
    DETECTION,
    "fasterrcnn_resnet50_fpn",
    pictures(96, count=1),
    "backbone.body.layer4",
    (3, 3),
    BOX,
    box_score_thresh=0.0,
    min_size=96,
    slow=True,
)
of_torchvision(
    DETECTION, "ssdlite320_mobilenet_v3_large", pictures(64), "backbone.features.0", (20, 20), BOX, score_thresh=0.0
)
of_torchvision(
    DETECTION,
    "retinanet_resnet50_fpn",
    pictures(96),
    "backbone.body.layer4",
    (3, 3),
    BOX,
    score_thresh=0.0,
    min_size=96,
    slow=True,
)
of_torchvision(
    DETECTION,
    "fcos_resnet50_fpn",
    pictures(96),
    "backbone.body.layer4",
    (3, 3),
    BOX,
    score_thresh=0.0,
    min_size=96,
    slow=True,
)


def detr() -> Any:
    backbone = transformers.ResNetConfig(out_features=["stage4"], **resnet)
    heads = {"encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    sizes = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "num_queries": 10, "num_labels": 4}
    none = {"use_timm_backbone": False, "use_pretrained_backbone": False, "backbone": None}
    return transformers.DetrConfig(backbone_config=backbone, **none, **heads, **sizes)


of_transformers(DETECTION, "DetrForObjectDetection", detr, pictures(128, 160), "model.encoder.layers.1", (4, 5), BOX)
yolos = {"num_detection_tokens": 10, "num_labels": 4, **narrow, "image_size": [64, 64], "patch_size": 8}
of_transformers(
    DETECTION,
    "YolosForObjectDetection",
    config("YolosConfig", **yolos),
    pictures(64),
    "vit.encoder.layer.2.layernorm_before",
    (8, 8),
    BOX,
)

# ------------------------------------------------------------------------------------------ videos, signals, texts

VIDEO = "video"
clip = pictures(8, 64, 64)
of_torchvision(VIDEO, "r3d_18", clip, "layer4", (1, 4, 4), slow=True)
of_torchvision(VIDEO, "mc3_18", clip, "layer4", (8, 4, 4), slow=True)
of_torchvision(VIDEO, "s3d", pictures(16, 224, 224, count=1), "features", (2, 7, 7))
of_torchvision(VIDEO, "swin3d_t", pictures(4, 64, 64, count=1), "norm", (2, 2, 2))
of_torchvision(VIDEO, "mvit_v1_b", pictures(16, 224, 224, count=1), "blocks.15.norm1", (8, 7, 7), slow=True)
frames = pictures(4, 64, 64)
of_transformers(
    VIDEO,
    "VideoMAEForVideoClassification",
    config("VideoMAEConfig", num_frames=4, tubelet_size=2, **both),
    lambda: frames().transpose(1, 2),
    "videomae.encoder.layer.2",
    (2, 8, 8),
)
of_transformers(
    VIDEO,
    "VivitForVideoClassification",
    config("VivitConfig", num_frames=4, tubelet_size=[2, 8, 8], image_size=64, **narrow),
    lambda: frames().transpose(1, 2),
    "vivit.layers.2.layernorm_before",
    (2, 8, 8),
)
of_transformers(
    VIDEO,
    "TimesformerForVideoClassification",
    config("TimesformerConfig", num_frames=4, **both),
    lambda: frames().transpose(1, 2),
    "timesformer.encoder.layer.2.layernorm_before",
    (4, 8, 8),
)
TEXT = "text"
of_transformers(
    TEXT, "BertForSequenceClassification", config("BertConfig", **words, **narrow), tokens, "bert.encoder.layer.1", (9,)
)
distil = {"vocab_size": 50, "dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 64}
of_transformers(
    TEXT,
    "DistilBertForSequenceClassification",
    config("DistilBertConfig", **distil),
    tokens,
    "distilbert.transformer.layer.1",
    (9,),
)
gpt = {
    "vocab_size": 50,
    "n_embd": 32,
    "n_layer": 3,
    "n_head": 4,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 1,
}
of_transformers(
    TEXT, "GPT2ForSequenceClassification", config("GPT2Config", **gpt), tokens, "transformer.h.2.ln_1", (9,)
)
AUDIO = "signal"
wave = {
    "vocab_size": 10,
    "num_feat_extract_layers": 2,
    "conv_dim": (16, 16),
    "conv_kernel": (10, 3),
    "conv_stride": (5, 2),
    "num_conv_pos_embeddings": 16,
}
of_transformers(
    AUDIO,
    "Wav2Vec2ForSequenceClassification",
    config("Wav2Vec2Config", **wave, **narrow),
    lambda: torch.rand(2, 800),
    "wav2vec2.encoder.layers.2",
    (79,),
)


# ------------------------------------------------------------------------------------------ written by hand


class Yolo(nn.Module):
    """What Ultralytics returns: ``(B, 4 + C, N)`` of boxes and scores at three resolutions, and the raw maps."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1), nn.BatchNorm2d(8), nn.SiLU())
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.SiLU()) for _ in range(3)
        )
        self.heads = nn.ModuleList(nn.Conv2d(8, 4 + classes, 1) for _ in range(3))

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        x, raw = self.stem(x), []
        for stage, head in zip(self.stages, self.heads, strict=True):
            x = stage(x)
            raw.append(head(x))
        flat = torch.cat([each.flatten(2) for each in raw], 2)
        return torch.cat([8 * flat[:, :4].exp(), flat[:, 4:].sigmoid()], 1), raw  # boxes in pixels


class TextCNN(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.conv, self.fc = nn.Embedding(50, 16), nn.Conv1d(16, 24, 3, padding=1), nn.Linear(24, 4)

    def forward(self, ids: Tensor) -> Tensor:
        return self.fc(torch.relu(self.conv(self.embedding(ids).transpose(1, 2))).amax(2))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.fc = nn.LSTM(6, 16, batch_first=True), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.rnn(x)[0].mean(1))


class Frames(nn.Module):
    """A convolutional network for each frame and a recurrent one over them."""

    def __init__(self) -> None:
        super().__init__()
        self.cnn = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 12, 3, 2), nn.ReLU())
        self.rnn, self.fc = nn.GRU(12, 16, batch_first=True), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        batch, _, frames = x.shape[:3]
        features = self.cnn(x.transpose(1, 2).flatten(0, 1)).mean((2, 3)).unflatten(0, (batch, frames))
        return self.fc(self.rnn(features)[0][:, -1])


class Policy(nn.Module):
    """What an actor-critic returns for a frame and the state of its recurrent cell."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.ELU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ELU())
        self.cell, self.value, self.action = nn.GRUCell(8 * 100, 16), nn.Linear(16, 1), nn.Linear(16, 6)

    def forward(self, frame: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        state = self.cell(self.conv(frame).flatten(1), state)
        return self.action(state), self.value(state), state


def signal() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(2, 8, 5, 2), nn.ReLU(), nn.Conv1d(8, 16, 5, 2), nn.ReLU(),
        nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(16, 3),
    )  # fmt: skip


def volume() -> nn.Module:
    return nn.Sequential(
        nn.Conv3d(1, 8, 3), nn.ReLU(), nn.Conv3d(8, 8, 3, 2), nn.ReLU(),
        nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(8, 2),
    )  # fmt: skip


POLICY = "policy"
ROWS += [
    Row(DETECTION, "YOLO head", Yolo, pictures(64), "stages.0", (8, 8), BOX),
    Row(TEXT, "convolutions over words", TextCNN, tokens, "conv+relu", (9,)),
    Row(AUDIO, "1-D convolutions", signal, lambda: torch.randn(2, 2, 100), "3", (22,)),
    Row(AUDIO, "LSTM", Recurrent, lambda: torch.randn(2, 20, 6), "rnn[0]", (20,)),
    Row(VIDEO, "convolutions and a GRU", Frames, pictures(5, 32, 40), "cnn", (5, 7, 9)),
    Row("volume", "3-D convolutions", volume, lambda: torch.randn(2, 1, 16, 20, 24), "3", (6, 8, 10)),
    Row(
        POLICY,
        "convolutions and a GRU cell",
        Policy,
        lambda: wf.Inputs(torch.rand(3, 1, 40, 40), torch.randn(3, 16)),
        "conv",
        (10, 10),
        "action",
        {"target": wf.Action()},
    ),
]


# ------------------------------------------------------------------------------------------ the documentation's table


def table() -> str:
    """The rows as the table of ``docs/models.md``."""
    head = "| family | example | default layer | grid | target |\n|---|---|---|---|---|\n"
    return head + "".join(
        f"| {r.family} | {r.name} | `{r.layer}` | {' x '.join(map(str, r.grid))} | {r.target} |\n" for r in ROWS
    )


if __name__ == "__main__":
    page = Path(__file__).parents[1] / "docs" / "models.md"
    before, _ = page.read_text().split("| family |")
    page.write_text(before + table())
