"""JPEG files: what is seen of them without decoding (ITU-T T.81, annex B), reduced sizes, and cut ones."""

from __future__ import annotations

import re
from io import BytesIO

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from hivlp.data.images.limits import check_size
from hivlp.errors import ImageError

# A progressive JPEG has about ten; each costs a pass over all pixels, and a few bytes can ask for thousands.
_MOST_SCANS = 50
END = b"\xff\xd9"
_REDUCTIONS = (1, 2, 4, 8)
# What the decoder makes of blocks whose data is missing.
_FILL = 128
_BAND = 256

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


def open_jpeg(data: bytes, limit: int) -> JpegImageFile:
    """The image behind its header, nothing decoded yet, its size checked. Raises whatever Pillow raises.

    Raises:
        ImageError: it has too many scans or pixels.
    """
    if has_more_scans(data, _MOST_SCANS):
        raise ImageError(
            f"it has more than {_MOST_SCANS} scans, which takes too long to decode; save it again as JPEG"
        )
    data, exif = _without_exif(data)
    image = JpegImageFile(BytesIO(data))
    if exif is not None:
        image.info["exif"] = exif
    if image.info.get("progressive"):
        # Its decoder keeps the coefficients of all pixels, whatever the size that it decodes to.
        check_size(image.size, limit, why=" for a progressive JPEG")
    else:
        check_size(image.size, limit, least=_REDUCTIONS[-1] ** 2)
    return image


def reduce(image: JpegImageFile, hint: int | None, limit: int) -> None:
    """Decodes an opened JPEG at 1/2, 1/4 or 1/8 of its size, while no side falls below the hint.

    One of more pixels than the limit is reduced until it is within, whatever the hint.
    """
    width, height = image.size
    within = next(
        (one for one in _REDUCTIONS if -(-width // one) * -(-height // one) <= limit),
        _REDUCTIONS[-1],
    )
    if hint is None and within == 1:
        return
    wanted_width, wanted_height = (width, height) if hint is None else (hint, hint)
    least_width, least_height = max(1, width // within), max(1, height // within)
    image.draft(None, (min(wanted_width, least_width), min(wanted_height, least_height)))


def without_fill(rgb: Image.Image) -> Image.Image | None:
    """The rows of a cut JPEG that were decoded, before it is turned upright; None where there are none."""
    for top in reversed(
        range(0, rgb.height, _BAND)
    ):  # all rows at once would take the memory of the image again
        rows_HWC = np.asarray(rgb.crop((0, top, rgb.width, min(top + _BAND, rgb.height))))
        decoded = np.flatnonzero((rows_HWC != _FILL).any(axis=(1, 2)))
        if len(decoded):
            return rgb.crop((0, 0, rgb.width, top + int(decoded[-1]) + 1))
    return None


def _without_exif(data: bytes) -> tuple[bytes, bytes | None]:
    """A JPEG whose EXIF segments are renamed, and their content, the parts of a long one joined.

    Pillow reads EXIF while opening (for the dots per inch) and warns when it is corrupt, as it often is in
    files of old cameras; only the orientation matters here, and `orientation` reads it.
    """
    exif: bytes | None = None
    renamed: list[int] = []
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        if marker in (_END, _SCAN):
            break
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        body = position + 4
        if marker == 0xE1 and data[body : body + 6] == b"Exif\0\0":
            exif = data[body:end] if exif is None else exif + data[body + 6 : end]
            renamed.append(body)
        position = end
    if renamed:
        changed = bytearray(data)
        for body in renamed:
            changed[body] = ord("-")
        data = bytes(changed)
    return data, exif
