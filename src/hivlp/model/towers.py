"""The two towers: any model type of transformers built from its configuration, with one pooled vector out.

Nothing is downloaded here and no block is written by hand; what a tower's output looks like decides how it is
pooled: a grid or a sequence is averaged, and padding never counts.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable
from typing import Any, cast

from torch import Tensor, nn
from transformers import MODEL_MAPPING, AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel

from hivlp.config import Tower
from hivlp.errors import ConfigError, ModelError


def _defaults(kind: str) -> dict[str, Any]:
    """The options of a model type with their defaults. Raises ConfigError for an unknown type."""
    try:
        return AutoConfig.for_model(kind).to_dict()
    except (ValueError, KeyError):
        raise ConfigError(
            f"{kind!r} is not a model type of transformers; take one such as resnet, convnextv2, vit or bert"
        ) from None


def _build(tower: Tower, extra: dict[str, int]) -> nn.Module:
    defaults = _defaults(tower.kind)
    unknown = sorted(set(tower.options) - set(defaults))
    if unknown:
        raise ConfigError(
            f"{tower.kind} has no options {unknown}; see its configuration class in transformers"
        )
    fitting = {name: value for name, value in extra.items() if name in defaults}
    config = AutoConfig.for_model(tower.kind, **{**tower.options, **fitting})
    # the pooler of BERT and ViT would be weights without a gradient, since we pool ourselves
    pooler = {"add_pooling_layer": False} if "add_pooling_layer" in _parameters(config) else {}
    return AutoModel.from_config(config, attn_implementation="eager", **pooler)


def _parameters(config: PretrainedConfig) -> Iterable[str]:
    """The names of the arguments that the model class of a configuration takes."""
    model_class = cast("type[PreTrainedModel]", MODEL_MAPPING[type(config)])
    return inspect.signature(model_class).parameters


class ImageTower(nn.Module):
    """Pictures (B, 3, S, S), normalised, to features (B, F)."""

    def __init__(self, tower: Tower, *, size: int) -> None:
        super().__init__()
        self.backbone = _build(tower, {"image_size": size})
        self.dropout = nn.Dropout(tower.dropout)
        self.width = _width(self.backbone)

    def regions(self, pixels_BCHW: Tensor) -> Tensor:
        """The states of a square grid of regions (B, G, F), row by row, without summary tokens before it."""
        hidden = self.backbone(pixel_values=pixels_BCHW).last_hidden_state
        if hidden.dim() == 4:
            return hidden.flatten(2).transpose(1, 2)
        return hidden[:, -(math.isqrt(hidden.shape[1]) ** 2) :]

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        hidden = self.backbone(pixel_values=pixels_BCHW).last_hidden_state
        pooled_BF = hidden.mean(dim=(2, 3)) if hidden.dim() == 4 else hidden.mean(dim=1)
        return self.dropout(pooled_BF)


class TextTower(nn.Module):
    """Tokens (B, T) with their mask to features (B, F)."""

    def __init__(self, tower: Tower, *, vocabulary: int, max_tokens: int) -> None:
        super().__init__()
        self.backbone = _build(tower, {"vocab_size": vocabulary, "max_position_embeddings": max_tokens})
        self.dropout = nn.Dropout(tower.dropout)
        self.width = _width(self.backbone)

    def states(self, tokens_BT: Tensor, mask_BT: Tensor) -> Tensor:
        """The state of every token (B, T, F)."""
        return self.backbone(input_ids=tokens_BT, attention_mask=mask_BT).last_hidden_state

    def forward(self, tokens_BT: Tensor, mask_BT: Tensor) -> Tensor:
        hidden_BTF = self.states(tokens_BT, mask_BT)
        weight_BT1 = mask_BT.unsqueeze(-1).to(hidden_BTF.dtype)
        pooled_BF = (hidden_BTF * weight_BT1).sum(dim=1) / weight_BT1.sum(dim=1).clamp(min=1)
        return self.dropout(pooled_BF)


def _width(backbone: nn.Module) -> int:
    config = backbone.config
    sizes = getattr(config, "hidden_sizes", None)
    width = sizes[-1] if sizes else getattr(config, "hidden_size", None)
    if not isinstance(width, int):
        raise ModelError(
            f"the width of {type(backbone).__name__} can't be read from its configuration; use another type"
        )
    return width
