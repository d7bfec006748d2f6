"""What `hivlp index` says at its end: what was skipped, what stayed, what is gone, and how to go on."""

from __future__ import annotations

import random
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from fakes import ColourEncoder, gallery, painted, png
from ran import Ran

Hivlp = Callable[..., Ran]


def lines(ran: Ran) -> list[str]:
    assert ran.code == 0, ran.err
    return ran.out.splitlines()


def test_a_second_run_is_up_to_date_and_names_what_it_could_not_read(
    tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp
) -> None:
    pictures = gallery(tmp_path / "pictures", "red", "blue")
    (pictures / "red.txt").unlink()
    (pictures / "bad.jpg").write_bytes(b"not a picture")
    first = hivlp("index", pictures, "--out", tmp_path / "x.hivlp")
    assert "bad.jpg: it is a text file" in first.err
    assert lines(first)[0].startswith(f"{tmp_path}/x.hivlp: 2 indexed, 0 unchanged, 1 failed in ")
    assert lines(first)[1:] == ["1 picture took a caption from a .txt beside it"]
    again = hivlp("index", pictures, "--out", tmp_path / "x.hivlp")
    assert lines(again)[0] == (
        f"{tmp_path}/x.hivlp is up to date: 2 images, 1 unreadable (`--skipped FILE` lists them)"
    )
    assert "bad.jpg: it is a text file" in again.err


def test_what_was_skipped_is_one_line_and_a_file_lists_it(
    tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp
) -> None:
    pictures = gallery(tmp_path / "pictures", "red", "blue")
    for number in range(3):
        (pictures / f"clip{number}.mov").write_bytes(b"moov")
    (pictures / "notes.txt").write_text("words", encoding="utf-8")
    (pictures / "bad.png").write_bytes(b"not a picture")
    gallery(pictures / "@eaDir", "green")
    gallery(pictures / "old", "yellow", "black")
    listed = tmp_path / "skipped.txt"
    ran = hivlp("index", pictures, "--out", tmp_path / "x.hivlp", "--exclude", "old/", "--skipped", listed)
    assert lines(ran)[1] == (
        f"4 files skipped: 3 .mov, 1 .txt; 2 folders skipped: 1 @eaDir, 1 excluded (listed in {listed})"
    )
    entries = dict(line.split("\t") for line in listed.read_text(encoding="utf-8").splitlines())
    assert {Path(path).name for path in entries} == {
        "clip0.mov", "clip1.mov", "clip2.mov", "notes.txt", "@eaDir", "old", "bad.png"
    }  # fmt: skip
    assert "text file" in entries[str(pictures / "bad.png")]
    document = hivlp("index", pictures, "--out", tmp_path / "x.hivlp", "--json").document
    assert document["skipped_files"] == {
        "files": {".mov": 3, ".txt": 1},
        "folders": {"@eaDir": 1},
        "links_followed": 0,
        "links_skipped": 0,
    }
    assert document["indexed"] == 2, "what was excluded before"


def test_pictures_that_are_gone_are_counted_with_the_remedy(
    photos: Path, tmp_path: Path, hivlp: Hivlp
) -> None:
    pictures = tmp_path / "pictures"
    for name in ("red", "blue"):
        (pictures / f"{name}.png").unlink()
    ran = hivlp("index", pictures, "--out", photos)
    assert "2 indexed pictures are gone from the folder; --prune removes them" in lines(ran)
    assert hivlp("index", pictures, "--out", photos, "--json").document["gone"] == 2
    pruned = hivlp("index", pictures, "--out", photos, "--prune", "--json").document
    assert (pruned["gone"], sorted(pruned["pruned"])) == (0, ["blue.png", "red.png"])
    assert not any("are gone" in line for line in lines(hivlp("index", pictures, "--out", photos)))


def test_moves_and_copies_are_said(photos: Path, tmp_path: Path, hivlp: Hivlp) -> None:
    pictures = tmp_path / "pictures"
    (pictures / "red.png").rename(pictures / "rose.png")
    shutil.copy(pictures / "blue.png", pictures / "blue (1).png")
    found = lines(hivlp("index", pictures, "--out", photos))
    assert found[0].startswith(f"{photos}: 1 indexed, 12 unchanged (1 moved), 0 failed in ")
    assert "1 new picture has the same content as another picture in the index" in found


def test_nothing_usable_ends_with_a_code_of_its_own(
    tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name in ("a.jpg", "b.png"):
        (pictures / name).write_bytes(b"not a picture")
    ran = hivlp("index", pictures, "--out", tmp_path / "x.hivlp", "--json")
    assert (ran.code, len(ran.document["failed"]), ran.document["items"]) == (3, 2, 0)
    (pictures / "b.png").write_bytes(png("red"))
    assert hivlp("index", pictures, "--out", tmp_path / "x.hivlp").code == 0


def test_an_interrupted_run_says_how_far_it_came_and_how_to_go_on(
    tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = gallery(tmp_path / "pictures")
    real, calls = ColourEncoder.encode_pixels, list[int]()

    def encode(encoder: ColourEncoder, pixels: object, /) -> object:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(encoder, pixels)  # type: ignore[arg-type]

    monkeypatch.setattr(ColourEncoder, "encode_pixels", encode)
    ran = hivlp("index", pictures, "--out", tmp_path / "x.hivlp", "--batch-size", "2")
    assert ran.code == 130
    assert ran.err.splitlines()[-1] == (
        "hivlp: stopped after 4 of 12 pictures, which are kept; run the same command again to go on"
    )
    again = hivlp("index", pictures, "--out", tmp_path / "x.hivlp", "--json").document
    assert (again["indexed"], again["skipped"], again["items"]) == (8, 4, 12)


def test_a_search_in_a_moved_folder_says_how_to_find_the_pictures_again(
    photos: Path, tmp_path: Path, hivlp: Hivlp
) -> None:
    assert "without encoding" not in hivlp("search", photos, "red", "-k", "3").err
    (tmp_path / "pictures").rename(tmp_path / "elsewhere")
    ran = hivlp("search", photos, "red", "-k", "3")
    assert "3 of 3 pictures found here are not where they were indexed, such as " in ran.err
    assert f"`hivlp index FOLDER --out {photos}` finds its pictures again without encoding them" in ran.err
    assert hivlp("index", tmp_path / "elsewhere", "--out", photos, "--json").document["moved"] == 12
    assert "without encoding" not in hivlp("search", photos, "red", "-k", "3").err


# --- A folder of everything ---

FORMATS = {"jpg": "JPEG", "JPEG": "JPEG", "jfif": "JPEG", "png": "PNG", "gif": "GIF", "bmp": "BMP",
           "tif": "TIFF", "webp": "WEBP", "": "PNG", "dat": "GIF"}  # fmt: skip
OTHERS = {"mov": b"\0\0\0\x14ftypqt  ", "mp4": b"\0\0\0\x18ftypmp42", "pdf": b"%PDF-1.7\n", "txt": b"a\n",
          "docx": b"PK\3\4", "aae": b"<?xml", "xmp": b"<x:xmpmeta", "json": b"{}", "db": b"SQL",
          "mp3": b"ID3\3", "zip": b"PK\3\4", "csv": b"a,b\n", "tmp": b"", "bin": bytes(9)}  # fmt: skip


def everything(folder: Path, count: int) -> tuple[int, int]:
    """Fills a folder with files of all kinds; returns how many are pictures, and how many are damaged."""
    random_ = random.Random(7)
    pictures = damaged = 0
    for number in range(count):
        place = folder / f"{2000 + number % 20}/{number % 7:02}"
        place.mkdir(parents=True, exist_ok=True)
        if number % 2 == 0:
            ending, kind = random_.choice(list(FORMATS.items()))
            image = painted("red", "blue", size=(24 + number % 100, 24 + number // 100))
            image.save(place / (f"img{number}.{ending}" if ending else f"img{number}"), kind)
            pictures += 1
        elif number % 20 == 1:
            buffer = BytesIO()
            Image.new("RGB", (32, 32)).save(buffer, "PNG")
            (place / f"cut{number}.png").write_bytes(buffer.getvalue()[: random_.randrange(1, 60)])
            damaged += 1
        else:
            ending, content = random_.choice(list(OTHERS.items()))
            (place / f"file{number}.{ending}").write_bytes(content)
    for junk in ("@eaDir/a", "$RECYCLE.BIN", ".git", "x.lrdata", "__MACOSX"):
        (folder / "2001" / junk).mkdir(parents=True)
        (folder / "2001" / junk / "thumb.png").write_bytes(png("green"))
    (folder / "2002/all").symlink_to(folder)
    (folder / "2003/next").symlink_to(folder / "2004")
    (folder / "2003/gone.jpg").symlink_to(folder / "nowhere.jpg")
    with tarfile.open(folder / "backup.tar", "w") as tar:
        tar.add(folder / "2000", "2000")
    with zipfile.ZipFile(folder / "takeout.zip", "w") as archive:
        archive.writestr("a.png", png("red"))
    return pictures, damaged + 1


def test_a_folder_of_everything_is_indexed_with_a_report(
    tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp
) -> None:
    pictures, damaged = everything(tmp_path / "all", 200)
    ran = hivlp("index", tmp_path / "all", "--out", tmp_path / "x.hivlp", "--json")
    document = ran.document
    assert (ran.code, "Traceback" in ran.err) == (0, False)
    assert (document["indexed"], len(document["failed"])) == (pictures, damaged)
    files = document["skipped_files"]
    assert sum(files["files"].values()) == 200 - pictures - (damaged - 1) + 2
    assert files["folders"] == dict.fromkeys(("@eaDir", "$RECYCLE.BIN", "hidden", ".lrdata", "__MACOSX"), 1)
    assert files["links_skipped"] == 2
    again = hivlp("index", tmp_path / "all", "--out", tmp_path / "x.hivlp")
    assert f"is up to date: {pictures} images, {damaged} unreadable" in again.out
    assert hivlp("verify", tmp_path / "x.hivlp").code == 0
