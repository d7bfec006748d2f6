"""What files say of themselves: EXIF, IPTC, XMP and names, right, wrong and damaged."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from hivlp.data.facts import NAMES, facts_of, from_xmp


def exif(**changes: Any) -> Image.Exif:
    block = Image.Exif()
    block[0x010F], block[0x0110] = "NIKON CORPORATION", "NIKON D90"
    block[0x010E], block[0x4746] = "Ferien in Griechenland", 4
    block[0x9C9E] = "Strand;Meer".encode("utf-16-le")
    inner = block.get_ifd(0x8769)
    inner[0x9003] = changes.get("taken", "2021:05:02 12:00:00")
    inner[0x9011], inner[0x8827], inner[0xA434] = "+02:00", 200, "50 mm f/1.8"
    gps = block.get_ifd(0x8825)
    gps[1], gps[3] = changes.get("sides", ("N", "W"))
    gps[2] = tuple(map(IFDRational, changes.get("lat", (48, 51, 36))))
    gps[4] = tuple(map(IFDRational, changes.get("lon", (2, 21, 0))))
    return block


def picture(form: str = "JPEG", colour: str = "red", **options: Any) -> bytes:
    file = BytesIO()
    Image.new("RGB", (32, 24), colour).save(file, form, **options)
    return file.getvalue()


def xmp(inside: str, attributes: str = "") -> bytes:
    return f"""<?xpacket begin='' id='W5M0MpCehiHzreSzNTczkc9d'?><x:xmpmeta xmlns:x="adobe:ns:meta/">
    <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description {attributes}
    xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/">{inside}
    </rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end='w'?>""".encode()


WORDS = "".join(f"<rdf:li>{word}</rdf:li>" for word in ("Athens", "Athens", " sea "))
TAGS = f"<dc:subject><rdf:Bag>{WORDS}</rdf:Bag></dc:subject>"
TITLE = '<dc:title><rdf:Alt><rdf:li xml:lang="x-default">The harbour</rdf:li></rdf:Alt></dc:title>'


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF", "in a TIFF"])
def test_a_camera_s_exif_becomes_columns(form: str) -> None:
    is_tiff = form == "in a TIFF"
    assert facts_of(exif().tobytes()[6:] if is_tiff else picture(form, exif=exif())) == {
        "taken_at": "2021-05-02T12:00:00+02:00",
        "taken_from": "exif",
        "camera": "NIKON D90",
        "lens": "50 mm f/1.8",
        "iso": 200,
        "lat": 48.86,
        "lon": -2.35,
        "description": "Ferien in Griechenland",
        "keywords": ["Strand", "Meer"],
        "rating": 4,
    }


def test_words_of_xmp_count_more_than_those_of_exif() -> None:
    packet = xmp(TITLE + TAGS, 'xmp:Rating="5" exif:DateTimeOriginal="2020-01-01T10:00:00Z"')
    found = facts_of(picture(exif=exif(), xmp=packet))
    assert (found["title"], found["keywords"], found["rating"]) == ("The harbour", ["Athens", "sea"], 5)
    assert (found["taken_at"], found["taken_from"]) == ("2021-05-02T12:00:00+02:00", "exif")


def test_iptc_of_a_jpeg_is_read() -> None:
    words = [(5, b"Harbour"), (25, b"sea"), (25, b"boats"), (120, "Kähne".encode())]
    block = b"".join(b"\x1c\x02" + bytes([tag]) + len(text).to_bytes(2, "big") + text for tag, text in words)
    resource = b"8BIM\x04\x04\0\0" + len(block).to_bytes(4, "big") + block + b"\0" * (len(block) % 2)
    segment = b"Photoshop 3.0\0" + resource
    data = picture()
    data = data[:2] + b"\xff\xed" + (len(segment) + 2).to_bytes(2, "big") + segment + data[2:]
    assert facts_of(data) == {"title": "Harbour", "description": "Kähne", "keywords": ["sea", "boats"]}


@pytest.mark.parametrize(
    ("attributes", "taken_at"),
    [
        ('exif:DateTimeOriginal="2021-05-02T12:00:00"', "2021-05-02T12:00:00"),
        ('xmp:CreateDate="2021-05-02T12:00:00.25-07:00"', "2021-05-02T12:00:00-07:00"),
        ('photoshop:DateCreated="2021-05-02"', "2021-05-02"),
        ('photoshop:DateCreated="2021-13-02"', None),
        ('xmp:CreateDate="yesterday"', None),
    ],
)
def test_dates_of_xmp(attributes: str, taken_at: str | None) -> None:
    assert from_xmp(xmp("", attributes)).get("taken_at") == taken_at


def test_places_of_xmp() -> None:
    assert from_xmp(xmp("", 'exif:GPSLatitude="33,51.5S" exif:GPSLongitude="151,12,36E"')) == {
        "lat": -33.858333,
        "lon": 151.21,
    }
    assert from_xmp(xmp("", 'exif:GPSLatitude="north" exif:GPSLongitude="151,12,36E"')) == {}


@pytest.mark.parametrize(
    ("name", "taken_at"),
    [
        ("IMG_20210601_123456.jpg", "2021-06-01T12:34:56"),
        ("PXL_20210601_123456789.jpg", "2021-06-01T12:34:56"),
        ("2021-06-01 12.34.56.jpg", "2021-06-01T12:34:56"),
        ("Screenshot 2021-06-01 at 12.34.56.png", "2021-06-01T12:34:56"),
        ("WhatsApp Image 2021-06-01 at 11.34.56 PM.jpeg", "2021-06-01"),
        ("IMG-20210601-WA0007.jpg", "2021-06-01"),
        ("IMG_1234.jpg", None),
        ("DSC_20211301.jpg", None),
        ("1623456789.jpg", None),
        ("IMG_20990101_000000.jpg", None),
    ],
)
def test_dates_in_names(name: str, taken_at: str | None) -> None:
    found = facts_of(picture(), name)
    assert found == ({} if taken_at is None else {"taken_at": taken_at, "taken_from": "name"})


@pytest.mark.parametrize(
    "taken", ["0000:00:00 00:00:00", "1970:01:01 00:00:00", "2099:01:01 00:00:00", "    "]
)
def test_impossible_moments_are_left_out(taken: str) -> None:
    found = facts_of(picture(exif=exif(taken=taken)))
    assert "taken_at" not in found
    assert found["camera"] == "NIKON D90"


@pytest.mark.parametrize(
    "changes", [{"lat": (0, 0, 0), "lon": (0, 0, 0)}, {"lat": (97, 0, 0)}, {"lon": (2,) * 5}]
)
def test_impossible_places_are_left_out(changes: dict[str, Any]) -> None:
    found = facts_of(picture(exif=exif(**changes)))
    assert "lat" not in found and "lon" not in found
    assert found["iso"] == 200


def test_damage_costs_its_own_block_only() -> None:
    whole = picture(exif=exif(), xmp=xmp(TAGS))
    assert facts_of(whole.replace(b"</rdf:RDF>", b"<oops></x>"))["keywords"] == ["Strand", "Meer"]
    at = whole.index(b"Exif\0\0") + 6
    for length in range(0, 200, 7):
        broken = whole[: at + length] + b"\xff" * 8 + whole[at + length + 8 :]
        assert set(facts_of(broken)) <= set(NAMES)
    assert facts_of(b"") == facts_of(b"words") == facts_of(whole[:30]) == {}


def test_an_xml_bomb_is_not_opened() -> None:
    bomb = b"""<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><x>&b;</x>"""
    assert from_xmp(bomb) == {}
    assert from_xmp(b"<x/>" + b" " * 1_000_001) == {}


def test_long_texts_are_cut() -> None:
    tags = "".join(f"<rdf:li>{number} {'w' * 3_000}</rdf:li>" for number in range(300))
    found = from_xmp(xmp(f"<dc:subject><rdf:Bag>{tags}</rdf:Bag></dc:subject>"))
    keywords = found["keywords"]
    assert isinstance(keywords, list)
    assert len(keywords) == 200
    assert max(map(len, keywords)) == 2_000


def test_words_that_cameras_write_are_no_description() -> None:
    block = exif()
    block[0x010E] = "OLYMPUS DIGITAL CAMERA         "
    assert "description" not in facts_of(picture(exif=block))
