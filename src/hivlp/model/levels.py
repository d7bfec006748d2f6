"""From a tower's features to unit vectors at every level. `unit` normalises the embeddings of trained models.

Two ways, both consistent with the HiVLP paper (arXiv 2205.12105 names different dimensions, not how they are
made): a prefix of the widest vector (Matryoshka, arXiv 2205.13147), or a head of its own for
each level. A head is linear, or a small MLP around a linear one.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


def unit(rows_BD: Tensor) -> Tensor:
    """Rows of length 1, computed in float32 whatever the precision around it."""
    return F.normalize(rows_BD.float(), dim=-1, eps=1e-6)


def prefixes(rows_BD: Tensor, widths: tuple[int, ...]) -> dict[int, Tensor]:
    """Unit vectors by width, each the first numbers of a row (B, D)."""
    return {width: unit(rows_BD[:, :width]) for width in widths}


class LevelHead(nn.Linear):
    """``W x + b``, with hidden units ``W x + b + C relu(A x + a)``. C starts as 0, so it starts linear."""

    def __init__(self, features: int, width: int, hidden: int = 0, dropout: float = 0.0) -> None:
        super().__init__(features, width)
        self.first = nn.Linear(features, hidden) if hidden else None
        self.second = nn.Linear(hidden, width, bias=False) if hidden else None
        self.dropout = nn.Dropout(dropout)
        if self.second is not None:
            nn.init.zeros_(self.second.weight)

    def forward(self, features_BF: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Rows (B, width) of features (B, F)."""
        rows_BD = super().forward(features_BF)
        if self.first is not None and self.second is not None:
            rows_BD = rows_BD + self.second(self.dropout(F.relu(self.first(features_BF))))
        return rows_BD


class NestedLevels(nn.Module):
    """Every level is a prefix of the widest vector, brought back to unit length."""

    def __init__(self, features: int, widths: tuple[int, ...], hidden: int = 0, dropout: float = 0.0) -> None:
        super().__init__()
        self.widths = widths
        self.head = LevelHead(features, widths[-1], hidden, dropout)

    def forward(self, features_BF: Tensor) -> dict[int, Tensor]:
        """Unit vectors by width, from features (B, F)."""
        return prefixes(self.head(features_BF), self.widths)


class SeparateLevels(nn.Module):
    """Every level has a head of its own, as the wording of HiVLP's abstract suggests."""

    def __init__(self, features: int, widths: tuple[int, ...], hidden: int = 0, dropout: float = 0.0) -> None:
        super().__init__()
        self.widths = widths
        self.heads = nn.ModuleList(LevelHead(features, width, hidden, dropout) for width in widths)

    def forward(self, features_BF: Tensor) -> dict[int, Tensor]:
        """Unit vectors by width, from features (B, F)."""
        return {width: unit(head(features_BF)) for width, head in zip(self.widths, self.heads, strict=True)}


def heads_of(levels: nn.Module) -> list[LevelHead]:
    """The heads of levels of either kind, narrowest first: one where they are nested."""
    return [module for module in levels.modules() if isinstance(module, LevelHead)]
