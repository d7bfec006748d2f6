"""Decoding: every format and oddity that users' folders hold, checked against pixels known beforehand."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hivlp.config import Preprocessing
from hivlp.data import images
from hivlp.errors import ImageError
from pictures import BLUE, GREEN, RED, WHITE, assert_close, corners, encoded, png_header, smooth


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


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_hold_the_range_of_the_camera(kind: str, bits: int) -> None:
    full = 2**bits - 1
    values = np.array([[0, full // 2, full]], np.uint16)
    decoded = np.asarray(images.decode(encoded(Image.fromarray(values), kind)))
    assert np.abs(decoded[0, :, 0].astype(int) - [0, 127, 255]).max() <= 1


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0.0, 0.5, 1.0]], np.float32), [0, 128, 255]),
        (np.array([[0.0, 100.0, 255.0]], np.float32), [0, 100, 255]),
        (np.array([[0.0, np.nan, 1.0]], np.float32), [0, 0, 255]),
        (np.array([[-5.0, 0.0, 0.0]], np.float32), [0, 0, 0]),
        (np.array([[0.0, 0.1, 0.5]], np.float32), [0, 26, 128]),
        (np.array([[0.0, 2.0, 4.0]], np.float32), [0, 128, 255]),
        (np.array([[0.0, np.inf, 65535.0]], np.float32), [0, 0, 255]),
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
        (b"\0\0\0\x1cftypisom\0\0", "a video"),
        (b"\0\0\0\x14ftypqt  \0\0", "a video"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"PK\x03\x04", "ZIP"),
        (bytes(600), "all zero"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "text file"),
        (b"8BPS\0\x01", "Photoshop"),
        (b"BMW is the name of a car", "text file"),
        (b"\x13\x37\0\x01", "unknown kind (first bytes 13 37 00 01)"),
    ],
)
def test_what_is_no_picture_is_named(data: bytes, words: str) -> None:
    message = refusal(data)
    assert words in message
    if data:
        remedy = "copy it again" if "text" in words else "convert it to JPEG or PNG"
        assert remedy in message


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "BMP", "TIFF", "HEIC", "AVIF", "JXL"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_truncated_files_are_refused(kind: str, share: float) -> None:
    noise = Image.fromarray(np.random.default_rng(3).integers(0, 255, (90, 120, 3), np.uint8))
    data = encoded(noise, kind)
    assert "damaged or cut off" in refusal(data[: max(16, int(len(data) * share))])


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


def test_check_decodes_nothing_and_counts_pixels() -> None:
    assert images.check(png_header(5_000, 5_000)) == "image/png", "there are no pixels behind this header"
    with pytest.raises(ImageError, match="24,000,000"):
        images.check(png_header(5_000, 5_000), max_pixels=24_000_000)
    with pytest.raises(ImageError, match="HTML page"):
        images.check(b"<html>")
