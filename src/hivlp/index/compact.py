"""Level files of a new generation, which hold the live rows only; it knows no items and commits nothing."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from hivlp.errors import IndexFolderError
from hivlp.index.items import Checksum
from hivlp.index.mask import RowMask
from hivlp.index.vectors import LevelArray, LevelFile
from hivlp.types import IntArray, Progress

_BLOCK_ROWS = 16_384


@dataclass(frozen=True, kw_only=True)
class CompactReport:
    """What one ``compact`` did.

    Attributes:
        dropped: rows of deleted items that are gone for good.
        bytes_freed: what the folder takes less than before, in bytes.
    """

    dropped: int = 0
    bytes_freed: int = 0


def copy_live_rows(
    mask: RowMask,
    checksums: Sequence[Checksum],
    sources: Mapping[int, LevelFile],
    targets: Mapping[int, LevelFile],
    progress: Progress | None = None,
) -> list[Checksum]:
    """Writes the live rows of each level into a new file, on the disk on return.

    Damage would get a valid checksum by being copied, so every block is compared with its own first.

    Args:
        mask: which rows are live.
        checksums: those of the sources, by first row.
        sources: the level files to read, by width.
        targets: the level files to make.
        progress: see `types.Progress`; it counts rows over all levels.

    Returns:
        The checksums of the new files.

    Raises:
        IndexFolderError: a source is damaged.
        OSError: the disk is full, or can't be read or written; files made so far stay.
    """
    live = mask.live_rows()
    written: list[Checksum] = []
    for number, (width, target) in enumerate(targets.items()):
        blocks = [block for block in checksums if block.width == width]
        with target.path.open("xb") as file:
            for part_ND, block in _joined(_live_parts(sources[width], mask.rows, blocks, live)):
                file.write(part_ND.data)
                written.append(block)
                if progress is not None:
                    done = number * len(live) + block.first_row + block.rows
                    progress("", done, len(targets) * len(live))
            _sync(file)
    return written


def _live_parts(
    source: LevelFile, rows: int, blocks: Sequence[Checksum], live: IntArray
) -> Iterator[LevelArray]:
    """The live rows of a level, one block of a checksum at a time, after it was compared."""
    level_ND, covered = source.read(rows), 0
    for block in blocks:
        end = block.first_row + block.rows
        if block.first_row != covered or zlib.crc32(level_ND[covered:end].data) != block.crc32:
            break
        yield level_ND[live[slice(*np.searchsorted(live, (covered, end)))]]
        covered = end
    if covered != rows:
        raise IndexFolderError(
            f"{source.path} is not what was written from row {covered} on, so the index was not compacted "
            "and is as it was. Run hivlp verify for the details, and restore the folder from a copy."
        )


def _joined(parts: Iterator[LevelArray]) -> Iterator[tuple[LevelArray, Checksum]]:
    """Blocks of a useful size, with their checksums: an index may have grown by very small batches."""
    first, waiting, count = 0, list[LevelArray](), 0

    def block() -> tuple[LevelArray, Checksum]:
        rows_ND = np.concatenate(waiting)
        return rows_ND, Checksum(first, rows_ND.shape[1], len(rows_ND), zlib.crc32(rows_ND.data))

    for part_ND in parts:
        waiting.append(part_ND)
        count += len(part_ND)
        if count >= _BLOCK_ROWS:
            yield block()
            first, waiting, count = first + count, [], 0
    if count:
        yield block()


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
