"""The scans of a JPEG are counted without decoding it."""

from __future__ import annotations

from io import BytesIO

import pytest
from PIL import Image

from fakes import painted
from hivlp.data.images import check, decode
from hivlp.data.images.jpeg import has_more_scans
from hivlp.errors import ImageError


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
