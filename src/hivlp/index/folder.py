"""The index on disk: a manifest, the items, one file of vectors a level; it knows neither models nor queries.

``name.hivlp/`` holds ``manifest.json``, ``items.db`` and ``levels/<width>.<dtype>``. Vectors are on the disk
before the transaction that names them commits, so a kill at any instant loses at most the batch in flight.
One process writes at a time; any number read, each a consistent state until it asks for a newer one.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from hivlp.errors import IndexFolderError
from hivlp.index.items import ItemTable, record
from hivlp.index.lock import WriteLock
from hivlp.index.manifest import NAME, VERSION, Manifest, package_version, sync_folder
from hivlp.index.mask import RowMask
from hivlp.index.vectors import LENGTH_TOLERANCE, LevelArray, LevelFile, check_rows
from hivlp.types import Embeddings, FloatArray, Item

_ITEMS = "items.db"
_LEVELS = "levels"
_LOCK = "write.lock"
_BLOCK_ROWS = 16_384


@dataclass(frozen=True, kw_only=True)
class AppendReport:
    """What one ``append`` did; every item counts in exactly one of the four numbers.

    Attributes:
        added: items whose id was new.
        replaced: items whose id was known with other content (or with none recorded): the old row is deleted.
        described: items with known id and content whose caption, uri or metadata changed; vectors stay.
        unchanged: items that are in the index exactly so.
    """

    added: int = 0
    replaced: int = 0
    described: int = 0
    unchanged: int = 0


@dataclass(frozen=True)
class State:
    """What the index was at one moment: the rows that count, and their vectors by width (N × width)."""

    mask: RowMask
    levels: Mapping[int, LevelArray]


class IndexFolder:
    """An open index folder; make one by ``create`` or ``open``. Methods may be called by several threads."""

    def __init__(self, path: Path, manifest: Manifest, *, writable: bool) -> None:
        self.path = path
        self.manifest = manifest
        self._levels = {w: LevelFile(path / _LEVELS, w, manifest.dtype) for w in manifest.widths}
        self._writing = threading.RLock()
        self._lock = WriteLock(path / _LOCK) if writable else None
        self._items: ItemTable | None = None
        try:
            self._items = ItemTable(path / _ITEMS, writable=writable)
            self._state = self._read_state()
            if writable:
                for level in self._levels.values():
                    level.truncate(self._state.mask.rows)
        except BaseException:
            self.close()
            raise

    @classmethod
    def create(
        cls,
        path: str | Path,
        *,
        model_name: str,
        model_fingerprint: str,
        widths: Sequence[int],
        preprocessing: Mapping[str, Any],
        dtype: str = "float16",
    ) -> IndexFolder:
        """A new and empty index folder, open for writing; missing parent folders are made.

        Raises:
            IndexFolderError: something is at the path already, or it can't be written.
        """
        path = Path(path)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise IndexFolderError(
                f"{path} exists already. Open it to add to it (Index.ensure does either), or give a new path."
            )
        manifest = Manifest(
            model_name=model_name,
            model_fingerprint=model_fingerprint,
            preprocessing=preprocessing,
            widths=tuple(sorted(widths)),
            dtype=dtype,
            created_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            hivlp_version=package_version(),
        )
        try:
            _make_folder(path, manifest)
        except (OSError, sqlite3.Error) as error:
            raise IndexFolderError(
                f"no index can be made at {path}: {error}. Give a folder on a disk with space, where you may "
                "write."
            ) from error
        return cls.open(path, writable=True)

    @classmethod
    def open(cls, path: str | Path, *, writable: bool = False) -> IndexFolder:
        """An index folder that exists.

        Raises:
            IndexFolderError: not an index, damaged, of a later format, or (to write) held by another writer.
        """
        path = Path(path)
        return cls(path, Manifest.read(path), writable=writable)

    @property
    def writable(self) -> bool:
        return self._lock is not None

    @property
    def items(self) -> ItemTable:
        """The table of items; changing it is the business of this class alone."""
        if self._items is None:
            raise IndexFolderError(f"the index {self.path} was closed. Open it again to use it.")
        return self._items

    def state(self) -> State:
        """The index as of the last ``open``, ``append``, ``delete`` or ``refresh``; stays valid."""
        return self._state

    def __len__(self) -> int:
        """Number of items, deleted ones not counted."""
        return self._state.mask.live

    def check_model(self, fingerprint: str, name: str) -> None:
        """Refuses a model that did not make this index: its vectors would mean something else."""
        made_by = self.manifest
        if fingerprint != made_by.model_fingerprint:
            raise IndexFolderError(
                f"{self.path} was made with the model {made_by.model_name!r} ({made_by.model_fingerprint}), "
                f"and this is {name!r} ({fingerprint}); vectors of two models can't be compared. Open it "
                f"with {made_by.model_name!r}, or index the pictures again with {name!r} into a new folder."
            )

    def append(self, items: Sequence[Item], embeddings: Embeddings) -> AppendReport:
        """Adds a batch in one transaction, durable on return.

        An item with a known id replaces the old one, unless it has the same SHA-256: then its vectors are the
        ones that are there, and only what changed of its description is written.

        Args:
            items: ids all different.
            embeddings: row i belongs to item i; every level of the index, unit length.

        Raises:
            IndexFolderError: open for reading only, bad vectors, an id twice, or a disk that can't take it;
            nothing
                of the batch is in the index then.
        """
        self._require_writer()
        vectors = self._check_batch(items, embeddings)
        with self._writing:
            batch = _sort_batch(items, self.items)
            if batch.positions or batch.described:
                self._write(items, vectors, batch)
            return batch.report

    def delete(self, ids: Iterable[str]) -> int:
        """Marks the items of these ids as deleted, durable on return. Unknown ids are left alone.

        Returns:
            How many there were.
        """
        self._require_writer()
        with self._writing:
            rows = list(self.items.rows_of(ids).values())
            if rows:
                self._commit(retired=rows)
            return len(rows)

    def refresh(self) -> bool:
        """Takes up what any process has committed since. True where there was something."""
        with self._writing:
            state, old = self._read_state(), self._state
            changed = (state.mask.rows, state.mask.live) != (old.mask.rows, old.mask.live)
            if changed:
                self._state = state
            return changed

    def info(self) -> dict[str, Any]:
        """The facts of the index, JSON-compatible: items, kinds, widths, model, bytes of each file …"""
        made_by, mask = self.manifest, self._state.mask
        sizes = _sizes(self.path)
        return {
            "path": str(self.path),
            "items": mask.live,
            "deleted": len(mask.deleted),
            "rows": mask.rows,
            "kinds": self.items.kinds(),
            "widths": list(made_by.widths),
            "dtype": made_by.dtype,
            "model": {"name": made_by.model_name, "fingerprint": made_by.model_fingerprint},
            "preprocessing": dict(made_by.preprocessing),
            "created_at": made_by.created_at,
            "format_version": VERSION,
            "hivlp_version": made_by.hivlp_version,
            "bytes": sizes,
            "bytes_total": sum(sizes.values()),
        }

    def verify(self, progress: Callable[[int, int], None] | None = None) -> list[str]:
        """Reads everything and checks every promise of the format.

        Args:
            progress: called with (rows checked, rows to check), counted over all levels.

        Returns:
            One sentence a problem with its remedy; empty when all is well.
        """
        found = self.items.problems()
        state = self._read_state()
        blocks = [block for block in self.items.checksums() if block[0] < state.mask.rows]
        done, total = 0, sum(rows for _, _, rows, _ in blocks)
        covered = dict.fromkeys(self.manifest.widths, 0)
        for first, width, rows, crc in blocks:
            part_ND = state.levels[width][first : first + rows]
            found += _check_block(part_ND, first, crc, self._levels[width].path)
            covered[width] += rows
            done += rows
            if progress is not None:
                progress(done, total)
        found += [
            f"items.db has checksums for {count} of {state.mask.rows} rows of level {width}. {_REMEDY}"
            for width, count in covered.items()
            if count != state.mask.rows
        ]
        return found

    def close(self) -> None:
        """Gives back the files and the lock; a second call does nothing. A ``State`` in use stays valid."""
        if self._items is not None:
            self._items.close()
            self._items = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> IndexFolder:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _read_state(self) -> State:
        rows, deleted = self.items.state()
        for level in self._levels.values():
            level.check(rows)
        return State(RowMask(rows, deleted), {w: level.read(rows) for w, level in self._levels.items()})

    def _require_writer(self) -> None:
        if not self.writable:
            raise IndexFolderError(
                f"the index {self.path} is open for reading only. Open it with writable=True to change it."
            )

    def _check_batch(self, items: Sequence[Item], embeddings: Embeddings) -> dict[int, FloatArray]:
        names = [item.id for item in items]
        _check_names(items)
        missing = sorted(set(self.manifest.widths) - set(embeddings.widths))
        if missing:
            raise IndexFolderError(
                f"the embeddings have the levels {list(embeddings.widths)}, and this index needs {missing} "
                f"as well. Use the model that made the index, {self.manifest.model_name!r}."
            )
        vectors = {w: np.asarray(embeddings[w], dtype=np.float32) for w in self.manifest.widths}
        for width, rows_ND in vectors.items():
            check_rows(rows_ND, width, names)
        return vectors

    def _write(self, items: Sequence[Item], vectors: dict[int, FloatArray], batch: _Batch) -> None:
        # Asked of the table, not remembered: an interrupt may have come between a commit and its notice here.
        first_row = self.items.rows()
        new = [items[position] for position in batch.positions]
        checksums: dict[int, int] = {}
        try:
            if new:
                for width, level in self._levels.items():
                    stored_ND = vectors[width][batch.positions].astype(level.dtype)
                    level.append(stored_ND, first_row)
                    checksums[width] = zlib.crc32(stored_ND.tobytes())
        except OSError as error:
            raise self._not_written(error) from error
        self._commit(
            first_row=first_row,
            new=new,
            retired=batch.retired,
            described=batch.described,
            checksums=checksums,
        )

    def _commit(self, **changes: Any) -> None:
        try:
            self.items.write(**changes)
        except sqlite3.Error as error:
            raise self._not_written(error) from error
        self.refresh()

    def _not_written(self, error: Exception) -> IndexFolderError:
        with suppress(OSError, IndexFolderError):  # gives the space back; not needed for correctness
            rows = self.items.rows()
            for level in self._levels.values():
                level.truncate(rows)
        return IndexFolderError(
            f"nothing of this batch was written to {self.path}: {error}. All that was reported before is "
            "safe; make space on the disk or repair it, and run the same command again."
        )


_REMEDY = "Restore the folder from a copy, or index again into a new one."


@dataclass(frozen=True, kw_only=True)
class _Batch:
    """What has to be written of a batch: positions of its new rows, rows to retire, rows to describe anew."""

    positions: list[int]
    retired: list[int]
    described: list[tuple[int, Item]]
    report: AppendReport


def _sort_batch(items: Sequence[Item], table: ItemTable) -> _Batch:
    row_of = table.rows_of(item.id for item in items)
    stored = dict(zip(row_of, table.fetch(list(row_of.values())), strict=True))
    positions: list[int] = []
    retired: list[int] = []
    described: list[tuple[int, Item]] = []
    for position, item in enumerate(items):
        old = stored.get(item.id)
        if old is None:
            positions.append(position)
        elif item.sha256 is None or item.sha256 != old.sha256:
            positions.append(position)
            retired.append(row_of[item.id])
        elif record(item) != record(old):
            described.append((row_of[item.id], item))
    added, replaced = len(positions) - len(retired), len(retired)
    unchanged = len(items) - len(positions) - len(described)
    report = AppendReport(added=added, replaced=replaced, described=len(described), unchanged=unchanged)
    return _Batch(positions=positions, retired=retired, described=described, report=report)


def _check_names(items: Sequence[Item]) -> None:
    seen: set[str] = set()
    for item in items:
        if not item.id or item.id in seen:
            raise IndexFolderError(
                f"the id {item.id!r} ({item.uri}) is {'twice in one batch' if item.id else 'empty'}; every "
                "item needs an id of its own. Give the items different ids."
            )
        seen.add(item.id)
        try:
            "".join(map(str, record(item))).encode()
        except (UnicodeEncodeError, TypeError, ValueError) as error:
            raise IndexFolderError(
                f"the item {item.id!r} can't be stored: {error}. Its texts must be valid Unicode and its "
                "metadata JSON-compatible."
            ) from error


def _check_block(part_ND: LevelArray, first: int, crc: int, path: Path) -> list[str]:
    rows = f"rows {first} to {first + len(part_ND) - 1}"
    if zlib.crc32(part_ND.tobytes()) != crc:
        return [f"{path} differs in {rows} from what was written: the file was damaged. {_REMEDY}"]
    for start in range(0, len(part_ND), _BLOCK_ROWS):
        rows_ND = part_ND[start : start + _BLOCK_ROWS].astype(np.float32)
        lengths_N = np.sqrt(np.einsum("nd,nd->n", rows_ND, rows_ND))
        # Half precision moves a length by up to 2^-11 beyond what was let in.
        if not (np.abs(lengths_N - 1.0) <= LENGTH_TOLERANCE + 2.0**-10).all():
            return [f"{path} has vectors in {rows} that are not of length 1. {_REMEDY}"]
    return []


def _make_folder(path: Path, manifest: Manifest) -> None:
    """Everything is made under another name and then renamed: an index is there as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        (draft / _LEVELS).mkdir(parents=True)
        for width in manifest.widths:
            LevelFile(draft / _LEVELS, width, manifest.dtype).create()
        ItemTable.create(draft / _ITEMS)
        manifest.write(draft)
        sync_folder(draft / _LEVELS)
        sync_folder(draft)
        if path.exists():
            path.rmdir()
        draft.rename(path)
        sync_folder(path.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _sizes(folder: Path) -> dict[str, int]:
    """Bytes of every file of the index, by its name inside the folder."""
    found = [folder / NAME, folder / _ITEMS, folder / f"{_ITEMS}-wal", *sorted((folder / _LEVELS).iterdir())]
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in found if path.exists()}
