"""Retrieval metrics as pure functions of scores and correspondence; they know no model, index or file.

Shape letters: Q queries, N items, D width. ``relevant[q]`` are the item rows that answer query q.

Which recall: R@k is the share of queries with *any* relevant item among the first k, in percent. (The other
"recall", the share of the relevant items that was found, is not used here.) Ties are broken against the
model, alike in both directions: an irrelevant item with the score of the best relevant one is ranked before
it. A model that gives everything the same score thus gets R@1 = 0 instead of a lucky 100.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from hivlp.types import FloatArray, IntArray

CUTOFFS = (1, 5, 10)
Relevant: TypeAlias = "Sequence[Sequence[int] | IntArray]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalls:
    """How well one direction works.

    Attributes:
        at: cutoff k -> R@k in percent, [0, 100].
        median_rank: median over the queries of the rank of the best relevant item, 1 is best.
        queries: number of queries.
    """

    at: dict[int, float]
    median_rank: float
    queries: int

    def as_dict(self) -> dict[str, float]:
        """``{"R@1": …, "R@5": …, "R@10": …, "median_rank": …}``, rounded to two decimals."""
        recalls = {f"R@{k}": round(value, 2) for k, value in self.at.items()}
        return {**recalls, "median_rank": round(self.median_rank, 2)}


def ranks(scores_QN: FloatArray, relevant: Relevant) -> IntArray:
    """The rank of the best relevant item of every query, ties against the model: Q integers from 1 to N.

    Raises:
        ValueError: where a score is NaN, a query has no relevant item, or the sizes don't fit.
    """
    n_queries, n_items = scores_QN.shape
    if len(relevant) != n_queries:
        raise ValueError(f"{n_queries} rows of scores but {len(relevant)} lists of relevant items")
    if np.isnan(scores_QN).any():
        raise ValueError("scores hold NaN, which has no rank; look for a zero or overflowing embedding")
    is_relevant_QN = _mask(relevant, n_items)
    best_Q1 = np.where(is_relevant_QN, scores_QN, -np.inf).max(axis=1, keepdims=True)
    in_front_QN = (scores_QN >= best_Q1) & ~is_relevant_QN
    return (1 + in_front_QN.sum(axis=1)).astype(np.int64)


def ranks_of_embeddings(
    query_QD: FloatArray, item_ND: FloatArray, relevant: Relevant, *, block: int = 1024
) -> IntArray:
    """`ranks` of all cosines between two sets of unit rows, without holding the Q×N matrix at once.

    The sums are made in float64 and then rounded, so that equal rows have equal scores: a matrix product may
    add up the numbers of different rows in different orders. Memory is about 14 bytes × `block` × N.
    """
    if block < 1:
        raise ValueError(f"block is {block}, but at least one query must fit into a block")
    if len(relevant) != len(query_QD):
        raise ValueError(f"{len(query_QD)} queries but {len(relevant)} lists of relevant items")
    exact_ND = item_ND.astype(np.float64)
    parts: list[IntArray] = []
    for start in range(0, len(query_QD), block):
        rows = slice(start, start + block)
        scores_QN: FloatArray = np.inner(query_QD[rows].astype(np.float64), exact_ND).astype(np.float32)
        parts.append(ranks(scores_QN, relevant[rows]))
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def rank_in_list(
    rows: Sequence[int] | IntArray,
    scores: Sequence[float] | FloatArray,
    relevant: Sequence[int] | IntArray,
    n_items: int,
) -> int:
    """The rank of the best relevant item in one result list, by the same tie rule as `ranks`.

    Args:
        rows: the items that a search returned.
        scores: their scores, higher is better.
        relevant: the items that answer the query.
        n_items: how many items were searched. A query whose list holds no relevant item gets this rank, the
            worst there is, or the place behind the list where the list was complete.
    """
    score_K = np.asarray(scores, dtype=np.float64)
    is_relevant_K = np.isin(np.asarray(rows, dtype=np.int64), np.asarray(relevant, dtype=np.int64))
    if not is_relevant_K.any():
        return max(n_items, len(rows) + 1)
    best = score_K[is_relevant_K].max()
    return 1 + int(((score_K >= best) & ~is_relevant_K).sum())


def recalls(ranks_Q: IntArray, *, cutoffs: Sequence[int] = CUTOFFS) -> Recalls:
    """R@k at every cutoff and the median rank, from the ranks of the best relevant items."""
    if not len(ranks_Q):
        raise ValueError("recall needs at least one query; give at least one picture with a caption")
    at = {k: 100.0 * float(np.mean(ranks_Q <= k)) for k in cutoffs}
    return Recalls(at=at, median_rank=float(np.median(ranks_Q)), queries=len(ranks_Q))


def average_recall(*directions: Recalls) -> float:
    """AR: the mean of all recalls of all directions (six of them under the Karpathy protocol), in percent."""
    values = [value for direction in directions for value in direction.at.values()]
    return float(np.mean(values))


def _mask(relevant: Relevant, n_items: int) -> NDArray[np.bool_]:
    mask_QN = np.zeros((len(relevant), n_items), dtype=np.bool_)
    for query, rows in enumerate(relevant):
        row_R = np.asarray(rows, dtype=np.int64)
        if not len(row_R):
            raise ValueError(f"query {query} has no relevant item, so it has no rank; leave it out")
        if row_R.min() < 0 or row_R.max() >= n_items:
            raise ValueError(
                f"query {query} names relevant items {row_R.tolist()}, but there are {n_items} items"
            )
        mask_QN[query, row_R] = True
    return mask_QN
