"""The measurements of ``hivlp tune``, as stored in ``plan.json`` of an index; it measures nothing."""

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
"""Share of items added or deleted since tuning above which the measured recall may no longer hold."""
_FORMAT, _VERSION = "hivlp-plan", 1

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One plan and its measured recall, time and memory, on one thread.

    Attributes:
        recall: share of the true k best that it returns, mean over the queries, in [0, 1].
        recall_low: lower 95 % confidence bound of that.
        p50_ms, p99_ms: milliseconds of one search, without encoding and without reading the items.
        hot_bytes_per_item: bytes of memory that its coarse index takes per item.
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
        target: the recall to reach.
        chosen: the cheapest plan whose ``recall_low`` meets the target.
        pareto: the plans that no other one beats in both time and recall, fastest first; the last is exact.
        items: live items of the index at the time.
        queries: source of the queries: ``captions``, ``queries`` or ``points between items``.
        query_count: number of queries.
        measured_at: ISO 8601, UTC.
        environment: machine, processors, versions.
        match: how scores become match probabilities; None without captions to fit it to.
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
        """The fastest measured plan that keeps a recall with 95 % confidence; None if no plan does."""
        return next((one for one in self.pareto if one.recall_low >= recall), None)

    def staleness(self, items: int) -> str | None:
        """A note where the index has changed too much for the measured recall to be relied on."""
        if abs(items - self.items) <= STALE_GROWTH * self.items:
            return None
        return (
            f"the plan was measured at {self.items:,} items and the index now has {items:,}, so its recall "
            "may be lower; run hivlp tune again"
        )

    def specs(self, widths: tuple[int, ...]) -> set[CoarseSpec]:
        """The coarse indexes that the plans of the front need."""
        plans = [one.plan for one in self.pareto]
        return {plan.spec(widths) for plan in plans if plan.candidates != "all"}

    def _check(self, widths: tuple[int, ...]) -> None:
        require_count("k", self.k, 1)
        for plan in (self.chosen.plan, *(one.plan for one in self.pareto)):
            read = {plan.spec(widths).width, *(width for width, _ in plan.stages)}
            if not read <= set(widths):
                raise ValueError(f"its plans read the levels {sorted(read)} and the index has {list(widths)}")
            if plan.rerank:
                raise ValueError(
                    f"its plan {plan.name!r} re-ranks, but a stored plan has no re-ranking function"
                )

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
        """The content of plan.json; None if it is missing or (with a warning in the log) not usable.

        ``widths`` are those of the index: plans that read other levels belong to another index.

        Plans are advice: a damaged file must not prevent searching.
        """
        path = index_folder / NAME
        try:
            record: Any = json.loads(path.read_text(encoding="utf-8"))
            if (record["format"], record["version"]) != (_FORMAT, _VERSION):
                raise ValueError(f"its format or version is not {_FORMAT} {_VERSION}")
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
            _log.warning("%s is ignored: %s; run hivlp tune to write a new one", path, error)
            return None


def _rounded_down(share: float) -> float:
    """Rounded down to five digits; a value with fewer digits stays as it is."""
    return math.floor(share * 1e5 + 1e-6) / 1e5
