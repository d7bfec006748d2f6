"""The size of a JPEG XL picture and its orientation, from its first bytes (ISO/IEC 18181-1, annex D).

The plugin decodes a whole picture when it is opened, so that its size must be known before.
"""

from __future__ import annotations

from typing import NamedTuple

_BOXES = (b"jxlc", b"jxlp")
_FIELDS = (9, 13, 18, 30)
# Widths as parts of the height, by a number of three bits; 0 stands for a width of its own.
_RATIOS = ((1, 1), (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


class JxlHeader(NamedTuple):
    """What a codestream says first: pixels as they are stored, and the turn that its decoder makes."""

    width: int
    height: int
    orientation: int


def read_header(data: bytes) -> JxlHeader:
    """The header of a codestream, alone or in its boxes.

    Raises:
        ValueError: the header is missing or cut off.
    """
    bits = _Bits(_codestream(data)[2:42])
    small = bits.take(1)
    height = _side(bits, small)
    ratio = bits.take(3)
    width = _side(bits, small) if ratio == 0 else height * _RATIOS[ratio][0] // _RATIOS[ratio][1]
    is_plain = bits.take(1)
    orientation = 1 + bits.take(3) if not is_plain and bits.take(1) else 1
    return JxlHeader(width, height, orientation)


def _side(bits: _Bits, small: int) -> int:
    return 8 * (bits.take(5) + 1) if small else bits.take(_FIELDS[bits.take(2)]) + 1


def _codestream(data: bytes) -> bytes:
    if data[:2] == b"\xff\x0a":
        return data
    place = 0
    while place + 8 <= len(data):
        length, kind = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        body = place + (16 if length == 1 else 8)
        if kind in _BOXES:
            # A part of a codestream has its number first.
            return data[body + (4 if kind == b"jxlp" else 0) :]
        if length == 1:
            length = int.from_bytes(data[place + 8 : place + 16], "big")
        if length < 8:
            break
        place += length
    raise ValueError("it has no codestream")


class _Bits:
    def __init__(self, data: bytes) -> None:
        self._number, self._left = int.from_bytes(data, "little"), 8 * len(data)

    def take(self, count: int) -> int:
        """The next bits as a number, the first one lowest."""
        if count > self._left:
            raise ValueError("its header is cut off")
        value = self._number & ((1 << count) - 1)
        self._number >>= count
        self._left -= count
        return value
