"""From a tower's features to unit vectors at every level; the one place where embeddings are normalised.

Two ways, both consistent with what is published of HiVLP (arXiv 2205.12105 names different dimensions, not
how they are made): a prefix of the widest vector (Matryoshka, arXiv 2205.13147), or a head of its own for
each level. A head is linear, or a small MLP around a linear one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# what is there, how far right, how far down: the parts of features that have places
PLACES = 3


def unit(rows_BD: Tensor) -> Tensor:
    """Rows of length 1, computed in float32 whatever the precision around it."""
    return F.normalize(rows_BD.float(), dim=-1, eps=1e-6)


class Bound(nn.Linear):
    """One map of what is there, what is right and what is low, each bound to its place by a permutation.

    *The dog on the left* is a thing and a place. If every place had a map of its own, every thing would have
    to be learned again at each; with one map for all, things are learned once, and places once. Permutations
    keep the parts of the sum apart, since a permuted vector looks like a random one (Sahlgren, Holst and
    Kanerva, "Permutations as a means to encode order in word space", 2008). The width says which, so
    both sides begin with the same; they are kept with the weights, since another torch may draw others.
    """

    orders: Tensor

    def __init__(self, features: int, width: int) -> None:
        super().__init__(features, width, bias=False)
        dice = torch.Generator().manual_seed(width)
        orders = torch.stack([torch.randperm(width, generator=dice) for _ in range(PLACES - 1)])
        self.register_buffer("orders", orders)

    def forward(self, parts_BPC: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Rows (B, width) of the parts (B, PLACES, C) of features."""
        there_BD, *placed = super().forward(parts_BPC).unbind(dim=1)
        for order_D, one_BD in zip(self.orders, placed, strict=True):
            there_BD = there_BD + one_BD[:, order_D]
        return there_BD


class LevelHead(nn.Linear):
    """``W x + b``, with hidden units ``W x + b + C relu(A x + a)``. C starts as 0, so it starts linear.

    Where the last `PLACES * placed` features have places, x is without the places, which are bound beside it.
    """

    def __init__(self, features: int, width: int, hidden: int = 0, placed: int = 0) -> None:
        self.placed = placed
        features -= (PLACES - 1) * placed
        super().__init__(features, width)
        self.first = nn.Linear(features, hidden) if hidden else None
        self.second = nn.Linear(hidden, width, bias=False) if hidden else None
        if self.second is not None:
            nn.init.zeros_(self.second.weight)
        self.bound = Bound(placed, width) if placed else None

    def forward(self, features_BF: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Rows (B, width) of features (B, F)."""
        seen_BF = features_BF[:, : self.in_features]
        rows_BD = super().forward(seen_BF)
        if self.first is not None and self.second is not None:
            rows_BD = rows_BD + self.second(F.relu(self.first(seen_BF)))
        if self.bound is not None:
            parts_BPC = features_BF[:, -PLACES * self.placed :].unflatten(1, (PLACES, self.placed))
            rows_BD = rows_BD + self.bound(parts_BPC)
        return rows_BD


class NestedLevels(nn.Module):
    """Every level is a prefix of the widest vector, brought back to unit length."""

    def __init__(self, features: int, widths: tuple[int, ...], hidden: int = 0, placed: int = 0) -> None:
        super().__init__()
        self.widths = widths
        self.head = LevelHead(features, widths[-1], hidden, placed)

    def forward(self, features_BF: Tensor) -> dict[int, Tensor]:
        """Unit vectors by width, from features (B, F)."""
        fine_BD = self.head(features_BF)
        return {width: unit(fine_BD[:, :width]) for width in self.widths}


class SeparateLevels(nn.Module):
    """Every level has a head of its own, as the wording of HiVLP's abstract suggests."""

    def __init__(self, features: int, widths: tuple[int, ...], hidden: int = 0, placed: int = 0) -> None:
        super().__init__()
        self.widths = widths
        self.heads = nn.ModuleList(LevelHead(features, width, hidden, placed) for width in widths)

    def forward(self, features_BF: Tensor) -> dict[int, Tensor]:
        """Unit vectors by width, from features (B, F)."""
        return {width: unit(head(features_BF)) for width, head in zip(self.widths, self.heads, strict=True)}


def heads_of(levels: nn.Module) -> list[LevelHead]:
    """The heads of levels of either kind, narrowest first: one where they are nested."""
    return [module for module in levels.modules() if isinstance(module, LevelHead)]
