"""Colours of TIFFs in more than 8 bits, which Pillow cuts to their high bytes or does not open at all.

Pillow reads such values in grey. So the first directory is made to say that the image is grey and three times
as wide, each colour being a pixel of its own, and Pillow's decoders of strips, tiles and compressions work.
"""

from __future__ import annotations

import struct
from io import BytesIO
from typing import NamedTuple

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from hivlp.data.images.colours import deep_to_bytes
from hivlp.data.images.directory import read_directory
from hivlp.data.images.limits import check_size

_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _ORIENTATION, _SAMPLES, _ROWS_PER_STRIP = (
    256,
    257,
    258,
    262,
    274,
    277,
    278,
)
_PLANES, _PREDICTOR, _TILE_WIDTH, _FORMAT = 284, 317, 322, 339
_RGB, _GREY, _APART = 2, 1, 2
_LONG = 4


class DeepImage(NamedTuple):
    """RGB of 8 bits as it is stored, and its orientation."""

    rgb: Image.Image
    orientation: int


def is_deep_rgb(data: bytes, limit: int) -> bool:
    """Whether `read_deep_rgb` is for this TIFF: three colour values of 16 bits or more, laid out simply.

    Args:
        data: the file.
        limit: the most pixels that are decoded.

    Raises:
        ImageError: it is, and has more pixels.
    """
    tags = read_directory(data)
    bits, height = tags.get(_BITS, (0,)), _first(tags, _HEIGHT)
    if len(bits) != 3 or min(bits) < 16 or len(set(bits)) != 1 or tags.get(_PHOTOMETRIC) != (_RGB,):
        return False
    if tags.get(_SAMPLES) != (3,) or _first(tags, _PREDICTOR, 1) != 1 or b"tiff:Orientation" in data:
        return False  # the predictor counts in threes, and Pillow would turn each colour by itself
    rows = min(_first(tags, _ROWS_PER_STRIP, height), height)
    if _first(tags, _PLANES) == _APART and (_TILE_WIDTH in tags or rows < 1 or height % rows):
        return False  # a strip would hold the end of one colour and the beginning of the next
    check_size((_first(tags, _WIDTH), height), limit)
    return True


def read_deep_rgb(data: bytes) -> DeepImage:
    """The image of such a TIFF, scaled by the range in use. Raises what Pillow raises on damage."""
    tags = read_directory(data)
    width, height, are_apart = _first(tags, _WIDTH), _first(tags, _HEIGHT), _first(tags, _PLANES) == _APART
    new = {
        _WIDTH: width if are_apart else 3 * width,
        _HEIGHT: 3 * height if are_apart else height,
        _BITS: _first(tags, _BITS),
        _PHOTOMETRIC: _GREY,
        _ORIENTATION: 1,
        _SAMPLES: 1,
        _ROWS_PER_STRIP: min(_first(tags, _ROWS_PER_STRIP, height), height),
        _PLANES: 1,
        _TILE_WIDTH: 3 * _first(tags, _TILE_WIDTH),
        _FORMAT: _first(tags, _FORMAT, 1),
    }
    image = TiffImageFile(BytesIO(_retagged(data, new)))
    image.im = Image.core.new(image.mode, image.size)  # the limit of Pillow is not that of this image
    image.load()
    values = deep_to_bytes(image)
    del image  # up to four times the memory of its values in 8 bits
    if are_apart:
        rgb_HWC = values.reshape(3, height, width).transpose(1, 2, 0)
    else:
        rgb_HWC = values.reshape(height, width, 3)
    return DeepImage(Image.fromarray(np.ascontiguousarray(rgb_HWC)), _first(tags, _ORIENTATION, 1))


def _first(tags: dict[int, tuple[int, ...]], tag: int, default: int = 0) -> int:
    return (tags.get(tag) or (default,))[0]


def _retagged(data: bytes, new: dict[int, int]) -> bytes:
    """A TIFF whose first directory has other values of some tags; those it does not have stay out."""
    order = "<" if data[:2] == b"II" else ">"
    changed = bytearray(data)
    (start,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, start)
    for entry in range(start + 2, start + 2 + 12 * count, 12):
        (tag,) = struct.unpack_from(f"{order}H", data, entry)
        if tag in new:
            struct.pack_into(f"{order}HHII", changed, entry, tag, _LONG, 1, new[tag])
    return bytes(changed)
