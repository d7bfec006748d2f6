"""From the packed batch to what the towers take: crops of pictures, texts in groups of like length."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F


def crop(pixels_BCHW: Tensor, boxes_B4: Tensor, mirror_B: Tensor, *, size: int) -> Tensor:
    """The boxes of a batch of pictures as float pixels (B, 3, size, size) in [0, 255], mirrored if asked."""
    left, top, right, bottom = (boxes_B4 * 2 - 1).unbind(dim=1)
    flip = 1 - 2 * mirror_B.to(boxes_B4.dtype)
    zero = torch.zeros_like(left)
    theta_B23 = torch.stack(
        [
            torch.stack([flip * (right - left) / 2, zero, (left + right) / 2], dim=1),
            torch.stack([zero, (bottom - top) / 2, (top + bottom) / 2], dim=1),
        ],
        dim=1,
    )
    grid = F.affine_grid(theta_B23, [len(boxes_B4), 3, size, size], align_corners=False)
    return F.grid_sample(
        pixels_BCHW.float(), grid, mode="bilinear", padding_mode="border", align_corners=False
    )


def by_length(mask_TT: Tensor, *, group: int) -> Iterator[tuple[Tensor, int]]:
    """The rows of texts in groups of like length, shortest first, with the length of the longest of each.

    Captions differ widely in length, and padding all of them to the longest can triple the work.
    """
    for rows_G in torch.argsort(mask_TT.sum(dim=1), stable=True).split(group):
        yield rows_G, int(mask_TT[rows_G].sum(dim=1).max())


def hide(rows_BCHW: Tensor, hidden_BG: Tensor) -> Tensor:
    """Normalised pictures with the hidden cells of a square grid, row by row, set to 0, which is the mean."""
    side = math.isqrt(hidden_BG.shape[1])
    grid_B1GG = hidden_BG.view(-1, 1, side, side).to(rows_BCHW.dtype)
    return rows_BCHW * (1 - F.interpolate(grid_B1GG, size=rows_BCHW.shape[2:], mode="nearest"))


def cells(rows_BCHW: Tensor, *, side: int, detail: int = 8) -> Tensor:
    """What each cell of a grid of side × side shows (B, G, P): its pixels, at most detail × detail of them.

    Each is brought to mean 0 and deviation 1, as the targets of MAE are (arXiv 2111.06377, section 4.1): a
    cell's structure is to be told, not its brightness.
    """
    detail = max(1, min(detail, rows_BCHW.shape[2] // side))
    small_BCHW = F.adaptive_avg_pool2d(rows_BCHW, side * detail)
    cells_BPG = F.unfold(small_BCHW, kernel_size=detail, stride=detail)
    return F.layer_norm(cells_BPG.transpose(1, 2), [cells_BPG.shape[1]])
