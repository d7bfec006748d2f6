"""The image of an item as a file that browsers show: the indexed content, never another file at its path."""

from __future__ import annotations

from io import BytesIO

from PIL import Image

from hivlp.data.images import FORMATS, check, decode
from hivlp.data.originals import read_original
from hivlp.errors import ImageError
from hivlp.serve.problems import Problem
from hivlp.types import Item

THUMBNAIL_SIDES = (160, 320, 640, 1280)
_QUALITY, _QUALITY_OF_ORIGINALS = 82, 92
_SHOWN = {format_.media_type for format_ in FORMATS if format_.shown}


def original(item: Item, place: str) -> tuple[bytes, str]:
    """The image of an item for a browser, read from its path, and its media type.

    It is the file itself, or a JPEG of it where browsers don't show its format.

    Raises:
        Problem: 404, the item has no image; 410, the image is gone or was replaced.
    """
    try:
        data = _stored(item, place)
        media_type = check(data)
        return (data, media_type) if media_type in _SHOWN else (_as_jpeg(decode(data)), "image/jpeg")
    except ImageError:
        raise _gone() from None


def thumbnail(item: Item, place: str, side: int) -> bytes:
    """A JPEG of an item's image, at most ``side`` pixels wide and high, without its metadata.

    Raises:
        Problem: see `original`.
    """
    try:
        image = decode(_stored(item, place), hint=side)
    except ImageError:
        raise _gone() from None
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return _as_jpeg(image, quality=_QUALITY)


def _stored(item: Item, place: str) -> bytes:
    """The bytes that were indexed.

    The content must have the hash that was indexed. So no other file can be sent this way: neither a file
    that replaced the image nor the target of a link in its place.
    """
    if item.kind != "image" or item.sha256 is None:
        raise Problem(404, "not_found", "this item has no image")
    return read_original(place, sha256=item.sha256)


def _gone() -> Problem:
    return Problem(
        410, "changed", "the image of this item is gone or was replaced by another file: index it again"
    )


def _as_jpeg(image: Image.Image, *, quality: int = _QUALITY_OF_ORIGINALS) -> bytes:
    image.info = {}  # a comment of the original would be written into the JPEG
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
