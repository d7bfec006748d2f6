"""The one place where images are recognised, decoded and resized; it knows no model, no source and no index.

Only an allow-list of formats is opened, each by its own reader, so that no other plugin of Pillow ever sees a
foreign file. Nothing global is changed: every function here may be called from many threads at once.
"""

from __future__ import annotations

from hivlp.data.images.decode import Decoded, ImageInput, check, decode, decode_with_size
from hivlp.data.images.files import MAX_FILE_BYTES, file_hash, problem_with, read_bytes
from hivlp.data.images.formats import EXTENSIONS, FORMATS, Format, format_of
from hivlp.data.images.limits import MAX_PIXELS
from hivlp.data.images.squares import (
    DRAFT_MARGIN,
    LoadedPicture,
    PixelArray,
    framed,
    load,
    load_pixels,
    to_pixels,
)

__all__ = [
    "DRAFT_MARGIN",
    "EXTENSIONS",
    "FORMATS",
    "MAX_FILE_BYTES",
    "MAX_PIXELS",
    "Decoded",
    "Format",
    "ImageInput",
    "LoadedPicture",
    "PixelArray",
    "check",
    "decode",
    "decode_with_size",
    "file_hash",
    "format_of",
    "framed",
    "load",
    "load_pixels",
    "problem_with",
    "read_bytes",
    "to_pixels",
]
