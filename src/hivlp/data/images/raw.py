"""The picture that a camera put beside its RAW data: its own rendering, which needs no developing."""

from __future__ import annotations

from io import BytesIO
from typing import Any, NamedTuple

from PIL import Image

from hivlp.data.images.limits import check_size
from hivlp.errors import ImageError, MissingExtraError

# LibRaw's turns as orientations of EXIF.
_ORIENTATIONS = {0: 1, 3: 3, 5: 8, 6: 6}


class Preview(NamedTuple):
    """A preview: an encoded JPEG or pixels, and the orientation of the RAW where the preview has none."""

    picture: bytes | Image.Image
    orientation: int


def read_preview(data: bytes, limit: int) -> Preview:
    """The largest preview in a RAW file; without a preview, the data developed at half its size.

    Args:
        data: the file.
        limit: the most pixels that are developed.

    Raises:
        ImageError: rawpy is not installed, or the file has too many pixels.
        Exception: LibRaw can't read the file; the message says why.
    """
    rawpy = _rawpy()
    with rawpy.imread(BytesIO(data)) as raw:
        orientation = _ORIENTATIONS.get(raw.sizes.flip, 1)
        try:
            thumbnail = raw.extract_thumb()
        except (rawpy.LibRawNoThumbnailError, rawpy.LibRawUnsupportedThumbnailError):
            check_size((raw.sizes.raw_width, raw.sizes.raw_height), limit, why=" for developing a RAW")
            return Preview(Image.fromarray(raw.postprocess(half_size=True, use_camera_wb=True)), 1)
        if thumbnail.format is rawpy.ThumbFormat.JPEG:
            return Preview(thumbnail.data, orientation)
        return Preview(Image.fromarray(thumbnail.data), orientation)


def _rawpy() -> Any:
    try:
        import rawpy
    except ImportError:
        raise ImageError(
            str(MissingExtraError("rawpy", "photos", "it is a camera RAW file: reading its preview"))
        ) from None
    return rawpy
