"""The kinds of coarse indexes: each makes its faiss index and sets its search parameters.

Q queries, D width of the level, N rows, K candidates.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hivlp.index.coarse.base import Effort
from hivlp.index.coarse.faiss_index import OUTGROWN, FaissIndex
from hivlp.index.mask import RowMask
from hivlp.index.vectors import LevelArray
from hivlp.types import FloatArray, IntArray

_SEED = 1234
_ROWS_A_LIST = 32  # with fewer rows a list, reading the centroids costs more than reading the lists
_MOST_LISTS = 16_384


class ExactIndex(FaissIndex):
    """A scan of every row, exact for the level in ``float16``: the oracle of all the others."""

    def _rather_scans(self, mask: RowMask) -> bool:
        return False  # the scan has one order of summation whatever the batch, which a test relies on

    def _base(self, rows: int) -> Any:
        return self._faiss.IndexScalarQuantizer(
            self._dims, self._quantiser(), self._faiss.METRIC_INNER_PRODUCT
        )

    def _take_in(self, rows_ND: LevelArray) -> None:
        if self.spec.dims is not None or self.spec.code != "float16":
            return super()._take_in(rows_ND)
        codes = np.frombuffer(
            np.ascontiguousarray(rows_ND).data, np.uint8
        )  # stored as the codes of this kind
        self._index.add_sa_codes(np.reshape(codes, (len(rows_ND), 2 * self.spec.width)))


class IvfIndex(FaissIndex):
    """Inverted lists: a query reads the ``nprobe`` lists with the nearest centroids only."""

    def _searching_threads(self, queries: int) -> AbstractContextManager[None]:
        return nullcontext()  # faiss itself takes one thread for one query here

    def _base(self, rows: int) -> Any:
        lists = min(self.spec.lists or default_lists(rows), max(1, rows // _ROWS_A_LIST))
        quantizer = self._faiss.IndexFlatIP(self._dims)
        metric = self._faiss.METRIC_INNER_PRODUCT
        if self.spec.code == "pq4":
            # One direction a sub-quantiser: the rotation has made the directions independent already.
            index = self._faiss.IndexIVFPQFastScan(quantizer, self._dims, lists, self._dims, 4, metric)
            index.pq.cp.min_points_per_centroid = 1
        else:
            index = self._faiss.IndexIVFScalarQuantizer(
                quantizer, self._dims, lists, self._quantiser(), metric, False
            )
        quantizer.this.disown()
        index.own_fields = True
        index.cp.min_points_per_centroid = 1  # small collections are fine
        index.cp.max_points_per_centroid = 64
        return index

    def outgrown(self, rows: int) -> bool:
        return self.trained_rows > 0 and rows > OUTGROWN * self.trained_rows  # lists grow too long

    def _row_bytes(self) -> int:
        return int(self._inner().code_size) + 8  # every list keeps the row numbers of its codes

    def _new_parameters(self, count: int, mask: RowMask, effort: Effort, selector: Any) -> Any:
        # Where few rows are allowed the nearest of them lie in more lists: as many allowed rows are visited
        # as without a filter.
        nprobe = min(math.ceil(effort.nprobe * len(self) / mask.live), int(self._inner().nlist))
        return self._faiss.SearchParametersIVF(nprobe=nprobe, sel=selector)

    def _utmost(self) -> Effort:
        return Effort(nprobe=int(self._inner().nlist))


class PqIndex(IvfIndex):
    """A scan of 4-bit codes: one inverted list of them, since faiss can skip rows in lists only."""

    def _base(self, rows: int) -> Any:
        return super()._base(1)


class HnswIndex(FaissIndex):
    """A graph of near neighbours, walked from a fixed entry towards the query."""

    least_share = 0.1
    """Below this share of allowed rows the walk passes mostly rows that don't count, so they are scanned."""

    def _rather_scans(self, mask: RowMask) -> bool:
        return super()._rather_scans(mask) or mask.live < self.least_share * len(self)

    def _base(self, rows: int) -> Any:
        return self._faiss.IndexHNSWSQ(
            self._dims, self._quantiser(), self.spec.links, self._faiss.METRIC_INNER_PRODUCT
        )

    def _row_bytes(self) -> int:
        code = int(self._faiss.downcast_index(self._inner().storage).code_size)
        return code + 4 * 2 * self.spec.links + 12  # the ground layer's links, and where they begin

    def _parameters(self, count: int, mask: RowMask, effort: Effort) -> Any:
        ef_search = min(math.ceil(max(effort.ef_search, count) * len(self) / mask.live), len(self))
        return self._faiss.SearchParametersHNSW(efSearch=ef_search, sel=self._selector(mask))

    def _utmost(self) -> Effort:
        return Effort(ef_search=len(self))


class BitsIndex(FaissIndex):
    """Signs of the level, or of random directions of it, compared by the number that differ.

    The angle between two vectors is the expected share of random directions on whose sides they differ, times
    pi. So scores are the cosines of that angle.
    """

    @property
    def _bits(self) -> int:
        return 8 * math.ceil(self._dims / 8)

    def outgrown(self, rows: int) -> bool:
        return False  # nothing is learned

    def _made(self, level_ND: LevelArray) -> Any:
        return self._base(len(level_ND))

    def _base(self, rows: int) -> Any:
        return self._faiss.IndexBinaryFlat(self._bits)

    def _take_in(self, rows_ND: LevelArray) -> None:
        self._index.add(self._signs(rows_ND.astype(np.float32)))

    def _row_bytes(self) -> int:
        return self._bits // 8

    def _ask(
        self, queries_QD: FloatArray, count: int, mask: RowMask, effort: Effort
    ) -> tuple[FloatArray, IntArray]:
        codes = self._signs(queries_QD)
        apart_QK, rows_QK = self._index.search(codes, count, params=self._parameters(count, mask, effort))
        scores_QK = np.cos(np.pi / self._dims * np.minimum(apart_QK, self._dims)).astype(np.float32)
        scores_QK[rows_QK < 0] = -np.inf
        return scores_QK, rows_QK.astype(np.int64)

    def _to_bytes(self) -> NDArray[np.uint8]:
        return self._faiss.serialize_index_binary(self._index)

    def _of_bytes(self, content: NDArray[np.uint8]) -> Any:
        return self._faiss.deserialize_index_binary(content)

    @property
    def _faiss_width(self) -> int:
        return self._bits

    def _signs(self, rows_ND: FloatArray) -> NDArray[np.uint8]:
        if self.spec.dims is not None:
            rows_ND = self._rotation().apply(rows_ND)
        return np.packbits(rows_ND > 0, axis=1)

    def _rotation(self) -> Any:
        if not hasattr(self, "_random"):
            rotation = self._faiss.RandomRotationMatrix(self.spec.width, self._dims)
            rotation.init(_SEED)
            self._random: Any = rotation  # when it is whole: another thread may look
        return self._random


KINDS: dict[str, type[FaissIndex]] = {
    "exact": ExactIndex,
    "pq": PqIndex,
    "bits": BitsIndex,
    "ivf": IvfIndex,
    "hnsw": HnswIndex,
}
"""Kind of a coarse index -> its class."""


def default_lists(rows: int) -> int:
    """Number of inverted lists: about twice the root of the rows, a power of two."""
    return min(2 ** max(0, round(math.log2(2 * math.sqrt(max(rows, 1))))), _MOST_LISTS)
