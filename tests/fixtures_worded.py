"""Tiny networks of transformers that say words or answer questions, made without a network and saved in folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from fixtures_transformers import PIECES, SIDES, SMALL, VISION, bytelevel, hf, saved, wordpiece

TEXT = {**SMALL, "vocab_size": len(PIECES), "max_position_embeddings": 16, "pad_token_id": 0}
TEXT |= {"bos_token_id": 2, "eos_token_id": 3, "initializer_range": 0.02}
TEMPLATE = (
    "{% for turn in messages %}{% for part in turn.content %}"
    "{% if part.type == 'image' %}<image>{% else %} {{ part.text }}{% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %} in{% endif %}"
)


def drawn(net: nn.Module, spread: float = 0.2) -> nn.Module:
    """The network with all its weights drawn anew, wide enough that its words and answers differ."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in dict.fromkeys(net.parameters()):
            weight.copy_(torch.randn(weight.shape, generator=generator) * spread)
    return net.eval()


def blip(kind: str, folder: Path) -> str:
    """BLIP: ``ConditionalGeneration`` or ``QuestionAnswering``."""
    text = {**TEXT, "sep_token_id": 3, "encoder_hidden_size": 32, "projection_dim": 16}
    config = hf.BlipConfig(text_config=text, vision_config={**VISION, "initializer_range": 0.02}, projection_dim=16)
    net = drawn(getattr(hf, f"BlipFor{kind}")(config))
    return saved(folder, net, wordpiece(), hf.BlipImageProcessor(size=SIDES))


def git(folder: Path) -> str:
    config = hf.GitConfig(**TEXT, vision_config=VISION)
    processor = hf.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=SIDES)
    return saved(folder, drawn(hf.GitForCausalLM(config)), wordpiece(), processor)


def vit_gpt2(folder: Path, positions: int = 16) -> str:
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": positions, "vocab_size": 266}
    ends = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    decoder = hf.GPT2Config(**sizes, **ends, is_decoder=True, add_cross_attention=True)
    config = hf.VisionEncoderDecoderConfig.from_encoder_decoder_configs(hf.ViTConfig(**VISION), decoder)
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = 1, 1, 1
    net = drawn(hf.VisionEncoderDecoderModel(config))
    return saved(folder, net, bytelevel(False), hf.ViTImageProcessor(size=SIDES))


def llava(folder: Path, feature: int = -1, tower: str = "Siglip") -> str:
    """LLaVA over a SigLIP, all of whose tokens it reads, or a CLIP, without its class token."""
    tokenizer = bytelevel(False)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    ends = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    text = hf.Qwen2Config(
        **SMALL, num_key_value_heads=2, vocab_size=len(tokenizer), max_position_embeddings=128, **ends
    )
    vision = getattr(hf, f"{tower}VisionConfig")(**VISION, vision_use_head=False)
    select = "full" if tower == "Siglip" else "default"
    places = {"image_token_id": len(tokenizer) - 1, "vision_feature_layer": feature}
    config = hf.LlavaConfig(vision_config=vision, text_config=text, vision_feature_select_strategy=select, **places)
    processor = hf.LlavaProcessor(
        hf.SiglipImageProcessor(size=SIDES),
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy=select,
        chat_template=TEMPLATE,
        num_additional_image_tokens=int(select == "default"),
    )
    return saved(folder, drawn(hf.LlavaForConditionalGeneration(config)), processor)


def vilt(folder: Path, **options: Any) -> str:
    answers = {"id2label": {0: "red", 1: "blue", 2: "two dogs"}, "label2id": {"red": 0, "blue": 1, "two dogs": 2}}
    config = hf.ViltConfig(**{**VISION, **TEXT, **answers, "max_position_embeddings": 40, **options})
    processor = hf.ViltImageProcessor(size={"shortest_edge": 32}, size_divisor=8)
    return saved(folder, drawn(hf.ViltForQuestionAnswering(config)), wordpiece(), processor)
