"""The picture of an item as a file to send; only what was indexed, whatever lies at its place by now."""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from hivlp.data.images import MAX_FILE_BYTES, check, decode, file_hash
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
        data = _read(place)
        media_type = check(data) if file_hash(data) == item.sha256 else None
    except (OSError, ValueError, tarfile.TarError, KeyError, ImageError):
        media_type = None
    if media_type is None:
        raise Problem(
            410,
            "changed",
            "the picture of this item is gone, or another file has taken its place since; index it again",
        )
    return data, media_type


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


def _read(uri: str) -> bytes:
    archive, mark, member = uri.partition(".tar#")
    if not mark:
        return _read_file(Path(uri))
    with _opened(Path(archive + ".tar")) as file, tarfile.open(fileobj=file, mode="r:") as tar:
        stream = tar.extractfile(member)
        if stream is None:
            raise FileNotFoundError(uri)
        return stream.read(MAX_FILE_BYTES)


def _read_file(path: Path) -> bytes:
    with _opened(path) as file:
        if os.fstat(file.fileno()).st_size > MAX_FILE_BYTES:
            raise FileNotFoundError(path)
        return file.read()


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """A plain file to read; a pipe or a device in its place is not waited for."""
    without_waiting = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    opener = lambda name, flags: os.open(name, flags | without_waiting)  # noqa: E731
    with open(path, "rb", opener=opener) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise FileNotFoundError(path)
        yield file
