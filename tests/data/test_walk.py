"""Folders as people have them: links, folders of systems and programs, patterns, and files of other kinds."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from pathlib import Path

import pytest

from fakes import painted, png
from hivlp.data.sources import open_source
from hivlp.data.sources.folder import FolderSource
from hivlp.errors import DataError


def picture(path: Path, *colours: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(*(colours or ("red",))))
    return path


def ids(folder: Path, **options: object) -> list[str]:
    return [sample.id for sample in FolderSource(folder, **options)]  # type: ignore[arg-type]


def walked(folder: Path, **options: object) -> tuple[list[str], FolderSource]:
    source = FolderSource(folder, **options)  # type: ignore[arg-type]
    return [sample.id for sample in source], source


# --- Links ---


@pytest.mark.parametrize("count", [3, 12])
def test_folders_that_link_to_each_other_are_read_once(tmp_path: Path, count: int) -> None:
    for one in range(count):
        picture(tmp_path / f"d{one:02}/p.png")
        for other in range(count):
            if one != other:
                (tmp_path / f"d{one:02}/to{other:02}").symlink_to(tmp_path / f"d{other:02}")
    found, source = walked(tmp_path)
    assert found == [f"d{n:02}/p.png" for n in range(count)]
    assert source.count() == count
    assert (source.skipped.links_left, source.skipped.links_followed) == (count * (count - 1), 0)


def test_a_link_before_its_folder_changes_no_id(tmp_path: Path) -> None:
    picture(tmp_path / "pics/z/x.png")
    (tmp_path / "pics/a").symlink_to(tmp_path / "pics/z")
    (tmp_path / "pics/0.png").symlink_to(tmp_path / "pics/z/x.png")
    found, source = walked(tmp_path / "pics")
    assert (found, source.skipped.links_left) == (["z/x.png"], 2)


def test_links_elsewhere_are_followed_once_and_their_uri_is_the_place(tmp_path: Path) -> None:
    picture(tmp_path / "store/deep/x.png")
    single = picture(tmp_path / "other/y.png")
    picture(tmp_path / "pics/a.png")
    for name in ("one", "two"):
        (tmp_path / "pics" / name).symlink_to(tmp_path / "store")
    (tmp_path / "pics/inside").symlink_to(tmp_path / "store/deep")
    for name in ("b.png", "c.png"):
        (tmp_path / "pics" / name).symlink_to(single)
    source = FolderSource(tmp_path / "pics")
    places = {sample.id: sample.uri for sample in source}
    assert Counter(places.values()) == Counter(
        str(path) for path in (tmp_path / "pics/a.png", single, tmp_path / "store/deep/x.png")
    )
    assert places["b.png"] == str(single)
    assert (source.skipped.links_followed, source.skipped.links_left) == (3, 2)
    assert source.skipped.line() == "2 links skipped; 3 links followed"


def test_a_link_to_the_whole_disk_is_not_followed(tmp_path: Path) -> None:
    picture(tmp_path / "outside.png")
    picture(tmp_path / "wine/drive/a.png")
    (tmp_path / "wine/z:").symlink_to("/")
    (tmp_path / "wine/up").symlink_to(tmp_path)
    found, source = walked(tmp_path / "wine")
    assert (found, source.skipped.links_left) == (["drive/a.png"], 2)


def test_what_is_hidden_can_be_linked_into_view(tmp_path: Path) -> None:
    hidden = picture(tmp_path / ".store/ab/cd.png")
    (tmp_path / "dog.png").symlink_to(hidden)
    (sample,) = FolderSource(tmp_path)
    assert (sample.id, sample.uri) == ("dog.png", str(hidden))


def test_a_source_behind_a_link_has_the_places_of_its_files(tmp_path: Path) -> None:
    real = picture(tmp_path / "disk/a.png")
    (tmp_path / "mnt").symlink_to(tmp_path / "disk")
    (sample,) = FolderSource(tmp_path / "mnt")
    assert (sample.id, sample.uri) == ("a.png", str(real))


# --- Folders of systems and programs ---

LEFT_OUT = (
    "@eaDir/a.jpg/SYNOPHOTO_THUMB_M.png",
    "@eadir/x.png",
    "#recycle/2024/x.png",
    "$RECYCLE.BIN/S-1/$R1.png",
    "@Recycle/x.png",
    "System Volume Information/x.png",
    "lost+found/x.png",
    ".thumbnails/x.png",
    ".picasaoriginals/x.png",
    "__MACOSX/2024/x.png",
    "Photos Library.photoslibrary/resources/derivatives/1.png",
    "Catalog Previews.lrdata/a/x.png",
    "photos.hivlp/uploads/x.png",
    "._a.png",
)


@pytest.mark.parametrize("name", LEFT_OUT)
@pytest.mark.parametrize("depth", ["", "2024/05/"])
def test_what_systems_leave_behind_is_left_out_and_counted(tmp_path: Path, name: str, depth: str) -> None:
    picture(tmp_path / "mine.png")
    picture(tmp_path / depth / name)
    listed: list[str] = []
    source = FolderSource(tmp_path)
    source.skipped.listener = lambda path, reason: listed.append(path)
    assert [sample.id for sample in source] == ["mine.png"]
    assert source.skipped.count == 1
    assert listed == [str(tmp_path / depth / name.split("/")[0])]


def test_a_folder_that_is_named_is_read_whatever_it_is(tmp_path: Path) -> None:
    picture(tmp_path / ".thumbnails/a.png")
    (tmp_path / ".thumbnails/.nomedia").touch()
    assert ids(tmp_path / ".thumbnails") == ["a.png"]


def test_nomedia_hides_a_folder_and_all_below(tmp_path: Path) -> None:
    picture(tmp_path / "mine.png")
    picture(tmp_path / "private/deep/x.png")
    (tmp_path / "private/.nomedia").touch()
    found, source = walked(tmp_path)
    assert (found, dict(source.skipped.folders)) == (["mine.png"], {"with .nomedia": 1})


def test_an_index_is_known_by_its_files(tmp_path: Path) -> None:
    picture(tmp_path / "mine.png")
    picture(tmp_path / "holiday index/uploads/x.png")
    for name in ("manifest.json", "items.db"):
        (tmp_path / "holiday index" / name).touch()
    assert ids(tmp_path) == ["mine.png"]


def test_names_that_only_look_similar_are_read(tmp_path: Path) -> None:
    names = ["#recycled paper/a.png", "Thumbnails for Anna/a.png", "eaDir/a.png", "my.hivlp.jpg/a.png"]
    for name in names:
        picture(tmp_path / name)
    assert ids(tmp_path) == sorted(names)


# --- Patterns ---


def test_patterns_exclude_and_take_back_in(tmp_path: Path) -> None:
    for name in ("Scans/a.png", "x/Scans/b.png", "x/c.gif.png", "x/keep.png", "d.png", ".hidden/e.png"):
        picture(tmp_path / name)
    assert ids(tmp_path, exclude=["Scans/", "*.gif.png"]) == ["d.png", "x/keep.png"]
    assert ids(tmp_path, exclude=["/Scans"]) == ["d.png", "x/Scans/b.png", "x/c.gif.png", "x/keep.png"]
    assert ids(tmp_path, exclude=["*.png", "!x/keep.png"]) == ["x/keep.png"]
    assert ".hidden/e.png" in ids(tmp_path, exclude=["!.hidden"])
    _, source = walked(tmp_path, exclude=["Scans/", "*.gif.png"])
    assert (source.skipped.folders["excluded"], source.skipped.files["excluded"]) == (2, 1)


def test_ignore_files_hold_below_their_folder_and_the_nearest_wins(tmp_path: Path) -> None:
    for name in ("a.png", "raw/a.png", "2024/raw/a.png", "2024/b.png"):
        picture(tmp_path / name)
    (tmp_path / ".hivlpignore").write_text("# exports\nraw/\n", encoding="utf-8")
    assert ids(tmp_path) == ["2024/b.png", "a.png"]
    (tmp_path / "2024/.hivlpignore").write_text("!raw/\nb.*\n", encoding="utf-8")
    assert ids(tmp_path) == ["2024/raw/a.png", "a.png"]
    assert ids(tmp_path, exclude=["/2024/"]) == ["a.png"], "the caller's patterns come first"


def test_an_ignore_file_that_is_no_text_is_a_failure(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / ".hivlpignore").write_bytes("müll/".encode("latin-1"))
    found, source = walked(tmp_path)
    assert found == ["a.png"]
    (failure,) = source.failures
    assert "ignore file can't be read" in failure.error


def test_patterns_belong_to_folders(tmp_path: Path) -> None:
    picture(tmp_path / "pics/a.png")
    (tmp_path / "t.csv").write_text("image,caption\npics/a.png,x\n", encoding="utf-8")
    with pytest.raises(DataError, match="for folders of pictures"):
        open_source(tmp_path / "t.csv", exclude=["*.gif"])
    with pytest.raises(DataError, match=r"holds no pictures \(1 file skipped: 1 excluded\)"):
        open_source(tmp_path / "pics", exclude=["*.png"])


# --- Files by their content ---


@pytest.mark.parametrize(
    "name", ["photo", "photo.jfif", "photo.JPE", "x.jpg_large", "a.jpg.download", "IMG.MPO", "notes.txt"]
)
def test_a_picture_is_one_whatever_its_name(tmp_path: Path, name: str) -> None:
    painted("red").save(tmp_path / name, "JPEG")
    assert ids(tmp_path) == [name]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("BMW.txt", b"BMW and other cars of the year, a long list"),
        ("clip.mov", b"\0\0\0\x14ftypqt  \0\0\0\0qt  "),
        ("paper", b"%PDF-1.7 and so on, with some more bytes"),
        ("empty", b""),
        ("short", b"BM"),
    ],
)
def test_other_files_are_counted(tmp_path: Path, name: str, content: bytes) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / name).write_bytes(content)
    found, source = walked(tmp_path)
    kind = Path(name).suffix or "without an ending"
    assert (found, dict(source.skipped.files), source.failures) == (["a.png"], {kind: 1}, [])


def test_one_line_sums_up_what_was_skipped(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    for number in range(12):
        (tmp_path / f"{number}.MOV").write_bytes(b"moov")
    (tmp_path / "notes.txt").write_text("words", encoding="utf-8")
    (tmp_path / "a.txt").write_text("a red square", encoding="utf-8")
    source = FolderSource(tmp_path)
    for _ in range(2):
        assert len(list(source)) == 1
        assert source.skipped.line() == "13 files skipped: 12 .mov, 1 .txt"
        assert source.skipped.sidecars == 1


def test_archives_and_tables_beside_pictures_do_not_stop_them(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    for name in ("b.tar", "c.tar.gz", "d.zip", "e.parquet", "captions.csv", "f.7z"):
        (tmp_path / name).write_bytes(b"whatever it may be, nobody looks")
    source = open_source(tmp_path)
    assert [sample.id for sample in source] == ["a.png"]
    assert source.failures == []
    assert source.skipped.files.total() == 6


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "pipe.jpg")
    found, source = walked(tmp_path)
    assert found == ["a.png"]
    assert "not a plain file" in source.failures[0].error


def test_ids_are_in_one_form_of_unicode(tmp_path: Path) -> None:
    name = unicodedata.normalize("NFD", "Köln/é.png")
    path = picture(tmp_path / name)
    (sample,) = FolderSource(tmp_path)
    assert (sample.id, sample.image) == ("Köln/é.png", path)
    try:
        picture(tmp_path / "Köln/é.png", "blue")
    except OSError:
        return
    if len(os.listdir(tmp_path)) == 2:  # noqa: PTH208  a file system that tells the two apart
        assert len(set(ids(tmp_path))) == 2
