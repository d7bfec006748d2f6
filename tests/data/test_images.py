"""Decoding: every format and oddity that users' folders hold, checked against pixels known beforehand."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
import tracemalloc
import warnings
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hivlp.config import Preprocessing
from hivlp.data import images
from hivlp.errors import ImageError

# Four corners of different colours show every turn and flip.
RED, GREEN, BLUE, WHITE = (230, 20, 20), (20, 200, 20), (20, 20, 230), (255, 255, 255)


def corners(width: int = 48, height: int = 32) -> Image.Image:
    pixels = np.zeros((height, width, 3), np.uint8)
    half_h, half_w = height // 2, width // 2
    pixels[:half_h, :half_w], pixels[:half_h, half_w:] = RED, GREEN
    pixels[half_h:, :half_w], pixels[half_h:, half_w:] = BLUE, WHITE
    return Image.fromarray(pixels)


def smooth(width: int, height: int) -> Image.Image:
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack([np.sin(x / 37 + c) + np.cos(y / (23 + 5 * c)) for c in range(3)], axis=-1)
    return Image.fromarray(((waves + 2) * 63.75).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def assert_close(image: Image.Image, expected: Image.Image, tolerance: float = 0.0) -> None:
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


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "TIFF"])
def test_lossless_formats_keep_every_pixel(kind: str) -> None:
    assert_close(images.decode(encoded(corners(), kind)), corners())


@pytest.mark.parametrize(("kind", "options"), [("JPEG", {"quality": 95, "subsampling": 0}), ("WEBP", {})])
def test_lossy_formats_are_close(kind: str, options: dict[str, object]) -> None:
    picture = smooth(64, 48)
    assert_close(images.decode(encoded(picture, kind, **options)), picture, 24)


def test_lossless_webp_keeps_every_pixel() -> None:
    assert_close(images.decode(encoded(corners(), "WEBP", lossless=True)), corners())


def test_path_bytes_text_path_and_pil_give_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(corners(), "PNG"))
    for source in (path, str(path), path.read_bytes(), corners()):
        assert_close(images.decode(source), corners())


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_undone(kind: str, orientation: int) -> None:
    upright = corners(48, 32)
    # How a camera held that way stores the upright scene: the inverse of what the tag asks a viewer to do.
    stored = {
        1: lambda im: im,
        2: lambda im: im.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: lambda im: im.rotate(180),
        4: lambda im: im.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: lambda im: im.transpose(Image.Transpose.TRANSPOSE),
        6: lambda im: im.rotate(90, expand=True),
        7: lambda im: im.transpose(Image.Transpose.TRANSVERSE),
        8: lambda im: im.rotate(-90, expand=True),
    }[orientation](upright)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, object] = (
        {"exif": exif.tobytes()} if kind != "TIFF" else {"tiffinfo": {274: orientation}}
    )
    if kind == "JPEG":
        options |= {"quality": 100, "subsampling": 0}
    if kind == "WEBP":
        options |= {"lossless": True}
    decoded = images.decode_with_size(encoded(stored, kind, **options))
    assert (decoded.width, decoded.height) == (48, 32)
    assert_close(decoded.image, upright, 6 if kind == "JPEG" else 0)


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_of_both_byte_orders(order: str) -> None:
    mark = b"II*\0" if order == "<" else b"MM\0*"
    ifd = struct.pack(f"{order}IHHHIHH", 8, 1, 0x0112, 3, 1, 6, 0)
    plain = encoded(corners(), "JPEG")
    body = b"Exif\0\0" + mark + ifd
    data = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + plain[2:]
    assert images.decode(data).size == (32, 48)


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"]
)
def test_corrupt_exif_is_ignored_without_a_warning(exif: bytes) -> None:
    plain = encoded(corners(), "JPEG", quality=100, subsampling=0)
    # Without the JFIF segment, Pillow looks for the dots per inch in EXIF while opening.
    jfif_length = int.from_bytes(plain[4:6], "big")
    data = b"\xff\xd8\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + plain[4 + jfif_length :]
    assert_close(images.decode(data), corners(), 6)


def test_orientation_turns_the_size_of_a_reduced_jpeg_too() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    decoded = images.decode_with_size(encoded(smooth(800, 400), "JPEG", exif=exif.tobytes()), hint=100)
    assert (decoded.width, decoded.height) == (400, 800)
    assert decoded.image.size == (100, 200)


@pytest.mark.parametrize(("size", "hint"), [((800, 600), 100), ((801, 333), 100), ((1600, 1200), 128)])
def test_draft_never_falls_below_the_hint(size: tuple[int, int], hint: int) -> None:
    decoded = images.decode_with_size(encoded(smooth(*size), "JPEG"), hint=hint)
    assert (decoded.width, decoded.height) == size
    assert hint <= min(decoded.image.size) < min(size)


def test_draft_keeps_small_jpegs_whole() -> None:
    assert images.decode(encoded(smooth(150, 120), "JPEG"), hint=100).size == (150, 120)


@pytest.mark.parametrize("fit", ["squeeze", "crop"])
def test_draft_decoding_gives_the_pixels_of_full_decoding(fit: str) -> None:
    preprocessing = Preprocessing.model_validate({"size": 64, "fit": fit, "interpolation": "bicubic"})
    data = encoded(smooth(1200, 900), "JPEG", quality=92)
    reduced = images.load(data, preprocessing)
    full = images.to_pixels(images.decode(data), preprocessing)
    assert (reduced.width, reduced.height) == (1200, 900)
    assert np.abs(reduced.pixels.astype(int) - full.astype(int)).max() <= 4


def test_cmyk_jpeg() -> None:
    data = encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95)
    assert Image.open(BytesIO(data)).mode == "CMYK"
    assert_close(images.decode(data), Image.new("RGB", (16, 16), (255, 0, 0)), 6)


def test_grey_jpeg() -> None:
    assert_close(
        images.decode(encoded(Image.new("L", (9, 7), 100), "JPEG")), Image.new("RGB", (9, 7), (100,) * 3), 2
    )


def test_one_bit_picture_is_black_and_white() -> None:
    picture = Image.new("1", (8, 8), 1)
    picture.putpixel((0, 0), 0)
    decoded = images.decode(encoded(picture, "PNG"))
    assert decoded.getpixel((0, 0)) == (0, 0, 0)
    assert decoded.getpixel((5, 5)) == (255, 255, 255)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_not_clipped(kind: str) -> None:
    values = np.array([[0, 257, 128 * 257, 65535]], np.uint16)
    decoded = np.asarray(images.decode(encoded(Image.fromarray(values), kind)))
    assert decoded[0, :, 0].tolist() == [0, 1, 128, 255]


def test_dark_sixteen_bit_picture_stays_dark() -> None:
    values = np.full((4, 4), 200, np.uint16)
    assert np.asarray(images.decode(encoded(Image.fromarray(values), "PNG"))).max() <= 1


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0.0, 0.5, 1.0]], np.float32), [0, 128, 255]),
        (np.array([[0.0, 100.0, 255.0]], np.float32), [0, 100, 255]),
        (np.array([[0.0, np.nan, 1.0]], np.float32), [0, 0, 255]),
        (np.array([[-5.0, 0.0, 0.0]], np.float32), [0, 0, 0]),
        (np.array([[0, 65535, 65535 // 5]], np.int32), [0, 255, 51]),
        (np.array([[0, 1_000_000, 400_000]], np.int32), [0, 255, 102]),
    ],
)
def test_wide_grey_tiffs(values: np.ndarray, expected: list[int]) -> None:
    decoded = np.asarray(images.decode(encoded(Image.fromarray(values), "TIFF")))
    assert decoded[0, :, 0].tolist() == expected


@pytest.mark.parametrize(
    ("mode", "kind"), [("RGBA", "PNG"), ("RGBA", "WEBP"), ("RGBA", "TIFF"), ("LA", "PNG"), ("LA", "TIFF")]
)
def test_transparency_lies_over_white(mode: str, kind: str) -> None:
    black = Image.new("RGBA", (3, 1))
    black.putdata([(0, 0, 0, 0), (0, 0, 0, 128), (0, 0, 0, 255)])
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    decoded = np.asarray(images.decode(encoded(black.convert(mode), kind, **options)))
    assert decoded[0, :, 0].tolist() == [255, 127, 0]


@pytest.mark.parametrize("transparency", [1, bytes([255, 0])])
def test_palette_transparency_lies_over_white(transparency: int | bytes) -> None:
    picture = Image.new("P", (2, 1))
    picture.putpalette([10, 20, 30, 200, 0, 0])
    picture.putdata([0, 1])
    decoded = images.decode(encoded(picture, "PNG", transparency=transparency))
    assert [decoded.getpixel((0, 0)), decoded.getpixel((1, 0))] == [(10, 20, 30), (255, 255, 255)]


def test_colour_key_transparency_lies_over_white() -> None:
    picture = Image.new("RGB", (2, 1), (9, 9, 9))
    picture.putpixel((1, 0), (50, 60, 70))
    decoded = images.decode(encoded(picture, "PNG", transparency=(50, 60, 70)))
    assert [decoded.getpixel((0, 0)), decoded.getpixel((1, 0))] == [(9, 9, 9), (255, 255, 255)]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_first_frame_of_an_animation(kind: str) -> None:
    frames = [Image.new("RGB", (12, 8), colour) for colour in (RED, GREEN, BLUE)]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert_close(images.decode(data), frames[0])


def test_first_page_of_a_tiff() -> None:
    pages = [Image.new("RGB", (12, 8), colour) for colour in (RED, GREEN)]
    assert_close(images.decode(encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])), pages[0])


def test_one_pixel_is_a_picture() -> None:
    loaded = images.load(encoded(Image.new("RGB", (1, 1), RED), "PNG"), Preprocessing(size=8))
    assert (loaded.width, loaded.height) == (1, 1)
    assert (loaded.pixels == np.array(RED, np.uint8)[:, None, None]).all()


# --- Resizing ---


@pytest.mark.parametrize("fit", ["squeeze", "crop"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "box"])
def test_pixels_are_channels_first_bytes(fit: str, interpolation: str) -> None:
    preprocessing = Preprocessing.model_validate({"size": 16, "fit": fit, "interpolation": interpolation})
    pixels = images.load_pixels(encoded(corners(64, 64), "PNG"), preprocessing)
    assert pixels.shape == (3, 16, 16)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert [tuple(pixels[:, y, x]) for y, x in ((1, 1), (1, 14), (14, 1), (14, 14))] == [
        RED,
        GREEN,
        BLUE,
        WHITE,
    ]


def test_squeeze_keeps_the_whole_frame_and_crop_the_centre() -> None:
    wide = Image.new("RGB", (90, 30), RED)
    wide.paste(Image.new("RGB", (30, 30), BLUE), (30, 0))
    crop = images.to_pixels(wide, Preprocessing(size=30, fit="crop", interpolation="box"))
    squeeze = images.to_pixels(wide, Preprocessing(size=30, fit="squeeze", interpolation="box"))
    assert (crop == np.array(BLUE, np.uint8)[:, None, None]).all()
    assert tuple(squeeze[:, 15, 2]) == RED
    assert tuple(squeeze[:, 15, 15]) == BLUE


@pytest.mark.parametrize("size", [(101, 67), (67, 101), (300, 64), (40, 55)])
def test_crop_equals_scaling_the_short_side_and_cutting(size: tuple[int, int]) -> None:
    picture, side = smooth(*size), 48
    short = min(size)
    scaled = picture.resize(
        (int(side * size[0] / short), int(side * size[1] / short)), Image.Resampling.BICUBIC
    )
    left, top = (scaled.width - side) // 2, (scaled.height - side) // 2
    twin = np.asarray(scaled.crop((left, top, left + side, top + side))).transpose(2, 0, 1)
    pixels = images.to_pixels(picture, Preprocessing(size=side, fit="crop", interpolation="bicubic"))
    assert np.abs(pixels.astype(int) - twin.astype(int)).max() <= 2


def test_a_very_long_picture_is_cropped_in_little_memory() -> None:
    picture = Image.new("RGB", (20_000, 1), RED)
    pixels = images.to_pixels(picture, Preprocessing(size=224, fit="crop"))
    assert (pixels == np.array(RED, np.uint8)[:, None, None]).all()


# --- What can't be used ---


def refusal(source: images.ImageInput, **options: int) -> str:
    with pytest.raises(ImageError) as caught:
        images.decode(source, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty (0 bytes)"),
        (b"my holiday notes, 2019\n", "text file"),
        ("Grüße aus Köln".encode() * 60, "text file"),
        (b"\n<!DOCTYPE html><html><body>404</body></html>", "HTML page"),
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b"%PDF-1.7\n", "PDF"),
        (b"\0\0\0\x1cftypheic\0\0", "HEIC"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "text file"),
        (b"8BPS\0\x01", "unknown kind (first bytes 38 42 50 53)"),
    ],
)
def test_what_is_no_picture_is_named(data: bytes, words: str) -> None:
    message = refusal(data)
    assert words in message
    if data:
        assert "convert it to one of JPEG" in message


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_truncated_files_are_refused(kind: str, share: float) -> None:
    noise = Image.fromarray(np.random.default_rng(3).integers(0, 255, (90, 120, 3), np.uint8))
    data = encoded(noise, kind)
    assert "damaged or cut off" in refusal(data[: max(16, int(len(data) * share))])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_damaged_bytes_give_pixels_or_a_refusal_and_nothing_else(kind: str) -> None:
    generator = np.random.default_rng(11)
    data = encoded(corners(), kind)
    for _ in range(60):
        damaged = bytearray(data)
        for position in generator.integers(4, len(data), 3):
            damaged[position] = generator.integers(0, 256)
        with warnings.catch_warnings():
            # Pillow warns about some broken tags of TIFFs; what counts here is the picture or the refusal.
            warnings.simplefilter("ignore")
            try:
                assert images.decode(bytes(damaged), max_pixels=1_000_000).mode == "RGB"
            except ImageError as error:
                assert str(error)


def test_two_hundred_megapixels_are_refused_before_decoding() -> None:
    data = encoded(Image.new("1", (20_000, 10_000)), "PNG")
    assert len(data) < 100_000
    tracemalloc.start()
    message = refusal(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "200,000,000 pixels (20000×10000)" in message
    assert "limit of 100,000,000" in message
    assert peak < 20_000_000


@pytest.mark.parametrize("size", [(9_600, 10_000), (12_000, 12_000), (60_000, 60_000)])
def test_pillows_own_limit_never_shows(size: tuple[int, int]) -> None:
    # Around Pillow's warning (89 million) and its error (179 million); warnings are errors in this suite.
    message = refusal(png_header(*size))
    assert "DecompressionBomb" not in message
    assert ("damaged" in message) == (size[0] * size[1] <= images.MAX_PIXELS)


def tiff_beyond_pillows_limit() -> bytes:
    return encoded(Image.new("1", (9_700, 9_700)), "TIFF", compression="group4")


def webp_of_256_megapixels() -> bytes:
    data = encoded(Image.new("RGBA", (8, 8), (1, 2, 3, 4)), "WEBP", exif=b"Exif\0\0II*\0")
    assert data[12:16] == b"VP8X"
    return data[:24] + (16_000 - 1).to_bytes(3, "little") * 2 + data[30:]


def gif_of_400_megapixels() -> bytes:
    data = encoded(Image.new("P", (8, 8)), "GIF")
    return data[:6] + struct.pack("<HH", 20_000, 20_000) + data[10:]


@pytest.mark.parametrize("make", [tiff_beyond_pillows_limit, webp_of_256_megapixels, gif_of_400_megapixels])
def test_large_headers_of_formats_that_check_themselves(make: Callable[[], bytes]) -> None:
    # Pillow warns or raises inside of these readers; neither may be seen.
    message = refusal(make())
    assert "limit of 89,478,485" in message or "pixels allowed" in message or "damaged" in message
    assert "DecompressionBomb" not in message


def test_the_limit_can_be_chosen() -> None:
    data = encoded(Image.new("RGB", (20, 10)), "PNG")
    assert "200 pixels (20×10), above the limit of 199" in refusal(data, max_pixels=199)
    assert images.decode(data, max_pixels=200).size == (20, 10)
    assert "above the limit" in refusal_of_pil(Image.new("RGB", (20, 10)), 199)


def refusal_of_pil(image: Image.Image, max_pixels: int) -> str:
    return refusal(image, max_pixels=max_pixels)


def test_a_limit_above_pillows_own_counts() -> None:
    # The header alone: past the size check, what is missing behind it is what is wrong.
    assert "190,000,000" in refusal(png_header(19_000, 10_000))
    assert "damaged or cut off" in refusal(png_header(19_000, 10_000), max_pixels=200_000_000)


def test_zero_sized_pictures_are_refused() -> None:
    assert images_refuses(png_header(0, 10))
    bmp = bytearray(encoded(Image.new("RGB", (4, 4)), "BMP"))
    bmp[18:22] = b"\0\0\0\0"
    assert images_refuses(bytes(bmp))


def images_refuses(data: bytes) -> bool:
    return bool(refusal(data))


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "link.jpg").symlink_to(tmp_path / "gone.jpg")
    (tmp_path / "empty.jpg").touch()
    os.mkfifo(tmp_path / "pipe.jpg")
    assert "a folder" in refusal(tmp_path / "folder.jpg")
    assert "broken symbolic link to" in refusal(tmp_path / "link.jpg")
    assert "gone.jpg" in refusal(tmp_path / "link.jpg")
    assert "0 bytes" in refusal(tmp_path / "empty.jpg")
    assert "not a plain file" in refusal(tmp_path / "pipe.jpg")
    assert "does not exist" in refusal(tmp_path / "none.jpg")
    assert "can't be read" in refusal(tmp_path / "nul\0.jpg")
    assert "can't be read" in refusal(tmp_path / ("long" * 200))


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(corners(), "JPEG"))

    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert "can't be read (Permission denied)" in refusal(path)


def test_oversized_file_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(corners(), "PNG"))
    monkeypatch.setattr(images.files, "MAX_FILE_BYTES", 10)
    assert "the limit is 10" in refusal(path)


def test_a_damaged_pil_picture_is_refused_too() -> None:
    data = encoded(smooth(200, 200), "JPEG")
    with Image.open(BytesIO(data[: len(data) // 2])) as lazy:
        assert "damaged or cut off" in refusal(lazy)


def test_the_callers_pil_picture_is_not_changed() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(BytesIO(encoded(corners(48, 32), "JPEG", exif=exif.tobytes()))) as picture:
        decoded = images.decode(picture, hint=8)
        assert decoded.size == (32, 48)
        assert picture.size == (48, 32)
        assert picture.mode == "RGB"


def test_many_threads_decode_at_once() -> None:
    sources = [
        encoded(smooth(90 + n, 60 + n), kind) for n, kind in enumerate(["JPEG", "PNG", "GIF", "TIFF", "WEBP"])
    ]
    expected = [np.asarray(images.decode(data)) for data in sources]
    wrong: list[str] = []

    def work(start: int) -> None:
        for step in range(10):
            number = (start + step) % len(sources)
            if not np.array_equal(np.asarray(images.decode(sources[number])), expected[number]):
                wrong.append(f"source {number}")
            with pytest.raises(ImageError):
                images.decode(sources[number][:40])

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_file_hash_is_sha256() -> None:
    assert images.file_hash(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_importing_data_loads_neither_torch_nor_pyarrow() -> None:
    code = "import sys, hivlp.data.images, hivlp.data.sources; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not {"torch", "pyarrow"} & set(run.stdout.split())


@pytest.mark.parametrize(
    ("kind", "media_type"),
    [
        ("JPEG", "image/jpeg"),
        ("PNG", "image/png"),
        ("WEBP", "image/webp"),
        ("GIF", "image/gif"),
        ("BMP", "image/bmp"),
    ],
)
def test_check_tells_the_kind_of_a_picture_by_its_content(kind: str, media_type: str) -> None:
    assert images.check(encoded(corners(), kind)) == media_type


def test_check_decodes_nothing_and_counts_pixels() -> None:
    assert images.check(png_header(5_000, 5_000)) == "image/png", "there are no pixels behind this header"
    with pytest.raises(ImageError, match="24,000,000"):
        images.check(png_header(5_000, 5_000), max_pixels=24_000_000)
    with pytest.raises(ImageError, match="HTML page"):
        images.check(b"<html>")
