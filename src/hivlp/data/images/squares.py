"""RGB images as the squares that models take; it decodes nothing itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hivlp.data.images.decode import ImageInput, decode_with_size
from hivlp.data.images.limits import MAX_PIXELS

if TYPE_CHECKING:
    from hivlp.config import Preprocessing

PixelArray: TypeAlias = NDArray[np.uint8]

# Reduced JPEG decoding stays at twice the wanted side: decoding straight to the wanted side would replace the
# resampling filter by JPEG's own averaging, a difference that an embedding can see.
DRAFT_MARGIN = 2

_FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "box": Image.Resampling.BOX,
}


@dataclass(frozen=True, slots=True)
class LoadedPicture:
    """A picture as a model takes it.

    Attributes:
        pixels: uint8, 3×S×S, RGB, not normalised; or what a model's own preprocessing makes.
        width: of the original in pixels, upright.
        height: of the original in pixels, upright.
        note: what a person should know of it, such as that a part of it is missing; None in most cases.
    """

    pixels: NDArray[Any]
    width: int
    height: int
    note: str | None = None


def to_pixels(image: Image.Image, preprocessing: Preprocessing) -> PixelArray:
    """Resize an RGB picture to a square as the preprocessing says.

    ``squeeze`` fits the whole frame into the square; ``crop`` scales the short side and takes the centre.
    Mean and deviation are not applied here: they are part of the model graph.

    Returns:
        uint8 array 3×S×S.
    """
    side = preprocessing.size
    box = None if _is_whole(preprocessing) else _centre_box(image.size, preprocessing)
    resized = image.resize((side, side), _FILTERS[preprocessing.interpolation], box=box)
    return np.ascontiguousarray(np.asarray(resized, dtype=np.uint8).transpose(2, 0, 1))


def framed(image: Image.Image, preprocessing: Preprocessing) -> Image.Image:
    """The part of a picture that the preprocessing shows, at its own size, to the nearest pixel."""
    if _is_whole(preprocessing):
        return image
    left, top, right, bottom = (round(edge) for edge in _centre_box(image.size, preprocessing))
    return image.crop((left, top, max(right, left + 1), max(bottom, top + 1)))


def _is_whole(preprocessing: Preprocessing) -> bool:
    return preprocessing.fit == "squeeze" and preprocessing.centre == 1


def load(source: ImageInput, preprocessing: Preprocessing, *, max_pixels: int = MAX_PIXELS) -> LoadedPicture:
    """Decode and resize one picture, keeping the original's size. Raises ImageError as :func:`decode`."""
    decoded = decode_with_size(source, hint=DRAFT_MARGIN * preprocessing.size, max_pixels=max_pixels)
    pixels = to_pixels(decoded.image, preprocessing)
    return LoadedPicture(pixels, decoded.width, decoded.height, decoded.note)


def load_pixels(
    source: ImageInput, preprocessing: Preprocessing, *, max_pixels: int = MAX_PIXELS
) -> PixelArray:
    """Decode and resize one picture to uint8 3×S×S. Raises ImageError as :func:`decode`."""
    return load(source, preprocessing, max_pixels=max_pixels).pixels


def _centre_box(size: tuple[int, int], preprocessing: Preprocessing) -> tuple[float, float, float, float]:
    """The square that is cut out of the scaled frame, in coordinates of the original.

    Same rounding as "scale the frame, then cut the centre", without the scaled whole in between: of a picture
    of 1×10,000 that would be 500 megapixels.
    """
    width, height = size
    side, scaled = preprocessing.size, round(preprocessing.size / preprocessing.centre)
    short = (min(width, height),) * 2 if preprocessing.fit == "crop" else size
    scaled_width, scaled_height = int(scaled * width / short[0]), int(scaled * height / short[1])
    left, top = (scaled_width - side) // 2, (scaled_height - side) // 2
    step_x, step_y = width / scaled_width, height / scaled_height
    return (left * step_x, top * step_y, (left + side) * step_x, (top + side) * step_y)
