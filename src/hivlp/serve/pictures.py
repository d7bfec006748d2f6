"""The picture of an item as a file to send; only what was indexed, whatever lies at its place by now."""

from __future__ import annotations

from io import BytesIO

from PIL import Image

from hivlp.data.images import check, decode
from hivlp.data.originals import read_original
from hivlp.errors import ImageError
from hivlp.serve.problems import Problem
from hivlp.types import Item

THUMBNAIL_SIDES = (160, 320, 640)
_QUALITY = 82


def original(item: Item, place: str) -> tuple[bytes, str]:
    """The picture file of an item, read from its place, and its media type.

    The content must have the hash that was indexed. So nothing else can leave by this way: not a file that
    took the picture's place, nor what a link that did points to.

    Raises:
        Problem: 404, the item has no picture; 410, it is gone or is another one now.
    """
    if item.kind != "image" or item.sha256 is None:
        raise Problem(404, "not_found", "this item has no picture that could be shown")
    try:
        data = read_original(place, sha256=item.sha256)
        return data, check(data)
    except ImageError:
        raise Problem(
            410,
            "changed",
            "the picture of this item is gone, or another file has taken its place since; index it again",
        ) from None


def thumbnail(data: bytes, side: int) -> bytes:
    """A JPEG of a picture, at most so many pixels wide and high; without any of its metadata.

    Raises:
        ImageError: the picture can't be decoded.
    """
    image = decode(data, hint=side)
    image.info = {}  # a comment of the original would be written into the JPEG
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()
