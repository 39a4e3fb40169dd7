"""Tokenizers, processors and tiny networks of transformers, made without a network and saved in folders."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from torch import nn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of other libraries, which transformers imports where they are installed
    import transformers as hf

    _ = hf.BertForSequenceClassification, hf.PreTrainedTokenizerFast

PIECES = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "the",
    "cat",
    "sat",
    "on",
    "dog",
    "##s",
    "wasn",
    "'",
    "t",
    "play",
    "##ing",
]
PIECES += [",", "un", "##believ", "##able"]
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 37}
VISION = {**SMALL, "image_size": 32, "patch_size": 8}
# A vocabulary of 60, twelve positions: long texts are cut off.
TEXT = {**SMALL, "vocab_size": 60, "max_position_embeddings": 12, "pad_token_id": 0}
TEXT |= {"bos_token_id": 2, "eos_token_id": 3}
SIDES = {"height": 32, "width": 32}


def wordpiece() -> Any:
    """A tokenizer as BERT's."""
    t = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(PIECES)}, unk_token="[UNK]"))
    t.normalizer, t.pre_tokenizer = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    t.decoder = decoders.WordPiece()
    t.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), PIECES, strict=False))
    return hf.PreTrainedTokenizerFast(tokenizer_object=t, **names)


def bytelevel(trim: bool) -> Any:
    """A tokenizer as RoBERTa's (its offsets without the space before a word) or GPT-2's (with it)."""
    merges = [("Ġ", "c"), ("Ġc", "a"), ("Ġca", "t"), ("t", "h"), ("th", "e"), ("Ġ", "p"), ("Ġp", "l"), ("i", "n")]
    vocabulary = ["<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet()), *map("".join, merges)]
    t = Tokenizer(models.BPE({piece: i for i, piece in enumerate(vocabulary)}, merges))
    t.pre_tokenizer, t.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    t.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0), trim_offsets=trim, add_prefix_space=False)
    return hf.PreTrainedTokenizerFast(tokenizer_object=t, bos_token="<s>", eos_token="</s>", pad_token="</s>")


def metaspace() -> Any:
    """A tokenizer with words marked as sentencepiece does."""
    pieces = ["▁the", "▁cat", "▁un", "believ", "able", "s", "▁dog", ",", "▁", "T"]
    t = Tokenizer(models.Unigram([("<unk>", 0.0), *[(p, -1.0 - i / 10) for i, p in enumerate(pieces)]], unk_id=0))
    t.pre_tokenizer, t.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    return hf.PreTrainedTokenizerFast(tokenizer_object=t, unk_token="<unk>")


def saved(folder: Path, net: nn.Module, *others: Any) -> str:
    """What `load` is given for a network, its processor and its tokenizer, saved in a folder."""
    for each in (net, *others):
        each.save_pretrained(folder)
    return f"hf:{folder}"


def vit(**options: Any) -> nn.Module:
    return hf.ViTForImageClassification(hf.ViTConfig(**VISION, **{"num_labels": 3, **options}))


def clip() -> nn.Module:
    config = hf.CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=16)
    return hf.CLIPModel(config)


def siglip() -> nn.Module:
    return hf.SiglipModel(hf.SiglipConfig(text_config=TEXT, vision_config=VISION))


def segformer() -> nn.Module:
    config = hf.SegformerConfig(
        hidden_sizes=[8, 8, 16, 16],
        depths=[1] * 4,
        num_attention_heads=[1] * 4,
        decoder_hidden_size=16,
        num_labels=4,
    )
    return hf.SegformerForSemanticSegmentation(config)


def detr() -> nn.Module:
    backbone = hf.ResNetConfig(embedding_size=8, hidden_sizes=[8] * 4, depths=[1] * 4, layer_type="basic")
    backbone.out_features = ["stage4"]
    sides = {"encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "d_model": 16, "num_queries": 4, "num_labels": 3}
    counts = dict.fromkeys(("encoder_layers", "decoder_layers"), 1)
    heads = dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 2)
    config = hf.DetrConfig(use_timm_backbone=False, backbone_config=backbone, **sides, **counts, **heads)
    return hf.DetrForObjectDetection(config)


def yolos() -> nn.Module:
    config = hf.YolosConfig(**{**VISION, "image_size": [64, 64]}, num_detection_tokens=5, num_labels=4)
    return hf.YolosForObjectDetection(config)


def videomae() -> nn.Module:
    config = hf.VideoMAEConfig(**VISION, num_frames=4, tubelet_size=2, num_labels=5)
    return hf.VideoMAEForVideoClassification(config)
