"""A file is one item whatever folder was named, and keeps it with its caption when it is renamed or moved."""

from __future__ import annotations

import os
import shutil
import sqlite3
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fakes import COLOURS, ColourEncoder, painted, png
from hivlp.retriever import Index
from hivlp.types import Item, Sample
from ran import Ran

Hivlp = Callable[..., Ran]
FILES = {"2023/red.png": "red", "2024/05/blue.png": "blue", "2024/05/green.png": "green"}


def library(folder: Path) -> Path:
    for name, colour in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        painted(colour).save(folder / name)
    return folder


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return library(tmp_path / "Pictures")


@pytest.fixture
def index(tmp_path: Path, colours: ColourEncoder) -> Iterator[Index]:
    with Index.create(tmp_path / "x.hivlp", colours) as index:
        yield index


def uris(index: Index) -> dict[str, str]:
    """The place of each item by its id."""
    return {item.id: item.uri for item in index.store.items_below("/", kind="image")}  # type: ignore[attr-defined]


def found(index: Index, colour: str) -> str:
    return index.search(colour, k=1)[0].uri


def described(index: Index, folder: Path) -> None:
    """Gives the picture of red a caption and metadata, as a table would."""
    path = folder / "2023/red.png"
    sample = Sample(
        id="2023/red.png", uri=str(path), image=path, captions=("my red", "again"), meta={"shop": "north"}
    )
    assert index.add([sample]).skipped == 1


@pytest.mark.parametrize("first", ["", "2024", "2024/05"])
@pytest.mark.parametrize("then", ["", "2024", "2024/05", "2023"])
def test_folders_in_any_order_give_one_item_a_file(
    index: Index, pictures: Path, colours: ColourEncoder, first: str, then: str
) -> None:
    index.add(pictures / first)
    index.add(pictures / then)
    places = list(uris(index).values())
    assert len(places) == len(set(places)) == colours.pictures_seen
    index.add(pictures)
    assert sorted(uris(index).values()) == sorted(str(pictures / name) for name in FILES)
    assert colours.pictures_seen == 3


def test_relative_and_linked_paths_name_the_same_files(
    index: Index, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mnt").symlink_to(pictures)
    (tmp_path / "album").mkdir()
    (tmp_path / "album/best.png").symlink_to(pictures / "2023/red.png")
    index.add(tmp_path / "mnt")
    before = uris(index)
    monkeypatch.chdir(tmp_path)
    for source in ("Pictures", "mnt/2024", "Pictures/../Pictures", tmp_path / "mnt/2023", "album"):
        report = index.add(source)
        assert (report.indexed, report.moved) == (0, 0), source
    assert uris(index) == before


def test_a_same_name_in_two_folders_is_two_items(index: Index, tmp_path: Path) -> None:
    for folder, colour in (("x", "blue"), (".", "red")):
        (tmp_path / "p" / folder).mkdir(parents=True, exist_ok=True)
        painted(colour).save(tmp_path / "p" / folder / "a.png")
    index.add(tmp_path / "p/x")
    index.add(tmp_path / "p")
    assert sorted(uris(index).values()) == [str(tmp_path / "p/a.png"), str(tmp_path / "p/x/a.png")]
    assert found(index, "red") == str(tmp_path / "p/a.png")
    assert found(index, "blue") == str(tmp_path / "p/x/a.png")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("2023/red.png", "2023/rose.png"),
        ("2023/red.png", "archive/deep/red.png"),
        ("2023", "Zwanzig dreiundzwanzig"),
        ("2023/red.png", "2023/red"),
    ],
)
def test_what_is_renamed_keeps_vectors_captions_and_metadata(
    index: Index, pictures: Path, colours: ColourEncoder, old: str, new: str
) -> None:
    index.add(pictures, captions=True)
    described(index, pictures)
    index.add([], captions=True)
    (pictures / new).parent.mkdir(parents=True, exist_ok=True)
    (pictures / old).rename(pictures / new)
    path = next(path for path in pictures.rglob("*") if path.name in ("rose.png", "red.png", "red"))
    report = index.add(pictures)
    assert (report.indexed, report.moved, report.skipped, report.gone) == (0, 1, 3, 0)
    assert (colours.pictures_seen, len(index)) == (3, 3)
    name = path.relative_to(pictures).as_posix()
    (item,) = index.store.fetch([name])
    assert item == Item(
        id=name,
        uri=str(path),
        caption="my red",
        meta={"shop": "north", "captions": ["my red", "again"]},
        sha256=item.sha256 if item else None,
        width=24,
        height=24,
    )
    assert found(index, "red") == str(path)
    assert index.add(pictures).moved == 0


def test_captions_that_are_items_move_with_their_picture(
    index: Index, pictures: Path, colours: ColourEncoder
) -> None:
    (pictures / "2023/red.txt").write_text("a red wall\na wall\n", encoding="utf-8")
    index.add(pictures, captions=True)
    texts = len(colours.texts_seen)
    for ending in ("png", "txt"):
        (pictures / f"2023/red.{ending}").rename(pictures / f"wall.{ending}")
    report = index.add(pictures, captions=True)
    assert (report.moved, report.captions, len(colours.texts_seen)) == (1, 0, texts)
    captions = index.store.fetch(["wall.png#0", "wall.png#1", "2023/red.png#0"])
    assert [item and (item.caption, item.meta, item.uri) for item in captions] == [
        ("a red wall", {"of": "wall.png"}, f"{pictures}/wall.png#0"),
        ("a wall", {"of": "wall.png"}, f"{pictures}/wall.png#1"),
        None,
    ]


@pytest.mark.parametrize("resume", [False, True])
def test_a_moved_library_is_not_encoded_again(
    index: Index, pictures: Path, tmp_path: Path, colours: ColourEncoder, resume: bool
) -> None:
    index.add(pictures)
    described(index, pictures)
    moved = pictures.rename(tmp_path / "elsewhere")
    report = index.add(moved, resume=resume)
    assert (report.indexed, report.moved, report.skipped) == (0, 3, 3)
    assert uris(index) == {name: str(moved / name) for name in FILES}
    assert colours.pictures_seen == 3
    (item,) = index.store.fetch(["2023/red.png"])
    assert item is not None and (item.caption, item.meta["shop"]) == ("my red", "north")


def test_two_gone_copies_are_two_moved_files(index: Index, pictures: Path) -> None:
    shutil.copy(pictures / "2023/red.png", pictures / "2024/red.png")
    index.add(pictures)
    (pictures / "2023").rename(pictures / "1923")
    (pictures / "2024").rename(pictures / "1924")
    report = index.add(pictures)
    assert (report.indexed, report.moved, len(index)) == (0, 4, 4)
    assert sorted(uris(index).values()) == sorted(str(path) for path in pictures.rglob("*.png"))


def test_copies_are_items_of_their_own_that_share_their_content(
    index: Index, pictures: Path, tmp_path: Path, colours: ColourEncoder
) -> None:
    shutil.copy(pictures / "2023/red.png", pictures / "2023/red (1).png")
    report = index.add(pictures)
    assert (report.indexed, report.copies, len(index)) == (4, 1, 4)
    backup = shutil.copytree(pictures, tmp_path / "Backup")
    seen = colours.pictures_seen
    report = index.add(backup)
    assert (report.indexed, report.copies, report.moved, colours.pictures_seen) == (4, 4, 0, seen)
    assert len(index.search("red", where=f"uri like '{backup}%'")) == 4
    assert [hit.score for hit in index.search("red", k=4)] == pytest.approx([1.0] * 4, abs=0.01)
    again = [index.add(folder) for folder in (pictures, backup)]
    assert [(report.indexed, report.moved, report.skipped) for report in again] == [(0, 0, 4)] * 2
    (backup / "2023/red.png").unlink()
    assert index.prune(backup).ids == [str(backup / "2023/red.png")]


def test_names_by_hard_links_are_one_file(index: Index, pictures: Path, tmp_path: Path) -> None:
    index.add(pictures)
    (tmp_path / "snapshot").mkdir()
    try:
        os.link(pictures / "2023/red.png", tmp_path / "snapshot/other name.png")
    except OSError:
        pytest.skip("this file system has no hard links")
    report = index.add(tmp_path / "snapshot")
    assert (report.indexed, report.skipped, len(index)) == (0, 1, 3)


def test_an_edited_picture_keeps_its_caption(index: Index, pictures: Path) -> None:
    index.add(pictures)
    described(index, pictures)
    painted("cyan").save(pictures / "2023/red.png")
    report = index.add(pictures)
    assert (report.indexed, report.replaced, len(index)) == (1, 1, 3)
    (item,) = index.store.fetch(["2023/red.png"])
    assert item is not None and (item.caption, item.meta["shop"]) == ("my red", "north")


def test_ids_that_somebody_gave_are_not_taken_for_paths(index: Index, pictures: Path) -> None:
    path = pictures / "2023/red.png"
    skus = [Sample(id=f"sku-{n}", uri=str(path), image=path, meta={"n": n}) for n in range(3)]
    assert index.add(skus).indexed == 3
    assert index.add(skus).skipped == 3
    assert index.add(pictures / "2023").skipped == 1, "the file is in the index"
    assert set(uris(index)) == {"sku-0", "sku-1", "sku-2"}
    moved = path.rename(pictures / "rose.png")
    assert index.add(pictures).moved == 1
    assert str(moved) in uris(index).values() and set(uris(index)) >= {"sku-0", "sku-1", "sku-2"}


def test_names_compare_in_nfc(index: Index, tmp_path: Path, colours: ColourEncoder) -> None:
    mac, other = (tmp_path / "p" / unicodedata.normalize(form, "é.png") for form in ("NFD", "NFC"))
    mac.parent.mkdir()
    painted("red").save(mac)
    index.add(tmp_path / "p")
    assert set(uris(index)) == {"é.png"}
    mac.rename(other)
    index.add(tmp_path / "p")
    assert (len(index), colours.pictures_seen) == (1, 1)
    assert found(index, "red") in (str(mac), str(other)) and Path(found(index, "red")).exists()


def test_twins_of_earlier_versions_are_pruned_with_one_left(
    index: Index, pictures: Path, hivlp: Hivlp
) -> None:
    """As an older hivlp has written them: an item by the folder, another by one inside it."""
    index.add(pictures)
    twins = [
        Item(id=f"05/{Path(name).name}", uri=str(pictures / name), sha256=f"{colour}")
        for name, colour in FILES.items()
    ]
    for twin, name in zip(twins, FILES, strict=True):
        (item,) = index.store.fetch([name])
        assert item is not None
        index.store.append(
            [Item(id=twin.id, uri=twin.uri, sha256=item.sha256)], index.store.embeddings([name])
        )
    assert len(index) == 6
    assert index.add(pictures).indexed == 0
    assert sorted(index.prune(pictures).ids) == sorted(twin.id for twin in twins)
    assert set(uris(index)) == set(FILES)


def test_an_index_without_the_newer_look_up_is_written_and_read(
    index: Index, pictures: Path, tmp_path: Path
) -> None:
    index.add(pictures)
    index.store.close()
    with closing(sqlite3.connect(tmp_path / "x.hivlp/items.db")) as db:
        db.execute("DROP INDEX items_sha256")
    with Index.open(tmp_path / "x.hivlp") as read:
        assert found(read, "red") == str(pictures / "2023/red.png")
    (pictures / "2023").rename(pictures / "1923")
    with Index.open(tmp_path / "x.hivlp", writable=True) as written:
        assert written.add(pictures).moved == 1
        assert written.verify().problems == []


def test_contact_sheets_are_no_pictures(photos: Path, tmp_path: Path, hivlp: Hivlp) -> None:
    for ending in ("png", "jpg", "webp"):
        sheet = tmp_path / f"pictures/hits.{ending}"
        assert hivlp("search", photos, "red", "-k", "3", "--sheet", sheet).code == 0
    ran = hivlp("index", tmp_path / "pictures", "--out", photos, "--json")
    assert (ran.document["indexed"], ran.document["items"]) == (0, len(COLOURS))
    assert ran.document["skipped_files"]["files"] == {"contact sheets": 3}


def test_uploads_with_one_content_stay_items_of_their_names(index: Index, tmp_path: Path) -> None:
    samples = [Sample(id=name, uri=str(tmp_path / "up.png"), image=png("red")) for name in ("flag", "wall")]
    assert index.add(samples).indexed == 2
    assert set(uris(index)) == {"flag", "wall"}


def test_an_image_from_memory_has_no_file_that_could_be_lost(index: Index) -> None:
    assert index.add([painted("red")]).indexed == 1
    assert index.add([Sample(id="wall", image=painted("red"), captions=["a red wall"])]).moved == 0
    assert len(index) == 2
    assert "wall" in {hit.id for hit in index.search("red", k=2)}
