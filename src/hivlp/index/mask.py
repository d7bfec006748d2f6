"""Which rows of an index a search may return; it knows neither vectors nor items.

A mask is one moment of an index: rows that were added later are not in it, whatever else has grown since.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hivlp.types import IntArray


class RowMask:
    """The first ``rows`` rows without some that are deleted, or only some of those that are left.

    Attributes:
        rows: number of rows of this moment, deleted ones included.
        deleted: the rows that are deleted or left out, ascending.
        live: how many rows may be returned.
        filtered: whether a filter allows only some of the rows that are not deleted.
    """

    def __init__(
        self, rows: int, deleted: IntArray | None = None, *, allowed: IntArray | None = None
    ) -> None:
        self.rows = rows
        self.deleted = np.empty(0, np.int64) if deleted is None else deleted
        self.filtered = allowed is not None
        self._live_rows = None if allowed is None else self._without_deleted(allowed)
        self.live = rows - len(self.deleted) if self._live_rows is None else len(self._live_rows)
        self._bits: NDArray[np.uint8] | None = None

    def only(self, allowed: IntArray) -> RowMask:
        """The same moment, where a search may return just these rows (any order), less the deleted ones."""
        return RowMask(self.rows, self.deleted, allowed=allowed)

    def without(self, rows: IntArray) -> RowMask:
        """The same moment, where a search returns none of these rows (any order) either."""
        rows = np.unique(rows[rows < self.rows])
        places = np.searchsorted(self.deleted, rows)
        known = np.append(self.deleted, -1)[places] == rows
        deleted = np.insert(self.deleted, places[~known], rows[~known])
        return RowMask(self.rows, deleted, allowed=self._live_rows if self.filtered else None)

    def live_rows(self) -> IntArray:
        """The rows that may be returned, ascending."""
        if self._live_rows is None:
            self._live_rows = np.delete(np.arange(self.rows, dtype=np.int64), self.deleted)
        return self._live_rows

    def hidden_rows(self) -> IntArray:
        """The rows that may not be returned, ascending."""
        if not self.filtered:
            return self.deleted
        return np.delete(np.arange(self.rows, dtype=np.int64), self.live_rows())

    def bits(self) -> NDArray[np.uint8]:
        """One bit a row, lowest bit first, 1 for a row that may be returned."""
        if self._bits is None:
            allowed_N = np.zeros(self.rows, np.bool_) if self.filtered else np.ones(self.rows, np.bool_)
            if self.filtered:
                allowed_N[self.live_rows()] = True
            else:
                allowed_N[self.deleted] = False
            self._bits = np.packbits(allowed_N, bitorder="little")
        return self._bits

    def _without_deleted(self, allowed: IntArray) -> IntArray:
        chosen_N = np.zeros(self.rows, np.bool_)  # many times faster than sets of sorted numbers
        chosen_N[allowed[(allowed >= 0) & (allowed < self.rows)]] = True
        chosen_N[self.deleted] = False
        return np.flatnonzero(chosen_N)
