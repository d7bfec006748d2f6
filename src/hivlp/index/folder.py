"""The index on disk: a manifest, the items, a file of vectors per level. It knows neither models nor queries.

``name.hivlp/`` holds ``manifest.json``, ``items.db`` and ``levels/<width>.<dtype>``. Vectors are on the disk
before the transaction that names them commits, so a kill at any instant loses at most the current batch.
One process writes; any number of processes read, and each sees one consistent state until it refreshes.

A compaction writes the live rows into new files, renumbers the rows in one transaction that also increments
the generation, and only then removes the old files. A row number is valid only in its own generation, so
code that looks up rows of a ``State`` uses ``items.at(state.generation)``.
"""

from __future__ import annotations

import sqlite3
import threading
import zlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from hivlp.errors import IndexFolderError
from hivlp.files import sync_folder
from hivlp.index.batch import AppendReport, BatchChanges, check_items, sort_batch
from hivlp.index.compact import CompactReport, copy_live_rows
from hivlp.index.items import ItemTable, Moment
from hivlp.index.layout import ITEMS, LEVELS, LOCK, leftovers, level_files, make_folder, sizes
from hivlp.index.lock import WriteLock
from hivlp.index.manifest import VERSION, Manifest, package_version
from hivlp.index.mask import RowMask
from hivlp.index.rotation import Rotation
from hivlp.index.state import State
from hivlp.index.vectors import LevelFile, check_rows
from hivlp.index.verify import verify
from hivlp.types import Embeddings, FloatArray, Item, Progress


class IndexFolder:
    """An open index folder; make one by ``create`` or ``open``. Methods may be called by several threads."""

    def __init__(self, path: Path, manifest: Manifest, *, writable: bool) -> None:
        self.path = path
        self.manifest = manifest
        self._writing = threading.RLock()
        self._lock = WriteLock(path / LOCK) if writable else None
        self._items: ItemTable | None = None
        try:
            self._items = ItemTable(path / ITEMS, writable=writable)
            self._state: State = self._read_state(None)
            if writable:
                self._remove_leftovers()
                for level in self._level_files().values():
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
            IndexFolderError: the path is not empty, or it can't be written.
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
            make_folder(path, manifest)
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

    def append(self, items: Sequence[Item], embeddings: Embeddings) -> AppendReport:
        """Adds a batch in one transaction, durable on return.

        An item with a known id replaces the old one, unless it has the same SHA-256: then its vectors are the
        ones that are there, and only what changed of its description is written.

        Args:
            items: ids all different.
            embeddings: row i belongs to item i; every level of the index, unit length.

        Raises:
            IndexFolderError: open for reading only, bad vectors, an id twice, or a disk that can't take it;
                nothing of the batch is in the index then.
        """
        self.check_writable()
        vectors = self._check_batch(items, embeddings)
        with self._writing:
            batch = sort_batch(items, self.items)
            if batch.positions or batch.described:
                self._write(items, vectors, batch)
            return batch.report

    def describe(self, items: Mapping[str, Item]) -> None:
        """Describes items anew in one transaction, durable on return; their vectors and contents stay.

        Args:
            items: by their ids so far; ids may change, and an id that is not there is left alone.
        """
        self.check_writable()
        check_items(list(items.values()))
        with self._writing:
            rows = self.items.rows_of(items)
            self._commit(retired=(), described=[(row, items[name]) for name, row in rows.items()])

    def delete(self, ids: Iterable[str]) -> int:
        """Marks the items of these ids as deleted, durable on return. Unknown ids are left alone.

        Returns:
            How many there were.
        """
        self.check_writable()
        with self._writing:
            if rows := list(self.items.rows_of(ids).values()):
                self._commit(retired=rows)
            return len(rows)

    def compact(self, progress: Progress | None = None) -> CompactReport:
        """Frees the space of deleted items, durable on return; does nothing where no item is deleted.

        A kill at any instant leaves the index as it was or compacted. Readers go on meanwhile. Until it is
        done the folder takes more room: for the live items' vectors and up to two copies of ``items.db``.

        Args:
            progress: see `types.Progress`; it counts rows over all levels.

        Raises:
            IndexFolderError: open for reading only, damaged vectors, or a disk that can't take it; the index
                is as it was then.
        """
        self.check_writable()
        with self._writing:
            self.refresh()
            dropped = len(self._state.mask.deleted)
            if not dropped:
                return CompactReport()
            before = sum(sizes(self.path).values())
            self._begin_generation(self._state, progress)
            self.refresh()
            self._remove_leftovers()
            with suppress(sqlite3.Error):  # no room for it now: the table stays larger than need be
                self.items.give_back_space()
            return CompactReport(dropped=dropped, bytes_freed=before - sum(sizes(self.path).values()))

    def refresh(self) -> bool:
        """Takes up what any process has committed since. True where there was something."""
        return self._take_up()

    def info(self) -> dict[str, Any]:
        """The facts of the index, JSON-compatible: items, kinds, widths, model, bytes of each file …"""
        made_by, mask = self.manifest, self._state.mask
        bytes_of, rotation = sizes(self.path), Rotation.read(self.path)
        return {
            "path": str(self.path),
            "items": mask.live,
            "deleted": len(mask.deleted),
            "rows": mask.rows,
            "kinds": self.items.kinds(),
            "widths": list(made_by.widths),
            "rotation": rotation.as_dict() if rotation is not None else None,
            "dtype": made_by.dtype,
            "model": {"name": made_by.model_name, "fingerprint": made_by.model_fingerprint},
            "preprocessing": dict(made_by.preprocessing),
            "created_at": made_by.created_at,
            "format_version": made_by.version,
            "generation": self._state.generation,
            "hivlp_version": made_by.hivlp_version,
            "bytes": bytes_of,
            "bytes_total": sum(bytes_of.values()),
        }

    def verify(self, progress: Progress | None = None) -> list[str]:
        """Reads everything and checks every promise of the format.

        Args:
            progress: see `types.Progress`; it counts rows over all levels.

        Returns:
            One sentence a problem with its remedy; empty when all is well.
        """
        return verify(self.path, progress).problems

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

    def _take_up(self, retired: Sequence[int] = ()) -> bool:
        """Reads the state anew; what this process deleted itself since need not be read."""
        with self._writing:
            old = self._state
            deleted, new = old.mask.deleted, np.sort(np.asarray(retired, dtype=np.int64))
            known = np.insert(deleted, np.searchsorted(deleted, new), new)
            self._state = self._read_state(Moment(old.generation, old.mask.rows, known))
            changed = self._state.identity != old.identity
            if not changed:
                self._state = old
            return changed

    def _read_state(self, known: Moment | None) -> State:
        while True:
            generation, rows, deleted = self.items.state(known)
            files = level_files(self.path, self.manifest, generation)
            try:
                for level in files.values():
                    level.check(rows)
                levels = {width: level.read(rows) for width, level in files.items()}
            except (IndexFolderError, FileNotFoundError):
                if self.items.generation() == generation:
                    raise
                continue  # compacted between the two looks, and the files of that generation are gone
            return State(RowMask(rows, deleted), levels, generation)

    def _level_files(self) -> dict[int, LevelFile]:
        # Asked of the table, not remembered: an interrupt may have come between a commit and its notice here.
        return level_files(self.path, self.manifest, self.items.generation())

    def _remove_leftovers(self) -> None:
        for path in leftovers(self.path, self.items.generation()):
            with suppress(OSError):  # Windows refuses while a reader maps the file; a later writer will do it
                path.unlink()

    def _begin_generation(self, old: State, progress: Progress | None) -> None:
        new_files = level_files(self.path, self.manifest, old.generation + 1)
        self._remove_leftovers()
        try:
            checksums = copy_live_rows(
                old.mask, self.items.checksums(), self._level_files(), new_files, progress
            )
            sync_folder(self.path / LEVELS)
            self._require_new_hivlp()
        except BaseException as error:
            self._remove_leftovers()
            if isinstance(error, OSError):
                raise self._not_compacted(error) from error
            raise
        try:
            self.items.compact(old.generation + 1, checksums)
        except sqlite3.Error as error:
            raise self._not_compacted(error) from error

    def _require_new_hivlp(self) -> None:
        # Before anything is renumbered: an older hivlp refuses the folder then, and would misread it.
        if self.manifest.version != VERSION:
            manifest = replace(self.manifest, version=VERSION)
            manifest.write(self.path)
            self.manifest = manifest

    def _not_compacted(self, error: Exception) -> IndexFolderError:
        return IndexFolderError(
            f"the index {self.path} was not compacted and is as it was: {error}. Make space on the disk (the "
            "live items are copied once) or repair it, and run the same command again."
        )

    def check_writable(self) -> None:
        """Raises IndexFolderError where the folder is open for reading only."""
        if not self.writable:
            raise IndexFolderError(
                f"the index {self.path} is open for reading only. Open it with writable=True to change it."
            )

    def _check_batch(self, items: Sequence[Item], embeddings: Embeddings) -> dict[int, FloatArray]:
        names = [item.id for item in items]
        check_items(items)
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

    def _write(self, items: Sequence[Item], vectors: dict[int, FloatArray], batch: BatchChanges) -> None:
        first_row = self.items.rows()  # of the table, as in `_level_files`
        new = [items[position] for position in batch.positions]
        checksums: dict[int, int] = {}
        try:
            if new:
                for width, level in self._level_files().items():
                    stored_ND = vectors[width][batch.positions].astype(level.dtype)
                    level.append(stored_ND, first_row)
                    checksums[width] = zlib.crc32(stored_ND.tobytes())
        except OSError as error:
            self._cut_off(first_row)
            raise self._not_written(error) from error
        self._commit(
            first_row=first_row,
            new=new,
            retired=batch.retired,
            described=batch.described,
            checksums=checksums,
        )

    def _commit(self, *, retired: Sequence[int], **changes: Any) -> None:
        try:
            self.items.write(retired=retired, **changes)
        except sqlite3.Error as error:
            raise self._not_written(error) from error
        self._take_up(retired)

    def _cut_off(self, rows: int) -> None:
        with suppress(OSError):  # gives the space back; not needed for correctness
            for level in self._level_files().values():
                level.truncate(rows)

    def _not_written(self, error: Exception) -> IndexFolderError:
        return IndexFolderError(
            f"nothing of this batch was written to {self.path}: {error}. All that was reported before is "
            "safe; make space on the disk or repair it, and run the same command again."
        )
