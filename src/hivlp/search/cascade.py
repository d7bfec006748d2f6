"""The cascade: coarse candidates, fine re-scoring, optional re-ranking; it knows neither files nor models.

Everything that searches calls ``run``: the command line, the server, evaluation, benchmarks. With all items
as candidates the answer is exact by construction. Scores are cosines computed in float32; equal scores are
ordered by the lower row.

Q queries, D width of a level, N rows of the index, K candidates.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np

from hivlp.errors import QueryError
from hivlp.index.coarse import CoarseIndex, CoarseSpec, best_first
from hivlp.index.mask import RowMask
from hivlp.index.vectors import LENGTH_TOLERANCE, LevelArray, cosines
from hivlp.search.plan import Plan, require_count
from hivlp.types import Embeddings, FloatArray, IntArray, Timings

# Rows are converted to float32 in blocks of this many. Queries are taken in blocks whose scores of all rows
# fit into this many numbers (64 MB). Both bound the memory of an exhaustive search.
_BLOCK_ROWS = 8_192
_BLOCK_SCORES = 1 << 24
# Rows kept beyond the k best while scores are rough: so that ties within rounding are resolved exactly.
_SPARE = 16
# Up to this many scores, sorting all is faster than selecting the best first.
_SORT_ALL_UP_TO = 200

RowScorer: TypeAlias = Callable[[int, IntArray], FloatArray]
"""Scores rows for one query: ``scorer(position of the query, rows_K) -> scores_K``, higher is better."""


class View(Protocol):
    """One consistent state of an index, as ``run`` reads it."""

    @property
    def mask(self) -> RowMask:
        """The rows that may be found."""
        ...

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths of the levels, narrowest first."""
        ...

    def level(self, width: int) -> LevelArray:
        """The stored vectors of a level, N × width; may be memory-mapped."""
        ...

    def coarse(self, spec: CoarseSpec) -> CoarseIndex:
        """The coarse index of this spec, holding at least the rows of the mask."""
        ...


@dataclass(frozen=True, kw_only=True)
class RawResult:
    """The result of one query as row numbers, best first; at most k of them.

    Attributes:
        rows: row numbers.
        scores: cosine with the stored fine vector.
        coarse_scores: cosine at the coarse level as the coarse index estimates it; exact for kind ``exact``
            in ``float16``.
        coarse_ranks: rank by the coarse score alone among all live rows that the coarse index looked at, 1
            for the best.
        rerank_scores: scores of the re-ranking function, which then set the order; None without re-ranking.
        timings_ms: of this query; the times of a batch are shared out evenly. ``encode`` is 0.
        similar: for each row those that `search.grouping` took for near-equal; empty without grouping.
    """

    rows: IntArray
    scores: FloatArray
    coarse_scores: FloatArray
    coarse_ranks: IntArray
    rerank_scores: FloatArray | None
    timings_ms: Timings
    similar: tuple[IntArray, ...] = ()


def run(
    plan: Plan, queries: Embeddings, view: View, k: int, *, rerank: RowScorer | None = None
) -> list[RawResult]:
    """Searches: one result for each query.

    The result of a query depends neither on the other queries of its batch nor on its place among them; only
    coarse scores with ``dims`` may differ in their last bits. With fewer ``candidates`` than ``k``, at most
    that many results come back; with ``k`` above the number of items, all items.

    Args:
        plan: the plan to follow.
        queries: unit-length vectors of Q queries; the coarse and the fine level are used.
        view: the index to search.
        k: number of results, at least 1.
        rerank: scores the best ``plan.rerank`` rows of a query again; needed exactly when that is not 0.

    Raises:
        QueryError: a value out of range, a level that one side lacks, or vectors not of length 1.
    """
    require_count("k", k, 1)
    if (rerank is None) != (plan.rerank == 0):
        raise QueryError(
            f"the plan re-ranks {plan.rerank} rows, and {'no' if rerank is None else 'a'} re-ranking "
            "function was given: give both or neither"
        )
    widths = view.widths
    spec, fine = plan.spec(widths), widths[-1]
    query_levels = {
        width: _query_level(queries, width, widths)
        for width in {spec.width, fine, *(width for width, _ in plan.stages)}
    }
    wanted = max(k, plan.rerank)
    if plan.candidates == "all" or plan.candidates >= view.mask.live:
        results = _exhaustive(query_levels[spec.width], query_levels[fine], view, wanted)
    else:
        results = _cascade(plan, plan.candidates, view.coarse(spec), query_levels, view, wanted)
    if rerank is not None:
        return [_reranked(rerank, query, result, plan.rerank, k) for query, result in enumerate(results)]
    return results


def _cascade(
    plan: Plan,
    candidates: int,
    index: CoarseIndex,
    query_levels: dict[int, FloatArray],
    view: View,
    k: int,
) -> list[RawResult]:
    begin = time.perf_counter()
    coarse_QD = query_levels[index.spec.width]
    coarse_scores_QK, rows_QK = index.search(coarse_QD, candidates, mask=view.mask, effort=plan.effort)
    coarse_ms = _share(begin, len(coarse_QD))
    found_Q = np.count_nonzero(rows_QK >= 0, axis=1)  # padding stands at the end
    stages = [*plan.stages, (view.widths[-1], k)]
    results: list[RawResult] = []
    begin = time.perf_counter()
    for query, (best, scores_K) in enumerate(_narrowed(stages, rows_QK, found_Q, query_levels, view)):
        results.append(
            RawResult(
                rows=rows_QK[query, best],
                scores=scores_K,
                coarse_scores=coarse_scores_QK[query, best],
                coarse_ranks=best + 1,
                rerank_scores=None,
                timings_ms=Timings(coarse=coarse_ms, fine=_share(begin, 1)),
            )
        )
        begin = time.perf_counter()
    return results


def _narrowed(
    stages: list[tuple[int, int]],
    rows_QK: IntArray,
    found_Q: IntArray,
    query_levels: dict[int, FloatArray],
    view: View,
) -> Iterator[tuple[IntArray, FloatArray]]:
    """The candidates of each query that pass all stages: their positions, best first, and the last scores."""
    levels = [(view.level(width), query_levels[width], keep) for width, keep in stages]
    for query, (rows_K, found) in enumerate(zip(rows_QK, found_Q, strict=True)):
        left: IntArray = np.arange(found, dtype=np.int64)
        scores_K = np.empty(0, np.float32)
        for level_ND, level_QD, keep in levels:
            rows = rows_K[left]
            scores_K = cosines(level_ND, rows, level_QD[query])
            best = _best(scores_K, rows, keep)
            left, scores_K = left[best], scores_K[best]
        yield left, scores_K


def _best(scores_K: FloatArray, rows_K: IntArray, keep: int) -> IntArray:
    """The first ``keep`` positions of ``best_first``; of many scores only the likely best are sorted."""
    if keep >= len(scores_K) or len(scores_K) <= _SORT_ALL_UP_TO:
        return best_first(scores_K, rows_K)[:keep]
    least = np.partition(scores_K, len(scores_K) - keep)[len(scores_K) - keep]
    likely = np.flatnonzero(scores_K >= least)
    return likely[best_first(scores_K[likely], rows_K[likely])[:keep]]


def _exhaustive(coarse_QD: FloatArray, fine_QD: FloatArray, view: View, k: int) -> list[RawResult]:
    """Scores every live row at the fine level; the coarse level is read only to report its scores."""
    step = max(1, _BLOCK_SCORES // max(view.mask.live, 1))
    results: list[RawResult] = []
    for start in range(0, len(fine_QD), step):
        results += _exhaustive_block(coarse_QD[start : start + step], fine_QD[start : start + step], view, k)
    return results


def _exhaustive_block(coarse_QD: FloatArray, fine_QD: FloatArray, view: View, k: int) -> list[RawResult]:
    live_N = view.mask.live_rows()
    level_ND = view.level(fine_QD.shape[1])
    begin = time.perf_counter()
    rough_QN = _rough_scores(level_ND, live_N, fine_QD)
    rough_ms = _share(begin, len(fine_QD))
    begin = time.perf_counter()
    coarse_QN = _all_scores(view.level(coarse_QD.shape[1]), live_N, coarse_QD)
    coarse_ms = _share(begin, len(fine_QD))
    results: list[RawResult] = []
    for query_D, rough_N, coarse_N in zip(fine_QD, rough_QN, coarse_QN, strict=True):
        begin = time.perf_counter()
        likely_K = _surely_contains_best(rough_N, min(k, len(live_N)), len(query_D))
        scores_K = cosines(level_ND, live_N[likely_K], query_D)
        best = best_first(scores_K, likely_K)[:k]
        places, fine_ms = likely_K[best], _share(begin, 1)
        begin = time.perf_counter()
        ranks = _ranks(coarse_N, places)
        timings = Timings(coarse=coarse_ms + _share(begin, 1), fine=rough_ms + fine_ms)
        results.append(
            RawResult(
                rows=live_N[places],
                scores=scores_K[best],
                coarse_scores=coarse_N[places],
                coarse_ranks=ranks,
                rerank_scores=None,
                timings_ms=timings,
            )
        )
    return results


def exact_best(fine_QD: FloatArray, view: View, k: int) -> IntArray:
    """The rows of each query's true k best, with all that tie with the last of them: Q × (k + a few).

    Rows of -1 fill up. One pass over the fine level for all queries, where ``run`` with all candidates makes
    one every few queries.
    """
    level_ND, live_N = view.level(fine_QD.shape[1]), view.mask.live_rows()
    count = min(k + _SPARE, len(live_N))
    best_QK = np.full((len(fine_QD), count), -np.inf, np.float32)
    rows_QK = np.full((len(fine_QD), count), -1, np.int64)
    for part, rows_BD in blocks(level_ND, live_N):
        rough_QN = np.concatenate([best_QK, fine_QD @ np.transpose(rows_BD)], axis=1)
        candidate_rows_QN = np.concatenate(
            [rows_QK, np.broadcast_to(live_N[part], (len(fine_QD), len(rows_BD)))], axis=1
        )
        top_QK = np.argpartition(rough_QN, rough_QN.shape[1] - count, axis=1)[:, -count:]
        best_QK = np.take_along_axis(rough_QN, top_QK, 1)
        rows_QK = np.take_along_axis(candidate_rows_QN, top_QK, 1)
    for rows_K, query_D in zip(rows_QK, fine_QD, strict=True):
        scores_K = cosines(level_ND, rows_K, query_D)
        rows_K[scores_K < np.sort(scores_K)[::-1][min(k, count) - 1]] = -1
    return rows_QK


def _rough_scores(level_ND: LevelArray, rows_N: IntArray, queries_QD: FloatArray) -> FloatArray:
    """Fast cosines with some rows by matrix products, exact up to rounding: Q × N."""
    rough_QN = np.empty((len(queries_QD), len(rows_N)), np.float32)
    for part, rows_BD in blocks(level_ND, rows_N):
        np.matmul(queries_QD, np.transpose(rows_BD), out=rough_QN[:, part])
    return rough_QN


def _all_scores(level_ND: LevelArray, rows_N: IntArray, queries_QD: FloatArray) -> FloatArray:
    """``cosines`` of some rows, for several queries: Q × N."""
    scores_QN = np.empty((len(queries_QD), len(rows_N)), np.float32)
    for part, rows_BD in blocks(level_ND, rows_N):
        for query_D, scores_N in zip(queries_QD, scores_QN, strict=True):
            np.einsum("nd,d->n", rows_BD, query_D, out=scores_N[part])
    return scores_QN


def blocks(level_ND: LevelArray, rows_N: IntArray) -> Iterator[tuple[slice, FloatArray]]:
    """Ascending rows of a level in float32 blocks, each with its place among the rows."""
    whole = len(rows_N) == len(level_ND)
    for start in range(0, len(rows_N), _BLOCK_ROWS):
        part = slice(start, start + _BLOCK_ROWS)
        yield part, level_ND[part if whole else rows_N[part]].astype(np.float32)


def _surely_contains_best(rough_N: FloatArray, k: int, width: int) -> IntArray:
    """Rows among which the k best by exact order must be, ascending.

    Two float32 sums of D products of unit vectors differ by at most D·eps, whatever their order of summation.
    So a row that is among the k best by the one sum is at most 2·D·eps below the k-th best of the other.
    """
    if k == 0:
        return np.empty(0, np.int64)
    threshold = np.partition(rough_N, len(rough_N) - k)[len(rough_N) - k]
    margin = 2.5 * width * float(np.finfo(np.float32).eps)
    return np.flatnonzero(rough_N >= threshold - margin)


def _ranks(scores_N: FloatArray, rows: IntArray) -> IntArray:
    """Rank of some rows among all by these scores, 1 for the best; equal scores by the lower row."""
    ranks_N = np.empty(len(scores_N), np.int64)
    ranks_N[np.argsort(-scores_N, kind="stable")] = np.arange(1, len(scores_N) + 1)
    return ranks_N[rows]


def _reranked(rerank: RowScorer, query: int, result: RawResult, count: int, k: int) -> RawResult:
    begin = time.perf_counter()
    head = result.rows[:count]
    scores_K = np.asarray(rerank(query, head), dtype=np.float32)
    if scores_K.shape != head.shape or not np.isfinite(scores_K).all():
        raise QueryError(
            f"the re-ranking function returned an array of shape {scores_K.shape} for {len(head)} rows: it "
            "must return one finite score per row"
        )
    best = best_first(scores_K, head)[:k]
    spent = result.timings_ms
    return RawResult(
        rows=head[best],
        scores=result.scores[best],
        coarse_scores=result.coarse_scores[best],
        coarse_ranks=result.coarse_ranks[best],
        rerank_scores=scores_K[best],
        timings_ms=Timings(coarse=spent.coarse, fine=spent.fine, rerank=_share(begin, 1)),
    )


def _query_level(queries: Embeddings, width: int, widths: tuple[int, ...]) -> FloatArray:
    """One level of the queries, checked, as contiguous float32."""
    if width not in widths or width not in queries.by_width:
        raise QueryError(
            f"the search needs level {width}, but the index has {list(widths)} and the query has "
            f"{list(queries.widths)}: embed the query with the model of the index, and give one of its "
            "levels as coarse_width"
        )
    level_QD = np.ascontiguousarray(queries.by_width[width], dtype=np.float32)
    if level_QD.ndim != 2 or level_QD.shape != (len(queries), width):
        raise QueryError(
            f"the query vectors of level {width} have shape {level_QD.shape}: must be (Q, {width}), one "
            "row per query"
        )
    squares_Q = np.einsum("qd,qd->q", level_QD, level_QD)
    right_Q = np.abs(squares_Q - 1) <= 2 * LENGTH_TOLERANCE  # not so for NaN
    if not right_Q.all():
        query = int(np.argmin(right_Q))
        length = float(np.linalg.norm(level_QD[query].astype(np.float64)))
        raise QueryError(
            f"query {query} has a vector of length {length:.6g} at level {width}: must be finite and of "
            "length 1. Normalise the embeddings."
        )
    return level_QD


def _share(begin: float, queries: int) -> float:
    """Milliseconds since ``begin``, shared out among some queries."""
    return (time.perf_counter() - begin) * 1e3 / max(queries, 1)
