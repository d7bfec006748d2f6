"""Append-only files of vectors, one per level; they know row numbers and nothing about the items.

``levels/<width>.<dtype>`` holds rows of ``width`` numbers one after the other, without header. Which rows
count is in the items' table; bytes behind those rows are the rest of an interrupted write.
So is the number of the generation: each compaction writes new files, ``levels/<width>.g<n>.<dtype>``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from hivlp.errors import IndexFolderError
from hivlp.types import FloatArray, IntArray

LevelArray: TypeAlias = NDArray[np.float16]
# little-endian on every machine, so that an index can be copied between them
DTYPES: dict[str, np.dtype[np.float16]] = {"float16": np.dtype("<f2")}
# Encoders normalise in float32; larger differences mean that a vector was not normalised.
LENGTH_TOLERANCE = 1e-3
# Rows are widened to float32 in blocks of this many, which bounds the memory that it takes.
_BLOCK_ROWS = 8_192


def check_rows(rows_ND: FloatArray, width: int, names: list[str]) -> None:
    """Refuses invalid vectors of a level: wrong shape, NaN, infinity, zero, or another length than 1.

    Args:
        rows_ND: the vectors.
        width: what D must be.
        names: one name a row, for the message.

    Raises:
        IndexFolderError: names the first row that is wrong.
    """
    if rows_ND.ndim != 2 or rows_ND.shape != (len(names), width):
        raise IndexFolderError(
            f"level {width} has an array of shape {rows_ND.shape} for {len(names)} items; it must be "
            f"({len(names)}, {width}). Pass the embeddings of exactly these items."
        )
    with np.errstate(invalid="ignore", over="ignore"):
        lengths_N = np.sqrt(np.einsum("nd,nd->n", rows_ND, rows_ND, dtype=np.float64))
        wrong_N = ~(np.abs(lengths_N - 1.0) <= LENGTH_TOLERANCE)
    if wrong_N.any():
        row = int(np.argmax(wrong_N))
        raise IndexFolderError(
            f"row {row} of the batch ({names[row]!r}) has a vector of length {lengths_N[row]:.6g} at level "
            f"{width}; every vector must be finite and of length 1. Normalise the embeddings, and look at "
            "what the encoder made of this item."
        )


def cosines(level_ND: LevelArray, rows: IntArray, query_D: FloatArray) -> FloatArray:
    """Cosines of one query with some rows, in float32.

    The sum over D runs in one order whatever the number of rows, which a matrix product does not promise: so
    the same pair has the same bits in every batch and every plan.
    """
    scores_K = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), _BLOCK_ROWS):
        part = slice(start, start + _BLOCK_ROWS)
        np.einsum("nd,d->n", level_ND[rows[part]].astype(np.float32), query_D, out=scores_K[part])
    return scores_K


class LevelFile:
    """One level on disk. Reading maps the file; only ``create``, ``append`` and ``truncate`` write.

    Raises:
        IndexFolderError: where the file is missing or can't be written.
    """

    def __init__(self, folder: Path, width: int, dtype: str = "float16", generation: int = 0) -> None:
        self.path = folder / (f"{width}.g{generation}.{dtype}" if generation else f"{width}.{dtype}")
        self.width = width
        self.dtype: np.dtype[np.float16] = DTYPES[dtype]
        self.row_bytes = width * self.dtype.itemsize

    def create(self) -> None:
        """Makes the empty file. Raises FileExistsError where there is one."""
        with self.path.open("xb") as file:
            os.fsync(file.fileno())

    def rows_on_disk(self) -> int:
        """Whole rows in the file, committed or not."""
        try:
            return self.path.stat().st_size // self.row_bytes
        except OSError as error:
            raise IndexFolderError(
                f"{self.path} can't be read: {error.strerror or error}. The index needs the vectors of all "
                "its levels: restore this file from a copy, or index again into a new folder."
            ) from error

    def check(self, committed: int) -> None:
        """Refuses a file that lacks rows which were committed."""
        found = self.rows_on_disk()
        if found < committed:
            raise IndexFolderError(
                f"{self.path} is truncated: it holds {found} rows, and {committed} were committed. "
                "Restore this file from a copy, or index again into a new folder."
            )

    def truncate(self, committed: int) -> None:
        """Cuts off what an interrupted write left behind the committed rows."""
        if self.path.stat().st_size == committed * self.row_bytes:
            return
        # Windows refuses while another process maps the file; ``append`` overwrites what then stays.
        try:
            os.truncate(self.path, committed * self.row_bytes)
        except PermissionError:
            if os.name != "nt":
                raise

    def append(self, rows_ND: LevelArray, committed: int) -> None:
        """Writes rows right behind the committed ones and waits until they are on the disk."""
        with self.path.open("r+b") as file:
            file.seek(committed * self.row_bytes)
            file.write(np.ascontiguousarray(rows_ND, dtype=self.dtype).data)
            file.flush()
            os.fsync(file.fileno())

    def read(self, committed: int) -> LevelArray:
        """The committed rows, memory-mapped and read-only: committed × width."""
        if committed == 0:  # an empty file can't be mapped
            return np.empty((0, self.width), self.dtype)
        mapped = np.memmap(self.path, self.dtype, mode="r", shape=(committed, self.width))
        return np.asarray(mapped)  # a plain view: numpy's memmap class makes every slice slower
