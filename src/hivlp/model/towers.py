"""The two towers: any model type of transformers built from its configuration, with one pooled vector out.

Two kinds are HiVLP's own: `efficientnet_lite` for images and `words` for texts. Nothing is downloaded
here. A grid or a sequence is averaged, and padding never counts, unless `pooling` says otherwise, as
it does for towers that were trained by others.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable
from typing import Any, cast

import torch
import transformers
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from transformers import MODEL_MAPPING, AutoConfig, PretrainedConfig, PreTrainedModel

from hivlp.config import ImageTowerConfig, TextTowerConfig
from hivlp.errors import ConfigError, ModelError
from hivlp.model import efficientnet, words
from hivlp.model.efficientnet import INNER, EfficientNetLite, Maps
from hivlp.model.words import Bag, WordVectors

# the kinds that are not of transformers, with the defaults of their options
OWN: dict[str, dict[str, Any]] = {
    efficientnet.KIND: {"width": 1.0, "depth": 1.0},
    words.KIND: {"width": 384, "learned": 8000},
}


def _defaults(kind: str) -> dict[str, Any]:
    """The options of a model type with their defaults. Raises ConfigError for an unknown type."""
    if kind in OWN:
        return OWN[kind]
    try:
        return AutoConfig.for_model(kind).to_dict()
    except (ValueError, KeyError):
        raise ConfigError(
            f"{kind!r} is not a model type of transformers; take one such as resnet, convnextv2, vit or bert"
        ) from None


def _checked_defaults(tower: ImageTowerConfig | TextTowerConfig) -> dict[str, Any]:
    """The defaults of a tower's options. Raises ConfigError where it names others."""
    defaults = _defaults(tower.kind)
    unknown = sorted(set(tower.options) - set(defaults))
    if unknown:
        known = (
            f"it has {sorted(defaults)}"
            if tower.kind in OWN
            else "see its configuration class in transformers"
        )
        raise ConfigError(f"{tower.kind} has no options {unknown}; {known}")
    return defaults


def _build(tower: ImageTowerConfig | TextTowerConfig, extra: dict[str, int]) -> nn.Module:
    defaults = _checked_defaults(tower)
    if tower.kind == efficientnet.KIND:
        return EfficientNetLite(**{**defaults, **tower.options}, size=extra["image_size"])
    fitting = {name: value for name, value in extra.items() if name in defaults}
    config = AutoConfig.for_model(tower.kind, **{**fitting, **tower.options})
    model_class = _model_class(config)
    # the pooler of BERT and ViT would be weights without a gradient where it is not what pools
    pooler = {"add_pooling_layer": tower.pooling == "own"} if _has_pooler(model_class) else {}
    backbone = model_class._from_config(config, attn_implementation="eager", **pooler)
    for part in backbone.modules():
        # MobileNets come with TensorFlow's momentum, which torch takes for the share of the newest batch
        if isinstance(part, _BatchNorm) and part.momentum is not None and part.momentum > 0.5:
            part.momentum = 0.05
    return backbone


def _model_class(config: PretrainedConfig) -> Any:
    """The class of a configuration; the towers of some dual encoders are in no table of transformers."""
    if type(config) in MODEL_MAPPING:
        return cast("type[PreTrainedModel]", MODEL_MAPPING[type(config)])
    return getattr(transformers, type(config).__name__.removesuffix("Config") + "Model")


def _has_pooler(model_class: Any) -> bool:
    parameters: Iterable[str] = inspect.signature(model_class).parameters
    return "add_pooling_layer" in parameters


class ImageTower(nn.Module):
    """Images (B, 3, S, S), normalised, to features (B, F).

    Attributes:
        width: of the features.
        state_width: of the state of a region.
        behind: norm and dropout between `pooled` and the features; without weights.
    """

    def __init__(self, tower: ImageTowerConfig, *, size: int) -> None:
        super().__init__()
        self.backbone = _build(tower, {"image_size": size})
        self.pooling = tower.pooling
        self.behind = nn.Sequential()
        self.width = self.state_width = _width(self, torch.zeros(1, 3, size, size))
        # without weights of its own: the levels, which come next, are linear
        norm = [nn.BatchNorm1d(self.width, affine=False)] if tower.norm else []
        self.behind = nn.Sequential(*norm, nn.Dropout(tower.dropout))

    def regions(self, pixels_BCHW: Tensor) -> Tensor:
        """The states of a square grid of regions (B, G, F), row by row, without summary tokens before it."""
        return _regions(self.backbone(pixel_values=pixels_BCHW).last_hidden_state)

    def pooled(self, pixels_BCHW: Tensor) -> Tensor:
        """One vector per image (B, F), which is stored where the tower is locked."""
        output = self.backbone(pixel_values=pixels_BCHW)
        hidden = output.last_hidden_state
        if self.pooling == "stages":
            return _of_stages(output)
        if self.pooling == "own":
            return output.pooler_output
        if self.pooling == "first":
            return hidden[:, 0]
        return hidden.mean(dim=(2, 3)) if hidden.dim() == 4 else hidden.mean(dim=1)

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        return self.behind(self.pooled(pixels_BCHW))


class TextTower(nn.Module):
    """Tokens (B, T) with their mask to features (B, F): pooled states, then a bag of words.

    Of the kind `words` the states are fixed word vectors, and the weights of the bag apply to both.

    Attributes:
        width: of the features.
        state_width: of the state of a token.
    """

    def __init__(self, tower: TextTowerConfig, *, vocabulary: int, max_tokens: int) -> None:
        super().__init__()
        self.pooling = tower.pooling
        self.bag: Bag | None = None
        self.behind = nn.Sequential()
        if tower.kind == words.KIND:
            options = {**_checked_defaults(tower), **tower.options}
            self.backbone = WordVectors(vocabulary, options["width"])
            self.bag = Bag(vocabulary, tower.bag, learned=options["learned"])
            self.state_width = options["width"]
        else:
            extra = {"vocab_size": vocabulary, "max_position_embeddings": max_tokens}
            self.backbone = _build(tower, extra)
            start = torch.zeros(1, 2, dtype=torch.int64)
            self.state_width = _width(self, start, torch.ones_like(start))
            self.bag = Bag(vocabulary, tower.bag) if tower.bag else None
        self.width = self.state_width + tower.bag
        self.behind = nn.Sequential(nn.Dropout(tower.dropout))

    def states(self, tokens_BT: Tensor, mask_BT: Tensor) -> Tensor:
        """The state of every token (B, T, F)."""
        if isinstance(self.backbone, WordVectors):
            return self.backbone(tokens_BT)
        return self.backbone(input_ids=tokens_BT, attention_mask=mask_BT).last_hidden_state

    def forward(self, tokens_BT: Tensor, mask_BT: Tensor) -> Tensor:
        if isinstance(self.backbone, WordVectors):
            return self.behind(self._of_words(self.backbone, tokens_BT, mask_BT))
        output = self.backbone(input_ids=tokens_BT, attention_mask=mask_BT)
        features_BF = self._pooled(output, mask_BT)
        if self.bag is not None:
            features_BF = torch.cat([features_BF, self.bag(tokens_BT, mask_BT)], dim=1)
        return self.behind(features_BF)

    def _of_words(self, fixed: WordVectors, tokens_BT: Tensor, mask_BT: Tensor) -> Tensor:
        assert self.bag is not None
        both_BTF = torch.cat([fixed(tokens_BT), self.bag.vectors(tokens_BT)], dim=2)
        return words.summed(self.bag.shares(tokens_BT, mask_BT), both_BTF)

    def _pooled(self, output: Any, mask_BT: Tensor) -> Tensor:
        if self.pooling == "own":
            return output.pooler_output
        hidden_BTF = output.last_hidden_state
        if self.pooling == "first":
            return hidden_BTF[:, 0]
        weight_BT1 = mask_BT.unsqueeze(-1).to(hidden_BTF.dtype)
        return (hidden_BTF * weight_BT1).sum(dim=1) / weight_BT1.sum(dim=1).clamp(min=1)


def _of_stages(maps: Maps) -> Tensor:
    """The means of the last map, of the last stage's and of an inner one's, and how much that one varies.

    The last map represents what an image shows, and the others what it looks like, at no cost.
    """
    inner_BCHW, late_BCHW = maps.hidden_states[INNER], maps.hidden_states[-1]
    means = [map_BCHW.mean(dim=(2, 3)) for map_BCHW in (maps.last_hidden_state, late_BCHW, inner_BCHW)]
    spread_BC = (inner_BCHW - means[-1][:, :, None, None]).square().mean(dim=(2, 3)).clamp(min=1e-8).sqrt()
    return torch.cat([*means, spread_BC], dim=1)


def _regions(hidden: Tensor) -> Tensor:
    if hidden.dim() == 4:
        return hidden.flatten(2).transpose(1, 2)
    return hidden[:, -(math.isqrt(hidden.shape[1]) ** 2) :]


@torch.no_grad()
def _width(tower: nn.Module, *example: Tensor) -> int:
    """The width of a new tower's output, whose name in the configuration differs from type to type."""
    tower.eval()
    try:
        features_BF = tower(*example)
    except AttributeError:
        features_BF = None
    tower.train()
    if not isinstance(features_BF, Tensor) or features_BF.dim() != 2:
        raise ModelError(
            f"{type(tower).__name__} cannot use this model type: its output is not one vector per input; "
            "take another type, or another pooling"
        )
    return features_BF.shape[1]
