"""What can be seen of a JPEG file without decoding it (ITU-T T.81, annex B)."""

from __future__ import annotations

import re

_SCAN, _END = 0xDA, 0xD9
# Neither a stuffed zero nor a restart: in the data of a scan nothing else can follow 0xFF.
_MARKER = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])")
_WITHOUT_LENGTH = (0x01, 0xD8)


def has_more_scans(data: bytes, limit: int) -> bool:
    """Whether a file has more scans than that; what follows its end does not count."""
    return (
        data.count(b"\xff\xda") > limit and _scans(data) > limit
    )  # the first is quick, and hardly ever true


def _scans(data: bytes) -> int:
    count = position = 0
    while found := _MARKER.search(data, position):
        marker, position = found[1][0], found.end()
        if marker == _END:
            break
        count += marker == _SCAN
        if marker not in _WITHOUT_LENGTH:
            position += int.from_bytes(data[position : position + 2], "big")
    return count
