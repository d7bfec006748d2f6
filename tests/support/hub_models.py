"""Models of transformers so small that making one takes a moment: random weights, tokenizers made here."""

from __future__ import annotations

import string
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers.models.chinese_clip.image_processing_pil_chinese_clip import ChineseCLIPImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.efficientnet.image_processing_pil_efficientnet import EfficientNetImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

LENGTH = 16
TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
PICTURE = {**TOWER, "image_size": 32, "patch_size": 8}
TEXT = {**TOWER, "vocab_size": 80, "max_position_embeddings": LENGTH}
SQUARE = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
LETTERS = [*string.ascii_lowercase, *string.digits, ",", "."]


def word_pieces(length: int | None = LENGTH) -> Any:
    """BERT's tokenizer over single letters."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {token: n for n, token in enumerate([*special, *LETTERS, *(f"##{x}" for x in LETTERS[:30])])}
    return hf.BertTokenizer(vocab=vocabulary, model_max_length=length)


def byte_pairs() -> Any:
    """CLIP's tokenizer without merges."""
    tokens = [
        "<|startoftext|>",
        "<|endoftext|>",
        *LETTERS[:36],
        *(f"{letter}</w>" for letter in LETTERS[:36]),
    ]
    return hf.CLIPTokenizer(
        vocab={token: n for n, token in enumerate(tokens)}, merges=[], model_max_length=LENGTH
    )


def padded_letters() -> Any:
    """As SigLIP's: ends in </s>, which is also the padding, and gives no mask."""
    backend = Tokenizer(
        models.WordLevel({t: n for n, t in enumerate(["<unk>", "</s>", *LETTERS])}, unk_token="<unk>")
    )
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    backend.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="<unk>", eos_token="</s>", pad_token="</s>",
        model_max_length=LENGTH, model_input_names=["input_ids"],
    )  # fmt: skip


def gemma_pieces() -> Any:
    """SigLIP 2's tokenizer without merges; what it lacks becomes bytes."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "\u2581"]
    vocabulary = {token: n for n, token in enumerate([*special, *LETTERS])}
    return hf.Siglip2Tokenizer(vocab=vocabulary, merges=[], padding_side="right", model_max_length=LENGTH)


def clip(width: int = 24) -> tuple[Any, Any]:
    text = {**TEXT, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    config = hf.CLIPConfig(text_config=text, vision_config=PICTURE, projection_dim=width)
    return hf.CLIPModel(config), hf.CLIPProcessor(CLIPImageProcessorPil(**SQUARE), byte_pairs())


def siglip(**size: int) -> tuple[Any, Any]:
    ends = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    text = {**TEXT, **ends, "projection_size": size.get("hidden_size", 32)}
    config = hf.SiglipConfig(text_config=text, vision_config={**PICTURE, **size})
    processor = SiglipImageProcessorPil(size={"height": 32, "width": 32})
    return hf.SiglipModel(config), hf.SiglipProcessor(processor, padded_letters())


def siglip2() -> tuple[Any, Any]:
    picture = {**TOWER, "patch_size": 8, "num_patches": 16}
    ends = {"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}
    config = hf.Siglip2Config(text_config={**TEXT, **ends, "projection_size": 32}, vision_config=picture)
    processor = Siglip2ImageProcessorPil(patch_size=8, max_num_patches=16)
    return hf.Siglip2Model(config), hf.Siglip2Processor(processor, gemma_pieces())


def chinese_clip() -> tuple[Any, Any]:
    config = hf.ChineseCLIPConfig(text_config=TEXT, vision_config=PICTURE, projection_dim=24)
    processor = ChineseCLIPImageProcessorPil(**SQUARE)
    return hf.ChineseCLIPModel(config), hf.ChineseCLIPProcessor(processor, word_pieces())


def align() -> tuple[Any, Any]:
    picture = {
        "image_size": 32, "hidden_dim": 64, "depthwise_padding": [], "kernel_sizes": [3], "strides": [1],
        "in_channels": [32], "out_channels": [64], "num_block_repeats": [1], "expand_ratios": [1],
        "width_coefficient": 1.0, "depth_coefficient": 1.0, "depth_divisor": 8,
    }  # fmt: skip
    config = hf.AlignConfig(text_config=TEXT, vision_config=picture, projection_dim=64)
    processor = EfficientNetImageProcessorPil(
        size={"height": 36, "width": 36}, do_center_crop=True, crop_size={"height": 32, "width": 32},
        rescale_offset=True, include_top=False,
    )  # fmt: skip
    return hf.AlignModel(config), hf.AlignProcessor(processor, word_pieces())


def vision_text(text: str = "bert") -> tuple[Any, Any]:
    tower = hf.BertConfig(**TEXT)
    if text == "roberta":
        tower = hf.RobertaConfig(**{**TEXT, "max_position_embeddings": LENGTH + 2}, pad_token_id=1)
    config = hf.VisionTextDualEncoderConfig.from_vision_text_configs(
        hf.ViTConfig(**PICTURE), tower, projection_dim=24
    )
    processor = ViTImageProcessorPil(size={"height": 32, "width": 32})
    return (
        hf.VisionTextDualEncoderModel(config),
        hf.VisionTextDualEncoderProcessor(processor, word_pieces(LENGTH if text == "bert" else None)),
    )


FAMILIES: dict[str, Callable[..., tuple[Any, Any]]] = {
    "clip": clip,
    "siglip": siglip,
    "siglip2": siglip2,
    "chinese_clip": chinese_clip,
    "align": align,
    "vision-text-dual-encoder": vision_text,
}


def made(family: str, folder: Path, *, seed: int = 0, **options: Any) -> tuple[Path, Any, Any]:
    """A folder with a random model of a family, and that model and its processor."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hf.utils.logging.disable_progress_bar()
        torch.manual_seed(seed)
        model, processor = FAMILIES[family](**options)
        model.eval().save_pretrained(folder)
        processor.save_pretrained(folder)
    return folder, model, processor
