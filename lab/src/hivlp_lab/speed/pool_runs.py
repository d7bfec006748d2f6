"""The dual encoders on one pool and device: encoding, searching and re-ranking, apart and in turn."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from hivlp_lab.speed import searches
from hivlp_lab.speed.clock import medians
from hivlp_lab.speed.ledger import RETRIES
from hivlp_lab.speed.pools import WIDE, Direction, Pool
from hivlp_lab.speed.searches import Ask

if TYPE_CHECKING:
    from hivlp_lab.speed.run import Speed

_JUDGED = 100  # queries by which recall is counted
_RERANKED = "hivlp-compact"
_EQUAL = ("lightningdot", "lightningdot-hnsw", "hivlp")  # of one tower, which is timed once for all of them


class PoolRun:
    """Rows of one pool. What is in the ledger is not measured again, and then nothing is opened or built."""

    def __init__(
        self, suite: Speed, direction: Direction, pictures: int, candidates: int, device: str
    ) -> None:
        self.suite = suite
        self.direction: Direction = direction
        self.candidates = candidates
        self.device = device
        self._pictures = pictures

    def row(self, system: str, about: str) -> dict[str, Any]:
        """A system without re-ranking."""
        return {"system": system, "about": about, **self._recorded(system, lambda: self._measured(system))}

    def reranked(self, depth: int) -> dict[str, Any]:
        """HiVLP with the compact tower, its best rows scored anew by UNITER-base."""
        system = f"{_RERANKED}+uniter-{depth}"
        return {
            "system": system,
            "about": f"UNITER-base re-ranks the best {depth}",
            **self._recorded(system, lambda: self._measured_reranking(depth)),
        }

    def _recorded(self, system: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        name = f"{self.device} {system}: {self.direction}, {self.candidates:,} candidates"
        return self.suite.ledger.get(name, measure, retries=RETRIES)

    def _measured(self, system: str) -> dict[str, Any]:
        tower = self.suite.tower(system.removesuffix("-hnsw"), self.direction, self.device)
        ask = self._ask(system)
        _, alone_ms, _ = medians([ask], self.suite.effort)
        (encode_ms, search_ms), total_ms, rounds = medians([tower.encode, ask], self.suite.effort)
        if system in _EQUAL:  # else the noise of the encoder would be taken for a difference of the searches
            encode_ms = self._equal_encode_ms()
            total_ms = encode_ms + search_ms
        ours = system.startswith("hivlp")
        rows = self.candidates
        cost = searches.search_macs(self._pool.plan, rows) if ours else rows * WIDE
        return {
            "precision": tower.precision,
            "runtime": tower.runtime,
            "batch": 1,
            "encode_ms": encode_ms,
            "search_ms": search_ms,
            "rerank_ms": 0.0,
            "total_ms": total_ms,
            "search_alone_ms": alone_ms,
            "macs": tower.macs + cost,
            "recall": searches.recall(ask, self._flat, min(_JUDGED, len(self._pool.queries))),
            "plan": self._pool.plan.as_dict() if ours else None,
            "rounds": rounds,
            "how": "measured",
            "estimated": False,
        }

    def _equal_encode_ms(self) -> float:
        """Milliseconds of LightningDOT's tower, measured once for each direction and device."""
        tower = self.suite.tower("lightningdot", self.direction, self.device)
        return self.suite.ledger.get(
            f"{self.device} lightningdot: {self.direction}, a query alone",
            lambda: medians([tower.encode], self.suite.effort)[1],
            retries=RETRIES,
        )

    def _measured_reranking(self, depth: int) -> dict[str, Any]:
        tower = self.suite.tower(_RERANKED, self.direction, self.device)
        reranker, took = self.suite.reranker(self.device), list[float]()
        ask = searches.cascade(self._pool, rerank=reranker, depth=depth, spent=took.append)
        (encode_ms, both_ms), total_ms, rounds = medians([tower.encode, ask], self.suite.effort)
        rerank_ms = statistics.median(took[-rounds:])
        plan = searches.reranking(self._pool.plan, depth)
        search_macs = searches.search_macs(plan, self.candidates)
        return {
            "precision": reranker.precision,
            "runtime": "torch",
            "batch": depth,
            "encode_ms": encode_ms,
            "search_ms": both_ms - rerank_ms,
            "rerank_ms": rerank_ms,
            "total_ms": total_ms,
            "macs": tower.macs + search_macs + depth * reranker.macs,
            "plan": plan.as_dict(),
            "rounds": rounds,
            "how": "measured",
            "estimated": False,
        }

    def _ask(self, system: str) -> Ask:
        if system == "lightningdot":
            return self._flat if self.device == "cpu" else searches.flat_on(self._pool, self.device)
        if system == "lightningdot-hnsw":
            return searches.graph(self._pool)
        return searches.cascade(self._pool)

    @cached_property
    def _pool(self) -> Pool:
        return self.suite.source.pool(self.direction, self._pictures)

    @cached_property
    def _flat(self) -> Ask:
        return searches.flat(self._pool)
