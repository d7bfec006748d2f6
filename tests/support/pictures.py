"""Images in the formats of cameras and phones, made from a drawn one."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import numpy as np
from PIL import Image

RED, GREEN, BLUE, WHITE = (230, 20, 20), (20, 200, 20), (20, 20, 230), (255, 255, 255)

# How a camera held in each of the eight ways stores a scene: the inverse of the turn that the tag asks for.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def corners(width: int = 48, height: int = 32) -> Image.Image:
    """Four corners of different colours, which show every turn and flip."""
    pixels = np.zeros((height, width, 3), np.uint8)
    half_h, half_w = height // 2, width // 2
    pixels[:half_h, :half_w], pixels[:half_h, half_w:] = RED, GREEN
    pixels[half_h:, :half_w], pixels[half_h:, half_w:] = BLUE, WHITE
    return Image.fromarray(pixels)


def smooth(width: int, height: int) -> Image.Image:
    """Waves, which every codec keeps nearly."""
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack([np.sin(x / 37 + c) + np.cos(y / (23 + 5 * c)) for c in range(3)], axis=-1)
    return Image.fromarray(((waves + 2) * 63.75).astype(np.uint8))


def stored(upright: Image.Image, orientation: int) -> Image.Image:
    """The pixels that a camera stores for an upright scene, with this orientation beside them."""
    turn = STORED[orientation]
    return upright if turn is None else upright.transpose(turn)


def exif(orientation: int) -> bytes:
    """An EXIF block with an orientation."""
    block = Image.Exif()
    block[0x0112] = orientation
    return block.tobytes()


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """An image in a format of Pillow, or ``JXL`` or ``HEIC``."""
    buffer = BytesIO()
    if kind == "HEIC":
        import pillow_heif

        pillow_heif.from_pillow(image).save(buffer, **options)
        return buffer.getvalue()
    if kind == "JXL":
        import pillow_jxl  # noqa: F401
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def assert_close(image: Image.Image, expected: Image.Image, tolerance: float = 0.0) -> None:
    """Fails where an image is not RGB of that size, or a value differs by more than the tolerance."""
    assert image.mode == "RGB"
    assert image.size == expected.size
    difference = np.abs(np.asarray(image, np.int32) - np.asarray(expected.convert("RGB"), np.int32))
    assert difference.max() <= tolerance


def png_header(width: int, height: int) -> bytes:
    """A PNG with a header and hardly any data behind it."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def camera_raw(preview: bytes | None, *, order: str = "<", orientation: int = 1) -> bytes:
    """A small DNG: a mosaic of 64×48 values of 12 bits and, in its first directory, a preview as JPEG.

    Args:
        preview: the encoded preview; None for a DNG without one.
        order: ``<`` or ``>``, the byte order.
        orientation: of the mosaic and the preview.
    """
    width, height = 64, 48
    mosaic_HW = np.random.default_rng(0).integers(200, 3000, (height, width)).astype(f"{order}u2")
    mosaic = mosaic_HW.tobytes()

    def shorts(tag: int, *values: int) -> tuple[int, int, int, bytes]:
        return tag, 3, len(values), struct.pack(f"{order}{len(values)}H", *values)

    def longs(tag: int, *values: int) -> tuple[int, int, int, bytes]:
        return tag, 4, len(values), struct.pack(f"{order}{len(values)}I", *values)

    def octets(tag: int, *values: int) -> tuple[int, int, int, bytes]:
        return tag, 1, len(values), bytes(values)

    def fractions(tag: int, kind: int, *values: int) -> tuple[int, int, int, bytes]:
        return tag, kind, len(values), b"".join(struct.pack(f"{order}ii", value, 1) for value in values)

    def text(tag: int, value: bytes) -> tuple[int, int, int, bytes]:
        return tag, 2, len(value) + 1, value + b"\0"

    def directory(entries: list[tuple[int, int, int, bytes]], base: int) -> bytes:
        body, behind, place = b"", b"", base + 2 + 12 * len(entries) + 4
        for tag, kind, count, data in sorted(entries):
            where = data.ljust(4, b"\0")
            if len(data) > 4:
                where = struct.pack(f"{order}I", place + len(behind))
                behind += data + b"\0" * (len(data) % 2)
            body += struct.pack(f"{order}HHI", tag, kind, count) + where
        return struct.pack(f"{order}H", len(entries)) + body + bytes(4) + behind

    def head(preview_at: int, mosaic_at: int, data_at: int) -> tuple[bytes, bytes]:
        camera = [
            text(271, b"Maker"),
            text(272, b"Model"),
            shorts(274, orientation),
            octets(50706, 1, 4, 0, 0),
            text(50708, b"Maker Model"),
            fractions(50721, 10, 1, 0, 0, 0, 1, 0, 0, 0, 1),
            fractions(50728, 5, 1, 1, 1),
            shorts(50778, 21),
        ]
        raw = [
            longs(254, 0),
            longs(256, width),
            longs(257, height),
            shorts(258, 16),
            shorts(259, 1),
            shorts(262, 32803),
            longs(273, data_at),
            shorts(277, 1),
            longs(278, height),
            longs(279, len(mosaic)),
            shorts(33421, 2, 2),
            octets(33422, 0, 1, 1, 2),
            longs(50717, 4095),
        ]
        if preview is None:
            return directory(camera + raw, 8), b""
        shown_width, shown_height = Image.open(BytesIO(preview)).size
        shown = [
            longs(254, 1),
            longs(256, shown_width),
            longs(257, shown_height),
            shorts(258, 8, 8, 8),
            shorts(259, 7),
            shorts(262, 6),
            longs(273, preview_at),
            shorts(277, 3),
            longs(278, shown_height),
            longs(279, len(preview)),
            longs(330, mosaic_at),
        ]
        return directory(camera + shown, 8), directory(raw, mosaic_at)

    picture = (preview or b"") + b"\0" * (len(preview or b"") % 2)
    first, second = head(0, 0, 0)
    mosaic_at = 8 + len(first)
    preview_at = mosaic_at + len(second)
    first, second = head(preview_at, mosaic_at, preview_at + len(picture))
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(f"{order}I", 8) + first + second + picture + mosaic
