"""Which way up: every place where a camera or a program keeps it, against Pillow's own `exif_transpose`."""

from __future__ import annotations

import struct
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from hivlp.data import images
from pictures import assert_close, corners, encoded, exif, smooth, stored

XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" {}</rdf:RDF></x:xmpmeta>'
)
XMP_FORMS = (
    XMP.format('tiff:Orientation="6"/>'),
    XMP.format("><tiff:Orientation>6</tiff:Orientation></rdf:Description>"),
)


def block(order: str, kind: int, value: bytes, *, tag: int = 0x0112, count: int = 1) -> bytes:
    """An EXIF block with one entry, its value as it stands in the four bytes."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    entry = struct.pack(f"{order}HHI", tag, kind, count) + value.ljust(4, b"\0")
    return b"Exif\0\0" + mark + struct.pack(f"{order}IH", 8, 1) + entry + bytes(4)


def jpeg_with(*segments: bytes) -> bytes:
    plain = encoded(corners(), "JPEG", quality=100, subsampling=0)
    parts = b"".join(b"\xff\xe1" + struct.pack(">H", len(one) + 2) + one for one in segments)
    return plain[:2] + parts + plain[2:]


def assert_as_pillow(data: bytes) -> None:
    with Image.open(BytesIO(data)) as opened:
        twin = ImageOps.exif_transpose(opened).convert("RGB")
    assert_close(images.decode(data), twin)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "HEIC", "AVIF", "JXL"])
def test_exif_orientation_is_undone(kind: str, orientation: int) -> None:
    upright = corners(64, 48)
    options: dict[str, object] = {"exif": exif(orientation)}
    options |= {
        "JPEG": {"quality": 100, "subsampling": 0},
        "WEBP": {"lossless": True},
        "HEIC": {"quality": 100, "chroma": 444},
        "AVIF": {"quality": 100, "subsampling": "4:4:4"},
        "JXL": {"lossless": True},
    }.get(kind, {})
    if kind == "TIFF":
        options = {"tiffinfo": {274: orientation}}
    decoded = images.decode_with_size(encoded(stored(upright, orientation), kind, **options))
    assert (decoded.width, decoded.height) == (64, 48)
    assert_close(decoded.image, upright, 0 if kind in ("PNG", "WEBP", "TIFF", "JXL") else 12)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("kind", "letter"), [(3, "H"), (4, "I"), (8, "h"), (9, "i")])
@pytest.mark.parametrize("orientation", [1, 3, 6, 9])
def test_exif_of_both_byte_orders_and_every_whole_number(
    order: str, kind: int, letter: str, orientation: int
) -> None:
    data = jpeg_with(block(order, kind, struct.pack(f"{order}{letter}", orientation)))
    assert images.decode(data).size == ((32, 48) if orientation == 6 else (48, 32))
    assert_as_pillow(data)


@pytest.mark.parametrize(
    "segments",
    [
        (block("<", 3, b"\x06\0"), b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"),
        (b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0", block("<", 3, b"\x06\0")),
        (block("<", 3, b"\x03\0"), block("<", 3, b"\x06\0")),
        (block("<", 3, b"\x06\0", tag=0x0100),),
        (block("<", 1, b"\x06"),),
        (block("<", 2, b"6\0", count=2),),
    ],
)
def test_odd_exif_is_read_as_pillow_reads_it(segments: tuple[bytes, ...]) -> None:
    assert_as_pillow(jpeg_with(*segments))


@pytest.mark.parametrize("xmp", XMP_FORMS)
def test_xmp_counts_where_exif_has_no_orientation(xmp: str) -> None:
    segment = b"http://ns.adobe.com/xap/1.0/\0" + xmp.encode()
    alone, behind = jpeg_with(segment), jpeg_with(block("<", 3, b"\x06\0", tag=0x0100), segment)
    beside = jpeg_with(block("<", 3, b"\x01\0"), segment)
    for data, size in ((alone, (32, 48)), (behind, (32, 48)), (beside, (48, 32))):
        assert images.decode(data).size == size
        assert_as_pillow(data)


@pytest.mark.parametrize("xmp", XMP_FORMS)
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "AVIF"])
def test_xmp_of_other_formats(kind: str, xmp: str) -> None:
    options: dict[str, object] = {"xmp": xmp.encode()}
    if kind == "PNG":
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", xmp)
        options = {"pnginfo": info}
    if kind == "TIFF":
        options = {"tiffinfo": {700: xmp.encode()}}
    data = encoded(corners(), kind, **options)
    assert images.decode(data).size == (32, 48)
    if kind != "AVIF":
        assert_as_pillow(data)


@pytest.mark.parametrize("name", ["exif", "APP1"])
@pytest.mark.parametrize("compressed", [True, False])
def test_exif_that_imagemagick_keeps_as_text(name: str, compressed: bool) -> None:
    profile = block(">", 3, b"\0\x06")
    info = PngInfo()
    text = f"\n{name}\n{len(profile):8}\n{profile.hex()}\n"
    info.add_text(f"Raw profile type {name}", text, zip=compressed)
    data = encoded(stored(corners(), 6), "PNG", pnginfo=info)
    assert_close(images.decode(data), corners())
    if name == "exif":
        assert_as_pillow(data)


def test_a_damaged_profile_of_imagemagick_is_ignored() -> None:
    info = PngInfo()
    info.add_text("Raw profile type exif", "\nexif\n  4\nnot hexadecimal\n")
    assert_close(images.decode(encoded(corners(), "PNG", pnginfo=info)), corners())


@pytest.mark.parametrize(
    "exif_bytes", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"]
)
def test_corrupt_exif_is_ignored_without_a_warning(exif_bytes: bytes) -> None:
    plain = encoded(corners(), "JPEG", quality=100, subsampling=0)
    # Without the JFIF segment, Pillow looks for the dots per inch in EXIF while opening.
    jfif_length = int.from_bytes(plain[4:6], "big")
    data = (
        b"\xff\xd8\xff\xe1" + struct.pack(">H", len(exif_bytes) + 2) + exif_bytes + plain[4 + jfif_length :]
    )
    assert_close(images.decode(data), corners(), 6)


def test_a_damaged_value_hides_no_other_tag() -> None:
    far = struct.pack("<HHII", 0x0100, 4, 2, 0xFFFFFF)
    turn = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)
    body = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 2) + far + turn + bytes(4)
    assert images.decode(jpeg_with(body)).size == (32, 48)


def test_a_phone_heic_is_turned_once() -> None:
    """The reader of HEIC turns by itself, and its EXIF still tells of the turn."""
    data = encoded(stored(corners(64, 48), 6), "HEIC", exif=exif(6), quality=100, chroma=444)
    decoded = images.decode(data)
    assert_close(decoded, corners(64, 48), 12)
    assert np.asarray(decoded).shape == (48, 64, 3)


def test_orientation_turns_the_size_of_a_reduced_jpeg_too() -> None:
    decoded = images.decode_with_size(encoded(smooth(800, 400), "JPEG", exif=exif(6)), hint=100)
    assert (decoded.width, decoded.height) == (400, 800)
    assert decoded.image.size == (100, 200)
