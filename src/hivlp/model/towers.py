"""The two towers: any model type of transformers built from its configuration, with one pooled vector out.

Nothing is downloaded here and no block is written by hand. A grid or a sequence is averaged, and padding
never counts, unless `Tower.pooling` says otherwise, as it does for towers that were trained by others.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from transformers import MODEL_MAPPING, AutoConfig, PretrainedConfig, PreTrainedModel

from hivlp.config import Tower
from hivlp.errors import ConfigError, ModelError
from hivlp.model.levels import PLACES


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


class Detail(nn.Module):
    """Convolutions over an inner map and the pixels beside a picture tower, for what its average has lost.

    A tower that was taught to name what a picture shows gives one vector for all of it, which hardly tells
    which of two things is red and which stands left. Here two small convolutions look at the last map of at
    least twice the side of the tower's own, with the pixels in as many patches beside it, and what they find
    is averaged over the map three times: by learned weights, which begin alike, and by a slope across and one
    down, which stay as they are, so that no place is given up for another (`docs/experiments.md`).
    """

    PATCH = 4
    slopes_QGG: Tensor

    def __init__(self, inner_BFGG: Tensor, channels: int, *, size: int) -> None:
        super().__init__()
        self.side = inner_BFGG.shape[2]
        self.pixel, left = divmod(size, self.PATCH * self.side)
        if left or not self.pixel:
            raise ConfigError(
                f"model.image.detail divides pictures in {self.PATCH * self.side} × {self.PATCH * self.side} "
                f"squares, and preprocessing.size={size} is no multiple of that; change the size, or leave "
                "detail out"
            )
        seen = inner_BFGG.shape[1] + 3 * self.PATCH**2
        self.width = PLACES * channels
        self.scale = nn.BatchNorm2d(seen)
        self.look = _convolution(seen, channels, stride=2)
        self.again = _convolution(channels, channels)
        side = (self.side + 1) // 2
        self.there = nn.Parameter(torch.ones(channels, side, side))
        self.register_buffer("slopes_QGG", _slopes(side), persistent=False)

    def map(self, pixels_BCHW: Tensor, inner_BFGG: Tensor) -> Tensor:
        """What this looks at (B, C, G, G): the inner map, and normalised pixels in patches."""
        small_BCHW = F.avg_pool2d(pixels_BCHW, self.pixel)
        return torch.cat([inner_BFGG, F.pixel_unshuffle(small_BCHW, self.PATCH)], dim=1)

    def inner(self, map_BCGG: Tensor) -> Tensor:
        """The inner map (B, F, G, G) in such a map."""
        return map_BCGG[:, : -3 * self.PATCH**2]

    def forward(self, map_BCGG: Tensor) -> Tensor:
        """Features (B, width) of such a map: all channels everywhere, all across, all down."""
        found_BCGG = self.look(self.scale(map_BCGG))
        found_BCGG = found_BCGG + self.again(found_BCGG)
        weights = (self.there, *self.slopes_QGG)
        return torch.cat([(found_BCGG * weight).mean(dim=(2, 3)) for weight in weights], dim=1)


def _convolution(before: int, after: int, *, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU())


def _slopes(side: int) -> Tensor:
    """From -1 to 1 over a map (PLACES - 1, side, side): from left to right, and from above to below."""
    line = torch.linspace(-1, 1, side)
    return torch.stack([line.expand(side, side), line.unsqueeze(1).expand(side, side)])


class ImageTower(nn.Module):
    """Pictures (B, 3, S, S), normalised, to features (B, F).

    Attributes:
        width: of the features.
        state_width: of the state of a region.
        seen_width: of what `seen` gives.
        top: parts of the backbone that `features` asks, instead of what was stored of them; see `thaw_top`.
    """

    def __init__(self, tower: Tower, *, size: int) -> None:
        super().__init__()
        self.backbone = _build(tower, {"image_size": size})
        self.pooling = tower.pooling
        self.detail: Detail | None = None
        self.top: list[nn.Module] = []  # of the backbone, which has them already
        self.behind = nn.Sequential()
        pixels = torch.zeros(1, 3, size, size)
        self.width = self.state_width = self.seen_width = _width(self, pixels)
        if tower.detail:
            self.detail = Detail(_inner(self.backbone, pixels), tower.detail, size=size)
            self.width += self.detail.width
            self.seen_width = self.seen(pixels).shape[1]
        self.behind = _behind(tower, self.width, own=self.state_width)

    def regions(self, pixels_BCHW: Tensor) -> Tensor:
        """The states of a square grid of regions (B, G, F), row by row, without summary tokens before it."""
        return _regions(self.backbone(pixel_values=pixels_BCHW).last_hidden_state)

    def seen(self, pixels_BCHW: Tensor) -> Tensor:
        """What of the pictures is stored where the tower is locked (B, S): all that `features` needs."""
        pooled_BF, map_BCGG = self._pooled_and_map(pixels_BCHW)
        return pooled_BF if map_BCGG is None else torch.cat([pooled_BF, map_BCGG.flatten(1)], dim=1)

    def features(self, seen_BS: Tensor) -> Tensor:
        """The features (B, F) of what was seen."""
        if self.detail is None:
            return self._features(seen_BS, None)
        pooled_BF, flat_BN = seen_BS.tensor_split([self.state_width], dim=1)
        map_BCGG = flat_BN.unflatten(1, (-1, self.detail.side, self.detail.side))
        if self.top:
            states_BFGG = self.detail.inner(map_BCGG)
            for part in self.top:
                states_BFGG = part(states_BFGG)
            pooled_BF = states_BFGG.mean(dim=(2, 3))
        return self._features(pooled_BF, map_BCGG)

    def thaw_top(self, *, size: int) -> None:
        """Lets the end of a locked backbone learn from what was stored of its inner map.

        That is its parts behind the map that detail looks at. Their batch norms stay as they are.

        Raises:
            ConfigError: the backbone is no chain of parts.
        """
        self.top = _behind_inner(self.backbone, size=size)
        for part in self.top:
            for module in part.modules():
                if not isinstance(module, _BatchNorm):
                    for parameter in module.parameters(recurse=False):
                        parameter.requires_grad_(True)

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        # not by way of `seen`, flat as it is: an exporter would not know the shapes any more
        return self._features(*self._pooled_and_map(pixels_BCHW))

    def _pooled_and_map(self, pixels_BCHW: Tensor) -> tuple[Tensor, Tensor | None]:
        """Pooled features, and the map that detail looks at, from one pass."""
        output = self.backbone(pixel_values=pixels_BCHW, output_hidden_states=self.detail is not None)
        if self.detail is None:
            return self._pooled(output), None
        return self._pooled(output), self.detail.map(pixels_BCHW, _twice_as_fine(output))

    def _features(self, pooled_BF: Tensor, map_BCGG: Tensor | None) -> Tensor:
        if self.detail is not None and map_BCGG is not None:
            pooled_BF = torch.cat([pooled_BF, self.detail(map_BCGG)], dim=1)
        return self.behind(pooled_BF)

    def with_regions(self, pixels_BCHW: Tensor) -> Tensor:
        """Features in the first row, the states of the regions behind it (B, 1 + G, F), from one pass.

        Only without detail, with which features are wider than states.
        """
        output = self.backbone(pixel_values=pixels_BCHW)
        features_B1F = self.behind(self._pooled(output)).unsqueeze(1)
        return torch.cat([features_B1F, _regions(output.last_hidden_state)], dim=1)

    def _pooled(self, output: Any) -> Tensor:
        hidden = output.last_hidden_state
        if self.pooling == "own":
            return output.pooler_output
        if self.pooling == "first":
            return hidden[:, 0]
        return hidden.mean(dim=(2, 3)) if hidden.dim() == 4 else hidden.mean(dim=1)


@torch.no_grad()
def _inner(backbone: nn.Module, pixels_BCHW: Tensor) -> Tensor:
    """The map that detail is taken from. Raises ConfigError for a tower that has none."""
    training = backbone.training
    try:
        return _twice_as_fine(backbone.eval()(pixel_values=pixels_BCHW, output_hidden_states=True))
    except (TypeError, AttributeError, IndexError, StopIteration):
        raise ConfigError(
            f"model.image.detail needs a tower whose maps get smaller and are kept, which "
            f"{type(backbone).__name__} is not; take mobilenet_v2, resnet or another convolutional type, or "
            "leave detail out"
        ) from None
    finally:
        backbone.train(training)


def _twice_as_fine(output: Any) -> Tensor:
    """The last hidden state (B, F, G, G) of at least twice the side of the tower's own."""
    maps = output.hidden_states
    return maps[_last_twice_as_fine(maps, output.last_hidden_state)]


def _last_twice_as_fine(maps: Sequence[Tensor], own_BCHW: Tensor) -> int:
    """Which is the last map of at least twice the side of a tower's own."""
    side = own_BCHW.shape[3]
    return next(number for number in reversed(range(len(maps))) if maps[number].shape[3] >= 2 * side)


class Bag(nn.Module):
    """A weighted bag of words beside a text tower.

    Captions are few, and which words they hold tells most of what they say: each word has a vector, and one
    number for how much it counts. With places each word also has a number for each place, by which it moves
    the words before it one way and the words behind it the other: *left* moves the boat that it follows to
    the left, and the kite behind it to the right.
    """

    def __init__(self, vocabulary: int, width: int, *, places: bool = False) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.log_weight = nn.Embedding(vocabulary, 1)
        self.moves = nn.Embedding(vocabulary, PLACES - 1) if places else None
        self.width = PLACES * width if places else width
        nn.init.normal_(self.words.weight, std=width**-0.5)
        nn.init.zeros_(self.log_weight.weight)
        if self.moves is not None:  # not 0, so that words and places learn of each other from the first step
            nn.init.normal_(self.moves.weight, std=0.1)

    def forward(self, tokens_BT: Tensor, mask_BT: Tensor) -> Tensor:
        """One vector a text (B, width): the weighted sum of its words by the root of the sum of weights."""
        weight_BT1 = self.log_weight(tokens_BT).exp() * mask_BT.unsqueeze(-1)
        total_B11 = weight_BT1.sum(dim=1, keepdim=True).clamp(min=1e-3)
        weight_BTP = weight_BT1
        if self.moves is not None:
            moved_BTP = _moved(self.moves(tokens_BT) * mask_BT.unsqueeze(-1))
            weight_BTP = torch.cat([weight_BT1, weight_BT1 * moved_BTP], dim=-1)
        summed_BPF = weight_BTP.transpose(1, 2) @ self.words(tokens_BT)
        return (summed_BPF / total_B11.sqrt()).flatten(1)


def _moved(moves_BTP: Tensor) -> Tensor:
    """What the words behind each word say less what those before it say."""
    so_far_BTP = moves_BTP.cumsum(dim=1)
    return moves_BTP.sum(dim=1, keepdim=True) - 2 * so_far_BTP + moves_BTP


class Pairs(nn.Module):
    """Products of two words' states beside a text tower, for what a bag can't say: which boat is red.

    A quarter of them is of a word and the next one, a quarter each of a word and the second and the third
    behind it, and the last of a word and the sum of all behind it. Sums of products of maps of two vectors
    are a sketch of all pairs of words (compact bilinear pooling, arXiv 1511.06062), so most of what is to be
    learned is linear; attention has to find out first which words belong together (`docs/experiments.md`).
    """

    NEAR = 3

    def __init__(self, state_width: int, count: int) -> None:
        super().__init__()
        self.first = nn.Linear(state_width, count)
        self.second = nn.Linear(state_width, count)
        for linear in (self.first, self.second):  # so that products are as large as states
            nn.init.normal_(linear.weight, std=state_width**-0.5)

    def forward(self, states_BTF: Tensor, mask_BT: Tensor) -> Tensor:
        """One vector a text (B, P): the sum of its words' products by the root of their number."""
        mask_BT1 = mask_BT.unsqueeze(-1).to(states_BTF.dtype)
        first_BTP, second_BTP = (linear(states_BTF) * mask_BT1 for linear in (self.first, self.second))
        *near, far_BTQ = second_BTP.chunk(self.NEAR + 1, dim=-1)
        behind = [F.pad(one_BTQ, (0, 0, 0, by))[:, by:] for by, one_BTQ in enumerate(near, start=1)]
        count_BT1 = (mask_BT1.sum(dim=1, keepdim=True) - mask_BT1.cumsum(dim=1)).clamp(min=1)
        behind.append((far_BTQ.sum(dim=1, keepdim=True) - far_BTQ.cumsum(dim=1)) / count_BT1.sqrt())
        found_BP = (first_BTP * torch.cat(behind, dim=-1)).sum(dim=1)
        return found_BP / mask_BT1.sum(dim=1).clamp(min=1).sqrt()


class TextTower(nn.Module):
    """Tokens (B, T) with their mask to features (B, F): pooled states, then pairs and a bag of words.

    Attributes:
        width: of the features.
        state_width: of the state of a token.
    """

    def __init__(self, tower: Tower, *, vocabulary: int, max_tokens: int, places: bool = False) -> None:
        super().__init__()
        self.backbone = _build(tower, {"vocab_size": vocabulary, "max_position_embeddings": max_tokens})
        self.pooling = tower.pooling
        self.pairs: Pairs | None = None
        self.bag: Bag | None = None
        self.behind = nn.Sequential()
        start = torch.zeros(1, 2, dtype=torch.int64)
        self.state_width = _width(self, start, torch.ones_like(start))
        if tower.pairs:
            self.pairs = Pairs(self.state_width, tower.pairs)
        self.width = self.state_width + tower.pairs
        if tower.bag:
            self.bag = Bag(vocabulary, tower.bag, places=places)
            self.width += self.bag.width
        self.behind = _behind(tower, self.width)

    def states(self, tokens_BT: Tensor, mask_BT: Tensor) -> Tensor:
        """The state of every token (B, T, F)."""
        return self.backbone(input_ids=tokens_BT, attention_mask=mask_BT).last_hidden_state

    def forward(self, tokens_BT: Tensor, mask_BT: Tensor) -> Tensor:
        output = self.backbone(input_ids=tokens_BT, attention_mask=mask_BT)
        parts = [self._pooled(output, mask_BT)]
        if self.pairs is not None:
            parts.append(self.pairs(output.last_hidden_state, mask_BT))
        if self.bag is not None:
            parts.append(self.bag(tokens_BT, mask_BT))
        return self.behind(torch.cat(parts, dim=1))

    def _pooled(self, output: Any, mask_BT: Tensor) -> Tensor:
        if self.pooling == "own":
            return output.pooler_output
        hidden_BTF = output.last_hidden_state
        if self.pooling == "first":
            return hidden_BTF[:, 0]
        weight_BT1 = mask_BT.unsqueeze(-1).to(hidden_BTF.dtype)
        return (hidden_BTF * weight_BT1).sum(dim=1) / weight_BT1.sum(dim=1).clamp(min=1)


@torch.no_grad()
def chain(backbone: nn.Module, *, size: int) -> list[nn.Module]:
    """The parts of a picture tower that its states go through one after the other, without a pooler.

    They are the members of its outermost list of modules, and what lies before and behind it.

    Raises:
        ConfigError: the tower is not such a chain.
    """
    children = [child for name, child in backbone.named_children() if name != "pooler"]
    parts = [part for child in children for part in _members(child)]
    example = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0)).to(_device(backbone))
    training = backbone.training
    backbone.eval()
    try:
        states = example
        for part in parts:
            states = part(states)
        same = torch.equal(states, backbone(pixel_values=example).last_hidden_state)
    except (TypeError, AttributeError, RuntimeError):
        same = False
    backbone.train(training)
    if not same:
        raise ConfigError(
            f"{type(backbone).__name__} is no chain of parts, so it can't be learned stage by stage; take "
            "mobilenet_v2, resnet or another convolutional type, or leave stages out"
        )
    return parts


@torch.no_grad()
def _behind_inner(backbone: nn.Module, *, size: int) -> list[nn.Module]:
    """The parts of a chain behind the map that detail looks at."""
    parts, states = chain(backbone, size=size), torch.zeros(1, 3, size, size, device=_device(backbone))
    training = backbone.training
    backbone.eval()
    maps = list[Tensor]()
    for part in parts:
        states = part(states)
        maps.append(states)
    backbone.train(training)
    return parts[_last_twice_as_fine(maps, states) + 1 :]


def _device(module: nn.Module) -> torch.device:
    return next(module.parameters()).device


def _members(child: nn.Module) -> list[nn.Module]:
    lists = [part for part in child.modules() if isinstance(part, nn.ModuleList)]
    holds_no_more = lists and sum(p.numel() for p in child.parameters()) == sum(
        p.numel() for p in lists[0].parameters()
    )
    return list(lists[0]) if holds_no_more else [child]


def _behind(tower: Tower, width: int, *, own: int | None = None) -> nn.Sequential:
    """What lies between a tower's features and its levels; behind its `own` ones come those of detail."""
    # without weights of its own: the levels, which come next, are linear
    norm = [nn.BatchNorm1d(width, affine=False)] if tower.norm else []
    return nn.Sequential(*norm, Dropouts(tower.dropout, tower.detail_dropout, first=own or width))


class Dropouts(nn.Module):
    """Dropout of the first features, and another of those behind them."""

    def __init__(self, share: float, share_behind: float, *, first: int) -> None:
        super().__init__()
        self.share, self.share_behind, self.first = share, share_behind, first

    def forward(self, features_BF: Tensor) -> Tensor:
        """Features (B, F), some of them 0 and the others larger while training."""
        if not self.training:
            return features_BF
        first_BF, behind_BF = features_BF.tensor_split([self.first], dim=1)
        return torch.cat([F.dropout(first_BF, self.share), F.dropout(behind_BF, self.share_behind)], dim=1)


def _regions(hidden: Tensor) -> Tensor:
    if hidden.dim() == 4:
        return hidden.flatten(2).transpose(1, 2)
    return hidden[:, -(math.isqrt(hidden.shape[1]) ** 2) :]


@torch.no_grad()
def _width(tower: nn.Module, *example: Tensor) -> int:
    """How many numbers come out of a new tower; every type calls it otherwise in its configuration."""
    tower.eval()
    try:
        features_BF = tower(*example)
    except AttributeError:
        features_BF = None
    tower.train()
    if not isinstance(features_BF, Tensor) or features_BF.dim() != 2:
        raise ModelError(
            f"{type(tower).__name__} can't be built of this type: what it gives is no vector a picture or "
            "text; use another type, or another pooling"
        )
    return features_BF.shape[1]
