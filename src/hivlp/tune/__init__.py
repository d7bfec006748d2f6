"""Measures plans on an index and keeps the cheapest that holds a promised recall; it encodes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone

from hivlp.errors import QueryError
from hivlp.index.coarse import CODES
from hivlp.search.plan import require_count
from hivlp.search.tuned import Tuned
from hivlp.stores.local import LocalStore
from hivlp.tune.match import match_model
from hivlp.tune.measure import Measuring, environment
from hivlp.tune.queries import TuningQueries, points_between, require_enough, tuning_queries
from hivlp.tune.statistics import pareto_front, recall_bound
from hivlp.tune.trials import trials
from hivlp.types import Progress

__all__ = [
    "KINDS",
    "TuningQueries",
    "check",
    "pareto_front",
    "points_between",
    "recall_bound",
    "tune",
    "tuning_queries",
]


KINDS = ("ivf", "exact", "pq", "bits")
"""Kinds of coarse indexes that are tried by default, in this order; ``hnsw`` is slow to build and large."""


def tune(
    store: LocalStore,
    queries: TuningQueries,
    *,
    recall: float = 0.99,
    k: int = 10,
    kinds: Sequence[str] = KINDS,
    progress: Progress | None = None,
) -> Tuned:
    """Measures plans on an open index, writes ``plan.json`` and the coarse indexes that its plans need.

    A plan holds the promise when the lower 95 % confidence bound of its recall@k, against the exact search at
    the fine level over this very index, meets the target. Of those the fastest is chosen; the exact search is
    always among them.

    Args:
        store: open for writing.
        queries: at least 50, not used to choose or train anything else.
        recall: the target, in (0, 1].
        k: results that the recall counts.
        kinds: kinds of coarse indexes to try.
        progress: see `types.Progress`; it counts plans.

    Raises:
        QueryError: an impossible target, too few queries, or an index without items.
        IndexFolderError: the store is open for reading only.
    """
    check(store, recall, k, kinds)
    require_enough(len(queries.embeddings))
    view = store.view()
    measuring = Measuring(view, queries.embeddings, k, target=recall)
    every = [trial for trial in trials(view, kinds) if trial.candidates]
    exact = measuring.exact()
    measured = [exact]
    for step, trial in enumerate(every):
        if progress is not None:
            progress(trial.base.name, step, len(every))
        measured += measuring.screened(trial)
    if progress is not None:
        progress("measuring the best with all queries", len(every), len(every))
    pareto = pareto_front([exact, *map(measuring.whole, pareto_front(measured))])
    chosen = next(one for one in pareto if one.recall_low >= recall or one.plan.candidates == "all")
    tuned = Tuned(
        k=k,
        target=recall,
        chosen=chosen,
        pareto=pareto,
        items=view.mask.live,
        queries=queries.described,
        query_count=len(queries.embeddings),
        measured_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        environment=environment(),
        match=match_model(store, queries),
    )
    store.keep_tuned(tuned)
    return tuned


def check(store: LocalStore, recall: float, k: int, kinds: Sequence[str]) -> None:
    """What ``tune`` refuses whatever the queries; worth asking before they are encoded."""
    if not 0 < recall <= 1:
        raise QueryError(f"recall={recall} is invalid: must be above 0 and at most 1, such as 0.99.")
    require_count("k", k, 1, "a whole number, at least 1")
    unknown = [kind for kind in kinds if kind not in CODES]
    if unknown:
        raise QueryError(f"{unknown[0]!r} is not a kind of coarse index; choose from {', '.join(CODES)}.")
    if not store.count():
        raise QueryError("the index holds no item, so there is nothing to measure. Add some first.")
    store.check_writable()
