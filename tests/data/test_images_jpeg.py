"""JPEG files: their scans are counted without decoding, and files that are cut off are used in part."""

from __future__ import annotations

from io import BytesIO

import pytest
from PIL import Image

from fakes import painted
from hivlp.data.images import check, decode, decode_with_size
from hivlp.data.images.jpeg import has_more_scans
from hivlp.errors import ImageError
from pictures import assert_close, encoded, exif, smooth, stored


def jpeg(*, progressive: bool, **more: object) -> bytes:
    buffer = BytesIO()
    painted("red", "blue").save(buffer, "JPEG", progressive=progressive, **more)
    return buffer.getvalue()


def repeated(count: int) -> bytes:
    """A progressive JPEG whose last scan stands there so many times more."""
    whole = jpeg(progressive=True)
    begin, end = whole.rfind(b"\xff\xda"), whole.rfind(b"\xff\xd9")
    return whole[:end] + whole[begin:end] * count + whole[end:]


def scans(data: bytes) -> int:
    return next(limit for limit in range(1_000) if not has_more_scans(data, limit))


def test_scans_are_counted() -> None:
    assert scans(jpeg(progressive=False)) == 1
    usual = scans(jpeg(progressive=True))
    assert 5 < usual < 20
    assert scans(repeated(100)) == usual + 100


def test_what_is_no_scan_does_not_count() -> None:
    """Pictures inside of the metadata, and what stands behind the end: a film, or a second picture."""
    inner = jpeg(progressive=True) * 10
    assert scans(jpeg(progressive=False, exif=b"Exif\0\0" + inner[:60_000])) == 1
    assert scans(jpeg(progressive=False) + inner) == 1
    assert scans(inner) == scans(jpeg(progressive=True))


@pytest.mark.parametrize("cut", [0, 1, 2, 3, 10, 100])
def test_files_that_are_cut_off_have_the_scans_that_are_left(cut: int) -> None:
    assert scans(repeated(30)[:cut]) == 0
    assert scans(repeated(30)[:-cut] if cut else repeated(30)) <= scans(repeated(30))


def test_a_few_bytes_can_not_ask_for_endless_work() -> None:
    assert decode(repeated(20)).size == (24, 24)
    for read in (check, decode):
        with pytest.raises(ImageError, match=r"more than 50 scans.*save it again"):
            read(repeated(60))


def test_the_reader_agrees_on_what_is_a_scan() -> None:
    """The pixels of a file whose repeated scans are behind its end are those of the file without them."""
    plain = jpeg(progressive=True)
    assert Image.open(BytesIO(plain + repeated(60))).tobytes() == Image.open(BytesIO(plain)).tobytes()


# --- Files that are cut off ---


def cut(data: bytes, share: float) -> bytes:
    """A part of a file, by the share of what follows the header of its first scan."""
    begin = data.find(b"\xff\xda")
    return data[: begin + int((len(data) - begin) * share)]


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"restart_marker_rows": 1}])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_the_rows_that_are_there_are_used(share: float, options: dict[str, object], mode: str) -> None:
    data = encoded(smooth(160, 240).convert(mode), "JPEG", quality=95, **options)
    whole, part = decode(data), decode_with_size(cut(data, share))
    assert (part.width, part.height) == (160, 240), "of the original"
    height = part.image.height
    assert abs(height / 240 - share) < 0.15
    assert part.note is not None
    assert f"the upper {height / 240:.0%}" in part.note
    rows = height - 18  # the last blocks end somewhere
    assert_close(part.image.crop((0, 0, 160, rows)), whole.crop((0, 0, 160, rows)), 2)


def test_a_cut_jpeg_is_turned_upright() -> None:
    upright = smooth(240, 160)
    data = encoded(stored(upright, 6), "JPEG", quality=95, exif=exif(6))
    part = decode_with_size(cut(data, 0.5))
    assert (part.width, part.height) == (240, 160)
    width = part.image.width
    assert 90 < width < 150, "the stored rows are the columns of the picture, beginning at the right"
    shown = part.image.crop((18, 0, width, 160))
    assert_close(shown, decode(data).crop((240 - width + 18, 0, 240, 160)), 2)


def test_a_cut_jpeg_is_decoded_reduced_too() -> None:
    part = decode_with_size(cut(encoded(smooth(800, 800), "JPEG"), 0.5), hint=100)
    assert part.image.width == 100
    assert 40 <= part.image.height <= 60


@pytest.mark.parametrize("behind", [b"", b"\xff"])
def test_a_missing_end_mark_costs_nothing(behind: bytes) -> None:
    data = encoded(smooth(64, 64), "JPEG")
    part = decode_with_size(data[:-2] + behind)
    assert_close(part.image, decode(data))
    assert part.note is not None
    assert "all that decodes is used" in part.note


def test_a_cut_progressive_jpeg_is_coarse() -> None:
    data = encoded(smooth(160, 240), "JPEG", progressive=True)
    part = decode_with_size(cut(data, 0.5))
    assert part.image.size == (160, 240)
    assert part.note is not None
    assert_close(part.image, decode(data), 40)


@pytest.mark.parametrize("length", [20, 200, 600])
def test_a_jpeg_that_is_cut_before_its_pixels_is_refused(length: int) -> None:
    data = encoded(smooth(160, 240), "JPEG")
    assert data.find(b"\xff\xda") >= 600
    with pytest.raises(ImageError, match="damaged or cut off"):
        decode(data[:length])


def test_a_header_with_hardly_anything_behind_it_is_refused() -> None:
    data = encoded(smooth(160, 240), "JPEG")
    scan = data.find(b"\xff\xda")
    for behind in (8, 14, 15, 20):
        with pytest.raises(ImageError, match="damaged or cut off"):
            decode(data[: scan + behind])


def test_what_stands_behind_the_end_does_not_matter() -> None:
    data = encoded(smooth(64, 64), "JPEG")
    whole = decode_with_size(data + bytes(4096))
    assert whole.note is None
    assert_close(whole.image, decode(data))


def test_stray_bytes_before_a_restart_mark() -> None:
    """Some toy cameras write them."""
    data = encoded(smooth(64, 64), "JPEG", restart_marker_rows=1)
    place = data.find(b"\xff\xd2")
    assert_close(decode(data[:place] + b"\x11" * 9 + data[place:]), decode(data), 40)
