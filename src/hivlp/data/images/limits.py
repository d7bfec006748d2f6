"""How many pixels an image may have: enough for cameras, too few for a file made to fill the memory."""

from __future__ import annotations

import os
from collections.abc import Mapping

from hivlp.errors import ConfigError, ImageError

VARIABLE = "HIVLP_MAX_PIXELS"
_USUAL = 100_000_000


def pixel_limit(environment: Mapping[str, str]) -> int:
    """The most pixels that are decoded at once, from the environment; about six bytes of memory each.

    Raises:
        ConfigError: the variable is not a whole number of at least 1.
    """
    text = environment.get(VARIABLE, "").strip()
    if not text:
        return _USUAL
    digits = text.replace("_", "").replace(",", "")
    if not (digits.isascii() and digits.isdigit() and int(digits) >= 1):
        raise ConfigError(
            f"{VARIABLE}={text!r} is invalid: must be a whole number of pixels, at least 1, "
            f"such as {_USUAL}; correct it or unset it"
        )
    return int(digits)


MAX_PIXELS = pixel_limit(os.environ)


def check_size(
    size: tuple[int, int], limit: int, *, least: int = 1, why: str = "", can_be_raised: bool = True
) -> None:
    """Refuses an image without pixels, or with too many.

    Args:
        size: width and height in pixels.
        limit: the most pixels that are decoded.
        least: the pixels that stand for one that is decoded, where an image is decoded at a reduced size.
        why: what the limit is for, where it is not for all images.
        can_be_raised: the environment can raise this limit.

    Raises:
        ImageError: the size is refused.
    """
    width, height = size
    if width < 1 or height < 1:
        raise ImageError(f"it is {width}×{height} pixels; a picture needs at least one pixel")
    pixels = width * height
    if pixels > limit * least:
        remedy = f", or raise the limit with the environment variable {VARIABLE}={-(-pixels // least)}"
        raise ImageError(
            f"it has {pixels:,} pixels ({width}×{height}), above the limit of {limit * least:,}{why}; "
            f"make it smaller{remedy if can_be_raised else ''}"
        )
