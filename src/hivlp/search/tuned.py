"""What tuning has measured on an index, as ``plan.json`` in its folder keeps it; it measures nothing."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hivlp.errors import QueryError
from hivlp.files import write_atomically
from hivlp.index.coarse import CoarseSpec
from hivlp.index.layout import PLAN as NAME
from hivlp.match import MatchModel
from hivlp.search.plan import Plan, require_count

STALE_GROWTH = 0.2
"""After this share of items added or deleted since, what was measured may no longer hold."""
_FORMAT, _VERSION = "hivlp-plan", 1

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One plan and what it was measured to do, on one thread.

    Attributes:
        recall: share of the true k best that it returned, mean over the queries, in [0, 1].
        recall_low: lower 95 % confidence bound of that.
        p50_ms, p99_ms: milliseconds of one search, without encoding and without reading the items.
        hot_bytes_per_item: bytes of memory that its coarse index holds an item.
    """

    plan: Plan
    recall: float
    recall_low: float
    p50_ms: float
    p99_ms: float
    hot_bytes_per_item: float

    def as_dict(self) -> dict[str, Any]:
        return {
            "plan": self.plan.as_dict(),
            "recall": round(self.recall, 5),
            "recall_low": _rounded_down(self.recall_low),
            "p50_ms": round(self.p50_ms, 4),
            "p99_ms": round(self.p99_ms, 4),
            "hot_bytes_per_item": round(self.hot_bytes_per_item, 2),
        }

    @staticmethod
    def from_dict(record: Mapping[str, Any]) -> Measured:
        numbers = ("recall", "recall_low", "p50_ms", "p99_ms", "hot_bytes_per_item")
        return Measured(
            plan=Plan.from_dict(record["plan"]), **{name: float(record[name]) for name in numbers}
        )


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """The plans that were measured on an index, and the one that was chosen.

    Attributes:
        k: of the recall@k that was measured.
        target: recall that was asked for.
        chosen: the cheapest plan whose ``recall_low`` meets the target.
        pareto: the plans that no other one beats in both time and recall, fastest first; the last is exact.
        items: live items of the index at the time.
        queries: what kind of queries was used: ``captions``, ``queries`` or ``points between items``.
        query_count: how many of them.
        measured_at: ISO 8601, UTC.
        environment: machine, processors, versions.
        match: how scores become probabilities; None where no captions told.
    """

    k: int
    target: float
    chosen: Measured
    pareto: tuple[Measured, ...]
    items: int
    queries: str
    query_count: int
    measured_at: str
    environment: Mapping[str, Any] = field(default_factory=dict[str, Any])
    match: MatchModel | None = None

    def cheapest(self, recall: float) -> Measured | None:
        """The fastest measured plan that keeps a recall with 95 % confidence; None where none does."""
        return next((one for one in self.pareto if one.recall_low >= recall), None)

    def staleness(self, items: int) -> str | None:
        """A note where the index has changed too much for the measured recall to be relied on."""
        if abs(items - self.items) <= STALE_GROWTH * self.items:
            return None
        return (
            f"the plan was measured at {self.items:,} items and the index has {items:,} now, so its recall "
            "is no longer promised; run hivlp tune again"
        )

    def specs(self, widths: tuple[int, ...]) -> set[CoarseSpec]:
        """The coarse indexes that the plans of the front need."""
        plans = [one.plan for one in self.pareto]
        return {plan.spec(widths) for plan in plans if plan.candidates != "all"}

    def _check(self, widths: tuple[int, ...]) -> None:
        require_count("k", self.k, 1, "a whole number, at least 1")
        for plan in (self.chosen.plan, *(one.plan for one in self.pareto)):
            read = {plan.spec(widths).width, *(width for width, _ in plan.stages)}
            if not read <= set(widths):
                raise ValueError(f"its plans read the levels {sorted(read)} and the index has {list(widths)}")
            if plan.rerank:
                raise ValueError(f"its plan {plan.name!r} re-ranks, which needs a function")

    def as_dict(self) -> dict[str, Any]:
        """The document of ``hivlp tune`` and of plan.json."""
        return {
            **self.chosen.as_dict(),
            "k": self.k,
            "target": self.target,
            "pareto": [one.as_dict() for one in self.pareto],
            "items": self.items,
            "queries": self.queries,
            "query_count": self.query_count,
            "measured_at": self.measured_at,
            "environment": dict(self.environment),
            "match": None if self.match is None else self.match.as_dict(),
        }

    def write(self, index_folder: Path) -> None:
        """Replaces plan.json as a whole."""
        record = {"format": _FORMAT, "version": _VERSION, **self.as_dict()}
        write_atomically(index_folder / NAME, (json.dumps(record, indent=1) + "\n").encode())

    @staticmethod
    def read(index_folder: Path, widths: tuple[int, ...]) -> Tuned | None:
        """What plan.json says; None where there is none, or (the log says why) none that can be used.

        ``widths`` are those of the index: plans for other ones came from elsewhere.

        Plans are advice: a damaged one must not keep anybody from searching.
        """
        path = index_folder / NAME
        try:
            record: Any = json.loads(path.read_text(encoding="utf-8"))
            if (record["format"], record["version"]) != (_FORMAT, _VERSION):
                raise ValueError(f"it is of another format or version than {_FORMAT} {_VERSION}")
            match = record["match"]
            tuned = Tuned(
                k=int(record["k"]),
                target=float(record["target"]),
                chosen=Measured.from_dict(record),
                pareto=tuple(Measured.from_dict(one) for one in record["pareto"]),
                items=int(record["items"]),
                queries=str(record["queries"]),
                query_count=int(record["query_count"]),
                measured_at=str(record["measured_at"]),
                environment=dict(record["environment"]),
                match=None if match is None else MatchModel.from_dict(match),
            )
            tuned._check(widths)
            return tuned
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, QueryError) as error:
            _log.warning("%s is not used: %s; run hivlp tune to write it anew", path, error)
            return None


def _rounded_down(share: float) -> float:
    """To five digits; what has no more already stays."""
    return math.floor(share * 1e5 + 1e-6) / 1e5
