"""The image of an item as a file that browsers show: the indexed content, never another file at its path."""

from __future__ import annotations

from hivlp.data import originals
from hivlp.data.images import FORMATS, check, decode
from hivlp.errors import ImageError
from hivlp.serve.problems import Problem
from hivlp.types import Item

THUMBNAIL_SIDES = (160, 320, 640, 1280)
_QUALITY = 92  # of a whole original
_SHOWN = {format_.media_type for format_ in FORMATS if format_.shown}


def original(item: Item, place: str) -> tuple[bytes, str]:
    """The image of an item for a browser, read from its path, and its media type.

    It is the file itself, or a JPEG of it where browsers don't show its format.

    Raises:
        Problem: 404, the item has no image; 410, the image is gone or was replaced.
    """
    try:
        data = originals.read_original(place, sha256=_hash(item))
        media_type = check(data)
        return (
            (data, media_type)
            if media_type in _SHOWN
            else (originals.as_jpeg(decode(data), quality=_QUALITY), "image/jpeg")
        )
    except ImageError:
        raise _gone() from None


def thumbnail(item: Item, place: str, side: int) -> bytes:
    """A JPEG of an item's image, at most ``side`` pixels wide and high, without its metadata.

    Raises:
        Problem: see `original`.
    """
    try:
        return originals.thumbnail(place, sha256=_hash(item), side=side)
    except ImageError:
        raise _gone() from None


def _hash(item: Item) -> str:
    """The hash of the content that was indexed.

    The file must have it. So no other file can be sent this way: neither a file that replaced the image nor
    the target of a link in its place.
    """
    if item.kind != "image" or item.sha256 is None:
        raise Problem(404, "not_found", "this item has no image")
    return item.sha256


def _gone() -> Problem:
    return Problem(
        410, "changed", "the image of this item is gone or was replaced by another file: index it again"
    )
