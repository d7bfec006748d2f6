"""Which plan a search follows when it was given none; it measures and searches nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from hivlp.errors import QueryError
from hivlp.search.plan import ALL_UP_TO, Plan, default_plan
from hivlp.search.tuned import Measured, Tuned


@dataclass(frozen=True)
class Choice:
    """A plan, and what is to be said about it."""

    plan: Plan
    notes: tuple[str, ...] = ()


def few(plan: Plan, k: int) -> tuple[str, ...]:
    """What is to be said where a plan hands on fewer rows than are asked for."""
    if plan.candidates == "all" or plan.candidates >= k:
        return ()
    return (f"candidates={plan.candidates} is less than k={k}, and no more is found; raise the candidates",)


def choose(
    tuned: Tuned | None, *, recall: float | None, items: int, live: int, k: int, where: Path
) -> Choice:
    """The plan for a search.

    Args:
        tuned: what was measured on the index, if it was.
        recall: recall@k that the search must keep, in (0, 1]; None leaves it to the index.
        items: live items of the index.
        live: those of them that the search's filter allows.
        k: hits wanted.
        where: the index, for messages.

    Raises:
        QueryError: an impossible recall, or one that nothing is known about.
    """
    if recall is not None and not 0 < recall <= 1:
        raise QueryError(f"recall={recall} can't be; it must be in (0, 1], such as 0.95.")
    if live <= ALL_UP_TO or recall == 1:
        return Choice(Plan(name="exact", candidates="all") if recall is not None else default_plan(live))
    if tuned is None:
        if recall is not None:
            raise QueryError(
                f"nobody has measured which plan keeps a recall of {recall:g} on {where}. Run: "
                f"hivlp tune {where}, or search with --exact."
            )
        return Choice(default_plan(live))
    measured = tuned.chosen if recall is None else tuned.cheapest(recall)
    stale = tuned.staleness(items)
    notes = () if stale is None else (stale,)
    if measured is None:
        slow = f"no measured plan keeps a recall of {recall:g}, so every item was scored"
        return Choice(Plan(name="exact", candidates="all"), (*notes, slow))
    if recall is not None and k > tuned.k and measured.plan.candidates != "all":
        notes = (*notes, f"the recall was measured for k={tuned.k}; for k={k} it is not promised")
    return Choice(_for_k(measured, tuned.k, k), notes)


def _for_k(measured: Measured, tuned_k: int, k: int) -> Plan:
    """The plan with as many more candidates as there are more hits wanted than it was measured with."""
    plan = measured.plan
    if plan.candidates == "all" or k <= tuned_k:
        return plan
    more = k / tuned_k
    return replace(
        plan,
        candidates=math.ceil(plan.candidates * more),
        stages=tuple((width, math.ceil(keep * more)) for width, keep in plan.stages),
    )
