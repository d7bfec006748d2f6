"""A dual encoder of transformers as a model of HiVLP: the same vectors, and levels that can be trained.

Both towers keep transformers' own blocks and pooling. The projections behind them, which are linear, become
the first state of the levels, so nothing is left that a model folder could not hold.
"""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from transformers import AutoConfig

from hivlp.config import ImageTowerConfig, Levels, ModelConfig, Preprocessing, TextTowerConfig
from hivlp.data.images import to_pixels
from hivlp.data.tokenizer import Tokenizer
from hivlp.encode import hub
from hivlp.encode.transformers import image_processor_of, longest_text, open_pretrained, quiet, tokenizer_of
from hivlp.errors import ModelError
from hivlp.model.dual import MAX_LOG_SCALE, DualEncoder

PROBES = ("a dog", "Two red boats, left of a lighthouse; it's 7.30 p.m.", "", "x " * 200)
# families whose text tower gives the state of the first token, and those that read padding like words
_FIRST_TOKEN, _READS_PADDING = ("chinese_clip", "align"), ("siglip",)
# mean difference of two pixels on noise, of 255, above which pictures are prepared in another way
_NEAR = 4.0
_VOLATILE = {"transformers_version", "_name_or_path", "dtype", "torch_dtype", "architectures", "model_type"}


def converted(folder: Path, *, name: str) -> tuple[DualEncoder, Tokenizer]:
    """The model of a folder in transformers' layout, with one level: its own width.

    Raises:
        ModelError: the model is not supported, or it prepares pictures or texts in a way that HiVLP can't.
    """
    hub.checked(folder)
    with quiet():
        source, theirs, processor = open_pretrained(folder), tokenizer_of(folder), image_processor_of(folder)
    kind = source.config.model_type
    if kind == "siglip2":
        raise ModelError(
            f"{name} is a SigLIP 2 NaFlex, whose pictures keep their shape, and training here takes squares; "
            "take a SigLIP 2 of fixed resolution"
        )
    tokenizer = _tokenizer(theirs, longest_text(source, theirs), padded=kind in _READS_PADDING, name=name)
    width = _projection(source, "text").shape[0]
    config = ModelConfig(
        name=name.removeprefix(hub.PREFIX).rstrip("/").rpartition("/")[2],
        image=ImageTowerConfig(**_tower(source.config.vision_config, "own")),
        text=TextTowerConfig(**_tower(source.config.text_config, "first" if kind in _FIRST_TOKEN else "own")),
        levels=Levels(kind="nested", widths=(width,)),
        preprocessing=preprocessing_of(processor, name=name),
        vocabulary=max(64, tokenizer.vocabulary_size),
        max_tokens=tokenizer.max_tokens,
        logit_scale=math.exp(min(_log_scale(source), MAX_LOG_SCALE)),
    )
    model = DualEncoder(config).eval()
    for tower, part in ((model.image_tower, source.vision_model), (model.text_tower, source.text_model)):
        wanted, state = tower.backbone.state_dict(), part.state_dict()
        # the weights left out belong to poolers that are not used
        tower.backbone.load_state_dict({key: state[key] for key in wanted})
    with torch.no_grad():
        for levels, side in ((model.image_levels, "visual"), (model.text_levels, "text")):
            levels.head.weight.copy_(_projection(source, side))
            bias = getattr(getattr(source, f"{side}_projection", None), "bias", None)
            levels.head.bias.copy_(torch.zeros(width) if bias is None else bias)
    return model, tokenizer


def _tower(config: Any, pooling: str) -> dict[str, Any]:
    """The settings of one side, as far as they differ from those of their type."""
    usual = AutoConfig.for_model(config.model_type).to_dict()
    options = {
        key: value
        for key, value in config.to_dict().items()
        if key in usual and key not in _VOLATILE and value != usual[key]
    }
    return {"kind": config.model_type, "options": options, "pooling": pooling}


def _projection(source: Any, side: str) -> Tensor:
    """The weight behind a tower; the towers of some families end in the common space by themselves."""
    projection = getattr(source, f"{side}_projection", None)
    if isinstance(projection, nn.Linear):
        return projection.weight
    config = source.config
    width = getattr(config, "projection_dim", None) or config.vision_config.hidden_size
    return torch.eye(width)


def _log_scale(source: Any) -> float:
    """The logarithm of the inverse temperature; ALIGN keeps the temperature itself."""
    temperature = getattr(source, "temperature", None)
    return -math.log(temperature.item()) if temperature is not None else source.logit_scale.item()


def _tokenizer(theirs: Any, max_tokens: int, *, padded: bool, name: str) -> Tokenizer:
    """The same tokenizer without transformers. Raises ModelError where it gives other tokens."""
    backend = getattr(theirs, "backend_tokenizer", None)
    if backend is None:
        raise ModelError(
            f"the tokenizer of {name} is written in Python and has no tokenizer.json, which a model folder "
            "needs; take a copy of the model that has one"
        )
    ours = Tokenizer.adopted(
        backend.to_str(), max_tokens=max_tokens, pad_id=theirs.pad_token_id, padded=padded
    )
    for text in PROBES:
        wanted = theirs(text, truncation=True, max_length=max_tokens)["input_ids"]
        if ours.encode([text])[0][0, : len(wanted)].tolist() != wanted:
            raise ModelError(
                f"the tokenizer of {name} changes texts in a way that its tokenizer.json does not hold; "
                f"this model works for search but not for training"
            )
    return ours


def preprocessing_of(processor: Any, *, name: str) -> Preprocessing:
    """How an image processor prepares pictures, found by looking at what comes out.

    Raises:
        ModelError: HiVLP supports no way that agrees.
    """

    def out(picture: Image.Image) -> NDArray[np.float64]:
        return np.asarray(processor(images=[picture], return_tensors="np")["pixel_values"][0], np.float64)

    flat = [out(Image.new("RGB", (64, 64), (level,) * 3)).mean(axis=(1, 2)) for level in (0, 255)]
    std, size = 1 / (flat[1] - flat[0]), out(Image.new("RGB", (64, 64))).shape[-1]
    mean = -flat[0] * std
    noise = np.random.default_rng(0).integers(0, 256, (int(1.3 * size), int(1.9 * size), 3), dtype=np.uint8)
    picture = Image.fromarray(noise)
    wanted = (out(picture) * std[:, None, None] + mean[:, None, None]) * 255
    found = [
        (float(np.abs(to_pixels(picture, way) - wanted).mean()), number, way)
        for number, way in enumerate(_ways(processor, size, mean, std))
        if wanted.shape == (3, size, size)
    ]
    if not found or min(found)[0] > _NEAR:
        raise ModelError(
            f"{name} prepares pictures in a way that training does not know: {type(processor).__name__} "
            "gives neither the whole frame as a square nor its centre. This model works for search but "
            "not for training"
        )
    return min(found)[2]


def _ways(
    processor: Any, size: int, mean: NDArray[np.float64], std: NDArray[np.float64]
) -> list[Preprocessing]:
    """The possible ways; a centre crop has the size of the processor."""
    sizes = dict(getattr(processor, "size", None) or {})
    scaled = sizes.get("shortest_edge") or sizes.get("height") or size
    shares = sorted({1.0, min(1.0, size / scaled)})
    return [
        Preprocessing.model_validate(
            {
                "size": size,
                "fit": fit,
                "centre": share,
                "interpolation": interpolation,
                "mean": [round(float(value), 6) for value in mean],
                "std": [round(float(value), 6) for value in std],
            }
        )
        for fit, share, interpolation in itertools.product(
            ("squeeze", "crop"), shares, ("bicubic", "bilinear", "box")
        )
    ]
