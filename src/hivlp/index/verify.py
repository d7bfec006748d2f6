"""Reads a whole index folder and lists its damage; it repairs nothing."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from hivlp.errors import IndexFolderError
from hivlp.index.items import Checksum, ItemTable, Moment
from hivlp.index.layout import ITEMS, MANIFEST, leftovers, level_files, strange_levels
from hivlp.index.manifest import Manifest
from hivlp.index.vectors import LENGTH_TOLERANCE, LevelArray, LevelFile
from hivlp.types import Progress

_BLOCK_ROWS, _BLOCK_ITEMS = 16_384, 500
_REMEDY = "Restore the folder from a copy, or index again into a new one."


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What ``verify`` found.

    Attributes:
        items: number of items; None where it is unknown.
        problems: one sentence each, with its remedy; empty when all is well.
        notes: remarks that are not damage.
    """

    items: int | None = None
    problems: list[str] = field(default_factory=list[str])
    notes: list[str] = field(default_factory=list[str])


def verify(folder: Path, progress: Progress | None = None) -> Findings:
    """Reads everything and checks every promise of the format.

    Args:
        folder: the index; it may be too damaged to open, and may change meanwhile.
        progress: see `types.Progress`; it counts rows over all levels.

    Raises:
        IndexFolderError: the folder is not an index.
    """
    try:
        manifest = Manifest.read(folder)
        table = ItemTable(folder / ITEMS, writable=False)
    except IndexFolderError as error:
        if not any((folder / name).exists() for name in (MANIFEST, ITEMS)):
            raise
        return Findings(problems=[str(error)])
    found: list[str] = []
    with ExitStack() as stack:
        stack.callback(table.close)
        try:
            found += _table_problems(folder / ITEMS, table)
            opened = _open(folder, manifest, table, stack)
        except IndexFolderError as error:
            return Findings(problems=[*found, str(error)])
        moment = opened.moment
        found += _folder_problems(folder, manifest, moment)
        found += _level_problems(opened, progress)
    return Findings(
        items=moment.rows - len(moment.deleted),
        problems=found,
        notes=[_left(path) for path in leftovers(folder, moment.generation)],
    )


@dataclass(frozen=True)
class _Opened:
    """One moment of an index: what the table says, and the files of its levels, None for a missing one."""

    moment: Moment
    checksums: list[Checksum]
    levels: Mapping[int, LevelFile]
    files: Mapping[int, BinaryIO | None]


def _open(folder: Path, manifest: Manifest, table: ItemTable, stack: ExitStack) -> _Opened:
    """Files that were opened stay readable when a compaction removes them, so one moment is enough."""
    while True:
        with table.one_moment():
            moment, checksums = table.state(), table.checksums()
        levels = level_files(folder, manifest, moment.generation)
        files = {width: _opened_file(level.path, stack) for width, level in levels.items()}
        if None not in files.values() or table.generation() == moment.generation:
            return _Opened(moment, checksums, levels, files)


def _opened_file(path: Path, stack: ExitStack) -> BinaryIO | None:
    try:
        return stack.enter_context(path.open("rb"))
    except OSError:
        return None


def _table_problems(path: Path, table: ItemTable) -> list[str]:
    with table.one_moment():
        damage = [line for (line,) in table.read("PRAGMA integrity_check") if line != "ok"]
        gaps = table.read(
            "WITH steps AS (SELECT row, lag(row, 1, -1) OVER (ORDER BY row) AS last FROM items) "
            "SELECT last + 1, row FROM steps WHERE row > last + 1 LIMIT 5"
        )
        twice = table.read("SELECT id FROM items WHERE deleted = 0 GROUP BY id HAVING count(*) > 1 LIMIT 5")
        return [
            *(f"{path} is damaged: {line}. {_REMEDY}" for line in damage),
            *(f"{path} lacks {_rows(first, end)}: lost without a trace. {_REMEDY}" for first, end in gaps),
            *(f"{path} has the id {name!r} more than once. {_REMEDY}" for (name,) in twice),
            *_unreadable_rows(table),
        ]


def _unreadable_rows(table: ItemTable) -> Iterator[str]:
    """Items have no checksum, but invalid text or JSON is noticed when it is read."""
    rows = [row for (row,) in table.read("SELECT row FROM items ORDER BY row")]
    for start in range(0, len(rows), _BLOCK_ITEMS):
        part = rows[start : start + _BLOCK_ITEMS]
        if _fault(table, part):
            yield from (f"row {row}: {fault}" for row in part if (fault := _fault(table, [row])))


def _fault(table: ItemTable, rows: list[int]) -> IndexFolderError | None:
    try:
        table.fetch(rows)
    except IndexFolderError as error:
        return error
    return None


def _folder_problems(folder: Path, manifest: Manifest, moment: Moment) -> list[str]:
    found = [
        f"{path} is a level that {MANIFEST} does not name (it has {list(manifest.widths)}). Restore "
        f"{MANIFEST} from a copy; if the file is of your own making, move it elsewhere."
        for path in strange_levels(folder, manifest)
    ]
    if moment.generation and Manifest.read(folder).version < 2:  # read anew: it may have just been compacted
        found.append(
            f"{folder / MANIFEST} says format {manifest.version}, and the index was compacted, which that "
            'format does not know: an old hivlp would misread it. Set "version" to 2 in this file.'
        )
    return found


def _level_problems(opened: _Opened, progress: Progress | None) -> list[str]:
    found: list[str] = []
    done, total = 0, sum(block.rows for block in opened.checksums)
    for width, level in opened.levels.items():
        blocks = [block for block in opened.checksums if block.width == width]
        found += _uncovered(blocks, width, opened.moment.rows)
        file = opened.files[width]
        stored = opened.moment.rows if file is None else os.fstat(file.fileno()).st_size // level.row_bytes
        if file is None:
            lost = _rows(0, opened.moment.rows)
            found.append(f"{level.path} is missing or closed to you: no vectors of {lost}. {_REMEDY}")
        elif stored < opened.moment.rows:
            found.append(
                f"{level.path} is truncated: it holds {stored} rows, and {opened.moment.rows} were "
                f"committed; {_rows(stored, opened.moment.rows)} are gone. {_REMEDY}"
            )
        for block in blocks:
            if file is not None and block.first_row + block.rows <= stored:
                found += _block_problems(level, file, block)
            done += block.rows
            if progress is not None:
                progress("", done, total)
    return found


def _uncovered(blocks: list[Checksum], width: int, rows: int) -> Iterator[str]:
    """Every row has one checksum a level; where it does not, rows were lost from the table."""
    covered = 0
    for first, end in [*((block.first_row, block.first_row + block.rows) for block in blocks), (rows, rows)]:
        if first > covered:
            yield f"{ITEMS} has no checksum for {_rows(covered, first)} of level {width}. {_REMEDY}"
        covered = max(covered, end)
    if covered > rows:
        yield f"{ITEMS} has vectors but no items for {_rows(rows, covered)} of level {width}. {_REMEDY}"


def _block_problems(level: LevelFile, file: BinaryIO, block: Checksum) -> list[str]:
    rows = _rows(block.first_row, block.first_row + block.rows)
    try:
        file.seek(block.first_row * level.row_bytes)
        content = file.read(block.rows * level.row_bytes)
    except OSError as error:
        return [f"{level.path} can't be read in {rows}: {error.strerror or error}. {_REMEDY}"]
    if zlib.crc32(content) != block.crc32:
        return [f"{level.path} differs in {rows} from what was written: the file was damaged. {_REMEDY}"]
    stored_ND: LevelArray = np.ndarray((block.rows, level.width), level.dtype, content)
    for start in range(0, block.rows, _BLOCK_ROWS):
        part_ND = stored_ND[start : start + _BLOCK_ROWS].astype(np.float32)
        lengths_N = np.sqrt(np.einsum("nd,nd->n", part_ND, part_ND))
        # Half precision moves a length by up to 2^-11 beyond what was let in.
        if not (np.abs(lengths_N - 1.0) <= LENGTH_TOLERANCE + 2.0**-10).all():
            return [f"{level.path} has vectors in {rows} that are not of length 1. {_REMEDY}"]
    return []


def _rows(first: int, end: int) -> str:
    return f"row {first}" if end == first + 1 else f"rows {first} to {end - 1}"


def _left(path: Path) -> str:
    try:
        size = path.stat().st_size
    except FileNotFoundError:  # a write that runs has removed it since
        size = 0
    return (
        f"{path} ({size:,} bytes) is the rest of an interrupted write, or part of one that runs. It does no "
        "harm; the next command that writes to the index removes it."
    )
