"""What a frozen backbone sees of every image: its grid of features, stored as bytes, then as tensors.

I images, C cells of the backbone's grid, R regions after averaging, F features of either, V views.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from hivlp.config import Preprocessing
from hivlp.data.images import decode, to_pixels
from hivlp.errors import DataError, ImageError
from hivlp.train.resumable_array import resumable_array
from hivlp.types import IntArray, Sample
from hivlp_lab.flickr8k.tflite import Tflite

VIEWS = ("whole", "mirror")
GRID_TENSOR = 175
"""The last grid of ``mobilenet_v2_1.0_224_quant.tflite``, 7×7×1280, before it is averaged."""
_LEAST_STD = 0.05  # of a feature in units of the backbone; rarer ones would be blown up


class Backbone(Protocol):
    """A frozen model that turns pixels into a square grid of features, as bytes."""

    name: str
    size: int
    side: int
    width: int
    scale: float
    zero: int

    def grid(self, pixels_CHW: NDArray[np.uint8]) -> NDArray[np.int8]:
        """The features (cells, width) of one image; ``scale`` × (byte - ``zero``) are the numbers."""
        ...


class MobileNet:
    """The quantised MobileNetV2, read at its last grid."""

    def __init__(self, path: Path) -> None:
        self.name, self.size, self.side = path.name, 224, 7
        self._model = Tflite(path, tensor=GRID_TENSOR)
        self.width = self._model.width // self.side**2
        self.scale, self.zero = self._model.scale, self._model.zero

    def grid(self, pixels_CHW: NDArray[np.uint8]) -> NDArray[np.int8]:
        return self._model.raw(pixels_CHW).reshape(self.side**2, self.width).astype(np.int8)


class RandomBackbone:
    """Random features of the pixels of each cell: no download and no seconds, to try a run out."""

    def __init__(self) -> None:
        self.name, self.size, self.side, self.width = "random", 28, 7, 32
        self.scale, self.zero = 0.05, -128
        self._weights_PF = np.random.default_rng(3).standard_normal((48, self.width)).astype(np.float32)

    def grid(self, pixels_CHW: NDArray[np.uint8]) -> NDArray[np.int8]:
        cells = pixels_CHW.reshape(3, 7, 4, 7, 4).transpose(1, 3, 0, 2, 4).reshape(49, 48) / 255 - 0.5
        features_CF = np.maximum(cells.astype(np.float32) @ self._weights_PF, 0)
        return np.clip(np.round(features_CF / self.scale) + self.zero, -128, 127).astype(np.int8)


def stored_grids(
    samples: Sequence[Sample], backbone: Backbone, stem: Path, *, mirror: bool, say: Callable[[str], None]
) -> NDArray[np.int8]:
    """The grid of every image (I, C, F), memory-mapped; a run that was stopped goes on.

    An undecodable image has a row of zeros, which no real image has.
    """
    square = Preprocessing(size=backbone.size, fit="squeeze", interpolation="bicubic")

    def rows_from(done: int) -> Iterator[tuple[int, NDArray[np.int8]]]:
        for row in range(done, len(samples)):
            try:
                image = decode(samples[row].read())
            except (ImageError, OSError):
                continue
            if mirror:
                image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            yield row, backbone.grid(to_pixels(image, square))[None]

    return resumable_array(
        stem,
        (len(samples), backbone.side**2, backbone.width),
        rows_from,
        lambda done: say(f"{stem.name}: the backbone saw {done:,} of {len(samples):,} pictures"),
        dtype=np.int8,
    )


@dataclass(frozen=True)
class Scaling:
    """Mean and deviation of every feature over the cells of the training images."""

    mean_F: Tensor
    std_F: Tensor

    @staticmethod
    def of(grid_ICF: NDArray[np.int8], rows_P: IntArray, backbone: Backbone) -> Scaling:
        cells_CF = torch.cat(
            [_numbers(grid_ICF[rows], backbone).flatten(0, 1) for rows in blocks(rows_P[::6])]
        )
        return Scaling(cells_CF.mean(dim=0), cells_CF.std(dim=0).clamp(min=_LEAST_STD))


@dataclass(frozen=True)
class ImageFeatures:
    """The features of images as all systems take them, standardised.

    Attributes:
        regions_VIRF: float16, of each view; averages of neighbouring cells.
        pooled_VIF: float32, the average of all cells.
        boxes_R7: where the regions are, each number a share of the image.
    """

    regions_VIRF: Tensor
    pooled_VIF: Tensor
    boxes_R7: Tensor


def as_tensors(
    grids: Sequence[NDArray[np.int8]], backbone: Backbone, scaling: Scaling, *, grid: int
) -> ImageFeatures:
    """The views of images, each cell's features standardised and averaged to grid × grid regions."""
    whole_1C = torch.full((1, backbone.side**2), 1 / backbone.side**2)
    weights_RC = torch.cat([averages(backbone.side, grid), whole_1C])
    regions, pooled = [], []
    for grid_ICF in grids:
        parts = [
            # averaging first and standardising then is the same and touches fewer numbers
            ((weights_RC @ _numbers(grid_ICF[rows], backbone)) - scaling.mean_F) / scaling.std_F
            for rows in blocks(np.arange(len(grid_ICF)))
        ]
        regions.append(torch.cat([part[:, :-1].half() for part in parts]))
        pooled.append(torch.cat([part[:, -1] for part in parts]))
    return ImageFeatures(torch.stack(regions), torch.stack(pooled), boxes(backbone.side, grid))


def averages(side: int, grid: int) -> Tensor:
    """What each cell of the backbone counts in each region (R, C); every row adds up to 1."""
    share_GS = torch.zeros(grid, side)
    for row_S, (first, last) in zip(share_GS, _spans(side, grid), strict=True):
        row_S[first:last] = 1 / (last - first)
    return torch.kron(share_GS, share_GS)


def _spans(side: int, grid: int) -> list[tuple[int, int]]:
    """First and behind-last cell of each region along a side; they overlap where grid does not divide it."""
    return [(place * side // grid, -(-(place + 1) * side // grid)) for place in range(grid)]


def boxes(side: int, grid: int) -> Tensor:
    """Left, top, right, bottom, width, height and area of regions (R, 7), row by row, in [0, 1]."""
    edges = [(first / side, last / side) for first, last in _spans(side, grid)]
    rows = [
        (left, top, right, bottom, right - left, bottom - top, (right - left) * (bottom - top))
        for top, bottom in edges
        for left, right in edges
    ]
    return torch.tensor(rows, dtype=torch.float32)


def require_all(grid_ICF: NDArray[np.int8], samples: Sequence[Sample]) -> None:
    """Refuses images that could not be decoded. Raises DataError naming the first."""
    unread_N = np.flatnonzero(~readable(grid_ICF))
    if len(unread_N):
        raise DataError(
            f"{samples[unread_N[0]].uri} and {len(unread_N) - 1} more pictures are not decodable: drop them "
            "from the source, because all systems must use the same pictures"
        )


def readable(grid_ICF: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Which rows (I,) are of images that could be decoded."""
    return np.concatenate([grid_ICF[rows].any(axis=(1, 2)) for rows in blocks(np.arange(len(grid_ICF)))])


def _numbers(cells_BCF: NDArray[np.int8], backbone: Backbone) -> Tensor:
    return (torch.from_numpy(np.array(cells_BCF)).float() - backbone.zero) * backbone.scale


def blocks(rows_N: IntArray, *, size: int = 256) -> Iterator[IntArray]:
    """Rows in blocks of at most this size, one after the other."""
    yield from (rows_N[start : start + size] for start in range(0, len(rows_N), size))
