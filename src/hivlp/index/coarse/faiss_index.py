"""A coarse index over faiss: one way to learn, grow and search, which the kinds fill in.

Q queries, D width of the level, N rows, K candidates.
"""

from __future__ import annotations

import importlib
import math
from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hivlp.index.coarse.base import BLOCK_ROWS, Effort, in_order, no_rows, scan_rows
from hivlp.index.coarse.gate import ReadersWriterLock
from hivlp.index.coarse.spec import CoarseSpec
from hivlp.index.mask import RowMask
from hivlp.index.vectors import LevelArray
from hivlp.types import FloatArray, IntArray

_TRAINING_ROWS = 65_536  # enough for directions and code books; more changes nothing that can be measured
OUTGROWN = 8  # building anew at every eighth size costs a seventh of the final building in all
_ROWS_A_THREAD = 10_000  # below, waking another thread costs more than the learning that it takes over


class FaissIndex(ABC):
    """What all kinds share. A kind makes its faiss index, says how to ask it, and whether it must learn."""

    scan_up_to = 2_048
    """With so few allowed rows their vectors are compared one by one: exact, and faster than a structure."""

    def __init__(self, spec: CoarseSpec) -> None:
        self.spec = spec
        self.trained_rows = 0
        self._faiss: Any = importlib.import_module("faiss")  # here, so that importing this module stays cheap
        self._index: Any = None
        self._rows = 0  # faiss knows it too, but a call of it costs microseconds a search
        self._plain: dict[Effort, Any] = {}  # parameters of searches without a selector
        self._level: LevelArray = np.empty((0, spec.width), np.float16)
        self._gate = ReadersWriterLock()

    def __len__(self) -> int:
        return self._rows

    def covers(self, rows: int) -> bool:
        return rows <= min(self._rows, len(self._level))  # what was restored may know more than was read

    def extend(self, level_ND: LevelArray) -> None:
        if len(level_ND) > len(self._level):
            self._level = level_ND
        if len(level_ND) <= len(self):
            return
        useful = len(level_ND) // _ROWS_A_THREAD
        with self._gate.alone(), self._threads(useful):
            if self._index is None:
                # Code books of one direction each are learned in microseconds: more threads only wait for
                # each other, and beside a busy process that took nine times as long.
                with self._threads(1 if self.spec.code == "pq4" else useful):
                    self._index = self._made(level_ND)
            before = len(self)
            for start in range(before, len(level_ND), BLOCK_ROWS):
                self._take_in(level_ND[start : start + BLOCK_ROWS])
                self._rows = int(self._index.ntotal)
            if len(self) >= 2 * before:
                # Lists that grew hold room for as much again. What is read is as small as it can be.
                self._index = self._of_bytes(self._to_bytes())

    def search(
        self, queries_QD: FloatArray, count: int, *, mask: RowMask, effort: Effort
    ) -> tuple[FloatArray, IntArray]:
        queries_QD = np.ascontiguousarray(queries_QD, dtype=np.float32)
        found = min(count, mask.live)
        if found == 0 or len(queries_QD) == 0:
            return no_rows(len(queries_QD), count)
        if self._rather_scans(mask):
            return scan_rows(self._level, mask.live_rows(), queries_QD, count)
        with self._gate.shared, self._searching_threads(len(queries_QD)):
            scores_QK, rows_QK = self._ask(queries_QD, found, mask, effort)
            short_Q = rows_QK[:, -1] < 0
            if short_Q.any():  # the lists or the part of the graph that were visited hold too few rows
                more = self._ask(queries_QD[short_Q], found, mask, self._utmost())
                scores_QK[short_Q], rows_QK[short_Q] = more
                short_Q = rows_QK[:, -1] < 0
                more = scan_rows(self._level, mask.live_rows(), queries_QD[short_Q], found)
                scores_QK[short_Q], rows_QK[short_Q] = more
        scores_QK, rows_QK = in_order(scores_QK, rows_QK)
        return (scores_QK, rows_QK) if found == count else _padded(scores_QK, rows_QK, count)

    def outgrown(self, rows: int) -> bool:
        learns = self.spec.dims is not None or self.spec.code != "float16"
        return learns and 0 < self.trained_rows < _TRAINING_ROWS and rows > OUTGROWN * self.trained_rows

    def nbytes(self) -> int:
        return len(self) * self._row_bytes()

    def serialise(self) -> bytes:
        with self._gate.shared:
            return self._to_bytes().tobytes()

    def restore(self, content: bytes, *, trained_rows: int) -> None:
        try:
            index = self._of_bytes(np.frombuffer(content, np.uint8))
        except RuntimeError as error:
            raise ValueError(f"faiss can't read it: {error}") from error
        if index.d != self._faiss_width:
            raise ValueError(f"it is for {index.d} numbers or bits a row, not {self._faiss_width}")
        self._took_over(index, trained_rows)

    def _to_bytes(self) -> NDArray[np.uint8]:
        return self._faiss.serialize_index(self._index)

    def _of_bytes(self, content: NDArray[np.uint8]) -> Any:
        return self._faiss.deserialize_index(content)

    @property
    def _faiss_width(self) -> int:
        """Numbers (or bits) of a row as the outermost faiss index takes it."""
        return self.spec.width

    def _took_over(self, index: Any, trained_rows: int) -> None:
        self._index, self._rows, self.trained_rows = index, int(index.ntotal), trained_rows

    @property
    def _dims(self) -> int:
        return self.spec.dims or self.spec.width

    def _rather_scans(self, mask: RowMask) -> bool:
        return mask.live <= self.scan_up_to

    def _made(self, level_ND: LevelArray) -> Any:
        """The empty index, with what it has to learn learned from the rows that there are."""
        self.trained_rows = len(level_ND)
        sample_ND = _sample(level_ND)
        base = self._base(len(level_ND))
        if self.spec.dims is None:
            base.train(sample_ND)
            return base
        rotation = self._faiss.LinearTransform(self.spec.width, self.spec.dims, False)
        directions_DD = principal_directions(sample_ND, self.spec.dims)
        self._faiss.copy_array_to_vector(directions_DD.ravel(), rotation.A)
        rotation.is_trained = True
        base.train(rotation.apply(sample_ND))
        index = self._faiss.IndexPreTransform(rotation, base)
        for part in (rotation, base):
            part.this.disown()
        index.own_fields = True
        return index

    @abstractmethod
    def _base(self, rows: int) -> Any:
        """The empty, untrained faiss index behind the rotation, for about `count` rows."""

    def _take_in(self, rows_ND: LevelArray) -> None:
        self._index.add(rows_ND.astype(np.float32))

    def _row_bytes(self) -> int:
        return int(self._inner().sa_code_size())

    def _inner(self) -> Any:
        """The faiss index behind the rotation."""
        chain = isinstance(self._index, self._faiss.IndexPreTransform)
        return self._faiss.downcast_index(self._index.index) if chain else self._index

    def _ask(
        self, queries_QD: FloatArray, count: int, mask: RowMask, effort: Effort
    ) -> tuple[FloatArray, IntArray]:
        return self._index.search(queries_QD, count, params=self._parameters(count, mask, effort))

    def _parameters(self, count: int, mask: RowMask, effort: Effort) -> Any:
        """The search parameters of faiss; made once for searches of all rows."""
        selector = self._selector(mask)
        if selector is not None:
            return self._new_parameters(count, mask, effort, selector)
        if effort not in self._plain:
            self._plain[effort] = self._new_parameters(count, mask, effort, None)
        return self._plain[effort]

    def _new_parameters(self, count: int, mask: RowMask, effort: Effort, selector: Any) -> Any:
        return self._faiss.SearchParameters(sel=selector)

    def _selector(self, mask: RowMask) -> Any:
        if mask.live == len(self):
            return None
        if mask.live == mask.rows:  # this coarse index has grown past what the mask knows
            return self._faiss.IDSelectorRange(0, mask.rows)
        return self._faiss.IDSelectorBitmap(mask.bits())

    def _utmost(self) -> Effort:
        return Effort()

    def _quantiser(self) -> int:
        kinds = self._faiss.ScalarQuantizer
        return kinds.QT_8bit if self.spec.code == "int8" else kinds.QT_fp16

    def _searching_threads(self, queries: int) -> AbstractContextManager[None]:
        return self._threads(queries)

    @contextmanager
    def _threads(self, useful: int) -> Generator[None, None, None]:
        """No more threads than are of use, such as one for one query: waking more costs longer than it.

        faiss keeps this number per calling thread.
        """
        threads = self._faiss.omp_get_max_threads()
        if useful >= threads:
            yield
            return
        self._faiss.omp_set_num_threads(max(1, useful))
        try:
            yield
        finally:
            self._faiss.omp_set_num_threads(threads)


def principal_directions(sample_ND: FloatArray, dims: int) -> FloatArray:
    """The ``dims`` orthonormal directions in which the rows are longest: dims × D.

    Of the second moment, not of the variance: a cosine is a dot product of whole vectors, and moving the
    origin would change the order of rows.
    """
    moment_DD = np.matmul(np.transpose(sample_ND), sample_ND, dtype=np.float32)
    directions_DD = np.linalg.eigh(np.float64(moment_DD))[1][:, ::-1]  # eigenvalues ascend
    return np.ascontiguousarray(np.transpose(directions_DD[:, :dims]), dtype=np.float32)


def _padded(scores_QK: FloatArray, rows_QK: IntArray, count: int) -> tuple[FloatArray, IntArray]:
    padded = no_rows(len(rows_QK), count)
    for target, some in zip(padded, (scores_QK, rows_QK), strict=True):
        target[:, : some.shape[1]] = some
    return padded


def _sample(level_ND: LevelArray) -> FloatArray:
    """Evenly spread rows to learn from, as float32; few rows are repeated, since code books need some."""
    step = max(1, math.ceil(len(level_ND) / _TRAINING_ROWS))
    sample_ND = level_ND[::step].astype(np.float32)
    return np.resize(sample_ND, (max(len(sample_ND), 256), level_ND.shape[1]))
