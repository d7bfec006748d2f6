"""Decoding: any format that is read, to RGB and upright; it knows no model."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TypeAlias

from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from hivlp.data.images import jpeg
from hivlp.data.images.colours import is_one_colour, stretched, to_rgb
from hivlp.data.images.deep_tiff import is_deep_rgb, read_deep_rgb
from hivlp.data.images.files import read_bytes
from hivlp.data.images.formats import (
    AVIF,
    FORMATS,
    GIF,
    JPEG,
    JXL,
    PNG,
    RAW,
    TIFF,
    WEBP,
    Format,
    foreign,
    format_of,
)
from hivlp.data.images.jxl import read_header
from hivlp.data.images.limits import MAX_PIXELS, check_size
from hivlp.data.images.orientation import SIDEWAYS, TURNS, orientation_of
from hivlp.data.images.png import with_checksums
from hivlp.data.images.raw import Preview, read_preview
from hivlp.data.images.readers import reader_of
from hivlp.errors import ImageError

ImageInput: TypeAlias = "str | Path | bytes | Image.Image"

_NAMES = f"{', '.join(one.name for one in FORMATS[:-1])} and {FORMATS[-1].name}"
_AGAIN = "copy it again from where it came from"
# Their readers warn beyond Pillow's own limit, or refuse.
_WITH_LIMIT_OF_PILLOW = (GIF, WEBP)
_ANIMATED = (GIF, PNG, WEBP, AVIF)
_MOST_FRAMES = 100
_LEAST_SHARE = 0.1  # of the rows of a JPEG that is cut off
_UNSUPPORTED = ("unknown pixel mode", "unsupported", "not supported", "not available")


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded picture, RGB and upright.

    Attributes:
        image: the pixels, possibly fewer than the original has (see ``hint`` of :func:`decode`).
        width: of the original in pixels, upright.
        height: of the original in pixels, upright.
        note: what a person should know of it, such as that a part of it is missing; None in most cases.
    """

    image: Image.Image
    width: int
    height: int
    note: str | None = None


def decode(source: ImageInput, *, hint: int | None = None, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode one picture to RGB: upright, transparency over white, one frame of several.

    The first frame that is not of one colour counts: an animation may fade in. A TIFF gives its first page, a
    camera's RAW its preview, and a JPEG that is cut off the rows that are there.

    Args:
        source: a path, encoded bytes, or a PIL picture (which is not changed).
        hint: the side in pixels that is wanted later. A JPEG may then be decoded at 1/2, 1/4 or 1/8 of its
            size, but never so that a side falls below the hint.
        max_pixels: pictures with more pixels (width × height) are refused before they are decoded. A JPEG is
            decoded at a reduced size instead, if that has no more.

    Raises:
        ImageError: the file is not a readable image; the message has the reason and no file name.
    """
    return decode_with_size(source, hint=hint, max_pixels=max_pixels).image


def decode_with_size(source: ImageInput, *, hint: int | None = None, max_pixels: int = MAX_PIXELS) -> Decoded:
    """As :func:`decode`, with the width and height of the original beside the picture."""
    if isinstance(source, Image.Image):
        check_size(source.size, max_pixels)
        rgb, orientation = _loaded(source, source.format or "picture")
        return _upright(rgb, source.size, orientation)
    data, format_ = _recognised(source if isinstance(source, bytes) else read_bytes(source))
    if format_ is JPEG:
        return _decode_jpeg(data, hint, max_pixels)
    if format_ is RAW:
        return _decode_raw(data, hint, max_pixels)
    if format_ is TIFF and is_deep_rgb(data, max_pixels):
        deep = _decode_deep(data)
        if deep is not None:
            return deep
    image = _open(data, format_, max_pixels)
    is_turned = format_ is JXL and read_header(data).orientation != 1
    is_deep = format_ in (PNG, TIFF) and _is_deep(image)
    rgb, orientation = _loaded(image, format_.name)
    if is_deep:
        rgb = stretched(rgb)
    if format_ in _ANIMATED and is_one_colour(rgb):
        rgb = _telling_frame(image, rgb.copy(), max_pixels)
    return _upright(rgb, image.size, None if is_turned else orientation)


def check(data: bytes, *, max_pixels: int = MAX_PIXELS) -> str:
    """Looks at the header of an encoded picture only, and gives its media type, such as ``image/jpeg``.

    Raises:
        ImageError: it is not a readable picture, or has more than `max_pixels` pixels.
    """
    data, format_ = _recognised(data)
    if format_ is RAW:
        preview = _preview(data, max_pixels)
        if isinstance(preview.picture, bytes):
            check(preview.picture, max_pixels=max_pixels)
    elif not (format_ is TIFF and is_deep_rgb(data, max_pixels)):
        _open(data, format_, max_pixels)
    return format_.media_type


def _recognised(data: bytes) -> tuple[bytes, Format]:
    """The bytes of an image, without the line ends that some web servers put before it, and its format."""
    if not data:
        raise ImageError(f"the file is empty (0 bytes); {_AGAIN}")
    for start in (data, data.lstrip(b"\xef\xbb\xbf \t\r\n")):
        format_ = format_of(start)
        if format_ is not None:
            return start, format_
    kind = foreign(data)
    remedy = _AGAIN if "text" in kind else f"convert it to JPEG or PNG ({_NAMES} are read)"
    raise ImageError(f"{kind}, not a picture that can be read; {remedy}")


def _open(data: bytes, format_: Format, limit: int) -> ImageFile:
    """The picture behind its header, nothing decoded yet, its size checked."""
    reader = reader_of(format_)
    try:
        if format_ is JPEG:
            return jpeg.open_jpeg(data, limit)
        if format_ is JXL:
            check_size(read_header(data)[:2], limit)
        image = reader(BytesIO(data))
    except ImageError:
        raise
    except Image.DecompressionBombError:
        raise ImageError(f"it has more than the {limit:,} pixels allowed; make it smaller") from None
    except Exception as error:
        mended = with_checksums(data) if format_ is PNG else data
        if mended != data:
            return _open(mended, format_, limit)
        raise ImageError(_damaged(format_.name, error)) from error
    check_size(image.size, limit)
    own = Image.MAX_IMAGE_PIXELS
    if own is not None and image.width * image.height > own:
        if format_ in _WITH_LIMIT_OF_PILLOW:
            check_size(image.size, own, why=f" for {format_.name}", can_be_raised=False)
        if format_ is TIFF:
            # Pillow asks for its limit when it makes room for the pixels, so there is room already.
            image.im = Image.core.new(image.mode, getattr(image, "_tile_size", image.size))
    return image


def _loaded(image: Image.Image, name: str) -> tuple[Image.Image, int | None]:
    """The pixels of an opened picture as RGB, as they are stored, and its orientation."""
    try:
        image.load()
        return to_rgb(image), orientation_of(image)
    except Exception as error:
        # Pillow's readers raise a dozen kinds of exceptions on damaged files, SyntaxError among them.
        raise ImageError(_damaged(name, error)) from error


def _upright(
    rgb: Image.Image, size: tuple[int, int], orientation: int | None, note: str | None = None
) -> Decoded:
    width, height = size
    if orientation in TURNS:
        rgb = rgb.transpose(TURNS[orientation])
    if orientation in SIDEWAYS:
        width, height = height, width
    return Decoded(rgb, width, height, note)


def _decode_jpeg(data: bytes, hint: int | None, limit: int, *, orientation: int | None = None) -> Decoded:
    """A JPEG; `orientation` counts where it has none of its own."""
    image, size = _opened_jpeg(data, hint, limit)
    note = None
    try:
        rgb, found = _loaded(image, JPEG.name)
    except ImageError as error:
        if "truncated" not in str(error.__cause__):
            raise
        # With a mark of its end, the decoder fills what is missing.
        image, size = _opened_jpeg(data + jpeg.END, hint, limit)
        filled, found = _loaded(image, JPEG.name)
        part = jpeg.without_fill(filled)
        if part is None or part.height < _LEAST_SHARE * filled.height:
            raise
        share = part.height / filled.height
        used = "all that decodes is used" if share == 1 else f"the upper {share:.0%} that decode are used"
        note = f"the JPEG file is cut off: {used}; {_AGAIN}"
        rgb = part
    return _upright(rgb, size, orientation if found is None else found, note)


def _opened_jpeg(data: bytes, hint: int | None, limit: int) -> tuple[ImageFile, tuple[int, int]]:
    image = _open(data, JPEG, limit)
    size = image.size
    assert isinstance(image, JpegImageFile)
    jpeg.reduce(image, hint, limit)
    return image, size


def _decode_raw(data: bytes, hint: int | None, limit: int) -> Decoded:
    picture, orientation = _preview(data, limit)
    if isinstance(picture, bytes):
        return _decode_jpeg(picture, hint, limit, orientation=orientation)
    return _upright(picture.convert("RGB"), picture.size, orientation)


def _preview(data: bytes, limit: int) -> Preview:
    try:
        return read_preview(data, limit)
    except ImageError:
        raise
    except Exception as error:
        raise ImageError(_damaged(RAW.name, error)) from error


def _decode_deep(data: bytes) -> Decoded | None:
    try:
        rgb, orientation = read_deep_rgb(data)
    except Exception:  # the ordinary way reads it, or says why not
        return None
    return _upright(rgb, rgb.size, orientation)


def _is_deep(image: ImageFile) -> bool:
    """Whether Pillow will keep the high bytes of colours of 16 bits."""
    return image.mode == "RGB" and any(";16" in str(tile[3]) for tile in image.tile)


def _telling_frame(image: ImageFile, first: Image.Image, limit: int) -> Image.Image:
    """The first frame that is not of one colour; `first` if all frames that were read are of one colour."""
    frames = min(_MOST_FRAMES, 1 + limit // (image.width * image.height))
    try:
        if not getattr(image, "is_animated", False):
            return first
        for number in range(1, frames):
            image.seek(number)
            image.load()
            rgb = to_rgb(image)
            if not is_one_colour(rgb):
                return rgb
    except Exception:  # the end, or damage
        return first
    return first


def _damaged(name: str, error: Exception) -> str:
    words = error.args[0] if error.args else ""
    text = words.decode("utf-8", "replace") if isinstance(words, bytes) else str(error)
    reason = " ".join(text.split())[:200] or type(error).__name__
    if isinstance(error, MemoryError):
        return f"there is too little memory to decode this {name} picture; make it smaller"
    if any(one in reason.lower() for one in _UNSUPPORTED):
        return f"this kind of {name} picture is not supported ({reason}); save it as PNG or JPEG"
    return f"the {name} file is damaged or cut off ({reason}); {_AGAIN}"
