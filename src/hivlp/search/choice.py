"""Chooses the plan of a search that was given none; it measures and searches nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hivlp.errors import QueryError
from hivlp.search.plan import ALL_UP_TO, Plan, default_plan
from hivlp.search.tuned import Measured, Tuned


@dataclass(frozen=True)
class Choice:
    """A plan, and notes about it for the user."""

    plan: Plan
    notes: tuple[str, ...] = ()


def few_candidates(plan: Plan, k: int) -> tuple[str, ...]:
    """The note where a plan has fewer candidates than k."""
    if plan.candidates == "all" or plan.candidates >= k:
        return ()
    return (f"candidates={plan.candidates} is less than k={k} and limits the hits; raise candidates",)


def choose(
    tuned: Tuned | None,
    *,
    recall: float | None,
    items: int,
    live: int,
    widths: Sequence[int],
    k: int,
    where: Path,
) -> Choice:
    """The plan for a search.

    Args:
        tuned: the measurements of ``hivlp tune`` on the index; None where it was not tuned.
        recall: recall@k that the search must keep, in (0, 1]; None leaves it to the index.
        items: live items of the index.
        live: those of them that pass the filter of the search.
        widths: of the levels of the index.
        k: number of hits.
        where: the index, for messages.

    Raises:
        QueryError: the recall is out of range, or the index was not tuned.
    """
    if recall is not None and not 0 < recall <= 1:
        raise QueryError(f"recall={recall} is invalid: must be above 0 and at most 1, such as 0.95")
    if live <= ALL_UP_TO or recall == 1:
        return Choice(default_plan(live, widths) if recall is None else Plan(name="exact", candidates="all"))
    if tuned is None:
        if recall is not None:
            raise QueryError(
                f"{where} is not tuned: no plan is known to reach recall {recall:g}. Run: hivlp tune "
                f"{where}, or search with --exact"
            )
        return Choice(default_plan(items, widths, k))  # not of `live`: a filter needs no structure of its own
    measured = tuned.chosen if recall is None else tuned.cheapest(recall)
    stale = tuned.staleness(items)
    notes = () if stale is None else (stale,)
    if measured is None:
        slow = f"no measured plan reaches recall {recall:g}, so every item was scored"
        return Choice(Plan(name="exact", candidates="all"), (*notes, slow))
    if recall is not None and k > tuned.k and measured.plan.candidates != "all":
        notes = (*notes, f"recall was measured at k={tuned.k}; at k={k} it may be lower")
    return Choice(_for_k(measured, tuned.k, k), notes)


def _for_k(measured: Measured, tuned_k: int, k: int) -> Plan:
    """The plan with its candidates scaled from the k it was measured at to a larger k."""
    plan = measured.plan
    if plan.candidates == "all" or k <= tuned_k:
        return plan
    more = k / tuned_k
    return replace(
        plan,
        candidates=math.ceil(plan.candidates * more),
        stages=tuple((width, math.ceil(keep * more)) for width, keep in plan.stages),
    )
