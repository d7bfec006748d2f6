"""Measures plans on a view of an index: recall against the exact search, and milliseconds."""

from __future__ import annotations

import os
import platform
import statistics
import time
from importlib import metadata
from typing import Any

import numpy as np

from hivlp import search
from hivlp.plans import Plan
from hivlp.search import View
from hivlp.tune.statistics import recall_bound
from hivlp.tune.trials import Trial
from hivlp.tuned import Measured
from hivlp.types import Embeddings, IntArray

# For each of these the smallest number of candidates that reaches it is worth timing, and no other.
_WORTH_REACHING = (0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
_TIMED_QUICKLY = 40
_TIMED_QUERIES = 400
_TIMED_EXACT = 20  # an exhaustive search takes long, and always about as long


def measure(
    trial: Trial, view: View, queries: Embeddings, true_QT: IntArray, k: int, *, target: float
) -> list[Measured]:
    """Recall of every number of candidates from one coarse search, and the time of those worth it."""
    spec = trial.base.spec(view.widths)
    index = view.coarse(spec)
    most = max(trial.candidates)
    _, rows_QK = index.search(queries[spec.width], most, mask=view.mask, effort=trial.base.effort)
    right_QK = _right(rows_QK, true_QT)
    wanted = min(k, view.mask.live)
    hot = index.nbytes() / max(1, len(index))
    found: list[Measured] = []
    reached = 0.0
    for plan in trial.plans():
        assert plan.candidates != "all"
        recalls_Q = np.minimum(right_QK[:, : plan.candidates].sum(axis=1), wanted) / np.float32(wanted)
        low = recall_bound(recalls_Q)
        if any(reached < goal <= low for goal in (*_WORTH_REACHING, target)):
            times = _milliseconds(plan, view, queries, k, _TIMED_QUICKLY)
            found.append(_measured(plan, float(recalls_Q.mean()), low, times, hot))
        reached = max(reached, low)
    return found


def timed_well(rough: Measured, view: View, queries: Embeddings, k: int) -> Measured:
    """The same plan, timed with enough queries for a 99th percentile."""
    if rough.plan.candidates == "all":
        return rough
    times = _milliseconds(rough.plan, view, queries, k, _TIMED_QUERIES)
    return _measured(rough.plan, rough.recall, rough.recall_low, times, rough.hot_bytes_per_item)


def _measured(plan: Plan, recall: float, low: float, times: list[float], hot: float) -> Measured:
    return Measured(
        plan=plan,
        recall=recall,
        recall_low=low,
        p50_ms=statistics.median(times),
        p99_ms=float(np.percentile(times, 99)),
        hot_bytes_per_item=hot,
    )


def _right(rows_QK: IntArray, true_QT: IntArray) -> np.ndarray:
    """Which candidates are among the true best: Q × K of bool."""
    right_QK = np.zeros(rows_QK.shape, np.bool_)
    for rows_K, true_T, right_K in zip(rows_QK, true_QT, right_QK, strict=True):
        right_K[:] = np.isin(rows_K, true_T[true_T >= 0])
    return right_QK


def measure_exact(view: View, queries: Embeddings, k: int) -> Measured:
    """The time of scoring every item, which has no recall to lose."""
    plan = Plan(name="exact", candidates="all")
    times = _milliseconds(plan, view, queries, k, _TIMED_EXACT)
    return _measured(plan, 1.0, 1.0, times, 0.0)


def _milliseconds(plan: Plan, view: View, queries: Embeddings, k: int, count: int) -> list[float]:
    """What single searches take, after a few to warm up."""
    times: list[float] = []
    for turn in range(min(count, len(queries)) + 3):
        one = queries.take(slice(turn % len(queries), turn % len(queries) + 1))
        begin = time.perf_counter()
        search.run(plan, one, view, k)
        times.append(1e3 * (time.perf_counter() - begin))
    return times[3:]


def environment() -> dict[str, Any]:
    """What timings depend on."""
    return {
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "faiss": metadata.version("faiss-cpu"),
        "numpy": np.__version__,
    }
