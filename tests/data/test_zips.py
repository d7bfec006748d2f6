"""Zip archives as Takeout, Kaggle and people make them, and those that mean harm."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest

from fakes import png
from hivlp.data.originals import read_original
from hivlp.data.sources import Source, open_source
from hivlp.errors import DataError


def captions(source: Source) -> dict[str, tuple[str, ...]]:
    return {sample.id: sample.captions for sample in source}


def write_zip(path: Path, members: dict[str, bytes | str], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_pictures_of_an_archive(tmp_path: Path) -> None:
    path = write_zip(
        tmp_path / "takeout.zip",
        {
            "Takeout/Photos/a.JPG": png("red"),
            "Takeout/Photos/a.JPG.json": json.dumps({"title": "a.JPG"}),
            "Takeout/Photos/b.png": png("blue"),
            "Takeout/Photos/b.txt": "a boat\nat sea\n",
            "Takeout/clip.mov": b"x",
            "__MACOSX/Takeout/Photos/._a.JPG": b"x",
            "Takeout/.hidden/c.jpg": png("red"),
        },
    )
    source = open_source(path)
    a, b = source
    assert (a.id, a.uri, a.image) == ("Takeout/Photos/a.JPG", f"{path}#Takeout/Photos/a.JPG", png("red"))
    assert b.captions == ("a boat", "at sea")
    assert (source.count(), source.failures) == (2, [])
    assert source.notes == ["takeout.zip: skipped 1 .json, 1 .mov"]
    assert read_original(b.uri) == png("blue")
    assert captions(open_source(f"{path}?held_out=0.5"))


def test_a_table_in_the_archive_names_the_captions(tmp_path: Path) -> None:
    path = write_zip(
        tmp_path / "flickr8k.zip",
        {
            "captions.txt": "image,caption\na.jpg,a dog\na.jpg,one more\nB.JPG,a cat\ngone.jpg,x\n",
            "Images/a.jpg": png("red"),
            "Images/b.jpg": png("blue"),
            "Images/readme.txt": "no table, only words",
        },
    )
    source = open_source(path)
    assert captions(source) == {"a.jpg": ("a dog", "one more"), "B.JPG": ("a cat",)}
    assert [sample.image for sample in source] == [png("red"), png("blue")]
    assert "captions.txt" in source.notes[0]
    (failure,) = source.failures
    assert failure.uri == f"{path}#gone.jpg" and "no such picture" in failure.error


def test_a_table_alone_in_an_archive(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(png("red"))
    path = write_zip(tmp_path / "captions.csv.zip", {"captions.csv": "photo,words\na.jpg,x\n"})
    with pytest.raises(DataError, match="no column 'caption'"):
        open_source(path)
    assert captions(open_source(f"{path}?image=photo&caption=words")) == {"a.jpg": ("x",)}


def test_a_table_that_names_other_pictures_is_not_taken(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", {"t.csv": "image,caption\nelsewhere.jpg,x\n", "a.jpg": png("red")})
    source = open_source(path)
    assert captions(source) == {"a.jpg": ()}
    assert any("names none of the pictures in the archive" in note for note in source.notes)


def test_paths_out_of_the_archive_are_failures(tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(png("red"))
    path = write_zip(
        tmp_path / "x.zip",
        {
            "t.jsonl": "".join(
                json.dumps({"image": name, "caption": "x"}) + "\n"
                for name in ("ok.jpg", "../secret.jpg", f"{tmp_path}/secret.jpg")
            ),
            "ok.jpg": png("blue"),
            "../evil.jpg": png("red"),
            "/abs.jpg": png("red"),
        },
    )
    source = open_source(path)
    assert captions(source) == {"ok.jpg": ("x",)}
    assert len(source.failures) == 2
    bare = open_source(write_zip(tmp_path / "y.zip", {"../evil.jpg": png("red"), "ok.jpg": png("blue")}))
    assert captions(bare) == {"ok.jpg": ()}
    assert "leads out of the archive" in bare.failures[0].error
    assert sorted(file.name for file in tmp_path.iterdir()) == ["secret.jpg", "x.zip", "y.zip"]


def test_bombs_are_failures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hivlp.data.sources.zips.MAX_FILE_BYTES", 100_000)
    monkeypatch.setattr("hivlp.data.sources.zips.read_member.__kwdefaults__", {"limit": 100_000})
    path = write_zip(tmp_path / "x.zip", {"bomb.jpg": bytes(10_000_000), "ok.jpg": png("red")})
    source = open_source(path)
    assert captions(source) == {"ok.jpg": ()}
    assert "has 10,000,000 bytes, the limit is 100,000" in source.failures[0].error
    # the same with a size that lies
    data = path.read_bytes().replace((10_000_000).to_bytes(4, "little"), (5_000).to_bytes(4, "little"))
    path.write_bytes(data)
    lying = open_source(path)
    assert captions(lying) == {"ok.jpg": ()}
    assert len(lying.failures) == 1


@pytest.mark.parametrize("damage", ["cut", "bits", "text"])
def test_damaged_archives(tmp_path: Path, damage: str) -> None:
    path = write_zip(tmp_path / "x.zip", {"a.png": png("red") * 20, "b.png": png("blue")})
    data = bytearray(path.read_bytes())
    if damage == "bits":
        data[60] ^= 0xFF
        path.write_bytes(bytes(data))
        source = open_source(path)
        assert captions(source) == {"b.png": ()}
        assert "damaged" in source.failures[0].error
    else:
        path.write_bytes(bytes(data[:-30]) if damage == "cut" else b"no archive")
        with pytest.raises(DataError, match="can't be read as a zip archive"):
            open_source(path)


def test_an_archive_without_pictures_says_what_it_holds(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", {"inner.zip": b"PK", "notes.md": "x"})
    with pytest.raises(DataError, match="no pictures, but 2 other files; unpack it"):
        open_source(path)


def test_one_member_is_in_memory_at_a_time(tmp_path: Path) -> None:
    import tracemalloc

    members: dict[str, bytes | str] = {f"{n}.png": png("red") + bytes([n]) * 200_000 for n in range(60)}
    path = write_zip(tmp_path / "x.zip", members)
    del members
    tracemalloc.start()
    assert sum(1 for _ in open_source(path)) == 60
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60 * 200_000 / 4


def test_a_zip_is_read_from_its_own_end(tmp_path: Path) -> None:
    buffer = io.BytesIO(b"#!/bin/sh\n")
    buffer.seek(0, io.SEEK_END)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("a.png", png("red"))
    (tmp_path / "x.zip").write_bytes(buffer.getvalue())
    assert captions(open_source(tmp_path / "x.zip")) == {"a.png": ()}
