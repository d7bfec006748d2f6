"""The exact answer of each query, and how much of it an engine found; it knows no engines.

Recall@10 is the share of the ten best items that came back. Items are compared by their exact scores, not by
their numbers: a returned row that scores as high as the tenth best counts, whichever of equal rows it is.

Q queries, D width, N items, K results.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hivlp.index.vectors import LevelArray
from hivlp.tune.statistics import recall_bound
from hivlp.types import FloatArray, IntArray

DEPTH = 10
# Exact engines add up float32 products in different orders; scores this close are equal.
TIE = 4 * float(np.finfo(np.float32).eps)
_BLOCK_ROWS = 16_384
_SPARE = 10  # extra candidates in float32, so that rounding loses none of the ten


@dataclass(frozen=True)
class Truth:
    """The exact answer: ``rows_QK``, best first, and ``tenth_Q``, the score of the last of them."""

    rows_QK: IntArray
    tenth_Q: NDArray[np.float64]


@dataclass(frozen=True)
class Recall:
    """The mean over the queries, and its lower 95 % confidence bound."""

    mean: float
    low: float


def exact(items_ND: LevelArray, queries_QD: FloatArray, *, depth: int = DEPTH) -> Truth:
    """The best rows of each query by the dot product with the stored values; memory is that of one block."""
    import faiss

    depth = min(depth, len(items_ND))
    count = min(depth + _SPARE, len(items_ND))
    scores_QK = np.full((len(queries_QD), 0), -np.inf, np.float32)
    rows_QK = np.zeros((len(queries_QD), 0), np.int64)
    for start in range(0, len(items_ND), _BLOCK_ROWS):
        block: Any = faiss.IndexFlatIP(items_ND.shape[1])
        block.add(items_ND[start : start + _BLOCK_ROWS].astype(np.float32))
        found_QK, places_QK = block.search(queries_QD, min(count, block.ntotal))
        scores_QK = np.concatenate([scores_QK, found_QK], axis=1)
        rows_QK = np.concatenate([rows_QK, places_QK + start], axis=1)
        best_QK = np.argsort(-scores_QK, axis=1, kind="stable")[:, :count]
        scores_QK = np.take_along_axis(scores_QK, best_QK, 1)
        rows_QK = np.take_along_axis(rows_QK, best_QK, 1)
    precise_QK = scores(items_ND, queries_QD, rows_QK)
    order_QK = np.lexsort((rows_QK, -precise_QK), axis=-1)[:, :depth]
    return Truth(np.take_along_axis(rows_QK, order_QK, 1), np.take_along_axis(precise_QK, order_QK, 1)[:, -1])


def scores(items_ND: LevelArray, queries_QD: FloatArray, rows_QK: IntArray) -> NDArray[np.float64]:
    """Dot products of each query with some rows, in float64; -inf for a row that does not exist."""
    result_QK = np.full(rows_QK.shape, -np.inf)
    for query_D, rows_K, result_K in zip(queries_QD, rows_QK, result_QK, strict=True):
        there_K = (rows_K >= 0) & (rows_K < len(items_ND))
        result_K[there_K] = items_ND[rows_K[there_K]].astype(np.float64) @ query_D.astype(np.float64)
    return result_QK


def shares(items_ND: LevelArray, queries_QD: FloatArray, rows_QK: IntArray, truth: Truth) -> FloatArray:
    """Recall of each query: different rows among the first ten that belong to the ten best, of ten."""
    depth = truth.rows_QK.shape[1]
    rows_QK = _without_repeats(rows_QK[:, :depth])
    hits_QK = scores(items_ND, queries_QD, rows_QK) >= truth.tenth_Q[:, None] - TIE
    return (hits_QK.sum(1) / depth).astype(np.float32)


def summary(shares_Q: FloatArray) -> Recall:
    """Mean and lower bound; the ten items of a query are not independent trials, see ``recall_bound``."""
    return Recall(float(np.mean(shares_Q, dtype=np.float64)), recall_bound(shares_Q))


def _without_repeats(rows_QK: IntArray) -> IntArray:
    """A row that stands twice in one answer counts once."""
    rows_QK = rows_QK.copy()
    for rows_K in rows_QK:
        _, first = np.unique(rows_K, return_index=True)
        repeated = np.ones(len(rows_K), bool)
        repeated[first] = False
        rows_K[repeated] = -1
    return rows_QK
