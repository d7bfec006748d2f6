"""The one place where pictures are decoded and resized; it knows no model, no source and no index.

Only an allow-list of raster formats is opened, each by its own reader, so that no other plugin of Pillow ever
sees a foreign file. Nothing global is changed: every function here may be called from many threads at once.
"""

from __future__ import annotations

import hashlib
import stat
import struct
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from hivlp.data.jpeg import has_more_scans
from hivlp.errors import ImageError

if TYPE_CHECKING:
    from hivlp.config import Preprocessing

ImageInput: TypeAlias = "str | Path | bytes | Image.Image"
PixelArray: TypeAlias = NDArray[np.uint8]

MAX_PIXELS = 100_000_000
MAX_FILE_BYTES = 1 << 30
# A progressive JPEG has about ten; each costs a pass over all pixels, and a few bytes can ask for thousands.
_MOST_SCANS = 50
EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})

# Reduced JPEG decoding stays at twice the wanted side: decoding straight to the wanted side would replace the
# resampling filter by JPEG's own averaging, a difference that an embedding can see.
DRAFT_MARGIN = 2

_FORMATS = "JPEG, PNG, WebP, GIF, BMP and TIFF"
_READERS: tuple[tuple[bytes, type[ImageFile]], ...] = (
    (b"\xff\xd8\xff", JpegImageFile),
    (b"\x89PNG\r\n\x1a\n", PngImageFile),
    (b"GIF87a", GifImageFile),
    (b"GIF89a", GifImageFile),
    (b"BM", BmpImageFile),
    (b"II*\0", TiffImageFile),
    (b"MM\0*", TiffImageFile),
    (b"II+\0", TiffImageFile),
    (b"MM\0+", TiffImageFile),
)
# These readers compare sizes with Pillow's own limit and warn or raise beyond it; the lower limit decides.
_READERS_WITH_OWN_LIMIT = (TiffImageFile, GifImageFile, WebPImageFile)

_FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "box": Image.Resampling.BOX,
}
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (5, 6, 7, 8)
_ORIENTATION_TAG = 0x0112


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded picture, RGB and upright.

    Attributes:
        image: the pixels, possibly fewer than the original has (see ``hint`` of :func:`decode`).
        width: of the original in pixels, upright.
        height: of the original in pixels, upright.
    """

    image: Image.Image
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class LoadedPicture:
    """A picture as a model takes it.

    Attributes:
        pixels: uint8, 3×S×S, RGB, not normalised; or what a model's own preprocessing makes.
        width: of the original in pixels, upright.
        height: of the original in pixels, upright.
    """

    pixels: NDArray[Any]
    width: int
    height: int


def read_bytes(path: str | Path) -> bytes:
    """The bytes of a picture file.

    Raises:
        ImageError: the file is missing, empty, too large, unreadable, or not a plain file.
    """
    path = Path(path)
    problem = problem_with(path)
    if problem is not None:
        raise ImageError(problem)
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(_unreadable(error)) from error


def problem_with(path: Path) -> str | None:
    """Why a path is not a picture file (missing, a folder, too large), without opening it; else None."""
    try:
        status = path.stat()
    except FileNotFoundError:
        if path.is_symlink():
            return (
                f"it is a broken symbolic link to {str(path.readlink())!r}; restore the target or remove it"
            )
        return "the file does not exist; correct its path or restore it"
    except (OSError, ValueError) as error:
        return _unreadable(error)
    # A pipe or a device would block the reader for ever.
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a plain file"
        return f"it is {kind}; a picture must be a file"
    if status.st_size > MAX_FILE_BYTES:
        return f"the file has {status.st_size:,} bytes, the limit is {MAX_FILE_BYTES:,}; make it smaller"
    return None


def _unreadable(error: OSError | ValueError) -> str:
    reason = getattr(error, "strerror", None) or str(error)
    return f"the file can't be read ({reason}); check its path and permissions"


def file_hash(data: bytes) -> str:
    """SHA-256 of encoded bytes as 64 hexadecimal digits: the content hash that an index keeps."""
    return hashlib.sha256(data).hexdigest()


def decode(source: ImageInput, *, hint: int | None = None, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode one picture to RGB: upright as EXIF says, transparency over white, the first frame of several.

    Args:
        source: a path, encoded bytes, or a PIL picture (which is not changed).
        hint: the side in pixels that is wanted later. A JPEG may then be decoded at 1/2, 1/4 or 1/8 of its
            size, but never so that a side falls below the hint.
        max_pixels: pictures with more pixels (width × height) are refused before they are decoded.

    Raises:
        ImageError: the file is not a readable image; the message has the reason and no file name.
    """
    return decode_with_size(source, hint=hint, max_pixels=max_pixels).image


def decode_with_size(source: ImageInput, *, hint: int | None = None, max_pixels: int = MAX_PIXELS) -> Decoded:
    """As :func:`decode`, with the width and height of the original beside the picture."""
    if isinstance(source, Image.Image):
        return _finish(source, max_pixels=max_pixels)
    data = source if isinstance(source, bytes) else read_bytes(source)
    image = _open(data, max_pixels)
    size = None
    if hint is not None and isinstance(image, JpegImageFile):
        size = image.size
        image.draft(None, (hint, hint))
    return _finish(image, max_pixels=max_pixels, size=size)


def check(data: bytes, *, max_pixels: int = MAX_PIXELS) -> str:
    """Looks at the header of an encoded picture only, and gives its media type, such as ``image/jpeg``.

    Raises:
        ImageError: it is not a readable picture, or has more than `max_pixels` pixels.
    """
    reader = type(_open(data, max_pixels))
    return Image.MIME[reader.format or ""]


def to_pixels(image: Image.Image, preprocessing: Preprocessing) -> PixelArray:
    """Resize an RGB picture to a square as the preprocessing says.

    ``squeeze`` fits the whole frame into the square; ``crop`` scales the short side and takes the centre.
    Mean and deviation are not applied here: they are part of the model graph.

    Returns:
        uint8 array 3×S×S.
    """
    side = preprocessing.size
    box = None if _is_whole(preprocessing) else _centre_box(image.size, preprocessing)
    resized = image.resize((side, side), _FILTERS[preprocessing.interpolation], box=box)
    return np.ascontiguousarray(np.asarray(resized, dtype=np.uint8).transpose(2, 0, 1))


def framed(image: Image.Image, preprocessing: Preprocessing) -> Image.Image:
    """The part of a picture that the preprocessing shows, at its own size, to the nearest pixel."""
    if _is_whole(preprocessing):
        return image
    left, top, right, bottom = (round(edge) for edge in _centre_box(image.size, preprocessing))
    return image.crop((left, top, max(right, left + 1), max(bottom, top + 1)))


def _is_whole(preprocessing: Preprocessing) -> bool:
    return preprocessing.fit == "squeeze" and preprocessing.centre == 1


def load(source: ImageInput, preprocessing: Preprocessing, *, max_pixels: int = MAX_PIXELS) -> LoadedPicture:
    """Decode and resize one picture, keeping the original's size. Raises ImageError as :func:`decode`."""
    decoded = decode_with_size(source, hint=DRAFT_MARGIN * preprocessing.size, max_pixels=max_pixels)
    return LoadedPicture(to_pixels(decoded.image, preprocessing), decoded.width, decoded.height)


def load_pixels(
    source: ImageInput, preprocessing: Preprocessing, *, max_pixels: int = MAX_PIXELS
) -> PixelArray:
    """Decode and resize one picture to uint8 3×S×S. Raises ImageError as :func:`decode`."""
    return load(source, preprocessing, max_pixels=max_pixels).pixels


def _centre_box(size: tuple[int, int], preprocessing: Preprocessing) -> tuple[float, float, float, float]:
    """The square that is cut out of the scaled frame, in coordinates of the original.

    Same rounding as "scale the frame, then cut the centre", without the scaled whole in between: of a picture
    of 1×10,000 that would be 500 megapixels.
    """
    width, height = size
    side, scaled = preprocessing.size, round(preprocessing.size / preprocessing.centre)
    short = (min(width, height),) * 2 if preprocessing.fit == "crop" else size
    scaled_width, scaled_height = int(scaled * width / short[0]), int(scaled * height / short[1])
    left, top = (scaled_width - side) // 2, (scaled_height - side) // 2
    step_x, step_y = width / scaled_width, height / scaled_height
    return (left * step_x, top * step_y, (left + side) * step_x, (top + side) * step_y)


def _open(data: bytes, max_pixels: int) -> ImageFile:
    """The picture behind its header, nothing decoded yet, its size checked."""
    reader = _reader_of(data)
    limit = max_pixels
    if issubclass(reader, _READERS_WITH_OWN_LIMIT) and Image.MAX_IMAGE_PIXELS is not None:
        limit = min(limit, Image.MAX_IMAGE_PIXELS)
    exif = None
    if reader is JpegImageFile:
        if has_more_scans(data, _MOST_SCANS):
            raise ImageError(
                f"it has more than {_MOST_SCANS} scans, which takes too long to decode; save it again as JPEG"
            )
        data, exif = _without_exif(data)
    try:
        image = reader(BytesIO(data))
    except Image.DecompressionBombError:
        raise ImageError(f"it has more than the {limit:,} pixels allowed; make it smaller") from None
    except Exception as error:
        raise ImageError(_damaged(reader, error)) from error
    if exif is not None:
        image.info["exif"] = exif
    _check_size(image.size, limit)
    return image


def _reader_of(data: bytes) -> type[ImageFile]:
    if not data:
        raise ImageError("the file is empty (0 bytes); copy it again from where it came from")
    for magic, reader in _READERS:
        if data.startswith(magic):
            return reader
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return WebPImageFile
    raise ImageError(f"{_kind_of(data)}, not a picture that can be read; convert it to one of {_FORMATS}")


def is_picture(head: bytes) -> bool:
    """Whether a file that begins with these bytes (32 are enough) is a picture, whatever its name says."""
    if head.startswith(b"BM"):  # so do words: the size of the header must be one that BMP has
        return int.from_bytes(head[14:18], "little") in (12, 40, 52, 56, 64, 108, 124)
    try:
        _reader_of(head)
    except ImageError:
        return False
    return True


def _kind_of(data: bytes) -> str:
    """A description of bytes in another format, so that people see what went wrong."""
    head = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in data[:4096].lower():
        return "it is an SVG drawing"
    if head.startswith((b"<!doctype html", b"<html", b"<head")):
        return "it is an HTML page (a failed download?)"
    if data[4:8] == b"ftyp":
        return f"it is a {data[8:12].decode('latin-1').strip().upper()} file"
    if data.startswith(b"%PDF"):
        return "it is a PDF document"
    if b"\0" not in data[:512] and _is_text(data[:512]):
        return "it is a text file"
    return f"it is of an unknown kind (first bytes {data[:4].hex(' ')})"


def _is_text(head: bytes) -> bool:
    try:
        # The cut may fall inside of a character, hence the lenient last bytes.
        head[: max(1, len(head) - 3)].decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _without_exif(data: bytes) -> tuple[bytes, bytes | None]:
    """A JPEG whose EXIF segment is renamed, and that segment.

    Pillow reads EXIF while opening (for the dots per inch) and warns when it is corrupt, as it often is in
    files of old cameras; only the orientation matters here, and :func:`_exif_orientation` reads it.
    """
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        if marker in (0xD9, 0xDA):
            break
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        body = position + 4
        if marker == 0xE1 and data[body : body + 6] == b"Exif\0\0":
            return data[:body] + b"-" + data[body + 1 :], data[body : position + 2 + length]
        position += 2 + length
    return data, None


def _check_size(size: tuple[int, int], limit: int) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise ImageError(f"it is {width}×{height} pixels; a picture needs at least one pixel")
    if width * height > limit:
        raise ImageError(
            f"it has {width * height:,} pixels ({width}×{height}), above the limit of {limit:,}; "
            "make it smaller or raise the limit"
        )


def _damaged(reader: type[Image.Image], error: Exception) -> str:
    reason = " ".join(str(error).split()) or type(error).__name__
    name = reader.format or "picture"
    return f"the {name} file is damaged or cut off ({reason[:200]}); copy it again from where it came from"


def _finish(image: Image.Image, *, max_pixels: int, size: tuple[int, int] | None = None) -> Decoded:
    """Decode an opened picture and make it RGB and upright; ``size`` is the original's, where it differs."""
    _check_size(size or image.size, max_pixels)
    try:
        image.load()
        width, height = size or image.size
        orientation = _orientation(image)
        rgb = _to_rgb(image)
    except ImageError:
        raise
    except Exception as error:
        # Pillow's readers raise a dozen kinds of exceptions on damaged files, SyntaxError among them.
        raise ImageError(_damaged(type(image), error)) from error
    if orientation in _TURNS:
        rgb = rgb.transpose(_TURNS[orientation])
    if orientation in _SIDEWAYS:
        width, height = height, width
    return Decoded(rgb, width, height)


def _orientation(image: Image.Image) -> int:
    if isinstance(image, TiffImageFile):
        # Pillow may turn a TIFF itself while loading and then drops the tag; the remaining turn is done here.
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    exif = image.info.get("exif")
    return _exif_orientation(exif) if isinstance(exif, bytes) else 1


def _exif_orientation(exif: bytes) -> int:
    """The orientation, 1 to 8, of an EXIF block; 1 where it has none or is corrupt."""
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, _kind, _values, value = struct.unpack_from(f"{order}HHIH", tiff, entry)
            if tag == _ORIENTATION_TAG:
                return value
    except struct.error:
        pass
    return 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode == "F" or image.mode.startswith("I"):
        return _deep_grey(image).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGB", image.size, (255, 255, 255))
        white.paste(rgba, mask=rgba.getchannel("A"))
        return white
    return image.convert("RGB")


def _deep_grey(image: Image.Image) -> Image.Image:
    """Grey of more than 8 bits as 8 bits.

    16-bit values keep their full range (65,535 becomes 255), so a dark picture stays dark. The wider types
    carry no range of their own: it is taken as the first of 1, 255 and 65,535 that holds all floating values
    (integers: 65,535), else as the largest value.
    """
    values_HW = np.nan_to_num(np.asarray(image).astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    largest = float(values_HW.max())
    ranges = (1.0, 255.0, 65535.0) if image.mode == "F" else (65535.0,)
    full = next((top for top in ranges if largest <= top), largest)
    scaled_HW = np.clip(values_HW * np.float32(255.0 / full) + 0.5, 0, 255)
    return Image.fromarray(scaled_HW.astype(np.uint8))
