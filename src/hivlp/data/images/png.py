"""The checksums of a PNG (W3C PNG, section 5): a wrong one beside the pixels is no reason to refuse it."""

from __future__ import annotations

import zlib

_SIGNATURE = 8


def with_checksums(data: bytes) -> bytes:
    """A PNG with right checksums of the chunks that may be missing; those of the pixels stay as they are."""
    mended = bytearray(data)
    place = _SIGNATURE
    while place + 12 <= len(data):
        end = place + 8 + int.from_bytes(data[place : place + 4], "big")
        if end + 4 > len(data):
            break
        if data[place + 4] & 0x20:  # a small letter: the picture can be shown without this chunk
            mended[end : end + 4] = zlib.crc32(data[place + 4 : end]).to_bytes(4, "big")
        place = end + 4
    return bytes(mended)
