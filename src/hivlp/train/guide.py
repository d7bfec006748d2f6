"""The teacher's own head, and what the student learns from it: answers, and the teacher's features.

It lives as long as the run. Shapes: B pictures, S cells a side of the teacher's map (1 where its features are
pooled), C channels of it, F features of the student, G regions of the student's map.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hivlp.model.dual import DualEncoder
from hivlp.model.levels import NestedLevels


class Guide(nn.Module):
    """The head that gives a teacher's features a place in the embedding space, and one that predicts them."""

    mean_C: Tensor
    std_C: Tensor
    cell_std_C: Tensor

    def __init__(
        self, model: DualEncoder, known_NF: Tensor, *, cells: int = 0, hidden: int = 0, dropout: float = 0.3
    ) -> None:
        """Takes some of the teacher's features, which may be of a grid of cells × cells, for statistics."""
        super().__init__()
        self._side = max(1, cells)
        known_NGC = known_NF.view(len(known_NF), self._side**2, -1)
        mean_C, std_C = known_NGC.mean(dim=(0, 1)), known_NGC.mean(dim=1).std(dim=0, correction=0)
        self.levels = NestedLevels(len(mean_C), model.config.levels.widths, hidden)
        self.predict = nn.Linear(model.image_tower.width, len(mean_C))
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("mean_C", mean_C, persistent=False)
        self.register_buffer("std_C", bounded(std_C), persistent=False)
        cell_std_C = known_NGC.flatten(0, 1).std(dim=0, correction=0)
        self.register_buffer("cell_std_C", bounded(cell_std_C), persistent=False)

    @property
    def looks_at_cells(self) -> bool:
        return self._side > 1

    def pooled(self, features_BF: Tensor) -> Tensor:
        """Standardised features of whole pictures (B, C)."""
        return (self._map(features_BF).mean(dim=(1, 2)) - self.mean_C) / self.std_C

    def of_cells(self, features_BF: Tensor, mirror_B: Tensor, regions: int) -> Tensor:
        """Standardised features of the student's regions (B, G, C), mirrored where the pictures are."""
        map_BSSC = (self._map(features_BF) - self.mean_C) / self.cell_std_C
        map_BSSC = torch.where(mirror_B[:, None, None, None], map_BSSC.flip(2), map_BSSC)
        return _resized(map_BSSC.flatten(1, 2), regions)

    def _map(self, features_BF: Tensor) -> Tensor:
        return features_BF.view(len(features_BF), self._side, self._side, -1)


def _resized(cells_BGC: Tensor, regions: int) -> Tensor:
    """A square map in another number of cells; cells are divided or joined with equal weight."""
    if cells_BGC.shape[1] == regions:
        return cells_BGC
    side, wanted = math.isqrt(cells_BGC.shape[1]), math.isqrt(regions)
    map_BCSS = cells_BGC.transpose(1, 2).unflatten(2, (side, side))
    return F.adaptive_avg_pool2d(map_BCSS, wanted).flatten(2).transpose(1, 2)


def bounded(std_C: Tensor) -> Tensor:
    """Deviations that nothing explodes under: channels that hardly ever speak are not made loud."""
    return std_C.clamp(min=0.05 * float(std_C.mean()) + 1e-6)
