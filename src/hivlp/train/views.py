"""From the packed batch to what the towers take: crops of pictures, texts in groups of like length."""

from __future__ import annotations

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
