"""The interface of coarse indexes, and the plain scan that replaces them where a filter leaves few rows.

Q queries, D width of the level, N rows, K candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from hivlp.index.coarse.spec import CoarseSpec
from hivlp.index.mask import RowMask
from hivlp.index.vectors import LevelArray, cosines
from hivlp.types import FloatArray, IntArray

# Rows are widened to float32 in blocks of this many: 33 MB at 512 numbers a row.
BLOCK_ROWS = 16_384


@dataclass(frozen=True)
class Effort:
    """How hard an approximate coarse index looks; more finds more and takes longer.

    Attributes:
        nprobe: lists that ``ivf`` scans a query.
        ef_search: rows that ``hnsw`` keeps in view a query; never fewer than the candidates wanted.
    """

    nprobe: int = 16
    ef_search: int = 64


class CoarseIndex(Protocol):
    """Candidates by the stored codes of one level.

    A coarse index is derived from its level and can be made again at any time. It follows growth by taking
    the new rows only. Searching and growing may happen in several threads at a time.
    """

    spec: CoarseSpec
    trained_rows: int
    """Rows that were there when it learned its directions, ranges and lists; 0 where nothing is learned."""

    def __len__(self) -> int:
        """Rows taken in so far, deleted ones included."""
        ...

    def covers(self, rows: int) -> bool:
        """Whether ``extend`` has been given the first ``rows`` rows, so that it can be searched for them."""
        ...

    def extend(self, level_ND: LevelArray) -> None:
        """Takes in the rows of the level that are not in yet."""
        ...

    def search(
        self, queries_QD: FloatArray, count: int, *, mask: RowMask, effort: Effort
    ) -> tuple[FloatArray, IntArray]:
        """The best ``count`` allowed rows of each query as (scores_QK, rows_QK).

        Scores are float32 estimates of the cosine at the level, descending; equal scores by the lower row.
        Where fewer than `count` rows are allowed, the rest is row -1 with score -inf.
        """
        ...

    def outgrown(self, rows: int) -> bool:
        """Whether the index has outgrown its training on the first rows and must be built again."""
        ...

    def nbytes(self) -> int:
        """Bytes of codes, row numbers and links held in memory."""
        ...

    def serialise(self) -> bytes:
        """Everything that was learned and taken in, for ``restore``."""
        ...

    def restore(self, content: bytes, *, trained_rows: int) -> None:
        """Takes over what ``serialise`` gave. Raises ValueError where it is something else."""
        ...


def scan_rows(
    level_ND: LevelArray, rows_N: IntArray, queries_QD: FloatArray, count: int
) -> tuple[FloatArray, IntArray]:
    """The best ``count`` of some rows by their cosine at the level; the form of ``CoarseIndex.search``."""
    scores_QK, rows_QK = no_rows(len(queries_QD), count)
    found = min(count, len(rows_N))
    for query_D, scores_K, rows_K in zip(queries_QD, scores_QK, rows_QK, strict=True):
        scores_N = cosines(level_ND, rows_N, query_D)
        best = best_first(scores_N, rows_N)[:found]
        scores_K[:found], rows_K[:found] = scores_N[best], rows_N[best]
    return scores_QK, rows_QK


def best_first(scores_N: FloatArray, rows_N: IntArray) -> IntArray:
    """Positions along the last axis in descending order of score; equal scores by the lower row."""
    return np.lexsort((rows_N, -scores_N))


def no_rows(queries: int, count: int) -> tuple[FloatArray, IntArray]:
    """An answer without any row: scores -inf, rows -1."""
    return np.full((queries, count), -np.inf, np.float32), np.full((queries, count), -1, np.int64)


def in_order(scores_QK: FloatArray, rows_QK: IntArray) -> tuple[FloatArray, IntArray]:
    """Descending scores, equal ones by the lower row; faiss leaves the order of equal scores open."""
    if (scores_QK[:, 1:] < scores_QK[:, :-1]).all():  # no equal ones, and faiss has sorted the others
        return scores_QK, rows_QK
    order_QK = best_first(scores_QK, rows_QK)
    return np.take_along_axis(scores_QK, order_QK, -1), np.take_along_axis(rows_QK, order_QK, -1)
