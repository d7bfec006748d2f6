"""From a packed batch to the input of the towers: crops of images, texts in groups of similar length."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

WHOLE = torch.tensor([0.0, 0.0, 1.0, 1.0])  # the box of a whole frame


@torch.no_grad()
def crop(pixels_BCHW: Tensor, boxes_B4: Tensor, mirror_B: Tensor, *, size: int) -> Tensor:
    """The boxes of a batch of images as float pixels (B, 3, size, size) in [0, 255], some mirrored.

    Bilinear, without smoothing before it. Each axis is a matrix product, which costs a CPU less than half of
    what sampling along a grid of points does; whole frames that are to stay as they are take no product.
    """
    B, C, H, W = pixels_BCHW.shape
    left_B, top_B, right_B, bottom_B = boxes_B4.unbind(dim=1)
    whole = size == H == W and not bool(mirror_B.any()) and bool((boxes_B4 == WHOLE.to(boxes_B4)).all())
    if whole:
        return pixels_BCHW.float()
    start_B, end_B = torch.where(mirror_B, right_B, left_B), torch.where(mirror_B, left_B, right_B)
    across_BSW = _interpolation(start_B, end_B, cells=W, size=size)
    down_BSH = _interpolation(top_B, bottom_B, cells=H, size=size)
    with torch.autocast(pixels_BCHW.device.type, enabled=False):  # half precision cannot represent 255 steps
        narrow_BRS = torch.bmm(pixels_BCHW.float().view(B, C * H, W), across_BSW.transpose(1, 2))
        # channels last from here on, as the towers want them
        rows_BHR = narrow_BRS.view(B, C, H, size).permute(0, 2, 3, 1).reshape(B, H, size * C)
        return torch.bmm(down_BSH, rows_BHR).view(B, size, size, C).permute(0, 3, 1, 2)


def _interpolation(start_B: Tensor, end_B: Tensor, *, cells: int, size: int) -> Tensor:
    """How much of each of `cells` cells is in each of `size` places from start to end (B, size, cells).

    Start and end are shares of the axis; beyond its ends the last cell goes on. Where a place is
    just a cell the weights are exactly 0 and 1.
    """
    places_S, cells_N = (torch.arange(n, device=start_B.device) for n in (size, cells))
    at_BS = start_B[:, None] * cells + ((end_B - start_B) * cells / size)[:, None] * (places_S + 0.5) - 0.5
    return (1 - (at_BS.clamp(0, cells - 1)[:, :, None] - cells_N).abs()).clamp(min=0)


def by_length(mask_TL: Tensor, *, group: int) -> Iterator[tuple[Tensor, int]]:
    """The rows of texts in groups of similar length, shortest first, with the length of the longest of each.

    Captions differ widely in length, and padding all of them to the longest can triple the work.
    """
    for rows_G in torch.argsort(mask_TL.sum(dim=1), stable=True).split(group):
        yield rows_G, int(mask_TL[rows_G].sum(dim=1).max())


def hide(rows_BCHW: Tensor, hidden_BG: Tensor) -> Tensor:
    """Normalised images with the hidden cells of a square grid, row by row, set to 0, which is the mean."""
    side = math.isqrt(hidden_BG.shape[1])
    grid_B1GG = hidden_BG.view(-1, 1, side, side).to(rows_BCHW.dtype)
    return rows_BCHW * (1 - F.interpolate(grid_B1GG, size=rows_BCHW.shape[2:], mode="nearest"))


def cells(rows_BCHW: Tensor, *, side: int, detail: int = 8) -> Tensor:
    """What each cell of a grid of side × side shows (B, G, P): its pixels, at most detail × detail of them.

    Each is brought to mean 0 and deviation 1, as the targets of MAE are (arXiv 2111.06377, section 4.1): the
    structure of a cell is predicted, not its brightness.
    """
    detail = max(1, min(detail, rows_BCHW.shape[2] // side))
    small_BCHW = F.adaptive_avg_pool2d(rows_BCHW, side * detail)
    cells_BPG = F.unfold(small_BCHW, kernel_size=detail, stride=detail)
    return F.layer_norm(cells_BPG.transpose(1, 2), [cells_BPG.shape[1]])
