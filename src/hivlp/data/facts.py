"""What a picture's file says of itself in EXIF, IPTC and XMP; it decodes no pixel.

Everything in these blocks is somebody else's text: values that are impossible are left out, long ones are
cut, and damage costs the block that it is in, never the picture.
"""

from __future__ import annotations

import io
import logging
import math
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeAlias
from xml.etree.ElementTree import Element, ParseError

import exifread
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring
from PIL import IptcImagePlugin

from hivlp.data.images import format_of
from hivlp.data.images.formats import RAW, TIFF
from hivlp.data.images.orientation import exif_of
from hivlp.data.images.readers import reader_of

Facts: TypeAlias = "dict[str, str | int | float | list[str]]"
_Tags: TypeAlias = "dict[str, Any]"

# Its remarks on damaged blocks are of no use to a person.
logging.getLogger("exifread").addHandler(logging.NullHandler())

NAMES = (
    "taken_at",
    "taken_from",
    "camera",
    "lens",
    "iso",
    "lat",
    "lon",
    "title",
    "description",
    "keywords",
    "rating",
)
"""The metadata keys that this module fills; `docs/data.md` says where each comes from."""

LONGEST_XMP = 1_000_000  # bytes
_LONGEST, _MOST_KEYWORDS = 2_000, 200
_EXIF_DATE = re.compile(r"(\d{4})[:-](\d\d)[:-](\d\d)[ T](\d\d):(\d\d):(\d\d)")
_XMP_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?")
# IMG_20210601_123456, PXL_20210601_123456789, 2021-06-01 12.34.56, IMG-20210601-WA0007
_NAMED_DATE = re.compile(
    r"(?<!\d)((?:19|20)\d\d)([-_.]?)(\d\d)\2(\d\d)(?:\s+at\s+|[-_ T.])?"
    r"(?:(\d\d)[-_.:]?(\d\d)[-_.:]?(\d\d)(?:\d{3})?(?!\s*[AaPp]\.?[Mm]))?(?!\d)"
)
_OFFSET = re.compile(r"[+-]\d\d:\d\d")
_FIRST_YEAR = 1826  # of the oldest photograph
_CLOCKS_BEGIN = ("1970-01-01T00:00", "1980-01-01T00:00")  # of cameras whose clock was never set
# What cameras write into the description of every picture.
_NOT_WORDS = re.compile(r"(?i)\s*(olympus digital camera|sony dsc|kodak digital still camera|dcim\S*|)\s*")
_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_SPACES = {
    "http://purl.org/dc/elements/1.1/": "dc",
    "http://ns.adobe.com/exif/1.0/": "exif",
    "http://ns.adobe.com/xap/1.0/": "xmp",
    "http://ns.adobe.com/photoshop/1.0/": "photoshop",
    "http://ns.adobe.com/tiff/1.0/": "tiff",
    "http://ns.adobe.com/exif/1.0/aux/": "aux",
}


def facts_of(data: bytes, name: str = "") -> Facts:
    """The facts in an encoded picture.

    Words (title, description, keywords, rating) are those of XMP, else of IPTC, else of EXIF; the date is
    that of EXIF, else of XMP, else of the file's name.

    Args:
        data: the bytes of the file.
        name: of the file; a date in it counts where the file has none inside.

    Returns:
        Some of `NAMES`. ``taken_at`` is ISO 8601 without a zone unless the file names one, such as
        ``2021-06-01T12:34:56``; ``taken_from`` is ``exif``, ``xmp`` or ``name``; ``lat`` and ``lon`` are
        degrees; ``keywords`` is a list.

    Example:
        >>> facts_of(b"", "IMG_20210601_123456.jpg")
        {'taken_at': '2021-06-01T12:34:56', 'taken_from': 'name'}
    """
    tags, iptc, xmp = _blocks(data)
    found = _from_exif(tags) | _from_iptc(iptc) | from_xmp(xmp) | _date_of_exif(tags)
    if "taken_at" not in found:
        found |= _date_of_name(name)
    return {key: found[key] for key in NAMES if key in found}


def from_xmp(xmp: bytes) -> Facts:
    """The facts of an XMP packet, such as photo programs write beside a picture; empty on damage."""
    if not xmp or len(xmp) > LONGEST_XMP:
        return {}
    try:
        fields = _fields(fromstring(xmp.strip(b"\0 \r\n\t")))
    except (ParseError, DefusedXmlException, ValueError, RecursionError):
        return {}
    found: Facts = {}
    moment = _first(_xmp_moment, fields, "exif:DateTimeOriginal", "photoshop:DateCreated", "xmp:CreateDate")
    if moment is not None:
        found |= {"taken_at": moment, "taken_from": "xmp"}
    lat = _first(_xmp_degrees, fields, "exif:GPSLatitude")
    lon = _first(_xmp_degrees, fields, "exif:GPSLongitude")
    found |= _place(lat, lon)
    texts = {
        "camera": _camera(*(" ".join(fields.get(name, [])) for name in ("tiff:Make", "tiff:Model"))),
        "lens": " ".join(fields.get("aux:Lens", [])[:1]),
        "title": " ".join(fields.get("dc:title", [])[:1]),
        "description": " ".join(fields.get("dc:description", [])[:1]),
    }
    found |= _texts(texts)
    found |= _keywords(fields.get("dc:subject", []))
    found |= _rating(fields.get("xmp:Rating", [None])[0])
    return found


def _blocks(data: bytes) -> tuple[_Tags, Mapping[Any, Any], bytes]:
    """The EXIF, IPTC and XMP blocks of a file; a missing or damaged block is empty."""
    format_ = format_of(data)
    tags: _Tags = {}
    iptc: Mapping[Any, Any] = {}
    xmp = b""
    if format_ in (RAW, TIFF):
        tags = _tags(data)
        xmp = bytes(tags.get("Image ApplicationNotes", ()))
    if format_ is None or format_ is RAW:
        return tags, iptc, xmp
    try:
        with reader_of(format_)(io.BytesIO(data)) as image:
            iptc = IptcImagePlugin.getiptcinfo(image) or {}
            tags = tags or _tags(exif_of(image.info).removeprefix(b"Exif\0\0"))
            raw = xmp or image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
            xmp = raw.encode() if isinstance(raw, str) else bytes(raw)
    except Exception:
        # Pillow's readers raise a dozen kinds of exceptions on damaged files; what was read before stays.
        pass
    return tags, iptc, xmp


def _tags(exif: bytes) -> _Tags:
    """The tags of a TIFF or of an EXIF block by their names, such as ``EXIF DateTimeOriginal``."""
    if not exif.startswith((b"II", b"MM")):
        return {}
    try:
        found = exifread.process_file(io.BytesIO(exif), details=False, extract_thumbnail=False)
        return {name: tag.values for name, tag in found.items() if hasattr(tag, "values")}
    except Exception:
        return {}  # as in Pillow


def _from_exif(tags: _Tags) -> Facts:
    found = _texts(
        {
            "camera": _camera(_text(tags.get("Image Make")), _text(tags.get("Image Model"))),
            "lens": _text(tags.get("EXIF LensModel")),
            "title": _wide(tags.get("Image XPTitle")),
            "description": _text(tags.get("Image ImageDescription")),
        }
    )
    found |= _keywords(re.split("[;,]", _wide(tags.get("Image XPKeywords"))))
    found |= _rating(*tags.get("Image Rating", ())[:1])
    iso = tags.get("EXIF ISOSpeedRatings")
    if isinstance(iso, list) and iso and isinstance(iso[0], int) and 0 < iso[0] < 10_000_000:
        found["iso"] = iso[0]
    return found | _place(_degrees(tags, "Latitude"), _degrees(tags, "Longitude"))


def _date_of_exif(tags: _Tags) -> Facts:
    for name in ("EXIF DateTimeOriginal", "EXIF DateTimeDigitized"):
        match = _EXIF_DATE.match(_text(tags.get(name)))
        moment = _moment(match.groups()) if match else None
        if moment is not None:
            offset = _text(tags.get("EXIF OffsetTimeOriginal"))
            zone = offset if _OFFSET.fullmatch(offset) else ""
            return {"taken_at": moment + zone, "taken_from": "exif"}
    return {}


def _date_of_name(name: str) -> Facts:
    for match in _NAMED_DATE.finditer(name):
        year, _, month, day, *time = match.groups()
        moment = _moment((year, month, day, *time))
        if moment is not None:
            return {"taken_at": moment if time[0] else moment[:10], "taken_from": "name"}
    return {}


def _from_iptc(iptc: Mapping[Any, Any]) -> Facts:
    words = iptc.get((2, 25), [])  # numbers of the standard's record 2: title 5, keywords 25, caption 120
    found = _texts({"title": _text(iptc.get((2, 5))), "description": _text(iptc.get((2, 120)))})
    return found | _keywords(map(_text, words if isinstance(words, list) else [words]))


def _fields(root: Element) -> dict[str, list[str]]:
    """The values of each property of an XMP packet, named as ``dc:title``; attributes and elements alike."""
    fields = dict[str, list[str]]()
    for description in root.iter(f"{_RDF}Description"):
        for name, value in description.attrib.items():
            fields.setdefault(_short(name), []).append(value)
        for child in description:
            entries = [entry.text or "" for entry in child.iter(f"{_RDF}li")] or [child.text or ""]
            fields.setdefault(_short(child.tag), []).extend(entries)
    return fields


def _short(name: str) -> str:
    space, _, local = name.removeprefix("{").partition("}")
    return f"{_SPACES.get(space, space)}:{local}"


def _first(read: Callable[[str], Any], fields: Mapping[str, list[str]], *names: str) -> Any:
    """The first value of the named properties that `read` understands; None where it understands none."""
    values = (read(value) for name in names for value in fields.get(name, []))
    return next((value for value in values if value is not None), None)


def _xmp_moment(value: str) -> str | None:
    match = _XMP_DATE.match(value.strip())
    if match is None:
        return None
    *parts, zone = match.groups()
    moment = _moment(parts)
    if moment is None or parts[3] is None:
        return moment and moment[:10]
    return moment + ("+00:00" if zone == "Z" else zone or "")


def _moment(parts: Iterable[str | None]) -> str | None:
    """ISO 8601 of year, month, day, hour, minute and second; None at impossible moments."""
    try:
        year, month, day, hour, minute, second = (int(part or 0) for part in parts)
        moment = datetime(year, month, day, hour, minute, second)
    except ValueError:
        return None
    written = moment.isoformat()
    is_possible = moment.year >= _FIRST_YEAR and moment <= datetime.now() + timedelta(days=2)
    return written if is_possible and not written.startswith(_CLOCKS_BEGIN) else None


def _degrees(tags: _Tags, axis: str) -> float | None:
    parts = tags.get(f"GPS GPS{axis}")
    if not isinstance(parts, list) or not 1 <= len(parts) <= 3:
        return None
    try:
        value = sum(float(part) / 60**place for place, part in enumerate(parts))
    except (TypeError, ValueError, ArithmeticError):
        return None
    return -value if _text(tags.get(f"GPS GPS{axis}Ref")).upper()[:1] in {"S", "W"} else value


def _xmp_degrees(value: str) -> float | None:
    """Degrees of XMP's form, such as ``48,51.5N`` or ``48,51,30N``."""
    match = re.fullmatch(r"(\d+),(\d+(?:\.\d+)?)(?:,(\d+(?:\.\d+)?))?([NSEW])", value.strip())
    if match is None:
        return None
    degrees, minutes, seconds, side = match.groups()
    size = int(degrees) + float(minutes) / 60 + float(seconds or 0) / 3600
    return -size if side in "SW" else size


def _place(lat: float | None, lon: float | None) -> Facts:
    """Both degrees, unless they are outside of the earth or at 0/0, where receivers without a fix are."""
    if lat is None or lon is None or not (math.isfinite(lat) and math.isfinite(lon)):
        return {}
    if abs(lat) > 90 or abs(lon) > 180 or (abs(lat) < 1e-6 and abs(lon) < 1e-6):
        return {}
    return {"lat": round(lat, 6), "lon": round(lon, 6)}


def _camera(make: str, model: str) -> str:
    """Maker and model in one, without the maker twice: NIKON CORPORATION, NIKON D90."""
    first = make.split(" ")[0]
    return model if not make or model.lower().startswith(first.lower()) else f"{make} {model}".strip()


def _text(value: Any) -> str:
    """A text of EXIF or IPTC: UTF-8, else Latin-1, up to its first zero."""
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            value = value.decode("latin-1")
    return _line(value.partition("\0")[0]) if isinstance(value, str) else ""


def _line(text: str) -> str:
    """A text on one line with single spaces, cut to the longest that is kept."""
    return " ".join(text.split())[:_LONGEST]


def _wide(value: Any) -> str:
    """A text of Windows, UTF-16 as a list of bytes."""
    try:
        return _text(bytes(value or ()).decode("utf-16-le", "ignore"))
    except (TypeError, ValueError):
        return ""


def _texts(texts: Mapping[str, str]) -> Facts:
    cleaned = {name: _line(text) for name, text in texts.items()}
    return {name: text for name, text in cleaned.items() if not _NOT_WORDS.fullmatch(text)}


def _keywords(words: Iterable[str]) -> Facts:
    cleaned = dict.fromkeys(map(_line, words))
    kept = [word for word in cleaned if word][:_MOST_KEYWORDS]
    return {"keywords": kept} if kept else {}


def _rating(value: Any = None) -> Facts:
    try:
        rating = int(value)
    except (TypeError, ValueError):
        return {}
    return {"rating": rating} if 1 <= rating <= 5 else {}
