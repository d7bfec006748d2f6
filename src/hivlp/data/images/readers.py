"""The reader of each format that Pillow or a plugin of it opens, imported when it is first needed."""

from __future__ import annotations

from importlib import import_module

from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from hivlp.data.images.formats import AVIF, BMP, GIF, HEIC, JPEG, JXL, PNG, TIFF, WEBP, Format
from hivlp.errors import ImageError, MissingExtraError

_PLACES = {
    PNG: ("PIL.PngImagePlugin", "PngImageFile"),
    WEBP: ("PIL.WebPImagePlugin", "WebPImageFile"),
    GIF: ("PIL.GifImagePlugin", "GifImageFile"),
    BMP: ("PIL.BmpImagePlugin", "BmpImageFile"),
    TIFF: ("PIL.TiffImagePlugin", "TiffImageFile"),
    HEIC: ("pi_heif", "HeifImageFile"),
    AVIF: ("PIL.AvifImagePlugin", "AvifImageFile"),
    JXL: ("pillow_jxl.JpegXLImagePlugin", "JXLImageFile"),
}


def reader_of(format_: Format) -> type[ImageFile]:
    """The class of Pillow that opens a format.

    Raises:
        ImageError: its package is not installed; the message has the remedy.
    """
    if format_ is JPEG:
        return JpegImageFile
    module, name = _PLACES[format_]
    try:
        reader: type[ImageFile] = getattr(import_module(module), name)
    except ImportError:
        raise ImageError(_missing(format_)) from None
    if format_ is AVIF and not getattr(import_module(module), "SUPPORTED", False):
        raise ImageError(_missing(format_))
    return reader


def _missing(format_: Format) -> str:
    if format_ is HEIC:
        return (
            "it is a HEIC picture, which needs the package 'pi-heif', which is not installed. "
            "Install it with: pip install pi-heif"
        )
    if format_ is AVIF:
        return (
            "it is an AVIF picture, and this Pillow was built without AVIF. "
            "Install another build with: pip install --upgrade --force-reinstall pillow"
        )
    return str(MissingExtraError("pillow-jxl-plugin", "photos", "it is a JPEG XL picture: reading it"))
