"""Bad pictures and tables among good ones at the command line: all are listed, and the good ones found."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from fakes import COLOURS, ColourEncoder, gallery, painted, png
from pictures import encoded
from ran import Ran

Hivlp = Callable[..., Ran]


def large_png(width: int, height: int) -> bytes:
    """A real black picture of one bit a pixel: many pixels, few bytes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    lines = bytes((1 + (width + 7) // 8) * height)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines, 1)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def cut_jpeg() -> bytes:
    buffer = BytesIO()
    painted("red", "blue", "green", size=(256, 256)).save(buffer, "JPEG")
    return buffer.getvalue()[:400]  # nothing of the pixels is left


BAD: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "text": ("notes.jpg", lambda: b"these are words, not a picture\n", "text file"),
    "cut JPEG": ("cut.jpg", cut_jpeg, "damaged or cut off"),
    "cut PNG": ("cut.png", lambda: png("red")[:50], "damaged or cut off"),
    "no bytes": ("nothing.jpg", lambda: b"", "empty (0 bytes)"),
    "200 megapixels": ("huge.png", lambda: large_png(20_000, 10_000), "200,000,000 pixels"),
    "a web page": ("page.png", lambda: b"<!doctype html><title>404</title>", "HTML page"),
}


def indexed_beside_good_ones(pictures: Path, hivlp: Hivlp) -> list[dict[str, str]]:
    """What failed of a folder that holds the gallery too, after a look at all that must have worked."""
    index = pictures.parent / "x.hivlp"
    ran = hivlp("index", pictures, "--out", index, "--json")
    assert ran.code == 0
    assert (ran.document["indexed"], ran.document["items"]) == (len(COLOURS), len(COLOURS))
    assert "Traceback" not in ran.err
    found = hivlp("search", index, "something purple", "-k", "1", "--json").document["hits"]
    assert [hit["id"] for hit in found] == ["purple.png"]
    assert hivlp("verify", index, "--json").document["ok"]
    again = hivlp("index", pictures, "--out", index, "--json").document
    assert (again["indexed"], again["skipped"]) == (0, len(COLOURS))
    assert again["failed"] == ran.document["failed"], "a second run tells the same"
    return ran.document["failed"]


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_picture_is_listed(kind: str, tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp) -> None:
    name, make, reason = BAD[kind]
    pictures = gallery(tmp_path / "pictures")
    (pictures / name).write_bytes(make())
    (failure,) = indexed_beside_good_ones(pictures, hivlp)
    assert failure["uri"].endswith(name)
    assert reason in failure["error"]


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_query_picture_is_refused(
    kind: str, tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp
) -> None:
    name, make, reason = BAD[kind]
    hivlp("index", gallery(tmp_path / "pictures"), "--out", tmp_path / "x.hivlp")
    (tmp_path / name).write_bytes(make())
    ran = hivlp("search", tmp_path / "x.hivlp", "--image", tmp_path / name, "--json")
    assert ran.code == 2
    assert reason in ran.document["error"]
    assert name in ran.document["error"], "the message names the file"


def test_a_cut_jpeg_is_used_in_part_and_listed(tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp) -> None:
    pictures = gallery(tmp_path / "pictures", "red", "blue")
    whole = encoded(painted("green", size=(256, 256)), "JPEG", quality=100, restart_marker_rows=1)
    (pictures / "half.jpg").write_bytes(whole[: len(whole) * 3 // 4])
    ran = hivlp("index", pictures, "--out", tmp_path / "x.hivlp", "--json")
    (partial,) = ran.document["partial"]
    assert (ran.code, ran.document["indexed"], ran.document["failed"]) == (0, 3, [])
    assert partial["uri"].endswith("half.jpg")
    assert partial["error"].startswith("the JPEG file is cut off: the upper ")
    found = hivlp("search", tmp_path / "x.hivlp", "something green", "-k", "1", "--json").document["hits"]
    assert [hit["id"] for hit in found] == ["half.jpg"]
    shown = hivlp("index", pictures, "--out", tmp_path / "y.hivlp")
    assert "1 picture used in part:" in shown.err
    assert "half.jpg: the JPEG file is cut off" in shown.err


def test_a_broken_link_is_listed(tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp) -> None:
    pictures = gallery(tmp_path / "pictures")
    (pictures / "link.png").symlink_to(tmp_path / "gone.png")
    (failure,) = indexed_beside_good_ones(pictures, hivlp)
    assert "broken symbolic link" in failure["error"]
    assert "gone.png" in failure["error"]


def test_an_unreadable_picture_is_listed(
    tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = gallery(tmp_path / "pictures")
    locked = pictures / "locked.png"
    locked.write_bytes(png("red"))
    locked.chmod(0)
    if os.access(locked, os.R_OK):  # nothing is locked for an administrator
        read_bytes = Path.read_bytes

        def refuse(path: Path) -> bytes:
            if path.name == locked.name:
                raise PermissionError(13, "Permission denied", str(path))
            return read_bytes(path)

        monkeypatch.setattr(Path, "read_bytes", refuse)
    (failure,) = indexed_beside_good_ones(pictures, hivlp)
    assert failure["uri"].endswith("locked.png")
    assert "Permission denied" in failure["error"]


def test_a_picture_of_one_pixel_is_indexed_and_found(
    tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp
) -> None:
    pictures = gallery(tmp_path / "pictures", "red", "green")
    painted("purple", size=(1, 1)).save(pictures / "dot.png")
    document = hivlp("index", pictures, "--out", tmp_path / "x.hivlp", "--json").document
    assert (document["indexed"], document["failed"]) == (3, [])
    hits = hivlp("search", tmp_path / "x.hivlp", "purple", "-k", "1", "--json").document["hits"]
    assert hits[0]["id"] == "dot.png"
    query = hivlp("search", tmp_path / "x.hivlp", "--image", pictures / "dot.png", "--json").document
    assert query["hits"][0]["id"] == "dot.png"


def test_unusual_pictures_are_no_failures(tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    picture = painted("red", "blue")
    picture.convert("CMYK").save(pictures / "print.jpg")
    picture.convert("P").save(pictures / "palette.gif")
    picture.convert("RGBA").save(pictures / "alpha.webp", lossless=True)
    Image.new("I;16", (20, 20), 40_000).save(pictures / "deep.png")
    painted("red", size=(3_000, 1)).save(pictures / "line.bmp")
    (pictures / "名前 ❄️.png").write_bytes(png("purple"))
    document = hivlp("index", pictures, "--out", tmp_path / "x.hivlp", "--json").document
    assert (document["indexed"], document["failed"]) == (6, [])
    hits = hivlp("search", tmp_path / "x.hivlp", "purple", "--json").document["hits"]
    assert hits[0]["id"] == "名前 ❄️.png"


def test_a_table_lists_its_bad_rows(tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp) -> None:
    pictures = gallery(tmp_path / "pictures")
    (pictures / "notes.jpg").write_text("words")
    rows = [f"pictures/{name}.png\tsomething {name}" for name in COLOURS]
    rows += ["pictures/gone.png\ta missing file", "\tno picture", "pictures/notes.jpg\twords", "one field"]
    table = tmp_path / "t.tsv"
    table.write_text("\n".join(["image\tcaption", *rows]) + "\n", encoding="utf-8")
    document = hivlp("index", table, "--out", tmp_path / "x.hivlp", "--json").document
    assert document["indexed"] == len(COLOURS)
    listed = "\n".join(f"{failure['uri']}: {failure['error']}" for failure in document["failed"])
    assert len(document["failed"]) == 4, listed
    for words in ("gone.png", "notes.jpg", "line 14", "line 15", "line 17"):
        assert words in listed
    hits = hivlp("search", tmp_path / "x.hivlp", "purple", "-k", "1", "--json").document["hits"]
    assert hits[0]["caption"] == "something purple"


@pytest.mark.parametrize("name", ["t.tsv", "t.csv", "t.jsonl"])
def test_a_table_without_pictures_is_refused_and_leaves_no_index(
    name: str, tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp
) -> None:
    header = {"t.tsv": "name\ttitle\nx\ty\n", "t.csv": "name,title\nx,y\n", "t.jsonl": '{"name": "x"}\n'}
    (tmp_path / name).write_text(header[name], encoding="utf-8")
    ran = hivlp("index", tmp_path / name, "--out", tmp_path / "x.hivlp", "--json")
    assert ran.code == 2
    assert "image" in ran.document["error"], "the column that is missing is named"
    assert "name" in ran.document["error"], "and what is there"
    assert not (tmp_path / "x.hivlp").exists()
