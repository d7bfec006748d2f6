"""The directories of a TIFF, in which cameras also keep EXIF: tags and their whole numbers, nothing else."""

from __future__ import annotations

import struct
from typing import NamedTuple

# SHORT, LONG, SSHORT, SLONG and IFD; a tag of another type is known by its presence only.
_WHOLE = {3: "H", 4: "I", 8: "h", 9: "i", 13: "I"}
_ORDERS = {b"II": "<", b"MM": ">"}
_MOST_VALUES = 64


class Directory(NamedTuple):
    """One directory: the values of each tag, and where the next directory begins (0: there is none)."""

    tags: dict[int, tuple[int, ...]]
    next: int


def read_directory(tiff: bytes, start: int | None = None) -> Directory:
    """The directory at `start`, by default the first one; empty where the bytes are no TIFF or damaged.

    Where a tag stands twice, the last one counts, as in Pillow.
    """
    order = _ORDERS.get(tiff[:2])
    tags: dict[int, tuple[int, ...]] = {}
    if order is None:
        return Directory(tags, 0)
    try:
        if start is None:
            (start,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, values = struct.unpack_from(f"{order}HHI", tiff, entry)
            tags[tag] = _values(tiff, order, kind, values, entry + 8)
        (following,) = struct.unpack_from(f"{order}I", tiff, start + 2 + 12 * count)
    except struct.error:
        return Directory(tags, 0)
    return Directory(tags, following)


def _values(tiff: bytes, order: str, kind: int, count: int, place: int) -> tuple[int, ...]:
    letter = _WHOLE.get(kind)
    if letter is None or not 0 < count <= _MOST_VALUES:
        return ()
    layout = f"{order}{count}{letter}"
    try:
        if struct.calcsize(layout) > 4:
            (place,) = struct.unpack_from(f"{order}I", tiff, place)
        return struct.unpack_from(layout, tiff, place)
    except struct.error:
        return ()  # this value is damaged; those of other tags need not be
