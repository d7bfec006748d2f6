"""Measures plans on a view of an index: recall against the exact search, and milliseconds."""

from __future__ import annotations

import math
import os
import platform
import statistics
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np

from hivlp.search import cascade as search
from hivlp.search.cascade import View
from hivlp.search.plan import Plan
from hivlp.search.tuned import Measured
from hivlp.tune.statistics import mean_for, recall_bound
from hivlp.tune.trials import Trial
from hivlp.types import Embeddings, FloatArray, IntArray

# For each of these recalls the smallest number of candidates that reaches it is worth timing, and no other.
_WORTH_REACHING = (0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.9995)
# What a stage between may keep, as multiples of k; fewer rows then have their widest vectors gathered.
_STAGE_KEEPS = (2, 3, 5, 10)
_STAGES_FROM = 30  # with fewer candidates a stage costs more than it saves
_MOST_SAVED = (
    2.0  # a stage seldom halves the time of a search, so it does not help a plan that is twice as slow
)
_SCREENED_WITH = 400  # queries; enough to tell which plans are worth all of them
_TIMED_QUICKLY = 40
_TIMED_QUERIES = 400
_TIMED_EXACT = 20  # an exhaustive search takes long, and always about as long


class Measuring:
    """Queries on a view, with the rows that are right for each.

    Plans are screened by their mean recall with some of the queries; the others are measured with all.
    """

    def __init__(self, view: View, queries: Embeddings, k: int, *, target: float) -> None:
        self.view = view
        self.queries = queries
        self.k = k
        # The plan that is looked for is the one whose bound, not whose mean, meets the target.
        self.goals = sorted({*_WORTH_REACHING, target, mean_for(target, len(queries))})
        self._true_QT = search.exact_best(queries.fine, view, k)
        self._some = queries.take(slice(0, _SCREENED_WITH))
        self._fastest = dict.fromkeys(self.goals, math.inf)  # milliseconds of a plan that meets each goal

    def exact(self) -> Measured:
        """The time of scoring every item, which has no recall to lose."""
        plan = Plan(name="exact", candidates="all")
        times = self._milliseconds(plan, _TIMED_EXACT)
        return _measured(plan, np.ones(len(self.queries), np.float32), times, 0.0)

    def screened(self, trial: Trial) -> Iterator[Measured]:
        """The numbers of candidates that are worth it, with and without a stage between.

        The fine level puts the right rows first wherever they stand among the candidates, so the coarse
        search alone tells the recall. It runs for each number of candidates: lists and graphs look at
        more rows for more candidates, so the best of many differ from a search for few.
        """
        spec = trial.base.spec(self.view.widths)
        index = self.view.coarse(spec)
        if self._is_beaten(trial):
            return
        hot = index.nbytes() / max(1, len(index))
        reached = 0.0
        for count, plan in zip(trial.candidates, trial.plans(), strict=True):
            _, rows_QK = index.search(self._some[spec.width], count, mask=self.view.mask, effort=plan.effort)
            recalls_Q = self._recalls(rows_QK)
            met = [goal for goal in self.goals if reached < goal <= recalls_Q.mean()]
            if met:
                whole = _measured(plan, recalls_Q, self._milliseconds(plan, _TIMED_QUICKLY), hot)
                yield self._noted(whole)
                if whole.p50_ms < _MOST_SAVED * self._fastest[met[-1]]:
                    yield from map(self._noted, self._staged(plan, met[-1], hot))
            reached = max(reached, float(recalls_Q.mean()))
            if reached >= self.goals[-1]:
                break

    def whole(self, screened: Measured) -> Measured:
        """The same plan, measured with all queries, and timed with enough for a 99th percentile."""
        plan = screened.plan
        if plan.candidates == "all":
            return screened
        times = self._milliseconds(plan, _TIMED_QUERIES)
        return _measured(plan, self._recalls_of(plan, self.queries), times, screened.hot_bytes_per_item)

    def _is_beaten(self, trial: Trial) -> bool:
        """Whether the least that a trial can cost is more than a plan costs that meets every goal."""
        least = statistics.median(self._milliseconds(next(trial.plans()), _TIMED_QUICKLY))
        return least > self._fastest[self.goals[-1]]

    def _noted(self, measured: Measured) -> Measured:
        for goal in self.goals:
            if measured.recall >= goal:
                self._fastest[goal] = min(self._fastest[goal], measured.p50_ms)
        return measured

    def _staged(self, plan: Plan, goal: float, hot: float) -> Iterator[Measured]:
        """The plan with one level between that keeps as few rows as still meet the goal."""
        if plan.candidates == "all" or plan.candidates < _STAGES_FROM:
            return
        coarse_width = plan.spec(self.view.widths).width
        between = [w for w in self.view.widths[:-1] if w > coarse_width or plan.dims is not None]
        for width in between:
            for keep in (self.k * times for times in _STAGE_KEEPS):
                if 2 * keep > plan.candidates:
                    break
                staged = replace(plan, name=f"{plan.name}-stage{width}-{keep}", stages=((width, keep),))
                recalls_Q = self._recalls_of(staged, self._some)
                if recalls_Q.mean() >= goal:
                    yield _measured(staged, recalls_Q, self._milliseconds(staged, _TIMED_QUICKLY), hot)
                    break

    def _recalls_of(self, plan: Plan, queries: Embeddings) -> FloatArray:
        return self._recalls([result.rows for result in search.run(plan, queries, self.view, self.k)])

    def _recalls(self, rows_QK: Iterable[IntArray]) -> FloatArray:
        """Recall of each of the first queries, in [0, 1]; ties with the last right row count once."""
        wanted = min(self.k, self.view.mask.live)
        pairs = zip(rows_QK, self._true_QT, strict=False)
        right_Q = [int(np.isin(rows_K, true_T[true_T >= 0]).sum()) for rows_K, true_T in pairs]
        return (np.minimum(right_Q, wanted) / wanted).astype(np.float32)

    def _milliseconds(self, plan: Plan, count: int) -> list[float]:
        """What single searches take, after a few to warm up."""
        times: list[float] = []
        for turn in range(min(count, len(self.queries)) + 3):
            one = self.queries.take(slice(turn % len(self.queries), turn % len(self.queries) + 1))
            begin = time.perf_counter()
            search.run(plan, one, self.view, self.k)
            times.append(1e3 * (time.perf_counter() - begin))
        return times[3:]


def _measured(plan: Plan, recalls_Q: FloatArray, times: list[float], hot: float) -> Measured:
    exact = plan.candidates == "all"
    return Measured(
        plan=plan,
        recall=float(recalls_Q.mean()),
        recall_low=1.0 if exact else recall_bound(recalls_Q),
        p50_ms=statistics.median(times),
        p99_ms=float(np.percentile(times, 99)),
        hot_bytes_per_item=hot,
    )


def environment() -> dict[str, Any]:
    """What timings depend on."""
    return {
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "faiss": import_module("faiss").__version__,
        "numpy": np.__version__,
    }
