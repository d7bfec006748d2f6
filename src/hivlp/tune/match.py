"""Fits how likely it is that an index holds what words describe, by the best score that they reach.

Q queries, N pictures, B pictures of a block, D width of the fine level.
"""

from __future__ import annotations

import numpy as np

from hivlp.match import MatchModel
from hivlp.search.cascade import View, blocks
from hivlp.stores.local import LocalStore
from hivlp.tune.queries import TuningQueries
from hivlp.tune.statistics import logistic
from hivlp.types import FloatArray, IntArray

LEFT_OUT = 0.05
"""Share of the pictures, those most like the right one, without which an index does not hold it."""
_QUERIES = 500
_SAMPLE = 5_000


def match_model(store: LocalStore, queries: TuningQueries) -> MatchModel | None:
    """What the best scores say, with and without pictures like the right one; None without captions.

    Each caption is a query twice: over the index, which holds its picture, and over the index without the
    5 % of its pictures that are most like that one, so also without its near doubles. A logistic regression
    tells the two kinds of best scores apart.
    """
    if queries.own_ids is None:
        return None
    some = slice(0, _QUERIES)
    names = list(queries.own_ids[some])
    row_of = store.rows_of(names)
    view = store.view(kind="image")
    own = np.array([row_of[name] for name in names], np.int64)
    with_QN, without_QN = best_scores(view, own, queries.embeddings.fine[some])
    slope, intercept = logistic(with_QN, without_QN)
    return MatchModel(slope=slope, intercept=intercept, queries=len(names))


def best_scores(view: View, own_Q: IntArray, fine_QD: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Best score of each query among all allowed rows, and among those not like its own row.

    Args:
        view: the pictures.
        own_Q: for each query the row that it was written for.
        fine_QD: the queries at the fine level.
    """
    level_ND, live_N = view.level(fine_QD.shape[1]), view.mask.live_rows()
    own_QD = level_ND[own_Q].astype(np.float32)
    sample_ND = level_ND[live_N[:: max(1, len(live_N) // _SAMPLE)]].astype(np.float32)
    alike_Q = np.quantile(own_QD @ np.transpose(sample_ND), 1 - LEFT_OUT, axis=1)
    best_Q = np.full(len(own_Q), -1, np.float32)
    without_Q = best_Q.copy()
    for _, rows_BD in blocks(level_ND, live_N):
        scores_QB = fine_QD @ np.transpose(rows_BD)
        best_Q = np.maximum(best_Q, scores_QB.max(axis=1))
        scores_QB[own_QD @ np.transpose(rows_BD) >= alike_Q[:, None]] = -1
        without_Q = np.maximum(without_Q, scores_QB.max(axis=1))
    return best_Q, without_Q
