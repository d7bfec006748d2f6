from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from hivlp.errors import IndexFolderError
from hivlp.index import compact as compact_module
from hivlp.index.folder import IndexFolder
from hivlp.index.items import ItemTable, StaleState
from hivlp.search.cascade import Plan
from hivlp.stores.local import LocalStore
from hivlp.types import Item
from index_tools import WIDTHS, create, embeddings, items

PLANS = [None, Plan(candidates=7), Plan(candidates="all")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An index of 60 items in batches of 20, every third of them deleted, closed."""
    with create(tmp_path / "photos.hivlp") as store:
        for first in range(0, 60, 20):
            store.append(items(20, first=first), embeddings(60).take(slice(first, first + 20)))
        store.delete(f"id-{n}" for n in range(0, 60, 3))
    return tmp_path / "photos.hivlp"


LEFT = [n for n in range(60) if n % 3]


def assert_holds(store: LocalStore, numbers: list[int]) -> None:
    """Exactly these of the 60 items are there, in this order, with their own vectors."""
    state = store.folder.state()
    live = state.mask.live_rows()
    assert store.folder.items.fetch(live.tolist()) == [items(60)[n] for n in numbers]
    for width in WIDTHS:
        expected = embeddings(60)[width][numbers].astype(np.float16)
        assert np.array_equal(state.levels[width][live], expected)


def everything(store: LocalStore) -> list:
    return [
        [[(hit.id, hit.score, hit.coarse_score, hit.coarse_rank) for hit in hits] for hits in answers]
        for answers in (store.search(embeddings(9, seed=1), k=10, plan=plan) for plan in PLANS)
    ]


def level_names(folder: Path) -> set[str]:
    return {path.name for path in (folder / "levels").iterdir()}


def test_deleted_rows_are_dropped_and_all_else_stays(folder):
    with LocalStore.open(folder, writable=True) as store:
        before, size = everything(store), store.info()["bytes_total"]
        assert store.folder.state().generation == 0
        report = store.compact()
        assert report.dropped == 20
        assert everything(store) == before
        assert store.folder.state().generation == 1
        assert store.folder.state().mask.rows == store.count() == 40
        assert report.bytes_freed == size - store.info()["bytes_total"]
    for writable in (False, True):
        with LocalStore.open(folder, writable=writable) as store:
            assert_holds(store, LEFT)
            assert everything(store) == before
            assert store.verify() == []


def test_the_files_of_a_compacted_index_are_as_the_format_says(folder):
    with LocalStore.open(folder, writable=True) as store:
        store.compact()
        assert store.info()["format_version"] == 2
        assert store.info()["generation"] == 1
    assert level_names(folder) == {"4.g1.float16", "8.g1.float16", "16.g1.float16"}
    assert (folder / "levels/8.g1.float16").stat().st_size == 40 * 8 * 2
    assert json.loads((folder / "manifest.json").read_text())["version"] == 2
    db = sqlite3.connect(folder / "items.db")
    assert [row for (row,) in db.execute("SELECT row FROM items ORDER BY row")] == list(range(40))
    assert db.execute("PRAGMA user_version").fetchone() == (1,)
    assert db.execute("PRAGMA freelist_count").fetchone() == (0,)
    names = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE sql IS NOT NULL")}
    assert names == {"items", "checksums", "items_live_id", "items_uri", "items_sha256", "items_deleted"}
    db.close()


def test_it_gives_back_bytes(tmp_path):
    with create(tmp_path / "x.hivlp", 3_000) as store:
        store.delete(f"id-{n}" for n in range(2_900))
        store.compact()
        sizes = store.info()["bytes"]
        assert sizes["levels/16.g1.float16"] == 100 * 16 * 2
        assert sizes["items.db"] < 100_000
        assert sizes.get("items.db-wal", 0) == 0


def test_nothing_deleted_is_nothing_to_do(tmp_path):
    with create(tmp_path / "x.hivlp", 20) as store:
        report = store.compact()
        assert (report.dropped, report.bytes_freed) == (0, 0)
        assert store.folder.state().generation == 0
        assert store.info()["format_version"] == 1


def test_everything_deleted_is_an_empty_index_that_can_grow(folder):
    with LocalStore.open(folder, writable=True) as store:
        store.delete(f"id-{n}" for n in range(60))
        assert store.compact().dropped == 60
        assert store.count() == 0
        assert store.search(embeddings(1), k=3)[0].hits == ()
        store.append(items(60), embeddings(60))
        assert_holds(store, list(range(60)))
        assert store.verify() == []


def test_an_index_lives_on_through_many_generations(folder):
    numbers = list(LEFT)
    with LocalStore.open(folder, writable=True) as store:
        for generation in range(1, 5):
            store.compact()
            assert store.folder.state().generation == generation
            back = [n for n in range(60) if n not in numbers][:5]
            store.append([items(60)[n] for n in back], embeddings(60).take(back))
            numbers += back
            store.delete([f"id-{numbers.pop(3)}", f"id-{numbers.pop(7)}"])
            assert_holds(store, numbers)
            assert store.verify() == []
        assert level_names(folder) == {f"{width}.g4.float16" for width in WIDTHS}
    with LocalStore.open(folder) as store:
        assert_holds(store, numbers)


def test_checksums_are_joined_to_blocks_of_a_useful_size(tmp_path, monkeypatch):
    monkeypatch.setattr(compact_module, "_BLOCK_ROWS", 10)
    with create(tmp_path / "x.hivlp") as store:
        for n in range(60):
            store.append([items(60)[n]], embeddings(60).take([n]))
        store.delete(["id-2", "id-59"])
        seen = []
        store.compact(lambda line, done, total: seen.append((done, total)))
        blocks = [(sum_.first_row, sum_.rows) for sum_ in store.folder.items.checksums() if sum_.width == 8]
        assert blocks == [(0, 10), (10, 10), (20, 10), (30, 10), (40, 10), (50, 8)]
        assert seen[-1] == (58 * 3, 58 * 3)
        assert [done for done, _ in seen] == sorted(done for done, _ in seen)
        assert store.verify() == []


def test_a_reader_may_not_compact(folder):
    with (
        IndexFolder.open(folder) as index,
        pytest.raises(IndexFolderError, match=r"reading only.*writable=True"),
    ):
        index.compact()


def test_damaged_vectors_are_not_given_a_new_checksum(folder):
    path = folder / "levels/8.float16"
    content = bytearray(path.read_bytes())
    content[25 * 16] ^= 1
    path.write_bytes(content)
    with IndexFolder.open(folder, writable=True) as index:
        with pytest.raises(IndexFolderError, match=r"8\.float16 is not .* from row 20 on.*hivlp verify"):
            index.compact()
        assert index.state().generation == 0
        assert len(index) == 40
    assert level_names(folder) == {f"{width}.float16" for width in WIDTHS}


@pytest.mark.parametrize("plan", PLANS)
def test_readers_go_on_and_never_see_wrong_items(folder, plan):
    vectors = embeddings(60)
    with LocalStore.open(folder) as reader, LocalStore.open(folder, writable=True) as writer:
        old = reader.folder.state()
        reader.search(vectors.take([1]), k=3, plan=plan)
        writer.delete(["id-1"])
        writer.append([Item(id="new", uri="new")], embeddings(1, seed=3))
        writer.compact()
        assert old.levels[16].tobytes() == vectors.fine.astype(np.float16).tobytes(), "the old map stays"
        assert reader.folder.state() is old
        assert reader.fetch(["id-2", "id-1"]) == [items(60)[2], None]
        hits = reader.search(vectors.take([2, 59]), k=1, plan=plan)
        assert [found[0].id for found in hits] == ["id-2", "id-59"]
        assert reader.folder.state().generation == 1, "the reader had to take up the compacted state"
        assert reader.search(embeddings(1, seed=3), k=1, plan=plan)[0][0].id == "new"


def test_stored_vectors_are_those_of_the_item_after_a_compaction(folder):
    with LocalStore.open(folder) as reader, LocalStore.open(folder, writable=True) as writer:
        writer.compact()
        found = reader.embeddings(["id-59", "id-1"])
        assert np.allclose(found[8], embeddings(60)[8][[59, 1]], atol=1e-3)


def test_rows_of_an_old_generation_are_refused(folder):
    with IndexFolder.open(folder) as reader, IndexFolder.open(folder, writable=True) as writer:
        generation = reader.state().generation
        with reader.items.at(generation):
            assert reader.items.fetch([4])[0].id == "id-4"
        writer.compact()
        with pytest.raises(StaleState), reader.items.at(generation):
            raise AssertionError("the rows have other numbers now")
        assert reader.refresh()
        assert not reader.refresh()


def test_one_moment_is_one_moment(folder):
    with IndexFolder.open(folder) as reader, IndexFolder.open(folder, writable=True) as writer:
        with reader.items.at(0):
            writer.compact()
            assert reader.items.fetch([4])[0].id == "id-4"
            assert reader.items.rows() == 60
        assert reader.items.rows() == 40


def test_a_file_that_vanishes_while_opening_is_looked_for_again(folder, monkeypatch):
    real, writer = ItemTable.state, IndexFolder.open(folder, writable=True)

    def late(table, known=None):
        moment = real(table, known)
        monkeypatch.setattr(ItemTable, "state", real)
        writer.compact()
        return moment

    monkeypatch.setattr(ItemTable, "state", late)
    with LocalStore.open(folder) as reader:
        assert reader.folder.state().generation == 1
        assert_holds(reader, LEFT)
    writer.close()


def test_what_an_interrupted_compaction_left_is_removed_by_the_next_writer(folder):
    (folder / "levels/4.g1.float16").write_bytes(b"half of it")
    (folder / "levels/16.g7.float16").write_bytes(b"")
    (folder / "manifest.json.123.tmp").write_bytes(b"{")
    (folder / "levels/notes.txt").write_text("mine")
    with LocalStore.open(folder) as reader:
        assert_holds(reader, LEFT)
        assert reader.verify() == []
    assert "4.g1.float16" in level_names(folder)
    with LocalStore.open(folder, writable=True) as writer:
        assert level_names(folder) == {"4.float16", "8.float16", "16.float16", "notes.txt"}
        assert not list(folder.glob("*.tmp"))
        writer.compact()
        assert_holds(writer, LEFT)


def test_a_full_disk_leaves_the_index_as_it_was(folder, monkeypatch):
    with LocalStore.open(folder, writable=True) as store:
        real, calls = os.fsync, []

        def full(file):
            calls.append(file)
            if len(calls) == 2:
                raise OSError(28, "No space left on device")
            real(file)

        monkeypatch.setattr(compact_module.os, "fsync", full)
        with pytest.raises(IndexFolderError, match=r"was not compacted.*No space left.*Make space"):
            store.compact()
        monkeypatch.undo()
        assert level_names(folder) == {"4.float16", "8.float16", "16.float16"}
        assert_holds(store, LEFT)
        assert store.compact().dropped == 20
        assert_holds(store, LEFT)


def test_a_failed_commit_leaves_the_index_as_it_was(folder):
    other = sqlite3.connect(folder / "items.db")
    other.execute("CREATE TRIGGER refuse BEFORE DELETE ON checksums BEGIN SELECT raise(ABORT, 'full'); END")
    other.commit()
    with LocalStore.open(folder, writable=True) as store:
        with pytest.raises(IndexFolderError, match=r"was not compacted and is as it was: full"):
            store.compact()
        assert_holds(store, LEFT)
        other.execute("DROP TRIGGER refuse")
        other.commit()
        other.close()
        assert store.compact().dropped == 20
        assert_holds(store, LEFT)
        assert store.verify() == []


def test_an_interrupt_right_after_the_commit_costs_nothing(folder, monkeypatch):
    with IndexFolder.open(folder, writable=True) as index:
        real = index._remove_leftovers
        calls = []

        def interrupt():
            calls.append(1)
            if len(calls) == 2:
                raise KeyboardInterrupt
            real()

        monkeypatch.setattr(index, "_remove_leftovers", interrupt)
        with pytest.raises(KeyboardInterrupt):
            index.compact()
        monkeypatch.undo()
        index.append(items(1, first=100), embeddings(1, seed=7))
        assert index.verify() == []
        assert len(index) == 41


def test_where_a_mapped_file_can_not_be_removed_a_later_writer_does_it(folder, monkeypatch):
    """As on Windows, while a reader has the old files mapped."""

    real = Path.unlink

    def refused(self, missing_ok=False):
        if self.parent.name == "levels":
            raise PermissionError(13, "The process cannot access the file")
        real(self, missing_ok=missing_ok)

    with LocalStore.open(folder, writable=True) as store:
        monkeypatch.setattr(Path, "unlink", refused)
        assert store.compact().dropped == 20
        monkeypatch.undo()
        assert_holds(store, LEFT)
    assert len(level_names(folder)) == 6
    LocalStore.open(folder, writable=True).close()
    assert level_names(folder) == {f"{width}.g1.float16" for width in WIDTHS}
