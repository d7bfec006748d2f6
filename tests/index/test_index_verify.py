from __future__ import annotations

import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from hivlp.errors import IndexFolderError
from hivlp.index.folder import IndexFolder
from hivlp.index.items import ItemTable
from hivlp.index.verify import verify
from index_tools import create, embeddings, items


@pytest.fixture(params=[False, True], ids=["never compacted", "compacted"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """An index of the rows 0 to 39 in four batches of 10, closed; items ``id-0`` to ``id-39``."""
    path = tmp_path / "photos.hivlp"
    with create(path) as store:
        if request.param:
            store.append(items(3, first=100), embeddings(3, seed=5))
            store.delete(["id-100", "id-101", "id-102"])
            store.compact()
        for first in range(0, 40, 10):
            store.append(items(10, first=first), embeddings(40).take(slice(first, first + 10)))
    return path


def level(folder: Path, width: int) -> Path:
    (path,) = (folder / "levels").glob(f"{width}.*")
    return path


def flip(path: Path, offset: int, bit: int = 1) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        (value,) = file.read(1)
        file.seek(offset)
        file.write(bytes([value ^ bit]))


def change(folder: Path, *statements: str) -> None:
    with closing(sqlite3.connect(folder / "items.db")) as db:
        for statement in statements:
            db.execute(statement)
        db.commit()


def assert_told(problem: str, *parts: str) -> None:
    """The problem has all parts, and a remedy."""
    for part in (*parts, "Restore"):
        assert part in problem, problem


def test_a_sound_index_has_no_problems(folder):
    found = verify(folder)
    assert (found.items, found.problems, found.notes) == (40, [], [])


def test_where_there_is_no_index_there_is_nothing_to_verify(tmp_path):
    for path in (tmp_path, tmp_path / "gone"):
        with pytest.raises(IndexFolderError):
            verify(path)


@pytest.mark.parametrize("row", [0, 9, 10, 25, 39])
@pytest.mark.parametrize("width", [4, 8, 16])
def test_a_flipped_bit_is_found_in_its_batch(folder, row, width):
    flip(level(folder, width), row * width * 2 + 3)
    (problem,) = verify(folder).problems
    first = row // 10 * 10
    assert_told(problem, level(folder, width).name, f"rows {first} to {first + 9}", "differs")


def test_a_truncated_level_is_one_problem_beside_others(folder):
    os.truncate(level(folder, 8), 25 * 16 + 3)
    flip(level(folder, 8), 12 * 16)
    flip(level(folder, 16), 39 * 32)
    found = verify(folder)
    truncated, batch, other = found.problems
    assert_told(truncated, level(folder, 8).name, "holds 25 rows, and 40", "rows 25 to 39 are gone")
    assert_told(batch, level(folder, 8).name, "rows 10 to 19")
    assert_told(other, level(folder, 16).name, "rows 30 to 39")
    assert found.items == 40


def test_a_missing_level_is_one_problem_beside_others(folder):
    missing = level(folder, 4)
    missing.unlink()
    flip(level(folder, 16), 0)
    gone, other = verify(folder).problems
    assert_told(gone, missing.name, "is missing", "rows 0 to 39")
    assert_told(other, level(folder, 16).name, "rows 0 to 9")


def test_vectors_of_another_length_are_found_though_their_checksum_is_right(tmp_path, monkeypatch):
    monkeypatch.setattr("hivlp.index.folder.check_rows", lambda *_: None)
    with create(tmp_path / "x.hivlp") as store:
        vectors = embeddings(5)
        vectors[8][3] *= 1.1
        store.append(items(5), vectors)
        (problem,) = store.verify()
    assert_told(problem, "8.float16", "rows 0 to 4", "not of length 1")


@pytest.mark.parametrize("content", ["", "{", '{"format": "zip"}'])
def test_a_damaged_manifest_is_the_problem(folder, content):
    (folder / "manifest.json").write_text(content)
    found = verify(folder)
    assert found.items is None
    assert_told(found.problems[0], "manifest.json is damaged")


def test_a_missing_manifest_is_the_problem_of_what_was_an_index(folder):
    (folder / "manifest.json").unlink()
    (problem,) = verify(folder).problems
    assert "has no manifest.json" in problem


def manifest(folder: Path, **changes: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_manifest_from_the_future_is_the_problem(folder):
    manifest(folder, version=99, hivlp_version="9.9")
    (problem,) = verify(folder).problems
    assert "format 99, made by hivlp 9.9" in problem
    assert "Upgrade hivlp" in problem


def test_widths_without_file_and_files_without_width(folder):
    manifest(folder, widths=[4, 8, 32])
    strange, unknown, missing = verify(folder).problems
    assert_told(strange, f"{level(folder, 16)} is a level that manifest.json does not name", "[4, 8, 32]")
    assert_told(unknown, "no checksum for rows 0 to 39 of level 32")
    assert_told(missing, "32.", "is missing")


def test_a_compacted_index_that_says_format_1(tmp_path):
    with create(tmp_path / "x.hivlp", 5) as store:
        store.delete(["id-0"])
        store.compact()
    manifest(tmp_path / "x.hivlp", version=1)
    (problem,) = verify(tmp_path / "x.hivlp").problems
    assert 'Set "version" to 2' in problem


def test_rows_that_are_missing_in_the_table(folder):
    change(folder, "DELETE FROM items WHERE row IN (0, 7, 8, 38)")
    found = verify(folder).problems
    assert len(found) == 3
    for problem, rows in zip(found, ("row 0", "rows 7 to 8", "row 38"), strict=True):
        assert_told(problem, f"items.db lacks {rows}:")


def test_rows_that_are_missing_at_the_end_of_the_table(folder):
    change(folder, "DELETE FROM items WHERE row > 35")
    found = verify(folder).problems
    assert len(found) == 3, "one a level"
    assert_told(found[0], "items.db has vectors but no items for rows 36 to 39 of level 4")


def test_checksums_that_are_missing(folder):
    change(folder, "DELETE FROM checksums WHERE first_row = 10 AND width = 8")
    (problem,) = verify(folder).problems
    assert_told(problem, "items.db has no checksum for rows 10 to 19 of level 8")


def test_ids_that_are_there_twice(folder):
    change(folder, "DROP INDEX items_live_id", "UPDATE items SET id = 'id-1' WHERE row = 2")
    (problem,) = verify(folder).problems
    assert_told(problem, "'id-1' more than once")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE items SET meta = '{' || meta WHERE row = 17",
        "UPDATE items SET caption = CAST(x'ff00fe' AS TEXT) WHERE row = 17",
    ],
)
def test_texts_that_can_not_be_read(folder, statement):
    change(folder, statement)
    (problem,) = verify(folder).problems
    assert_told(problem, "row 17:", "items.db can't be read")
    with IndexFolder.open(folder) as index, pytest.raises(IndexFolderError, match=r"can't be read.*Restore"):
        index.items.fetch([16, 17])


def test_a_missing_table_is_the_problem(folder):
    (folder / "items.db").unlink()
    (problem,) = verify(folder).problems
    assert_told(problem, "items.db is missing")


def pages(path: Path) -> tuple[int, int]:
    """Bytes of a page, and number of pages, of a database without log."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return db.execute("PRAGMA page_size").fetchone()[0], db.execute("PRAGMA page_count").fetchone()[0]


def test_damage_to_the_structure_of_any_page_of_the_table_is_found(folder, tmp_path):
    size, count = pages(folder / "items.db")
    for page in range(count):
        copy = tmp_path / f"page-{page}"
        shutil.copytree(folder, copy)
        flip(copy / "items.db", page * size + (100 if page == 0 else 0), bit=0x40)  # the kind of the page
        found = verify(copy).problems
        assert found, f"page {page}"
        assert_told(found[0], "items.db")


def test_whatever_byte_is_damaged_the_answer_is_a_list_of_problems(folder):
    content = (folder / "items.db").read_bytes()
    rng = np.random.default_rng(0)
    for offset in rng.integers(0, len(content), 120).tolist():
        flip(folder / "items.db", offset, bit=int(rng.integers(1, 256)))
        for problem in verify(folder).problems:
            assert "items.db" in problem
        (folder / "items.db").write_bytes(content)
    assert verify(folder).problems == []


def test_leftovers_are_notes_with_name_size_and_remedy(folder):
    (folder / "levels/4.g9.float16").write_bytes(b"123")
    (folder / "manifest.json.77.tmp").write_bytes(b"{")
    found = verify(folder)
    assert found.problems == []
    assert len(found.notes) == 2
    assert "4.g9.float16 (3 bytes) is the rest of an interrupted write" in found.notes[0]
    assert "next command that writes to the index removes it" in found.notes[0]
    IndexFolder.open(folder, writable=True).close()
    assert verify(folder).notes == []


def test_an_index_that_is_compacted_while_it_is_verified(folder, monkeypatch):
    with IndexFolder.open(folder, writable=True) as writer:
        writer.delete(["id-3"])
        real = ItemTable.checksums

        def late(table):
            checksums = real(table)
            monkeypatch.setattr(ItemTable, "checksums", real)
            writer.compact()
            return checksums

        monkeypatch.setattr(ItemTable, "checksums", late)
        found = verify(folder)
        assert (found.items, found.problems) == (39, [])


def test_progress_counts_the_rows_of_all_levels(folder):
    seen = []
    verify(folder, lambda line, done, total: seen.append((done, total)))
    assert seen == [(done, 120) for done in range(10, 130, 10)]
