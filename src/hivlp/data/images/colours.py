"""Every mode of Pillow as RGB of 8 bits; it knows no format."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

# The ranges that deep values come in: 8, 10, 12, 14 and 16 bits.
_RANGES = (255.0, 1023.0, 4095.0, 16383.0, 65535.0)
_NOISE = 4
_BAND = 256


def to_rgb(image: Image.Image) -> Image.Image:
    """An image as RGB, transparency over white; deep grey values become 8 bits by the range in use."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode == "F" or image.mode.startswith("I"):
        return Image.fromarray(deep_to_bytes(image)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGB", image.size, (255, 255, 255))
        white.paste(rgba, mask=rgba.getchannel("A"))
        return white
    if image.mode == "LAB":
        return _from_lab(image)
    return image.convert("RGB")


def is_one_colour(rgb: Image.Image) -> bool:
    """Whether all pixels of an RGB image are equal, but for the noise of a codec."""
    sample = rgb.resize((8, 8), Image.Resampling.NEAREST)  # most images are through after these few
    return _is_flat(sample) and _is_flat(rgb)


def _is_flat(rgb: Image.Image) -> bool:
    return all(high - low <= _NOISE for low, high in _extremes(rgb))


def _extremes(rgb: Image.Image) -> list[tuple[int, int]]:
    extremes: Any = rgb.getextrema()
    return extremes


def stretched(rgb: Image.Image) -> Image.Image:
    """The high bytes of RGB of 16 bits, whose values may have come from a camera of 12 or 14 bits."""
    largest = max(high for _, high in _extremes(rgb))
    full = next(int(top) >> 8 for top in _RANGES[2:] if largest <= int(top) >> 8)
    return rgb if full == 255 else rgb.point([min(255, value * 255 // full) for value in range(256)] * 3)


def _from_lab(image: Image.Image) -> Image.Image:
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    transform = ImageCms.buildTransform(lab, srgb, "LAB", "RGB")
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None  # it is None only where the image itself is changed
    return converted


def deep_to_bytes(image: Image.Image) -> NDArray[np.uint8]:
    """Grey values of more than 8 bits (H, W) as 8 bits: black stays 0, white ends the range in use.

    Whole numbers carry no range of their own: cameras and scanners write 12 bits as 0 to 4,095 into 16. The
    range is the first of 8, 10, 12, 14 and 16 bits that holds all values; else the largest value is white.
    Of floating values 1 is white, or the largest one if it is larger.
    """
    # A band of rows at a time: the whole as floating numbers takes several times the memory of the image.
    tops = range(0, image.height, _BAND)
    largest = max(float(_finite_rows(image, top).max()) for top in tops)
    ranges = (1.0,) if image.mode == "F" else _RANGES
    full = next((end for end in ranges if largest <= end), largest)
    scaled_HW = np.empty((image.height, image.width), np.uint8)
    for top in tops:
        rows_HW = _finite_rows(image, top) * np.float32(255.0 / full) + 0.5
        scaled_HW[top : top + _BAND] = np.clip(rows_HW, 0, 255)
    return scaled_HW


def _finite_rows(image: Image.Image, top: int) -> NDArray[np.float32]:
    rows_HW = np.asarray(image.crop((0, top, image.width, min(top + _BAND, image.height))))
    return np.nan_to_num(rows_HW.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
