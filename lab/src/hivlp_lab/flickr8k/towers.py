"""The dual encoders of the comparison behind one interface: LightningDOT's towers, and compact ones.

B pictures or captions, R regions, F features of a region, L tokens, D width of a level, S width of a state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hivlp.model.levels import unit
from hivlp.registry import resolve
from hivlp_lab.baselines.dual import LightningDot, RegionHiVLP
from hivlp_lab.flickr8k.recipes import Recipe, Sizes


class Towers(Protocol):
    """Two towers that never see each other, with vectors at every level."""

    features: int
    """Numbers of a region."""
    states: tuple[int, int]
    """Widths of the states of words and of regions."""

    def image(self, regions_BRF: Tensor, pooled_BF: Tensor, boxes_BR7: Tensor) -> dict[int, Tensor]:
        """Vectors of pictures by width."""
        ...

    def text(self, tokens_BL: Tensor, mask_BL: Tensor) -> dict[int, Tensor]:
        """Vectors of captions by width."""
        ...

    def word_states(self, tokens_BL: Tensor, mask_BL: Tensor) -> Tensor:
        """A state for each word (B, L, S), from which a masked one is told."""
        ...

    def region_states(self, regions_BRF: Tensor, boxes_BR7: Tensor) -> Tensor:
        """A state for each region (B, R, S)."""
        ...


class RegionTowers(nn.Module):
    """LightningDOT's towers with raw vectors, or with levels above them."""

    def __init__(self, recipe: Recipe, sizes: Sizes, *, features: int, vocabulary: int) -> None:
        super().__init__()
        size = sizes.pair(features, vocabulary)
        self.features, self.states = features, (size.stack.width, size.stack.width)
        self.model: LightningDot | RegionHiVLP
        if recipe.cosine:
            self.model = RegionHiVLP(size, recipe.widths, kind=recipe.levels)
        else:
            self.model = LightningDot(size)
        self._towers = [self.model.towers if isinstance(self.model, RegionHiVLP) else self.model]

    def image(self, regions_BRF: Tensor, pooled_BF: Tensor, boxes_BR7: Tensor) -> dict[int, Tensor]:
        found = self.model.encode_image(regions_BRF, boxes_BR7, _all(regions_BRF))
        return found if isinstance(found, dict) else {found.shape[1]: found}

    def text(self, tokens_BL: Tensor, mask_BL: Tensor) -> dict[int, Tensor]:
        def encode(tokens_BL: Tensor, mask_BL: Tensor) -> dict[int, Tensor]:
            found = self.model.encode_text(tokens_BL, mask_BL)
            return found if isinstance(found, dict) else {found.shape[1]: found}

        return by_length(encode, tokens_BL, mask_BL)

    def word_states(self, tokens_BL: Tensor, mask_BL: Tensor) -> Tensor:
        return self._towers[0].text_states(tokens_BL, mask_BL)

    def region_states(self, regions_BRF: Tensor, boxes_BR7: Tensor) -> Tensor:
        return self._towers[0].image_states(regions_BRF, boxes_BR7, _all(regions_BRF))[:, 1:]


class CompactTowers(nn.Module):
    """The average of the regions, linear and through hidden units; and a bag of words weighed by rarity.

    Heavy dropout instead of depth: six thousand pictures do not feed more. Both sides begin as the linear
    floor (see `start`), whose directions stand in the order of their correlation, so that prefixes are levels
    already.
    """

    def __init__(self, recipe: Recipe, sizes: Sizes, *, features: int, vocabulary: int) -> None:
        super().__init__()
        width = recipe.widths[-1]
        self.features, self.states = features, (width, features + sizes.hidden)
        self.linear = nn.Linear(features, width)
        self.hidden = nn.Linear(features, sizes.hidden)
        self.more = nn.Linear(sizes.hidden, width, bias=False)
        self.words = nn.Embedding(vocabulary, width)
        self.weight_V = nn.Parameter(torch.ones(vocabulary))
        self.text_bias_D = nn.Parameter(torch.zeros(width))
        self.image_levels, self.text_levels = Prefixes(recipe.widths), Prefixes(recipe.widths)
        if recipe.levels == "separate":
            make_levels = resolve("levels", recipe.levels)
            self.image_levels = make_levels(width, recipe.widths)
            self.text_levels = make_levels(width, recipe.widths)
        self.image_dropout, self.text_dropout = nn.Dropout(recipe.dropout), nn.Dropout(0.1)

    @property
    def given(self) -> list[nn.Parameter]:
        """The weights that the floor gives."""
        words = self.words.weight, self.weight_V, self.text_bias_D
        return [*self.linear.parameters(), *(cast("nn.Parameter", part) for part in words)]

    def image(self, regions_BRF: Tensor, pooled_BF: Tensor, boxes_BR7: Tensor) -> dict[int, Tensor]:
        kept_BF, hidden_BH = self._pooled(pooled_BF)
        return self.image_levels(self.linear(kept_BF) + self.more(hidden_BH))

    def text(self, tokens_BL: Tensor, mask_BL: Tensor) -> dict[int, Tensor]:
        return self.text_levels(self._bag(tokens_BL, mask_BL))

    def word_states(self, tokens_BL: Tensor, mask_BL: Tensor) -> Tensor:
        """A bag has no places: every masked word is told from the same bag of the others."""
        return self._bag(tokens_BL, mask_BL)[:, None].expand(-1, tokens_BL.shape[1], -1)

    def region_states(self, regions_BRF: Tensor, boxes_BR7: Tensor) -> Tensor:
        """Every masked region is told from the same average of the others."""
        both_BS = torch.cat(self._pooled(regions_BRF.mean(dim=1)), dim=1)
        return both_BS[:, None].expand(-1, regions_BRF.shape[1], -1)

    def _pooled(self, pooled_BF: Tensor) -> tuple[Tensor, Tensor]:
        kept_BF = self.image_dropout(pooled_BF)
        return kept_BF, self.image_dropout(F.gelu(self.hidden(kept_BF)))

    def _bag(self, tokens_BL: Tensor, mask_BL: Tensor) -> Tensor:
        weight_BL = self.weight_V[tokens_BL] * mask_BL
        length_B1 = weight_BL.square().sum(dim=1, keepdim=True).clamp(min=1e-6).sqrt()
        sum_BD = F.embedding_bag(
            tokens_BL, self.words.weight, mode="sum", per_sample_weights=weight_BL / length_B1
        )
        return self.text_dropout(sum_BD) + self.text_bias_D


class Prefixes(nn.Module):
    """Every level is a prefix, brought to unit length: nested levels without a map of their own."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.widths = widths

    def forward(self, rows_BD: Tensor) -> dict[int, Tensor]:
        return {width: unit(rows_BD[:, :width]) for width in self.widths}


def by_length(
    encode: Callable[[Tensor, Tensor], dict[int, Tensor]],
    tokens_BL: Tensor,
    mask_BL: Tensor,
    *,
    group: int = 64,
) -> dict[int, Tensor]:
    """Captions of like length are encoded together: padding costs as much as words."""
    length_B = mask_BL.sum(dim=1)
    order_B = torch.argsort(length_B, stable=True)
    found: list[dict[int, Tensor]] = []
    for rows in order_B.split(group):
        longest = int(length_B[rows].max())
        found.append(encode(tokens_BL[rows, :longest], mask_BL[rows, :longest]))
    back_B = torch.argsort(order_B)
    return {width: torch.cat([part[width] for part in found])[back_B] for width in found[0]}


def _all(regions_BRF: Tensor) -> Tensor:
    return torch.ones(regions_BRF.shape[:2], dtype=torch.int64)
