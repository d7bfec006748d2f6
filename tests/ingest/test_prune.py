"""Pictures whose files are gone leave the index, when that is asked for and sure, and nothing else does."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from fakes import ColourEncoder, gallery
from hivlp.errors import IndexFolderError
from hivlp.retriever import Index
from ran import Ran

Hivlp = Callable[..., Ran]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    gallery(tmp_path / "pictures", "red", "blue")
    gallery(tmp_path / "pictures/sub", "green", "black")
    return tmp_path / "pictures"


@pytest.fixture
def photos(pictures: Path, tmp_path: Path, colours: ColourEncoder, hivlp: Hivlp) -> Path:
    assert hivlp("index", pictures, "--out", tmp_path / "x.hivlp", "--captions").code == 0
    return tmp_path / "x.hivlp"


def ids(index: Path, hivlp: Hivlp) -> set[str]:
    return {hit["id"] for hit in hivlp("search", index, "red", "-k", "100", "--json").document["hits"]}


def test_what_is_gone_leaves_with_its_captions(photos: Path, pictures: Path, hivlp: Hivlp) -> None:
    (pictures / "red.png").unlink()
    shutil.rmtree(pictures / "sub")
    before = ids(photos, hivlp)
    assert len(before) == 8
    assert "pruned" not in hivlp("index", pictures, "--out", photos, "--json").document
    assert ids(photos, hivlp) == before, "nothing is removed unless asked for"
    document = hivlp("index", pictures, "--out", photos, "--prune", "--json").document
    lost = ["red.png", "sub/black.png", "sub/green.png"]
    assert document["pruned"] == [*lost, *(f"{name}#0" for name in lost)]
    assert (document["items"], document["skipped"], document["notes"]) == (2, 1, [])
    assert ids(photos, hivlp) == {"blue.png", "blue.png#0"}
    ran = hivlp("index", pictures, "--out", photos, "--prune")
    assert ran.out.splitlines()[0] == f"{photos} is up to date: 1 image"


def test_in_python_the_same_is_removed(photos: Path, pictures: Path) -> None:
    (pictures / "red.png").unlink()
    with Index.open(photos) as index, pytest.raises(IndexFolderError, match="reading only"):
        index.prune(pictures)
    with Index.open(photos, writable=True) as index:
        assert index.prune(pictures / "sub").ids == []
        pruned = index.prune(pictures)
        assert (pruned.ids, pruned.notes) == (["red.png", "red.png#0"], [])
        assert len(index) == 6


def test_a_moved_picture_is_found_at_its_new_place_only(photos: Path, pictures: Path, hivlp: Hivlp) -> None:
    (pictures / "red.png").rename(pictures / "sub/moved.png")
    document = hivlp("index", pictures, "--out", photos, "--prune", "--json").document
    assert (document["indexed"], document["moved"], document["pruned"]) == (0, 1, [])
    assert {"sub/moved.png", "sub/moved.png#0"} <= ids(photos, hivlp)
    assert not {"red.png", "red.png#0"} & ids(photos, hivlp)


def test_other_folders_other_texts_and_archives_stay(
    photos: Path, pictures: Path, tmp_path: Path, hivlp: Hivlp
) -> None:
    others = gallery(tmp_path / "pictures2", "white")
    with tarfile.open(pictures / "sub/a.tar", "w") as tar:
        tar.add(pictures / "red.png", "in/tar.png")
    (tmp_path / "red.png#note.txt").write_text("red\n", encoding="utf-8")
    assert hivlp("index", others, "--out", photos).code == 0
    assert hivlp("index", pictures / "sub/a.tar", "--out", photos).code == 0
    assert hivlp("index", tmp_path / "red.png#note.txt", "--texts", "--out", photos).code == 0
    before = ids(photos, hivlp)
    (others / "white.png").unlink()
    (pictures / "red.png").unlink()
    document = hivlp("index", pictures, "--out", photos, "--prune", "--json").document
    assert set(document["pruned"]) == {"red.png", "red.png#0"}
    assert before - ids(photos, hivlp) == {"red.png", "red.png#0"}


@pytest.mark.parametrize("left", ["an empty folder", "a broken link"])
def test_what_may_be_on_a_disk_that_is_not_mounted_stays(
    photos: Path, pictures: Path, tmp_path: Path, hivlp: Hivlp, left: str
) -> None:
    shutil.rmtree(pictures / "sub")
    if left == "an empty folder":
        (pictures / "sub").mkdir()
    else:
        (pictures / "sub").symlink_to(tmp_path / "not mounted")
    ran = hivlp("index", pictures, "--out", photos, "--prune", "--json")
    assert (ran.document["pruned"], ran.document["items"]) == ([], 8)
    (note,) = ran.document["notes"]
    assert note.startswith(f"2 missing pictures below {pictures} kept, since the folder above is empty")
    assert note in ran.err


def test_what_may_not_be_looked_at_stays(
    photos: Path, pictures: Path, hivlp: Hivlp, monkeypatch: pytest.MonkeyPatch
) -> None:
    lstat = Path.lstat

    def refuse(path: Path) -> object:  # nothing is locked for an administrator
        if path.parent == pictures / "sub":
            raise PermissionError(13, "Permission denied", str(path))
        return lstat(path)

    monkeypatch.setattr(Path, "lstat", refuse)
    assert hivlp("index", pictures, "--out", photos, "--prune", "--json").document["pruned"] == []


def test_a_source_that_is_missing_or_empty_prunes_nothing(
    photos: Path, pictures: Path, tmp_path: Path, hivlp: Hivlp
) -> None:
    pictures.rename(tmp_path / "elsewhere")
    ran = hivlp("index", pictures, "--out", photos, "--prune", "--json")
    assert (ran.code, "does not exist" in ran.document["error"]) == (2, True)
    pictures.mkdir()
    ran = hivlp("index", pictures, "--out", photos, "--prune", "--json")
    assert (ran.code, "is an empty folder" in ran.document["error"]) == (2, True)
    assert len(ids(photos, hivlp)) == 8


def test_only_folders_of_pictures_are_pruned(photos: Path, tmp_path: Path, hivlp: Hivlp) -> None:
    (tmp_path / "notes.txt").write_text("red\n", encoding="utf-8")
    for source in ("scenes:8", (tmp_path / "notes.txt", "--texts")):
        given = source if isinstance(source, tuple) else (source,)
        ran = hivlp("index", *given, "--out", tmp_path / "y.hivlp", "--prune", "--json")
        assert (ran.code, "--prune needs a folder of pictures" in ran.document["error"]) == (2, True)
    assert not (tmp_path / "y.hivlp").exists()
