"""Structures that name the likely rows of a query from one narrow level; they know no files and no fine
level.

A coarse index is derived from its level and can be made again at any time. It follows growth by taking the
new rows only. Searching and growing may happen in several threads at a time.

Q queries, D width of the level, N rows, K candidates.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np

from hivlp.index.mask import RowMask
from hivlp.index.vectors import LevelArray
from hivlp.types import FloatArray, IntArray


class CoarseIndex(Protocol):
    """Candidates by the cosine at one level."""

    kind: str
    width: int

    def __len__(self) -> int:
        """Rows taken in so far, deleted ones included."""
        ...

    def extend(self, level_ND: LevelArray) -> None:
        """Takes in the rows of the level that are not in yet."""
        ...

    def search(self, queries_QD: FloatArray, count: int, *, mask: RowMask) -> tuple[FloatArray, IntArray]:
        """The best ``count`` allowed rows of each query as (scores_QK, rows_QK).

        Scores are float32 cosines, descending; equal scores by the lower row. Where fewer rows are allowed
        than asked for, the rest is row -1 with score -inf.
        """
        ...

    def nbytes(self) -> int:
        """Bytes held in memory."""
        ...


class ExactIndex:
    """A scan of the whole level as it is stored (float16), scored in float32."""

    kind = "exact"

    def __init__(self, width: int) -> None:
        self.width = width
        self._faiss: Any = importlib.import_module("faiss")  # here, so that importing this module stays cheap
        self._index: Any = self._faiss.IndexScalarQuantizer(
            width, self._faiss.ScalarQuantizer.QT_fp16, self._faiss.METRIC_INNER_PRODUCT
        )
        self._gate = _Gate()

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def extend(self, level_ND: LevelArray) -> None:
        if len(level_ND) <= len(self):
            return
        with self._gate.alone():
            fresh_ND = np.ascontiguousarray(level_ND[len(self) :])
            if len(fresh_ND):  # the stored bytes are already the codes of this kind
                codes = np.frombuffer(fresh_ND.data, np.uint8)
                self._index.add_sa_codes(np.reshape(codes, (len(fresh_ND), 2 * self.width)))

    def search(self, queries_QD: FloatArray, count: int, *, mask: RowMask) -> tuple[FloatArray, IntArray]:
        found = min(count, mask.live)
        scores_QK = np.full((len(queries_QD), count), -np.inf, np.float32)
        rows_QK = np.full((len(queries_QD), count), -1, np.int64)
        if found == 0 or len(queries_QD) == 0:
            return scores_QK, rows_QK
        queries_QD = np.ascontiguousarray(queries_QD, dtype=np.float32)
        with self._gate.shared():
            # faiss keeps this number per calling thread. One query is scanned by one thread, and waking more
            # costs longer than the scan.
            threads = self._faiss.omp_get_max_threads()
            self._faiss.omp_set_num_threads(min(len(queries_QD), threads))
            try:
                scores_QK[:, :found], rows_QK[:, :found] = self._index.search(
                    queries_QD, found, params=self._parameters(mask)
                )
            finally:
                self._faiss.omp_set_num_threads(threads)
        return _in_order(scores_QK, rows_QK)

    def _parameters(self, mask: RowMask) -> Any:
        if mask.live == len(self):
            return None
        if mask.live == mask.rows:  # this coarse index has grown past what the mask knows
            return self._faiss.SearchParameters(sel=self._faiss.IDSelectorRange(0, mask.rows))
        return self._faiss.SearchParameters(sel=self._faiss.IDSelectorBitmap(mask.bits()))

    def nbytes(self) -> int:
        return len(self) * int(self._index.code_size)


KINDS: dict[str, Callable[[int], CoarseIndex]] = {"exact": ExactIndex}
"""Name of a coarse index -> what makes an empty one for a width."""


def _in_order(scores_QK: FloatArray, rows_QK: IntArray) -> tuple[FloatArray, IntArray]:
    """Descending scores, equal ones by the lower row; faiss leaves the order of equal scores open."""
    order_QK = np.lexsort((rows_QK, -scores_QK), axis=-1)
    return np.take_along_axis(scores_QK, order_QK, -1), np.take_along_axis(rows_QK, order_QK, -1)


class _Gate:
    """Any number of searches, or one growth: growing moves the memory that a search reads."""

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._searching = 0
        self._growing = 0

    @contextmanager
    def shared(self) -> Generator[None, None, None]:
        with self._change:
            while self._growing:
                self._change.wait()
            self._searching += 1
        try:
            yield
        finally:
            with self._change:
                self._searching -= 1
                if not self._searching:
                    self._change.notify_all()

    @contextmanager
    def alone(self) -> Generator[None, None, None]:
        with self._change:
            self._growing += 1  # new searches wait, so growth is never starved
            while self._searching:
                self._change.wait()
            try:
                yield
            finally:
                self._growing -= 1
                self._change.notify_all()
