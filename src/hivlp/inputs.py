"""What people hand over as an image or as texts, brought to the few forms that the library works with.

It decodes nothing: a path stays a path, encoded bytes stay bytes, and an array becomes a PIL image.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Iterable, Mapping, Set
from io import BytesIO
from numbers import Integral
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from hivlp.errors import ImageError, QueryError

if TYPE_CHECKING:
    from PIL.Image import Image

ImageLike: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | IO[bytes] | Image | NDArray[np.uint8]"
"""An image in any form that `as_image` takes."""

FORMS = (
    "a path, encoded bytes, a file opened in binary mode, a PIL image, or a uint8 array of shape (height, "
    "width) or (height, width, channels)"
)
_CHANNELS = (1, 3, 4)
_WRITABLE = {"HSV": "RGB", "La": "LA", "RGBa": "RGBA"}  # modes of PIL that TIFF has no room for
_ADDRESS = re.compile(r"(?:https?|s3|gs|ftp)://", re.IGNORECASE)
_SURROGATE = re.compile("[\ud800-\udfff]")


def as_texts(texts: Any) -> list[str]:
    """The texts of an encoder's caller; a single ``str`` is one text, not its letters.

    Lone surrogates, which no tokenizer takes, become replacement characters.

    Raises:
        QueryError: it is neither text nor an ordered collection of texts.
    """
    if isinstance(texts, str):
        texts = [texts]
    elif isinstance(texts, (bytes, Mapping, Set)) or not isinstance(texts, Iterable):
        raise QueryError(f"{_shown(texts)} is neither a text nor a list of texts: give one of these")
    found = list[str]()
    for number, text in enumerate(cast("Iterable[Any]", texts), start=1):
        if not isinstance(text, str):
            raise QueryError(
                f"text {number} is {_shown(text)}: every text must be a str; leave out missing values"
            )
        found.append(text if text.isascii() else _SURROGATE.sub("\ufffd", text))
    return found


def as_images(images: Any) -> list[Path | bytes | Image]:
    """The images of an encoder's caller; a single one counts as a list of one.

    Args:
        images: one image in any form of `as_image`, several in an ordered collection, or a uint8 array of
            shape (images, height, width, channels).

    Raises:
        ImageError: something is not an image in a known form.
    """
    if is_image(images):
        return [as_image(images)]
    if isinstance(images, (Mapping, Set)) or not isinstance(images, Iterable):
        raise ImageError(f"{_shown(images)} is neither an image nor a list of images; an image is {FORMS}")
    found = list[Any]()
    for number, image in enumerate(cast("Iterable[Any]", images), start=1):
        try:
            found.append(as_image(image))
        except ImageError as error:
            raise ImageError(f"image {number}: {error}") from None
    return found


def is_image(value: Any) -> bool:
    """Whether a value is one image in a form of `as_image`, by its type alone; a ``str`` is a path."""
    if isinstance(value, (str, os.PathLike, bytes, bytearray, memoryview)) or _is_pil(value):
        return True
    if _is_array(value):
        return value.ndim in (2, 3) or _is_encoded(value)
    return hasattr(value, "read")


def as_image(image: Any) -> Path | bytes | Image:
    """One image as a path, encoded bytes or a PIL image.

    Args:
        image: a path; encoded bytes; a file opened in binary mode, read from where it stands; a PIL image; an
            array of uint8 with the shape (height, width) or (height, width, channels), where one channel is
            grey, three are RGB and four RGBA; or encoded bytes in a one-dimensional array of uint8.

    Raises:
        ImageError: it is none of these, or the file can't be read.
    """
    if isinstance(image, (Path, bytes)):
        return image
    if isinstance(image, (str, os.PathLike)):
        return _path(os.fsdecode(cast("str | os.PathLike[str]", image)))
    if isinstance(image, (bytearray, memoryview)):
        return bytes(image)
    if _is_pil(image):
        return image
    if _is_array(image):
        return _of_array(image)
    if hasattr(image, "read"):
        return _of_file(image)
    raise ImageError(f"{_shown(image)} is not an image: give {FORMS}")


def as_stored(image: Any) -> Path | bytes:
    """One image as a path or encoded bytes: a PIL image or an array becomes an uncompressed TIFF.

    Raises:
        ImageError: as `as_image`; or the PIL image can't be read.
    """
    found = as_image(image)
    return found if isinstance(found, (Path, bytes)) else _encoded(found)


def as_path(path: Any, name: str = "path") -> Path:
    """A path from what the caller passed as the argument `name`. Raises QueryError for what is not a path."""
    if isinstance(path, (str, os.PathLike)):
        return Path(os.fsdecode(cast("str | os.PathLike[str]", path)))
    raise QueryError(f"{name}={_shown(path)} is invalid: must be a path")


def check_count(name: str, value: Any, *, least: int = 1) -> None:
    """Raises QueryError unless the argument `name` is a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise QueryError(f"{name}={value!r:.40} is invalid: must be a whole number, at least {least}")


def name_of(image: Path | bytes) -> str:
    """A name for an image that was given without one: its path, or a hash of its bytes."""
    return image.as_posix() if isinstance(image, Path) else f"image-{_short_hash(image)}"


def name_of_text(text: str) -> str:
    """The name of a text that was given without one: a hash of it, so that equal texts are one item."""
    return f"text-{_short_hash(text.encode())}"


def _short_hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _path(text: str) -> Path:
    if not text:
        raise ImageError("'' is an empty path: give the path of an image")
    if _ADDRESS.match(text):
        raise ImageError(f"{text[:80]} is an address, and nothing is fetched: save the image first")
    return Path(text)


def _is_pil(value: Any) -> bool:
    """Whether a value is a PIL image; where PIL is not loaded there are none."""
    pil = sys.modules.get("PIL.Image")
    return pil is not None and isinstance(value, pil.Image)


def _is_array(value: Any) -> bool:
    """Whether a value is an array of numpy, or one that numpy reads, such as a tensor."""
    return isinstance(value, np.ndarray) or (hasattr(value, "__array__") and hasattr(value, "ndim"))


def _is_encoded(array: Any) -> bool:
    return array.ndim == 1 and array.dtype == np.uint8


def _of_array(values: Any) -> bytes | Image:
    try:
        array = np.asarray(values)
    except (TypeError, RuntimeError, ValueError) as error:  # a tensor on a GPU, or one with gradients
        raise ImageError(f"a {type(values).__name__} can't be read as an array ({error})") from None
    if _is_encoded(array):
        return array.tobytes()
    shape = "(" + ", ".join(map(str, array.shape)) + ")"
    if array.dtype != np.uint8:
        raise ImageError(
            f"an array of {array.dtype} is not an image: must be uint8, from 0 to 255; scale the values and "
            "use astype('uint8')"
        )
    last_in_front = array.ndim == 3 and array.shape[0] in _CHANNELS and min(array.shape[1:]) > max(_CHANNELS)
    if last_in_front:
        raise ImageError(
            f"an array of shape {shape} has its channels first: must be (height, width, channels); give "
            "array.transpose(1, 2, 0)"
        )
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in _CHANNELS):
        raise ImageError(
            f"an array of shape {shape} is not an image: must be (height, width), or (height, width, "
            "channels) with 1, 3 or 4 channels"
        )
    if array.size == 0:
        raise ImageError(f"an array of shape {shape} has no pixels: an image needs at least one")
    from PIL import Image

    return Image.fromarray(np.ascontiguousarray(array[..., 0] if array.shape[2:] == (1,) else array))


def _of_file(file: Any) -> bytes:
    try:
        data = file.read()
    except (OSError, ValueError) as error:
        raise ImageError(f"the file object can't be read ({error}); open the file anew") from None
    if not isinstance(data, (bytes, bytearray)):
        raise ImageError("the file object gave text, not bytes: open it in binary mode, open(path, 'rb')")
    if not data:
        raise ImageError("the file object gave 0 bytes: it is empty or stands at its end; use file.seek(0)")
    return bytes(data)


def _encoded(image: Image) -> bytes:
    from PIL import ImageOps

    try:
        upright = ImageOps.exif_transpose(image)
        mode = "RGBA" if "transparency" in upright.info else _WRITABLE.get(upright.mode, upright.mode)
        upright = upright.convert(mode) if mode != upright.mode else upright
        buffer = BytesIO()
        # neither compressed nor with the metadata of the original: equal pixels give equal bytes
        upright.copy().save(buffer, "TIFF", exif=b"", compression=None)
    except Exception as error:  # a PIL image may be a damaged file that was opened and not yet read
        raise ImageError(f"the PIL image can't be read ({error}); load it from its file again") from None
    return buffer.getvalue()


def _shown(value: Any) -> str:
    return "None" if value is None else f"{value!r:.40} ({type(value).__name__})"
