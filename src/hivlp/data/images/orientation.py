"""Which way up an image is, as Pillow's `exif_transpose` sees it, but without its warnings."""

from __future__ import annotations

import re
from typing import Any

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from hivlp.data.images.directory import read_directory

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = (5, 6, 7, 8)
_TAG = 0x0112
_XMP = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')


def orientation_of(image: Image.Image) -> int | None:
    """The orientation of a decoded image, 1 to 8 or a number without meaning; None where it has none."""
    if isinstance(image, TiffImageFile):
        # Pillow may turn a TIFF itself while loading and then drops the tag; the remaining turn is done here.
        return image.getexif().get(_TAG)
    found = exif_orientation(exif_of(image.info))
    return _xmp_orientation(image.info) if found is None else found


def exif_orientation(exif: bytes) -> int | None:
    """The orientation of an EXIF block; None where it has none or is corrupt."""
    while exif.startswith(b"Exif\0\0"):
        exif = exif[6:]
    values = read_directory(exif).get(_TAG)
    return values[0] if values else None


def exif_of(info: dict[Any, Any]) -> bytes:
    """The EXIF block of an opened image, from what its reader found; empty bytes if it has none."""
    exif = info.get("exif")
    if isinstance(exif, bytes):
        return exif
    # ImageMagick keeps EXIF of a PNG as a text: a name, a length, and the bytes in hexadecimal digits.
    for name in ("Raw profile type exif", "Raw profile type APP1"):
        try:
            return bytes.fromhex("".join(info[name].split("\n")[3:]))
        except (KeyError, AttributeError, ValueError):
            continue
    return b""


def _xmp_orientation(info: dict[Any, Any]) -> int | None:
    for name in ("XML:com.adobe.xmp", "xmp"):
        xmp = info.get(name)
        if xmp:
            found = _XMP.search(xmp.encode("utf-8", "replace") if isinstance(xmp, str) else xmp)
            return int(found[1]) if found else None
    return None
