"""The formats that are read, and how their first bytes tell them apart; it opens nothing.

The content decides, not the name of a file. Other things are named by `foreign`, so that people see what
went wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

from hivlp.data.images.directory import read_directory


@dataclass(frozen=True, slots=True)
class Format:
    """A format that is read.

    Attributes:
        name: for people.
        media_type: such as ``image/jpeg``.
        endings: of file names, in lower case, with the dot.
        shown: browsers show it.
    """

    name: str
    media_type: str
    endings: tuple[str, ...]
    shown: bool = True


JPEG = Format("JPEG", "image/jpeg", (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo"))
PNG = Format("PNG", "image/png", (".png", ".apng"))
WEBP = Format("WebP", "image/webp", (".webp",))
GIF = Format("GIF", "image/gif", (".gif",))
BMP = Format("BMP", "image/bmp", (".bmp", ".dib"))
TIFF = Format("TIFF", "image/tiff", (".tif", ".tiff"), shown=False)
HEIC = Format("HEIC", "image/heic", (".heic", ".heif", ".hif"), shown=False)
AVIF = Format("AVIF", "image/avif", (".avif",))
JXL = Format("JPEG XL", "image/jxl", (".jxl",), shown=False)
RAW = Format(
    "camera RAW",
    "image/x-raw",
    (".arw", ".cr2", ".cr3", ".dng", ".nef", ".nrw", ".orf", ".pef", ".raf", ".rw2", ".srw"),
    shown=False,
)

FORMATS = (JPEG, PNG, WEBP, GIF, BMP, TIFF, HEIC, AVIF, JXL, RAW)
EXTENSIONS = frozenset(ending for format_ in FORMATS for ending in format_.endings)

_SIGNATURES: tuple[tuple[bytes, Format], ...] = (
    (b"\xff\xd8\xff", JPEG),
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
    (b"II+\0", TIFF),
    (b"MM\0+", TIFF),
    (b"\xff\x0a", JXL),
    (b"\0\0\0\x0cJXL \r\n\x87\n", JXL),
    (b"FUJIFILMCCD-RAW", RAW),
    (b"IIRO", RAW),
    (b"IIRS", RAW),
    (b"MMOR", RAW),
    (b"IIU\0", RAW),
)
_BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)  # their lengths; a text may begin with BM, too
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_HEIF_BRANDS = {b"mif1", b"msf1"}

# What makes a TIFF a camera's RAW: a version of DNG, or values that are still to be developed.
_DNG_VERSION, _PHOTOMETRIC, _SUBDIRECTORIES = 50706, 262, 330
_UNDEVELOPED = {(32803,), (34892,)}
_MOST_DIRECTORIES = 16

_FOREIGN: tuple[tuple[bytes, str], ...] = (
    (b"%PDF", "it is a PDF document"),
    (b"8BPS", "it is a Photoshop document"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "it is a JPEG 2000 picture"),
    (b"\xff\x4f\xff\x51", "it is a JPEG 2000 picture"),
    (b"\0\0\x01\0", "it is an icon (ICO)"),
    (b"v/1\x01", "it is an OpenEXR picture"),
    (b"DDS ", "it is a DDS texture"),
    (b"PK\x03\x04", "it is a ZIP archive"),
    (b"\x1f\x8b", "it is a gzip archive"),
    (b"Rar!", "it is a RAR archive"),
    (b"7z\xbc\xaf", "it is a 7z archive"),
    (b"\x1aE\xdf\xa3", "it is a video (Matroska or WebM)"),
    (b"\0\0\x01\xba", "it is a video (MPEG)"),
    (b"\0\x05\x16\x07", "it is what macOS keeps beside a file on other disks (AppleDouble)"),
)


def format_of(data: bytes) -> Format | None:
    """The format of an encoded image by its content, whatever its file is called; None where none is read.

    The first 64 bytes are enough for every format but one: a RAW that is a TIFF inside (such as NEF, ARW and
    DNG) is a TIFF until the bytes of its directories are there, often some kilobytes.
    """
    for signature, format_ in _SIGNATURES:
        if data.startswith(signature):
            return format_
    if data[:4] in (b"II*\0", b"MM\0*"):
        return RAW if _is_raw(data) else TIFF
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return WEBP
    if data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in _BMP_HEADERS:
        return BMP
    return _boxed(data) if data[4:8] == b"ftyp" else None


def _boxed(data: bytes) -> Format | None:
    """The format of a file of ISO's boxes, by the brands in its first box."""
    end = min(int.from_bytes(data[:4], "big"), len(data), 256)
    major, others = data[8:12], {data[place : place + 4] for place in range(16, end, 4)}
    if major in _HEIC_BRANDS:
        return HEIC
    if major == b"crx ":
        return RAW
    if (others | {major}) & _AVIF_BRANDS:
        return AVIF
    if major in _HEIF_BRANDS or others & _HEIC_BRANDS:
        return HEIC
    return None


def _is_raw(tiff: bytes) -> bool:
    if tiff[8:10] == b"CR":
        return True
    waiting: list[int | None] = [None]
    for _ in range(_MOST_DIRECTORIES):
        if not waiting:
            return False
        tags = read_directory(tiff, waiting.pop())
        if _DNG_VERSION in tags or tags.get(_PHOTOMETRIC) in _UNDEVELOPED:
            return True
        waiting += tags.get(_SUBDIRECTORIES, ())
    return False


def foreign(data: bytes) -> str:
    """A description of bytes in a format that is not read."""
    for signature, words in _FOREIGN:
        if data.startswith(signature):
            return words
    if b"<svg" in data[:4096].lower():
        return "it is an SVG drawing"
    if data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype html", b"<html", b"<head")):
        return "it is an HTML page (a failed download?)"
    if data[4:8] in (b"ftyp", b"moov", b"mdat", b"wide"):
        return "it is a video"
    if data[:4] == b"RIFF" and data[8:12] == b"AVI ":
        return "it is a video (AVI)"
    if not any(data[:512]):
        return "its first bytes are all zero (a failed copy?)"
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
