"""The directories of a TIFF, in which cameras also keep EXIF: tags and their whole numbers, nothing else."""

from __future__ import annotations

import struct

# SHORT, LONG, SSHORT, SLONG and IFD; a tag of another type is known by its presence only.
_WHOLE = {3: "H", 4: "I", 8: "h", 9: "i", 13: "I"}
_ORDERS = {b"II": "<", b"MM": ">"}
_MOST_VALUES = 64


def read_directory(tiff: bytes, start: int | None = None) -> dict[int, tuple[int, ...]]:
    """The tags of the directory at `start`, by default the first one; those before damage, if there is any.

    Where a tag stands twice, the last one counts, as in Pillow.
    """
    order = _ORDERS.get(tiff[:2])
    tags: dict[int, tuple[int, ...]] = {}
    if order is None:
        return tags
    try:
        begin: int = struct.unpack_from(f"{order}I", tiff, 4)[0] if start is None else start
        (count,) = struct.unpack_from(f"{order}H", tiff, begin)
        for entry in range(begin + 2, begin + 2 + 12 * count, 12):
            tag, kind, values = struct.unpack_from(f"{order}HHI", tiff, entry)
            tags[tag] = _values(tiff, order, kind, values, entry + 8)
    except struct.error:
        pass  # the tags before count
    return tags


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
