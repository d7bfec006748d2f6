"""The image of an item as a file to send: the indexed content only, never another file at its path."""

from __future__ import annotations

from io import BytesIO

from PIL import Image

from hivlp.data.images import check, decode
from hivlp.data.originals import read_original
from hivlp.errors import ImageError
from hivlp.serve.problems import Problem
from hivlp.types import Item

THUMBNAIL_SIDES = (160, 320, 640, 1280)
_QUALITY = 82


def original(item: Item, place: str) -> tuple[bytes, str]:
    """The image file of an item, read from its path, and its media type.

    The content must have the hash that was indexed. So no other file can be sent this way: neither a file
    that replaced the image nor the target of a link in its place.

    Raises:
        Problem: 404, the item has no image; 410, the image is gone or was replaced.
    """
    if item.kind != "image" or item.sha256 is None:
        raise Problem(404, "not_found", "this item has no image")
    try:
        data = read_original(place, sha256=item.sha256)
        return data, check(data)
    except ImageError:
        raise Problem(
            410,
            "changed",
            "the image of this item is gone or was replaced by another file: index it again",
        ) from None


def thumbnail(data: bytes, side: int) -> bytes:
    """A JPEG of an image, at most ``side`` pixels wide and high, without its metadata.

    Raises:
        ImageError: the image can't be decoded.
    """
    image = decode(data, hint=side)
    image.info = {}  # a comment of the original would be written into the JPEG
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()
