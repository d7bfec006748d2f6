"""The items of an index in SQLite: the truth about which rows exist; it knows nothing of vectors.

A row exists when its transaction committed. Deleting marks the row, so that a reader which still holds it can
finish. Only a compaction changes the numbers of rows, and it counts the generation up: row numbers mean
something together with their generation alone.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hivlp.errors import IndexFolderError
from hivlp.index.where import Condition
from hivlp.types import IntArray, Item

_ITEMS_TABLE = """
CREATE TABLE items(
    row INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    uri TEXT NOT NULL,
    caption TEXT,
    meta TEXT NOT NULL,
    sha256 TEXT,
    width INTEGER,
    height INTEGER,
    added_at TEXT NOT NULL,
    deleted INTEGER NOT NULL DEFAULT 0
)
"""
_HASHES = "CREATE INDEX IF NOT EXISTS items_sha256 ON items(sha256) WHERE deleted = 0"
_ITEMS_INDEXES = (
    "CREATE UNIQUE INDEX items_live_id ON items(id) WHERE deleted = 0",
    "CREATE INDEX items_uri ON items(uri)",
    "CREATE INDEX items_deleted ON items(row) WHERE deleted = 1",
    _HASHES,
)
_CHECKSUMS_TABLE = """
CREATE TABLE checksums(
    first_row INTEGER NOT NULL,
    width INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    crc32 INTEGER NOT NULL,
    PRIMARY KEY(first_row, width)
)
"""
_FIELDS = "id, kind, uri, caption, meta, sha256, width, height"
# Made once: for small metadata that is half of the work. JSON has no NaN.
_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
_CHUNK = 500  # parameters of one statement; SQLite's oldest limit is 999
_REMEDY = "Restore the folder from a copy, or index again into a new one."
_PATIENCE_S = 30.0  # how long to wait for another process that holds the table


class StaleState(Exception):  # noqa: N818 - no failure: whoever meets it reads the state again
    """The row numbers belong to an older generation; a compaction has renumbered the rows."""


class Moment(NamedTuple):
    """What the table says of its rows at one moment.

    Attributes:
        generation: how many compactions there were; row numbers of two generations have nothing in common.
        rows: number of committed rows, deleted ones included.
        deleted: the deleted rows, ascending.
    """

    generation: int
    rows: int
    deleted: IntArray


class Checksum(NamedTuple):
    """CRC-32 of the vectors of some rows at one level, as they were written."""

    first_row: int
    width: int
    rows: int
    crc32: int


class ItemTable:
    """The open table. Its methods may be called by any thread; other processes may read meanwhile."""

    def __init__(self, path: Path, *, writable: bool) -> None:
        self._lock = threading.RLock()
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        self._path = path
        if not path.is_file():
            raise IndexFolderError(
                f"{path} is missing: without it the items of the vectors are unknown. {_REMEDY}"
            )
        try:
            self._db = self._open_writable(path) if writable else self._open_readable(path)
        except sqlite3.Error as error:
            raise _damaged(path, error) from error

    @staticmethod
    def create(path: Path) -> None:
        """Makes the empty table."""
        db = sqlite3.connect(path, isolation_level=None)
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            for statement in (_ITEMS_TABLE, *_ITEMS_INDEXES, _CHECKSUMS_TABLE):
                db.execute(statement)
        finally:
            db.close()

    @staticmethod
    def _open_writable(path: Path) -> sqlite3.Connection:
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=_PATIENCE_S)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")  # a commit is on the disk before it is reported
        db.execute("SELECT count(*) FROM items WHERE row = 0")
        with suppress(sqlite3.OperationalError):  # a full disk: look-ups by content are slower without it
            db.execute(_HASHES)  # older indexes lack it
        return db

    def _open_readable(self, path: Path) -> sqlite3.Connection:
        try:
            return _connect_readonly(f"{path.absolute().as_uri()}?mode=ro")
        except sqlite3.OperationalError as error:
            if error.args[0] not in ("unable to open database file", "attempt to write a readonly database"):
                raise
        # In a folder without write permission SQLite can't make the small shared file that WAL needs. With an
        # empty log the database alone is complete; else read a copy, where the log can be replayed.
        log = path.with_name(path.name + "-wal")
        if not log.exists() or log.stat().st_size == 0:
            return _connect_readonly(f"{path.absolute().as_uri()}?mode=ro&immutable=1")
        self._copy = tempfile.TemporaryDirectory(prefix="hivlp-items-")
        for part in (path, log):
            shutil.copyfile(part, Path(self._copy.name) / part.name)
        return _connect_readonly((Path(self._copy.name) / path.name).as_uri() + "?mode=ro")

    def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """What a query of SQL finds. Raises IndexFolderError where the table is damaged."""
        try:
            with self._lock:
                return self._db.execute(sql, parameters).fetchall()
        except sqlite3.DatabaseError as error:
            raise _damaged(self._path, error) from error

    def read_in(self, sql: str, keys: Iterable[Any]) -> list[tuple[Any, ...]]:
        """What a query that ends in ``IN {}`` finds, for any number of keys."""
        keys = list(keys)
        found: list[tuple[Any, ...]] = []
        for start in range(0, len(keys), _CHUNK):
            part = keys[start : start + _CHUNK]
            found += self.read(sql.format(f"({','.join('?' * len(part))})"), part)
        return found

    @contextmanager
    def one_moment(self) -> Generator[None, None, None]:
        """All reads inside see the table as it is at the first of them; may stand inside another one."""
        with self._lock:
            if self._db.in_transaction:
                yield
                return
            self.read("BEGIN")
            try:
                yield
            finally:
                self.read("ROLLBACK")  # there is nothing to commit

    @contextmanager
    def at(self, generation: int) -> Generator[None, None, None]:
        """One moment in which row numbers are those of a generation; raises StaleState where they are not."""
        with self.one_moment():
            if self.generation() != generation:
                raise StaleState
            yield

    def generation(self) -> int:
        """Number of compactions so far."""
        return int(self.read("PRAGMA user_version")[0][0])

    def state(self, known: Moment | None = None) -> Moment:
        """The rows that exist now.

        Args:
            known: an earlier moment. Within a generation rows are only ever deleted, so where as many are
                deleted as then they are the same, and need not be read.
        """
        with self.one_moment():
            generation = self.generation()
            count = self.read("SELECT count(*) FROM items WHERE deleted = 1")[0][0]
            if known is not None and (known.generation, len(known.deleted)) == (generation, count):
                deleted = known.deleted
            else:
                found = self.read("SELECT row FROM items WHERE deleted = 1 ORDER BY row")
                deleted = np.fromiter((row for (row,) in found), np.int64, len(found))
            return Moment(generation, self.rows(), deleted)

    def rows(self) -> int:
        """Number of committed rows, deleted ones included."""
        return int(self.read("SELECT coalesce(max(row) + 1, 0) FROM items")[0][0])

    def checksums(self) -> list[Checksum]:
        """Those of every batch that was written, by first row."""
        columns = ", ".join(Checksum._fields)
        return [Checksum(*line) for line in self.read(f"SELECT {columns} FROM checksums ORDER BY 1, 2")]

    def fetch(self, rows: Sequence[int]) -> list[Item]:
        """The items of these rows, in this order; deleted rows are still there."""
        found = self.read_in(f"SELECT row, {_FIELDS} FROM items WHERE row IN {{}}", sorted(set(rows)))
        try:
            by_row = {line[0]: _item(line[1:]) for line in found}
        except ValueError as error:
            raise _damaged(self._path, error) from error
        return [by_row[row] for row in rows]

    def rows_of(self, ids: Iterable[str]) -> dict[str, int]:
        """Row of each of these ids that is live."""
        return dict(self._known("id, row", "id", ids))

    def known_ids(self, ids: Iterable[str]) -> dict[str, str | None]:
        """SHA-256 of each of these ids that is live."""
        return dict(self._known("id, sha256", "id", ids))

    def known_uris(self, uris: Iterable[str]) -> dict[str, str | None]:
        """SHA-256 of each of these uris that is live."""
        return dict(self._known("uri, sha256", "uri", uris))

    def _known(self, columns: str, key: str, values: Iterable[str]) -> list[tuple[Any, Any]]:
        sql = f"SELECT {columns} FROM items WHERE deleted = 0 AND {key} IN {{}}"
        return [(line[0], line[1]) for line in self.read_in(sql, dict.fromkeys(values))]

    def rows_where(self, condition: Condition | None, *, kind: str | None = None) -> IntArray:
        """The live rows that meet a condition and are of a kind, ascending."""
        sql, values = "1", dict[str, str | int | float]()
        if condition is not None:
            sql, values = condition.sql, dict(condition.values)
        if kind is not None:
            sql, values["kind"] = f"kind = :kind AND {sql}", kind
        try:
            with self._lock:
                found = self._db.execute(
                    f"SELECT row FROM items WHERE deleted = 0 AND {sql} ORDER BY row", values
                )
                return np.fromiter((row for (row,) in found), np.int64)
        except sqlite3.DatabaseError as error:
            raise _damaged(self._path, error) from error

    def has_key(self, path: str) -> bool:
        """Whether a live item has a value in its metadata at a path of SQLite, such as ``$."color"``."""
        sql = "SELECT 1 FROM items WHERE deleted = 0 AND json_type(meta, ?) IS NOT NULL LIMIT 1"
        return bool(self.read(sql, (path,)))

    def sample_meta(self, count: int) -> list[dict[str, Any]]:
        """The metadata of the first live items."""
        found = self.read("SELECT meta FROM items WHERE deleted = 0 ORDER BY row LIMIT ?", (count,))
        return [json.loads(meta) for (meta,) in found]

    def sample(self, count: int) -> list[Item]:
        """The first live items."""
        found = self.read(f"SELECT {_FIELDS} FROM items WHERE deleted = 0 ORDER BY row LIMIT ?", (count,))
        return [_item(line) for line in found]

    def version(self) -> tuple[int, int]:
        """Changes with every commit of this or another process; equal versions are equal items."""
        with self._lock:
            return int(self.read("PRAGMA data_version")[0][0]), self._db.total_changes

    def kinds(self) -> dict[str, int]:
        """Live items by kind."""
        return dict(self.read("SELECT kind, count(*) FROM items WHERE deleted = 0 GROUP BY 1 ORDER BY 1"))

    def write(
        self,
        *,
        first_row: int = 0,
        new: Sequence[Item] = (),
        retired: Sequence[int] = (),
        described: Sequence[tuple[int, Item]] = (),
        checksums: Mapping[int, int] | None = None,
    ) -> None:
        """One transaction, durable on return: all of it happens or nothing.

        Args:
            first_row: row of the first new item.
            new: items to add, one row each.
            retired: rows to mark as deleted.
            described: rows to describe anew, with the item that says how.
            checksums: CRC-32 of the new rows' vectors by width.
        """
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        fresh = [(first_row + offset, *record(item), now) for offset, item in enumerate(new)]
        renewed = [(*record(item), row) for row, item in described]
        columns = ", ".join(f"{name.strip()} = ?" for name in _FIELDS.split(","))
        with self._transaction() as db:
            db.executemany("UPDATE items SET deleted = 1 WHERE row = ?", [(row,) for row in retired])
            db.executemany(f"UPDATE items SET {columns} WHERE row = ?", renewed)
            db.executemany(f"INSERT INTO items(row, {_FIELDS}, added_at) VALUES (?,?,?,?,?,?,?,?,?,?)", fresh)
            db.executemany(
                "INSERT INTO checksums VALUES (?,?,?,?)",
                [(first_row, width, len(new), crc) for width, crc in (checksums or {}).items()],
            )

    def compact(self, generation: int, checksums: Iterable[Checksum]) -> None:
        """One transaction: drops the deleted rows and numbers the others 0, 1, … in their order.

        Args:
            generation: what the new row numbers belong to.
            checksums: of the level files of that generation.
        """
        # Into a new table: renumbering in place would change every entry of every index, one by one.
        copied = f"{_FIELDS}, added_at"
        with self._transaction() as db:
            db.execute("ALTER TABLE items RENAME TO items_before")
            db.execute(_ITEMS_TABLE)
            db.execute(
                f"INSERT INTO items(row, {copied}) SELECT row_number() OVER (ORDER BY row) - 1, {copied} "
                "FROM items_before WHERE deleted = 0 ORDER BY row"
            )
            db.execute("DROP TABLE items_before")
            for statement in _ITEMS_INDEXES:
                db.execute(statement)
            db.execute("DELETE FROM checksums")
            db.executemany("INSERT INTO checksums VALUES (?,?,?,?)", checksums)
            db.execute(f"PRAGMA user_version = {generation}")

    def give_back_space(self) -> None:
        """Shrinks the files to their content. Raises sqlite3.Error where that fails."""
        with self._lock:
            self._db.execute("VACUUM")
            # A reader amid a long query holds this up; the last one to close the table does it then.
            self._db.execute("PRAGMA busy_timeout = 200")
            try:
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                self._db.execute(f"PRAGMA busy_timeout = {_PATIENCE_S * 1e3:.0f}")

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection, None, None]:
        """All changes inside are durable at its end, or none has happened."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise

    def close(self) -> None:
        with self._lock:
            self._db.close()
            if self._copy is not None:
                self._copy.cleanup()
                self._copy = None


def _connect_readonly(uri: str) -> sqlite3.Connection:
    db = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=_PATIENCE_S)
    try:
        db.execute("SELECT count(*) FROM items WHERE row = 0").fetchone()
    except BaseException:
        db.close()
        raise
    return db


def record(item: Item) -> tuple[Any, ...]:
    """The item as the table stores it: equal records are equal items."""
    meta = _JSON.encode(dict(item.meta)) if item.meta else "{}"
    return (item.id, item.kind, item.uri, item.caption, meta, item.sha256, item.width, item.height)


def _item(line: tuple[Any, ...]) -> Item:
    name, kind, uri, caption, meta, sha256, width, height = line
    return Item(
        id=name,
        kind=kind,
        uri=uri,
        caption=caption,
        meta={} if meta == "{}" else json.loads(meta),  # most often so, and then half of the work
        sha256=sha256,
        width=width,
        height=height,
    )


def _damaged(path: Path, error: Exception) -> IndexFolderError:
    return IndexFolderError(
        f"{path} can't be read: {error}. See whether the disk has space and you may read and write this "
        f"folder; else the file is damaged. {_REMEDY}"
    )
