"""How large an image may be: refused before it is decoded, or a JPEG decoded at a reduced size."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hivlp.config import Preprocessing
from hivlp.data import images
from hivlp.data.images.limits import VARIABLE, pixel_limit
from hivlp.errors import ConfigError, ImageError
from pictures import assert_close, encoded, png_header, smooth


def refusal(source: images.ImageInput, **options: int) -> str:
    with pytest.raises(ImageError) as caught:
        images.decode(source, **options)
    return str(caught.value)


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


def webp_of_256_megapixels() -> bytes:
    data = encoded(Image.new("RGBA", (8, 8), (1, 2, 3, 4)), "WEBP", exif=b"Exif\0\0II*\0")
    assert data[12:16] == b"VP8X"
    return data[:24] + (16_000 - 1).to_bytes(3, "little") * 2 + data[30:]


def gif_of_400_megapixels() -> bytes:
    data = encoded(Image.new("P", (8, 8)), "GIF")
    return data[:6] + struct.pack("<HH", 20_000, 20_000) + data[10:]


@pytest.mark.parametrize("make", [webp_of_256_megapixels, gif_of_400_megapixels])
def test_large_headers_of_formats_that_check_themselves(make: Callable[[], bytes]) -> None:
    # Pillow warns or raises inside of these readers; neither may be seen.
    message = refusal(make())
    assert "above the limit of" in message or "pixels allowed" in message
    assert "make it smaller" in message
    assert "DecompressionBomb" not in message


def test_a_scan_beyond_pillows_own_limit_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000)  # twice that is an error of Pillow
    for options in ({}, {"compression": "jpeg", "quality": 100}, {"compression": "tiff_lzw"}):
        data = encoded(smooth(60, 50), "TIFF", **options)
        assert_close(images.decode(data), smooth(60, 50), 8 if "quality" in options else 0)
    for kind in ("JPEG", "PNG", "BMP", "HEIC", "AVIF", "JXL"):
        assert images.decode(encoded(smooth(60, 50), kind)).size == (60, 50)
    for kind in ("GIF", "WEBP"):
        message = refusal(encoded(smooth(60, 50), kind))
        assert VARIABLE not in message, "it does not change this limit"


def test_the_limit_is_a_variable_of_the_environment() -> None:
    assert pixel_limit({}) == pixel_limit({VARIABLE: " "}) == 100_000_000
    assert pixel_limit({VARIABLE: "250_000_000"}) == 250_000_000
    for wrong in ("0", "-1", "many", "1e8", "12.5"):
        with pytest.raises(ConfigError, match=f"{VARIABLE}='{wrong}' is invalid: must be a whole number"):
            pixel_limit({VARIABLE: wrong})


def test_the_message_names_the_variable_and_a_value_that_is_enough() -> None:
    data = encoded(Image.new("RGB", (20, 10)), "PNG")
    message = refusal(data, max_pixels=199)
    assert message.endswith(f"or raise the limit with the environment variable {VARIABLE}=200")
    code = "import sys; from hivlp.data import images; print(images.decode(sys.stdin.buffer.read()).size)"
    for limit, answer in (("200", "(20, 10)"), ("199", "above the limit of 199")):
        run = subprocess.run(
            [sys.executable, "-c", code],
            input=data,
            capture_output=True,
            env={**os.environ, VARIABLE: limit},
        )
        assert answer in (run.stdout + run.stderr).decode()


def test_the_limit_can_be_chosen() -> None:
    data = encoded(Image.new("RGB", (20, 10)), "PNG")
    assert "200 pixels (20×10), above the limit of 199" in refusal(data, max_pixels=199)
    assert images.decode(data, max_pixels=200).size == (20, 10)
    assert "above the limit" in refusal(Image.new("RGB", (20, 10)), max_pixels=199)


def test_a_limit_above_pillows_own_counts() -> None:
    # The header alone: past the size check, what is missing behind it is what is wrong.
    assert "190,000,000" in refusal(png_header(19_000, 10_000))
    assert "damaged or cut off" in refusal(png_header(19_000, 10_000), max_pixels=200_000_000)


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


@pytest.mark.parametrize(
    ("limit", "size"), [(480_000, (800, 600)), (479_999, (400, 300)), (8_000, (100, 75))]
)
@pytest.mark.parametrize("hint", [None, 600])
def test_a_jpeg_above_the_limit_is_decoded_reduced(
    limit: int, size: tuple[int, int], hint: int | None
) -> None:
    data = encoded(smooth(800, 600), "JPEG", quality=95)
    decoded = images.decode_with_size(data, hint=hint, max_pixels=limit)
    assert (decoded.width, decoded.height) == (800, 600)
    assert decoded.image.size == size
    twin = images.decode(data).resize(size, Image.Resampling.BOX)
    assert_close(decoded.image, twin, 4)


def test_a_jpeg_too_large_for_any_reduction_is_refused() -> None:
    data = encoded(smooth(800, 600), "JPEG")
    assert images.check(data, max_pixels=7_500) == "image/jpeg"
    message = refusal(data, max_pixels=7_499)
    assert "480,000 pixels (800×600), above the limit of 479,936;" in message
    assert images.decode(data, max_pixels=int(message.rpartition("=")[2])).size == (100, 75)


def test_a_progressive_jpeg_counts_in_full() -> None:
    """Its decoder keeps all coefficients, whatever it decodes to."""
    data = encoded(smooth(800, 600), "JPEG", progressive=True)
    assert images.decode(data, max_pixels=480_000).size == (800, 600)
    message = refusal(data, max_pixels=479_999, hint=100)
    assert "for a progressive JPEG" in message
    assert f"{VARIABLE}=480000" in message


def phone_jpeg(width: int, height: int) -> bytes:
    """A grey JPEG of any size in a moment: one row of blocks, repeated between restart marks."""
    row = encoded(smooth(width, 8).convert("L"), "JPEG", restart_marker_rows=1)
    frame, scan = row.find(b"\xff\xc0"), row.find(b"\xff\xda")
    begin = scan + 2 + int.from_bytes(row[scan + 2 : scan + 4], "big")
    head = row[: frame + 5] + struct.pack(">H", height) + row[frame + 7 : begin]
    blocks = row[begin:].removesuffix(b"\xff\xd9")
    rows = b"".join(blocks + bytes([0xFF, 0xD0 + number % 8]) for number in range(height // 8 - 1))
    return head + rows + blocks + b"\xff\xd9"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell the peak")
@pytest.mark.parametrize("size", [(16_320, 12_240), (26_000, 4_000)])
def test_two_hundred_megapixels_of_a_phone_take_little_memory(size: tuple[int, int]) -> None:
    code = (
        "import sys; from pathlib import Path; "
        "from hivlp.config import Preprocessing; from hivlp.data import images; "
        "data = sys.stdin.buffer.read(); loaded = images.load(data, Preprocessing(size=192)); "
        "status = Path('/proc/self/status').read_text(); "
        "print(loaded.width, loaded.height, status.partition('VmHWM:')[2].split()[0])"
    )
    data = phone_jpeg(*size)
    run = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, check=True)
    width, height, kilobytes = map(int, run.stdout.split())
    assert (width, height) == size
    assert kilobytes < 250_000, "in full it would be 300 to 800 MB"
