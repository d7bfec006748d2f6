"""The dual encoders of the comparison behind one interface: LightningDOT's towers, and compact ones.

B images or captions, R regions, F features of a region, L tokens, D width of a level, S width of a state.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hivlp.model.levels import prefixes
from hivlp.registry import resolve
from hivlp.train.batches.views import by_length
from hivlp_lab.baselines.dual import LightningDot, RegionHiVLP
from hivlp_lab.flickr8k.recipes import Sizes, SystemRecipe

_GROUP = 64  # captions of like length that are encoded together: padding costs as much as words


class DualTowers(nn.Module):
    """Two towers that never see each other, with vectors at every level.

    Attributes:
        features: numbers of a region.
        states: widths of the states of words and of regions.
    """

    features: int
    states: tuple[int, int]

    @abstractmethod
    def image(self, regions_BRF: Tensor, pooled_BF: Tensor, boxes_BR7: Tensor) -> dict[int, Tensor]:
        """Vectors of images by width."""

    @abstractmethod
    def text(self, tokens_BL: Tensor, mask_BL: Tensor) -> dict[int, Tensor]:
        """Vectors of captions by width."""

    @abstractmethod
    def word_states(self, tokens_BL: Tensor, mask_BL: Tensor) -> Tensor:
        """A state for each word (B, L, S), from which masked ones are predicted."""

    @abstractmethod
    def region_states(self, regions_BRF: Tensor, boxes_BR7: Tensor) -> Tensor:
        """A state for each region (B, R, S)."""

    @property
    def floor_weights(self) -> Sequence[nn.Parameter]:
        """Weights that begin as the linear floor and are only adjusted."""
        return ()


class RegionTowers(DualTowers):
    """LightningDOT's towers with raw vectors, or with levels above them."""

    def __init__(self, recipe: SystemRecipe, sizes: Sizes, *, features: int, vocabulary: int) -> None:
        super().__init__()
        size = sizes.pair(features, vocabulary)
        self.features, self.states = features, (size.stack.width, size.stack.width)
        self.model: LightningDot | RegionHiVLP
        if recipe.cosine:
            self.model = RegionHiVLP(size, recipe.widths, kind=recipe.levels)
        else:
            self.model = LightningDot(size)

    def image(self, regions_BRF: Tensor, pooled_BF: Tensor, boxes_BR7: Tensor) -> dict[int, Tensor]:
        found = self.model.encode_image(regions_BRF, boxes_BR7, _all(regions_BRF))
        return found if isinstance(found, dict) else {found.shape[1]: found}

    def text(self, tokens_BL: Tensor, mask_BL: Tensor) -> dict[int, Tensor]:
        groups = list(by_length(mask_BL, group=_GROUP))
        parts = [
            self.model.encode_text(tokens_BL[rows, :longest], mask_BL[rows, :longest])
            for rows, longest in groups
        ]
        back_B = torch.argsort(torch.cat([rows for rows, _ in groups]))
        levels = [part if isinstance(part, dict) else {part.shape[1]: part} for part in parts]
        return {width: torch.cat([level[width] for level in levels])[back_B] for width in levels[0]}

    def word_states(self, tokens_BL: Tensor, mask_BL: Tensor) -> Tensor:
        return self._dot.text_states(tokens_BL, mask_BL)

    def region_states(self, regions_BRF: Tensor, boxes_BR7: Tensor) -> Tensor:
        return self._dot.image_states(regions_BRF, boxes_BR7, _all(regions_BRF))[:, 1:]

    @property
    def _dot(self) -> LightningDot:
        return self.model.towers if isinstance(self.model, RegionHiVLP) else self.model


class CompactTowers(DualTowers):
    """The average of the regions, linear and through hidden units; and a bag of words weighed by rarity.

    Heavy dropout instead of depth: six thousand images do not feed more. Both sides begin as the linear
    floor (see `start`), whose directions stand in the order of their correlation, so that prefixes are levels
    already.
    """

    def __init__(self, recipe: SystemRecipe, sizes: Sizes, *, features: int, vocabulary: int) -> None:
        super().__init__()
        width = recipe.widths[-1]
        self.features, self.states = features, (width, features + sizes.hidden)
        self.linear = nn.Linear(features, width)
        self.hidden = nn.Linear(features, sizes.hidden)
        self.more = nn.Linear(sizes.hidden, width, bias=False)
        self.words = nn.Embedding(vocabulary, width)
        self.weight_V = nn.Parameter(torch.ones(vocabulary))
        self.text_bias_D = nn.Parameter(torch.zeros(width))
        self.widths = recipe.widths
        self.image_levels = self.text_levels = None
        if recipe.levels == "separate":
            make_levels = resolve("levels", recipe.levels)
            self.image_levels = make_levels(width, recipe.widths)
            self.text_levels = make_levels(width, recipe.widths)
        self.image_dropout, self.text_dropout = nn.Dropout(recipe.dropout), nn.Dropout(0.1)

    @property
    def floor_weights(self) -> Sequence[nn.Parameter]:
        return [*self.linear.parameters(), *self.words.parameters(), self.weight_V, self.text_bias_D]

    def image(self, regions_BRF: Tensor, pooled_BF: Tensor, boxes_BR7: Tensor) -> dict[int, Tensor]:
        shown_BF, hidden_BH = self._pooled(pooled_BF)
        return self._levels(self.image_levels, self.linear(shown_BF) + self.more(hidden_BH))

    def text(self, tokens_BL: Tensor, mask_BL: Tensor) -> dict[int, Tensor]:
        return self._levels(self.text_levels, self._bag(tokens_BL, mask_BL))

    def word_states(self, tokens_BL: Tensor, mask_BL: Tensor) -> Tensor:
        """A bag has no places: every masked word is predicted from the same bag of the others."""
        return self._bag(tokens_BL, mask_BL)[:, None].expand(-1, tokens_BL.shape[1], -1)

    def region_states(self, regions_BRF: Tensor, boxes_BR7: Tensor) -> Tensor:
        """Every masked region is predicted from the same average of the others."""
        both_BS = torch.cat(self._pooled(regions_BRF.mean(dim=1)), dim=1)
        return both_BS[:, None].expand(-1, regions_BRF.shape[1], -1)

    def _levels(self, heads: nn.Module | None, rows_BD: Tensor) -> dict[int, Tensor]:
        return prefixes(rows_BD, self.widths) if heads is None else heads(rows_BD)

    def _pooled(self, pooled_BF: Tensor) -> tuple[Tensor, Tensor]:
        shown_BF = self.image_dropout(pooled_BF)
        return shown_BF, self.image_dropout(F.gelu(self.hidden(shown_BF)))

    def _bag(self, tokens_BL: Tensor, mask_BL: Tensor) -> Tensor:
        weight_BL = self.weight_V[tokens_BL] * mask_BL
        length_B1 = weight_BL.square().sum(dim=1, keepdim=True).clamp(min=1e-6).sqrt()
        sum_BD = F.embedding_bag(
            tokens_BL, self.words.weight, mode="sum", per_sample_weights=weight_BL / length_B1
        )
        return self.text_dropout(sum_BD) + self.text_bias_D


def _all(regions_BRF: Tensor) -> Tensor:
    return torch.ones(regions_BRF.shape[:2], dtype=torch.int64)
