"""From a tower's features to unit vectors at every level; the one place where embeddings are normalised.

Two ways, both consistent with what is published of HiVLP (arXiv 2205.12105 names different dimensions, not
how they are made): a prefix of the widest vector (Matryoshka, arXiv 2205.13147), or a head of its own for
each level.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


def unit(rows_BD: Tensor) -> Tensor:
    """Rows of length 1, computed in float32 whatever the precision around it."""
    return F.normalize(rows_BD.float(), dim=-1, eps=1e-6)


class NestedLevels(nn.Module):
    """Every level is a prefix of the widest vector, brought back to unit length."""

    def __init__(self, features: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.widths = widths
        self.head = nn.Linear(features, widths[-1])

    def forward(self, features_BF: Tensor) -> dict[int, Tensor]:
        """Unit vectors by width, from features (B, F)."""
        fine_BD = self.head(features_BF)
        return {width: unit(fine_BD[:, :width]) for width in self.widths}


class SeparateLevels(nn.Module):
    """Every level has a head of its own, as the wording of HiVLP's abstract suggests."""

    def __init__(self, features: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.widths = widths
        self.heads = nn.ModuleList(nn.Linear(features, width) for width in widths)

    def forward(self, features_BF: Tensor) -> dict[int, Tensor]:
        """Unit vectors by width, from features (B, F)."""
        return {width: unit(head(features_BF)) for width, head in zip(self.widths, self.heads, strict=True)}
