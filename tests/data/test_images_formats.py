"""The formats of phones and cameras: recognised by content, decoded, and refused in one sentence."""

from __future__ import annotations

import contextlib
import struct
import sys
import warnings
from io import BytesIO
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from hivlp.config import Preprocessing
from hivlp.data import images
from hivlp.data.images import formats
from hivlp.data.images.jxl import read_header
from hivlp.errors import ImageError
from pictures import BLUE, GREEN, RED, assert_close, camera_raw, corners, encoded, smooth, stored

KINDS = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
    "HEIC": "image/heic",
    "AVIF": "image/avif",
    "JXL": "image/jxl",
    "RAW": "image/x-raw",
}


def made(kind: str, image: Image.Image) -> bytes:
    if kind == "RAW":
        return camera_raw(encoded(image, "JPEG", quality=95))
    return encoded(image, kind)


def refusal(data: bytes, **options: int) -> str:
    with pytest.raises(ImageError) as caught:
        images.decode(data, **options)
    return str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_the_content_tells_the_format(kind: str) -> None:
    data = made(kind, corners())
    format_ = images.format_of(data)
    assert format_ is not None
    assert format_.media_type == images.check(data) == KINDS[kind]
    head = images.format_of(data[:64])
    assert head is (formats.TIFF if kind == "RAW" else format_), "its directories are further behind"


def test_the_endings_of_phones_cameras_and_browsers_are_pictures() -> None:
    assert {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".gif"} <= images.EXTENSIONS
    assert {".bmp", ".tif", ".tiff", ".heic", ".heif", ".hif", ".avif", ".jxl"} <= images.EXTENSIONS
    assert {".cr2", ".cr3", ".nef", ".arw", ".dng", ".raf", ".orf", ".rw2"} <= images.EXTENSIONS
    assert not images.EXTENSIONS & {".mov", ".mp4", ".txt", ".pdf", ".psd", ".xmp"}


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", "AVIF"),
        (b"\0\0\0\x18ftypmsf1\0\0\0\0msf1hevc", "HEIC"),
        (b"\0\0\0\x18ftypheix\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypavis\0\0\0\0avifmiaf", "AVIF"),
        (b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom", "camera RAW"),
        (b"FUJIFILMCCD-RAW 0201FF", "camera RAW"),
        (b"IIRO\x08\0\0\0", "camera RAW"),
        (b"IIU\0\x18\0\0\0", "camera RAW"),
        (b"II*\0\x10\0\0\0CR\x02\0", "camera RAW"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0isommp42", None),
        (b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", None),
    ],
)
def test_first_bytes_of_cameras(head: bytes, name: str | None) -> None:
    format_ = images.format_of(head)
    assert (format_ and format_.name) == name


def test_a_tiff_without_a_camera_is_no_raw() -> None:
    assert images.format_of(encoded(corners(), "TIFF")) is formats.TIFF
    for order in "<>":
        assert images.format_of(camera_raw(None, order=order)) is formats.RAW


@pytest.mark.parametrize(("kind", "tolerance"), [("HEIC", 8), ("AVIF", 24), ("JXL", 24)])
def test_lossy_formats_are_close(kind: str, tolerance: int) -> None:
    options = {"quality": 90} if kind != "HEIC" else {"quality": 95, "chroma": 444}
    decoded = images.decode_with_size(encoded(smooth(96, 64), kind, **options))
    assert (decoded.width, decoded.height, decoded.note) == (96, 64, None)
    assert_close(decoded.image, smooth(96, 64), tolerance)


def test_lossless_jpeg_xl_keeps_every_pixel() -> None:
    for in_boxes in (False, True):
        data = encoded(corners(), "JXL", lossless=True, use_container=in_boxes)
        assert_close(images.decode(data), corners())


def test_transparent_parts_of_new_formats_are_white() -> None:
    image = Image.new("RGBA", (64, 64), (200, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, 64, 32))
    for kind in ("HEIC", "AVIF", "JXL"):
        decoded = np.asarray(images.decode(encoded(image, kind)), int)
        assert decoded[8].min() > 240, kind
        assert np.abs(decoded[56] - [200, 0, 0]).max() < 24, kind


@pytest.mark.parametrize("kind", ["HEIC", "AVIF", "JXL", "RAW", "GIF", "WEBP"])
def test_line_ends_before_a_picture_do_not_matter(kind: str) -> None:
    data = made(kind, smooth(64, 48))
    assert images.decode(b"\r\n" + data).tobytes() == images.decode(data).tobytes()


# --- RAW ---


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_raw_is_its_preview_upright(order: str, orientation: int) -> None:
    preview = encoded(stored(corners(96, 64), orientation), "JPEG", quality=100, subsampling=0)
    decoded = images.decode_with_size(camera_raw(preview, order=order, orientation=orientation))
    assert (decoded.width, decoded.height) == (96, 64)
    assert_close(decoded.image, corners(96, 64), 6)


def test_a_large_preview_is_decoded_reduced() -> None:
    data = camera_raw(encoded(smooth(800, 400), "JPEG"))
    assert images.decode(data, hint=100).size == (200, 100)
    assert "progressive" in refusal(
        camera_raw(encoded(smooth(80, 40), "JPEG", progressive=True)), max_pixels=3_199
    )


def test_a_raw_without_a_preview_is_developed() -> None:
    decoded = images.decode_with_size(camera_raw(None, orientation=6))
    assert decoded.image.mode == "RGB"
    assert (decoded.width, decoded.height) == (24, 32), "half of 64×48, upright"
    assert np.asarray(decoded.image).std() > 10, "the mosaic is noise"
    assert "above the limit of 3,000 for developing a RAW" in refusal(camera_raw(None), max_pixels=3_000)


def test_a_preview_of_plain_pixels_is_turned_as_the_raw(monkeypatch: pytest.MonkeyPatch) -> None:
    """Old cameras keep pixels instead of a JPEG. LibRaw reads them, and a fake stands for it here."""
    thumbnail = SimpleNamespace(format="bitmap", data=np.asarray(stored(corners(), 8)))
    opened = SimpleNamespace(sizes=SimpleNamespace(flip=5), extract_thumb=lambda: thumbnail)
    fake = SimpleNamespace(
        imread=lambda file: contextlib.nullcontext(opened),
        ThumbFormat=SimpleNamespace(JPEG="jpeg", BITMAP="bitmap"),
        LibRawNoThumbnailError=KeyError,
        LibRawUnsupportedThumbnailError=KeyError,
    )
    monkeypatch.setitem(sys.modules, "rawpy", fake)
    assert_close(images.decode(camera_raw(None)), corners())


# --- Packages that are missing ---


@pytest.mark.parametrize(
    ("kind", "module", "remedy"),
    [
        ("HEIC", "pi_heif", "pip install pi-heif"),
        ("JXL", "pillow_jxl.JpegXLImagePlugin", "[photos]"),
        ("RAW", "rawpy", "[photos]"),
    ],
)
def test_a_missing_package_is_named_with_its_remedy(
    kind: str, module: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = made(kind, corners())
    monkeypatch.setitem(sys.modules, module, None)
    for read in (images.decode, images.check):
        with pytest.raises(ImageError, match="which is not installed") as caught:
            read(data)
        assert remedy in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_pillow_without_avif_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import AvifImagePlugin

    monkeypatch.setattr(AvifImagePlugin, "SUPPORTED", False)
    assert "built without AVIF" in refusal(b"\0\0\0\x18ftypavif\0\0\0\0avifmif1")


def test_a_kind_that_is_not_supported_is_not_called_damaged() -> None:
    image = Image.new("RGB", (4, 4))
    data = bytearray(encoded(image, "TIFF"))
    at = data.find(b"\x06\x01\x03\0")  # the tag of the colour model
    data[at + 8] = 77
    assert "this kind of TIFF picture is not supported" in refusal(bytes(data))


# --- Animations ---


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF"])
def test_the_first_frame_that_is_not_of_one_colour(kind: str) -> None:
    blank = Image.new("RGB", (48, 32))
    frames = [blank, Image.new("RGB", (48, 32), BLUE), corners(), smooth(48, 32)]
    options = {"AVIF": {"quality": 100, "subsampling": "4:4:4"}, "WEBP": {"lossless": True}}.get(kind, {})
    data = encoded(blank, kind, save_all=True, append_images=frames[1:], duration=100, **options)
    assert_close(images.decode(data), corners(), 40 if kind == "AVIF" else 0)


def test_later_frames_do_not_count_where_the_first_one_shows_something() -> None:
    frames = [corners(), smooth(48, 32)]
    data = encoded(frames[0], "PNG", save_all=True, append_images=frames[1:])
    assert_close(images.decode(data), corners())


def test_few_frames_of_a_large_animation_are_looked_at() -> None:
    """A small file could ask for hundreds of large frames."""
    frames = [Image.new("RGB", (40, 40), colour) for colour in (RED, GREEN, BLUE)] + [smooth(40, 40)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=100)
    assert images.decode(data, max_pixels=1_600 * 3).getpixel((9, 9)) != RED
    assert images.decode(data, max_pixels=1_600 * 2).getpixel((9, 9)) == RED


# --- Deep colours ---


def deep_tiff(values_HWC: np.ndarray, *, orientation: int = 1, apart: bool = False, strips: int = 1) -> bytes:
    """A TIFF of colours in the type of the values, little-endian, in strips of equal height."""
    from PIL import TiffImagePlugin

    height, width, samples = values_HWC.shape
    parts = [values_HWC[:, :, one] for one in range(samples)] if apart else [values_HWC]
    data = [rows.tobytes() for part in parts for rows in np.split(part, strips)]
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[256], tags[257], tags[262], tags[277], tags[278] = width, height, 2, samples, height // strips
    tags[258] = (8 * values_HWC.itemsize,) * samples
    tags[339] = ({"u": 1, "i": 2, "f": 3}[values_HWC.dtype.kind],) * samples
    tags[259], tags[274], tags[284] = 1, orientation, 2 if apart else 1
    tags[273] = tuple(len(b"".join(data[:number])) for number in range(len(data)))  # from the end of the tags
    tags[279] = tuple(map(len, data))
    head = BytesIO()
    tags.save(head)
    return head.getvalue() + b"".join(data)


@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("strips", [1, 4])
@pytest.mark.parametrize("full", [1.0, 4.0, 1023, 4095, 16383, 65535])
def test_deep_colours_hold_the_range_in_use(full: float, strips: int, apart: bool, orientation: int) -> None:
    kind = "<f4" if isinstance(full, float) else "<u2"
    upright = np.asarray(smooth(64, 32), float)
    upright[0, 0] = 255
    values_HWC = np.asarray(stored(Image.fromarray(upright.astype(np.uint8)), orientation)) / 255 * full
    data = deep_tiff(values_HWC.astype(kind), orientation=orientation, apart=apart, strips=strips)
    decoded = images.decode_with_size(data)
    assert (decoded.width, decoded.height) == (64, 32)
    assert np.abs(np.asarray(decoded.image, int) - upright).max() <= 1, "a small range keeps its steps"
    assert "above the limit of 2,047" in refusal(data, max_pixels=2_047)


def test_deep_colours_that_only_pillow_reads_keep_their_range() -> None:
    """With XMP, or strips that mix two colours, Pillow gives the high bytes."""
    values_HWC = (np.asarray(smooth(64, 32)) / 255 * 4095).astype("<u2")
    values_HWC[0, 0] = 4095
    plain = images.decode(deep_tiff(values_HWC))
    for data in (deep_tiff(values_HWC) + b"tiff:Orientation", deep_tiff(values_HWC)):
        assert_close(images.decode(data), plain, 17)


def test_deep_colours_with_transparency_lie_over_white() -> None:
    values_HWC = np.zeros((8, 8, 4), "<u2")
    values_HWC[:, 4:, 3] = 65535
    data = deep_tiff(values_HWC)
    extra = data.replace(struct.pack("<HHI", 339, 3, 4), struct.pack("<HHI", 338, 3, 1), 1)
    at = extra.find(struct.pack("<HHI", 338, 3, 1))
    decoded = images.decode(extra[: at + 8] + struct.pack("<I", 2) + extra[at + 12 :])
    assert decoded.getpixel((0, 0)) == (255, 255, 255)
    assert decoded.getpixel((7, 0)) == (0, 0, 0)


def test_floating_colours_of_64_bits_are_named() -> None:
    message = refusal(deep_tiff(np.zeros((4, 4, 3), "<f8")))
    assert "this kind of TIFF picture is not supported" in message
    assert "save it as PNG or JPEG" in message


def test_lab_colours() -> None:
    from PIL import ImageCms

    lab = ImageCms.profileToProfile(
        corners(), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert lab is not None
    assert_close(images.decode(encoded(lab, "TIFF")), corners(), 16)


def test_a_wrong_checksum_beside_the_pixels_of_a_png_does_not_matter() -> None:
    data = encoded(corners(), "PNG", dpi=(72, 72))
    for chunk, is_read in ((b"pHYs", True), (b"IHDR", False)):
        damaged = bytearray(data)
        begin = data.find(chunk)
        damaged[begin + 4 + int.from_bytes(data[begin - 4 : begin], "big")] ^= 0xFF
        if is_read:
            assert_close(images.decode(bytes(damaged)), corners())
            assert images.check(bytes(damaged)) == "image/png"
        else:
            assert "damaged or cut off" in refusal(bytes(damaged))


# --- JPEG XL tells its size before it is decoded ---


@pytest.mark.parametrize("size", [(8, 8), (64, 48), (64, 64), (256, 256), (300, 200), (511, 333), (640, 360)])
def test_the_header_of_a_jpeg_xl(size: tuple[int, int]) -> None:
    for in_boxes in (False, True):
        data = encoded(Image.new("RGB", size, RED), "JXL", use_container=in_boxes, effort=1)
        assert read_header(data) == (*size, 1)
        assert f"{size[0]}×{size[1]}" in refusal(data, max_pixels=size[0] * size[1] - 1)


def test_the_turn_in_the_header_of_a_jpeg_xl() -> None:
    # small, height 8·(3+1), ratio 1:1, further fields follow, and the first of them is orientation 6
    bits = "1" + "11000" + "100" + "0" + "1" + "101"
    head = b"\xff\x0a" + int(bits[::-1], 2).to_bytes(8, "little")
    assert read_header(head) == (32, 32, 6)


def test_a_jpeg_xl_without_a_header_is_damaged() -> None:
    for data in (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n", b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40)):
        assert "damaged or cut off" in refusal(data)


# --- Damage ---


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_bytes_give_pixels_or_a_refusal_and_nothing_else(kind: str) -> None:
    generator = np.random.default_rng(11)
    data = made(kind, smooth(64, 48))
    refused = 0
    for number in range(60):
        damaged = bytearray(data[: generator.integers(12, len(data))] if number % 3 == 0 else data)
        for position in generator.integers(4, min(len(damaged), 700), 3):
            damaged[position] = generator.integers(0, 256)
        with warnings.catch_warnings():
            # Pillow warns about some broken tags of TIFFs; what counts here is the picture or the refusal.
            warnings.simplefilter("ignore")
            try:
                loaded = images.load(bytes(damaged), Preprocessing(size=16), max_pixels=1_000_000)
                assert loaded.pixels.shape == (3, 16, 16)
            except ImageError as error:
                refused += 1
                assert str(error)
                assert "\n" not in str(error)
    assert refused > 5
