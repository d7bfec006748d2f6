from __future__ import annotations

import json
import os
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from hivlp.errors import IndexFolderError
from hivlp.index import items as items_module
from hivlp.index.folder import IndexFolder
from hivlp.index.items import ItemTable
from hivlp.types import Embeddings, Item
from index_tools import WIDTHS, create, embeddings, items


@pytest.fixture
def folder(tmp_path):
    """An index of 20 items at ``photos.hivlp``, closed."""
    create(tmp_path / "photos.hivlp", 20).close()
    return tmp_path / "photos.hivlp"


def test_what_goes_in_comes_out(folder):
    with IndexFolder.open(folder) as index:
        assert len(index) == 20
        assert index.items.fetch([7, 3, 7]) == [items(20)[7], items(20)[3], items(20)[7]]
        for width in WIDTHS:
            stored = index.state().levels[width]
            assert np.array_equal(stored, embeddings(20)[width].astype(np.float16))
        assert index.verify() == []


def test_the_files_are_as_the_format_says(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["format"] == "hivlp-index"
    assert manifest["version"] == 1
    assert manifest["widths"] == list(WIDTHS)
    assert manifest["preprocessing"] == {"size": 224}
    assert sorted(path.name for path in (folder / "levels").iterdir()) == [
        "16.float16",
        "4.float16",
        "8.float16",
    ]
    assert (folder / "levels/16.float16").read_bytes() == embeddings(20).fine.astype(np.float16).tobytes()
    db = sqlite3.connect(folder / "items.db")
    columns = [line[1] for line in db.execute("PRAGMA table_info(items)")]
    names = "row id kind uri caption meta sha256 width height added_at deleted"
    assert columns == names.split()
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    db.close()


def test_info_names_sizes_model_and_kinds(folder):
    with IndexFolder.open(folder, writable=True) as index:
        index.append([Item(id="t", uri="text", kind="text")], embeddings(1, seed=5))
        index.delete(["id-0"])
        info = json.loads(json.dumps(index.info()))
    assert (info["items"], info["deleted"], info["rows"]) == (20, 1, 21)
    assert info["kinds"] == {"image": 19, "text": 1}
    assert info["model"] == {"name": "mini", "fingerprint": "f1"}
    assert info["bytes"]["levels/16.float16"] == 21 * 16 * 2
    assert info["bytes_total"] == sum(info["bytes"].values())


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 0.0, 0.5, 1e30])
def test_vectors_that_are_no_unit_vectors_are_refused_by_row_and_name(tmp_path, bad):
    vectors = embeddings(6)
    vectors[8][4] = bad
    with create(tmp_path / "x.hivlp") as store:
        with pytest.raises(IndexFolderError, match=r"row 4 .*'id-4'.* level 8"):
            store.append(items(6), vectors)
        assert store.count() == 0
        store.append(items(6), embeddings(6))
        assert store.verify() == []


def test_embeddings_must_fit_items_and_levels(folder):
    with IndexFolder.open(folder, writable=True) as index:
        with pytest.raises(IndexFolderError, match="for 3 items"):
            index.append(items(3, first=50), embeddings(4))
        with pytest.raises(IndexFolderError, match=r"needs \[8\] as well"):
            index.append(items(2, first=50), embeddings(2, widths=(4, 16)))
        more = Embeddings({**embeddings(2).by_width, 2: np.ones((2, 2), np.float32)})
        assert index.append(items(2, first=50), more).added == 2


def test_levels_of_a_sliced_batch_are_stored_in_order(tmp_path):
    vectors = embeddings(10).take(slice(None, None, -2))  # not contiguous
    with create(tmp_path / "x.hivlp") as store:
        store.append(items(5), vectors)
        assert np.array_equal(store.view().level(16), vectors.fine.astype(np.float16))


@pytest.mark.parametrize(
    "bad, message",
    [
        ([Item(id="a", uri="1"), Item(id="a", uri="2")], "'a'.*twice"),
        ([Item(id="", uri="1"), Item(id="b", uri="2")], "empty"),
        ([Item(id="a", uri="1"), Item(id="b", uri="\udcff.jpg")], "'b' can't be stored"),
        ([Item(id="a", uri="1"), Item(id="b", uri="2", meta={"x": object()})], "'b' can't be stored"),
    ],
)
def test_items_that_cannot_be_stored_are_named(folder, bad, message):
    with IndexFolder.open(folder, writable=True) as index:
        with pytest.raises(IndexFolderError, match=message):
            index.append(bad, embeddings(2))
        assert len(index) == 20


def test_unicode_of_all_kinds_survives(tmp_path):
    item = Item(id="狗/🐕 'x'", uri='a"b\n.jpg', caption="ein Hünd\t🐕", meta={"ключ": [1, None, "値"]})
    with create(tmp_path / "x.hivlp") as store:
        store.append([item], embeddings(1))
    with IndexFolder.open(tmp_path / "x.hivlp") as index:
        assert index.items.fetch([0]) == [item]


def test_same_content_is_skipped_and_new_content_replaces(folder):
    with IndexFolder.open(folder, writable=True) as index:
        assert index.append(items(20), embeddings(20, seed=9)).unchanged == 20
        assert index.state().mask.rows == 20
        report = index.append(items(5, first=18, version="v2"), embeddings(5, seed=9))
        assert (report.added, report.replaced, report.unchanged) == (3, 2, 0)
        assert len(index) == 23
        assert index.state().mask.deleted.tolist() == [18, 19]
        assert index.items.rows_of(["id-18", "id-22"]) == {"id-18": 20, "id-22": 24}
        assert index.items.known_ids(["id-17", "id-18", "no"]) == {"id-17": "v1-17", "id-18": "v2-18"}
        assert index.items.known_uris(["photos/19.jpg"]) == {"photos/19.jpg": "v2-19"}
        assert index.verify() == []


def test_a_new_description_of_the_same_content_keeps_the_vectors(folder):
    renamed = Item(id="id-3", uri="moved/3.jpg", caption="new words", sha256="v1-3")
    with IndexFolder.open(folder, writable=True) as index:
        assert index.append([renamed], embeddings(1, seed=9)).described == 1
        assert index.items.fetch([3]) == [renamed]
        assert index.state().mask.rows == 20


def test_an_item_without_a_sum_is_always_replaced(folder):
    nameless = Item(id="id-3", uri="3.jpg")
    with IndexFolder.open(folder, writable=True) as index:
        assert index.append([nameless], embeddings(1)).replaced == 1
        assert index.append([nameless], embeddings(1)).replaced == 1
        assert len(index) == 20


def test_deleted_ids_are_gone_and_may_come_back(folder):
    with IndexFolder.open(folder, writable=True) as index:
        assert index.delete(["id-1", "id-2", "no such", "id-1"]) == 2
        assert index.delete(["id-1"]) == 0
        assert index.items.known_ids(["id-1"]) == {}
        assert index.append(items(1, first=1), embeddings(1)).added == 1
    with IndexFolder.open(folder) as index:
        assert len(index) == 19
        assert index.verify() == []


def test_many_keys_at_once(tmp_path):
    with create(tmp_path / "x.hivlp", 2_345) as store:
        assert len(store.known_ids(item.id for item in items(2_500))) == 2_345
        assert store.fetch(["id-2344", "nobody", "id-0"]) == [items(2_345)[-1], None, items(1)[0]]
        store.delete(["id-0"])
        assert store.sample(2) == items(3)[1:], "the first that are there"


def test_a_reader_may_not_change_anything(folder):
    with IndexFolder.open(folder) as index:
        with pytest.raises(IndexFolderError, match="writable=True"):
            index.append(items(1), embeddings(1))
        with pytest.raises(IndexFolderError, match="writable=True"):
            index.delete(["id-1"])


def test_readers_see_growth_after_refresh_and_keep_their_state(folder):
    with IndexFolder.open(folder) as reader, IndexFolder.open(folder, writable=True) as writer:
        old = reader.state()
        assert not reader.refresh()
        writer.append(items(5, first=20), embeddings(5, seed=3))
        writer.delete(["id-0"])
        assert len(reader) == 20
        assert reader.refresh()
        assert len(reader) == 24
        assert not reader.refresh()
        assert old.mask.rows == 20
        assert np.array_equal(old.levels[16], embeddings(20).fine.astype(np.float16))
        assert np.array_equal(reader.state().levels[16][20:], embeddings(5, seed=3).fine.astype(np.float16))


def test_moved_relative_and_repeated_openings_work(folder, tmp_path, monkeypatch):
    moved = tmp_path / "elsewhere" / "other name.hivlp"
    moved.parent.mkdir()
    shutil.move(folder, moved)
    monkeypatch.chdir(moved.parent)
    with IndexFolder.open("other name.hivlp") as one, IndexFolder.open(moved) as two:
        assert one.items.fetch([4]) == two.items.fetch([4])
        assert np.array_equal(one.state().levels[4], two.state().levels[4])


def test_creating_over_something_is_refused(folder, tmp_path):
    (tmp_path / "file").write_text("x")
    for path in (folder, tmp_path / "file"):
        with pytest.raises(IndexFolderError, match="exists already"):
            create(path)
    (tmp_path / "empty").mkdir()
    create(tmp_path / "empty").close()
    create(tmp_path / "deep" / "er" / "x.hivlp").close()
    assert not list(tmp_path.rglob("*.tmp*"))


@pytest.mark.parametrize(
    "widths, dtype", [((), "float16"), ((0, 4), "float16"), ((4, 4), "float16"), ((4,), "int3")]
)
def test_impossible_levels_are_refused(tmp_path, widths, dtype):
    with pytest.raises(IndexFolderError, match=r"can't have the levels|dtype='int3' is invalid"):
        IndexFolder.create(
            tmp_path / "x",
            model_name="m",
            model_fingerprint="f",
            widths=widths,
            preprocessing={},
            dtype=dtype,
        )
    assert not (tmp_path / "x").exists()


def test_things_that_are_no_index_are_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "pictures").mkdir()
    for name, message in [
        ("nothing", "is not an index"),
        ("file", "is a file"),
        ("pictures", "has no manifest.json"),
    ]:
        with pytest.raises(IndexFolderError, match=message):
            IndexFolder.open(tmp_path / name)
        with pytest.raises(IndexFolderError, match=message):
            IndexFolder.open(tmp_path / name, writable=True)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "pictures"]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"version": 3, "hivlp_version": "9.1"}, r"format 3, made by hivlp 9\.1.*Upgrade"),
        ({"version": "one"}, "damaged.*version is 'one'"),
        ({"format": "zip"}, "damaged.*hivlp-index"),
        ({"widths": "many"}, "damaged"),
        ({"widths": [8, 4]}, "damaged.*narrowest first"),
        ({"dtype": "float3"}, "damaged.*float3"),
        ({"preprocessing": 3}, "damaged"),
    ],
)
def test_a_manifest_from_the_future_or_with_nonsense(folder, change, message):
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(IndexFolderError, match=message):
        IndexFolder.open(folder)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]", b"\xff\xfe\x00", b"null", b'{"format": "hivlp-index", "version": 1}']
)
def test_a_damaged_manifest(folder, content):
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(IndexFolderError, match=r"manifest\.json is damaged.*Restore"):
        IndexFolder.open(folder)


@pytest.mark.parametrize("writable", [True, False])
@pytest.mark.parametrize("name", ["items.db", "levels/4.float16", "levels/16.float16"])
def test_missing_files_are_named(folder, name, writable):
    (folder / name).unlink()
    with pytest.raises(IndexFolderError, match=rf"{Path(name).name} (is missing|can't be read).*[Rr]estore"):
        IndexFolder.open(folder, writable=writable)


@pytest.mark.parametrize("writable", [True, False])
def test_a_truncated_level_is_named_with_both_counts(folder, writable):
    os.truncate(folder / "levels/8.float16", 19 * 16 + 3)
    with pytest.raises(IndexFolderError, match=r"8.float16 is truncated: it holds 19 rows, and 20"):
        IndexFolder.open(folder, writable=writable)


@pytest.mark.parametrize("writable", [True, False])
def test_a_table_that_is_no_database(folder, writable):
    (folder / "items.db").write_bytes(b"not a database at all" * 500)
    with pytest.raises(IndexFolderError, match=r"items.db can't be read.*[Rr]estore"):
        IndexFolder.open(folder, writable=writable)


def test_a_failed_opening_gives_the_lock_back(folder):
    size = (folder / "levels/8.float16").stat().st_size
    os.truncate(folder / "levels/8.float16", 3)
    with pytest.raises(IndexFolderError, match="truncated"):
        IndexFolder.open(folder, writable=True)
    os.truncate(folder / "levels/8.float16", size)
    IndexFolder.open(folder, writable=True).close()


def test_the_rest_of_an_interrupted_write_is_ignored_then_cut_off(folder):
    path, size = folder / "levels/16.float16", 20 * 16 * 2
    with path.open("ab") as file:
        file.write(b"\xff" * 77)
    with IndexFolder.open(folder) as reader:
        assert len(reader.state().levels[16]) == 20
        assert reader.verify() == []
        assert path.stat().st_size == size + 77
    with IndexFolder.open(folder, writable=True) as writer:
        assert path.stat().st_size == size
        writer.append(items(2, first=20), embeddings(2, seed=4))
        assert np.array_equal(writer.state().levels[16][20:], embeddings(2, seed=4).fine.astype(np.float16))


def test_a_full_disk_loses_nothing(folder, monkeypatch):
    from hivlp.index import vectors

    with IndexFolder.open(folder, writable=True) as index:
        real, calls = os.fsync, []

        def full(file):
            calls.append(file)
            if len(calls) == 2:
                raise OSError(28, "No space left on device")
            real(file)

        monkeypatch.setattr(vectors.os, "fsync", full)
        with pytest.raises(IndexFolderError, match=r"nothing of this batch.*No space left"):
            index.append(items(5, first=20), embeddings(5))
        monkeypatch.undo()
        assert (folder / "levels/4.float16").stat().st_size == 20 * 4 * 2
        assert len(index) == 20
        assert index.append(items(5, first=20), embeddings(5)).added == 5
        assert index.verify() == []


def test_a_failed_commit_loses_nothing(folder):
    with IndexFolder.open(folder, writable=True) as index:
        other = sqlite3.connect(folder / "items.db")
        other.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON items BEGIN SELECT raise(ABORT, 'disk is full'); END"
        )
        with pytest.raises(IndexFolderError, match=r"nothing of this batch.*disk is full"):
            index.append(items(3, first=18, version="v2"), embeddings(3))
        other.execute("DROP TRIGGER refuse")
        other.commit()
        other.close()
        assert len(index) == 20
        assert index.items.known_ids(["id-18"]) == {"id-18": "v1-18"}
        assert index.append(items(3, first=18, version="v2"), embeddings(3)).replaced == 2
        assert index.verify() == []


def test_an_interrupt_right_after_a_commit_costs_nothing(folder, monkeypatch):
    with IndexFolder.open(folder, writable=True) as index:

        def interrupt(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr(index, "_take_up", interrupt)
        with pytest.raises(KeyboardInterrupt):
            index.append(items(2, first=20), embeddings(2, seed=1))
        monkeypatch.undo()
        index.append(items(2, first=22), embeddings(2, seed=2))
        assert np.array_equal(index.state().levels[16][20:22], embeddings(2, seed=1).fine.astype(np.float16))
        assert index.verify() == []


def test_the_state_of_a_writer_is_what_a_reader_finds(folder):
    """The writer keeps account of what it deletes; a reader that opens anew reads it from the table."""
    rng = np.random.default_rng(0)
    with IndexFolder.open(folder, writable=True) as writer:
        for first in range(100, 160, 3):
            writer.append(items(3, first=first), embeddings(3, seed=first))
            known = sorted(writer.items.known_ids(f"id-{n}" for n in range(200)))
            writer.delete(rng.choice(known, 2, replace=False))
            again = int(str(rng.choice(known))[3:])
            writer.append(items(1, first=again, version=f"v{first}"), embeddings(1, seed=first))
            if first % 5 == 0:
                writer.compact()
            with IndexFolder.open(folder) as reader:
                mine, fresh = writer.state(), reader.state()
                assert (mine.generation, mine.mask.rows) == (fresh.generation, fresh.mask.rows)
                assert mine.mask.deleted.tolist() == fresh.mask.deleted.tolist()


@pytest.mark.parametrize("log_is_empty", [True, False])
def test_a_table_that_can_only_be_read_is_complete(folder, monkeypatch, log_is_empty):
    """As in a folder without write permission, where SQLite can't make its shared file."""
    real = items_module._connect_readonly

    def without_permission(uri):
        if uri.startswith(folder.as_uri()) and "immutable" not in uri:
            raise sqlite3.OperationalError("unable to open database file")
        return real(uri)

    with IndexFolder.open(folder, writable=True) as writer:
        if not log_is_empty:
            writer.append(items(3, first=20), embeddings(3))
        else:
            writer.close()
        monkeypatch.setattr(items_module, "_connect_readonly", without_permission)
        table = ItemTable(folder / "items.db", writable=False)
        assert table.rows() == (20 if log_is_empty else 23)
        table.close()
