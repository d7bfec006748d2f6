"""The coarse indexes of one index folder: held in memory once built, kept in ``coarse/`` so that opening is
quick. It knows no items and no plans.

Everything in ``coarse/`` is derived: whatever is missing, damaged, or of another generation of rows is built
again from the levels.
"""

from __future__ import annotations

import json
import logging
import threading
import zlib
from collections.abc import Collection
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from hivlp.files import write_atomically
from hivlp.index.coarse.base import CoarseIndex
from hivlp.index.coarse.kinds import KINDS
from hivlp.index.coarse.spec import CoarseSpec
from hivlp.index.layout import COARSE
from hivlp.index.vectors import LevelArray

_FORMAT, _VERSION = "hivlp-coarse", 1
# A file is written anew when it lacks more than this share of the rows. So all writing together costs no more
# than a fixed number of bytes an added row, and opening takes in at most this share of the rows.
_LACKING = 0.1

_log = logging.getLogger(__name__)


class CoarseShelf:
    """Gives coarse indexes by their recipe. Methods may be called by several threads."""

    def __init__(self, index_folder: Path) -> None:
        self._folder = index_folder / COARSE
        self._in_memory: dict[tuple[int, CoarseSpec], CoarseIndex] = {}
        self._rows_kept: dict[tuple[int, CoarseSpec], int] = {}  # by the files that were read or written here
        self._building = threading.Lock()
        self._filing = threading.Lock()

    def get(self, spec: CoarseSpec, level_ND: LevelArray, *, generation: int) -> CoarseIndex:
        """The coarse index of this recipe: the one in memory, else the one on disk, else a new one.

        Args:
            spec: the recipe.
            level_ND: the rows that it must hold at least, of the level that it reads.
            generation: of the rows; those of another generation have other numbers.
        """
        ready = self._in_memory.get((generation, spec))
        if ready is not None and ready.covers(len(level_ND)):  # the usual case, without a lock
            return ready
        with self._building:
            for key in [key for key in self._in_memory if key[0] < generation]:
                del self._in_memory[key]
            key = generation, spec
            index = self._in_memory.get(key)
            if index is None or index.outgrown(len(level_ND)):
                index = self._read(spec, generation)
                if index is None or index.outgrown(len(level_ND)):
                    index = KINDS[spec.kind](spec)
                self._rows_kept[key] = len(index)
            index.extend(level_ND)
            self._in_memory[key] = index  # now that it can be searched: others look without the lock
            return index

    def held(self) -> dict[CoarseSpec, CoarseIndex]:
        """What is in memory right now."""
        return {
            spec: index for (_, spec), index in self._in_memory.copy().items()
        }  # a copy: other threads may add

    def keep(self, spec: CoarseSpec, level_ND: LevelArray, *, generation: int) -> bool:
        """Brings the file of a coarse index up to date, where it lacks much. For the one writer only.

        Returns:
            Whether something was written.
        """
        if _as_quick_to_build(spec) or not len(level_ND):
            return False
        index = self.get(spec, level_ND, generation=generation)
        if self._rows_kept.get((generation, spec), 0) >= (1 - _LACKING) * len(index):
            return False
        with self._filing:
            self._write(index, generation)
        return True

    def keep_only(self, specs: Collection[CoarseSpec]) -> None:
        """Forgets all other coarse indexes, in memory and on disk. For the one writer of the folder."""
        with self._building:
            self._in_memory = {key: index for key, index in self._in_memory.items() if key[1] in specs}
        self.remove_others(specs)

    def remove_others(self, specs: Collection[CoarseSpec]) -> None:
        """Removes the files of all other coarse indexes; searches go on. For the one writer of the folder."""
        with self._building:
            self._rows_kept = {key: rows for key, rows in self._rows_kept.items() if key[1] in specs}
        with self._filing:
            self._remove_but({name for spec in specs for name in self._files_of(spec)})

    def _write(self, index: CoarseIndex, generation: int) -> None:
        with self._building:  # so that it does not grow between the two
            content, rows, name = index.serialise(), len(index), index.spec.name
        self._folder.mkdir(exist_ok=True)
        data = self._folder / f"{name}.{generation}.{rows}.faiss"
        write_atomically(data, content)
        record = {
            "format": _FORMAT,
            "version": _VERSION,
            "file": data.name,
            "generation": generation,
            "rows": rows,
            "trained_rows": index.trained_rows,
            "crc32": zlib.crc32(content),
            "spec": asdict(index.spec),
        }
        write_atomically(self._folder / f"{name}.json", (json.dumps(record, indent=1) + "\n").encode())
        self._rows_kept[generation, index.spec] = rows
        for old in self._folder.glob(f"{name}.*.faiss"):
            if old != data:
                _remove(old)

    def _files_of(self, spec: CoarseSpec) -> tuple[str, str]:
        return f"{spec.name}.json", str(self._described(spec).get("file"))

    def _remove_but(self, names: Collection[str]) -> None:
        for path in self._folder.glob("*"):
            if path.name not in names:
                _remove(path)

    def _described(self, spec: CoarseSpec) -> dict[str, Any]:
        """What the folder says of a coarse index; nothing where it says nothing that can be used."""
        try:
            record: Any = json.loads((self._folder / f"{spec.name}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        known = cast("dict[str, Any]", record) if isinstance(record, dict) else {}
        usable = (known.get("format"), known.get("version"), known.get("spec")) == (
            _FORMAT,
            _VERSION,
            asdict(spec),
        )
        return known if usable else {}

    def _read(self, spec: CoarseSpec, generation: int) -> CoarseIndex | None:
        known = self._described(spec)
        if known.get("generation") != generation:
            return None
        index = KINDS[spec.kind](spec)
        try:
            content = (self._folder / Path(str(known["file"])).name).read_bytes()
            if zlib.crc32(content) != known["crc32"]:
                raise ValueError("its checksum differs from what was written")
            index.restore(content, trained_rows=int(known["trained_rows"]))
            if len(index) != known["rows"]:
                raise ValueError(f"it holds {len(index)} rows and should hold {known['rows']}")
        except (OSError, KeyError, TypeError, ValueError) as error:
            _log.warning("the coarse index %s is built anew: %s", self._folder / spec.name, error)
            return None
        return index


def _remove(path: Path) -> None:
    with suppress(OSError):  # Windows keeps a file that is being read; a later preparation removes it
        path.unlink()


def _as_quick_to_build(spec: CoarseSpec) -> bool:
    """Whether a coarse index is the bytes of its level and nothing else."""
    return spec.kind == "exact" and spec.code == "float16" and spec.dims is None
