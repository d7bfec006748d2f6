"""The paper's table of speed at its own sizes: UNITER, METER, LightningDOT and HiVLP, end to end.

Everything that takes time is measured once and kept (see `ledger`). What fusion models take for a whole pool
is measured where that is affordable; otherwise it is the time of a pair at its best batch times the pairs. A
row says which.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

import hivlp
from hivlp.encode import load
from hivlp.errors import QueryError
from hivlp_lab.bench import machine
from hivlp_lab.bench.provenance import SEARCHING, library_code, short
from hivlp_lab.bench.vectors import DEFAULT_SOURCE
from hivlp_lab.speed import fusion, searches
from hivlp_lab.speed.claims import PAPER, targets
from hivlp_lab.speed.clock import TimeLimit
from hivlp_lab.speed.fusion import MODELS, SMALL_MODELS, TimedFusion, TimedReranker
from hivlp_lab.speed.ledger import Ledger
from hivlp_lab.speed.pool_runs import PoolRun
from hivlp_lab.speed.pools import CAPTIONS, DIRECTIONS, WIDE, Direction, PoolSource
from hivlp_lab.speed.towers import QueryTower, QueryTowers

ResultRow = dict[str, Any]
POOLS = (1_000, 5_000, 31_014, 123_287, 1_000_000)
DEPTHS = (10, 20, 50)
_PACKAGES = ("torch", "transformers", "onnxruntime")
_LARGE_GRAPH = f"building its graph of 512 links takes hours beyond {searches.GRAPH_UP_TO:,} rows"
_ROOM = 2.5  # times the flat index: it, the rows it is made of, and what the index of our own maps


@dataclass(frozen=True, kw_only=True)
class Speed:
    """A run.

    Attributes:
        pools: pictures of each pool; from a picture to texts it has five times as many candidates.
        small: tiny models instead of those of the papers, to try a run out.
        effort: of timing the dual encoders.
        seconds: the longest that one batch of a fusion model may take to be tried.
        whole_s: the longest that UNITER-base may take for all pairs of a pool to be run in full.
        again: measure anew what other processes disturbed before.
    """

    source: PoolSource
    pools: Sequence[int] = POOLS
    small: bool = False
    effort: TimeLimit = field(default_factory=TimeLimit)
    seconds: float = 30.0
    whole_s: float = 90.0
    again: bool = False
    say: Callable[[str], None] = lambda message: None

    def __post_init__(self) -> None:
        for count in self.pools:
            if count < 100:
                raise QueryError(
                    f"pools={count} is invalid: a pool must have at least 100 pictures. Try 1000."
                )

    def run(self) -> dict[str, Any]:
        """Measures the missing rows and returns the document, JSON-compatible."""
        rows: list[ResultRow] = []
        left_out: list[ResultRow] = []
        for direction in DIRECTIONS:
            for pictures in self.pools:
                candidates = pictures * (CAPTIONS if direction == "image_to_text" else 1)
                reason = _too_large(candidates)
                if reason:
                    left_out.append({"direction": direction, "candidates": candidates, "reason": reason})
                    self.say(f"{direction}, {candidates:,} candidates: {reason}")
                    continue
                for device in devices():
                    rows += self._pool(direction, pictures, candidates, device)
                if candidates > searches.GRAPH_UP_TO:
                    graph = {"system": "lightningdot-hnsw", "reason": _LARGE_GRAPH}
                    left_out.append({"direction": direction, "candidates": candidates, **graph})
        return {
            "table": "speed",
            "model": load("mini").fingerprint,
            "code": library_code(SEARCHING),
            "small": self.small,
            "measured_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "environment": _environment(),
            "hivlp_version": hivlp.__version__,
            "sources": [short(one) for one in self.source.sources] or [DEFAULT_SOURCE],
            "query": {"words": fusion.WORDS, "regions": fusion.REGIONS, "batch": 1},
            "fusion": {
                device: {name: self._cost(name, device) for name in self._models} for device in devices()
            },
            "rows": rows,
            "left_out": left_out,
            "disturbed": self.ledger.disturbed(),
            "paper": PAPER,
            "targets": targets(rows),
        }

    def _pool(self, direction: Direction, pictures: int, candidates: int, device: str) -> list[ResultRow]:
        """All rows of one pool on one device, each beside UNITER-base and LightningDOT there."""
        rows = list(self._fusion_rows(direction, candidates, device))
        rows += self._dual_rows(PoolRun(self, direction, pictures, candidates, device))
        by_system = {row["system"]: row for row in rows}
        uniter, dot = by_system["uniter-base"], by_system["lightningdot"]
        return [
            {
                "direction": direction,
                "pictures": pictures,
                "candidates": candidates,
                "device": device,
                **row,
                "uniter_ms": uniter["total_ms"],
                "lightningdot_ms": dot["total_ms"],
                "factor_over_uniter": uniter["total_ms"] / row["total_ms"],
                "factor_over_lightningdot": dot["total_ms"] / row["total_ms"],
                "search_factor_over_lightningdot": dot["search_alone_ms"] / row["search_alone_ms"]
                if "search_alone_ms" in row
                else None,
                "macs_factor_over_uniter": uniter["macs"] / row["macs"],
            }
            for row in rows
        ]

    def _fusion_rows(self, direction: Direction, candidates: int, device: str) -> Iterator[ResultRow]:
        for name in self._models:
            cost = self._cost(name, device)
            total_ms, how = cost["ms"] * candidates, f"{cost['ms']:.3g} ms a pair × {candidates:,} pairs"
            affordable = name == "uniter-base" and total_ms < 1e3 * self.whole_s
            if affordable and direction == "text_to_image":
                total_ms = self.ledger.get(
                    f"{device} {name}: all {candidates:,} pairs",
                    lambda cost=cost: self._whole(cost, candidates, device),
                )
                how = "all pairs run"
            yield {
                "system": name,
                "about": cost["about"],
                "precision": cost["precision"],
                "runtime": "torch",
                "batch": cost["batch"],
                "encode_ms": 0.0,
                "search_ms": total_ms,
                "rerank_ms": 0.0,
                "total_ms": total_ms,
                "macs": cost["macs"] * candidates,
                "how": how,
                "estimated": how != "all pairs run",
            }

    def _whole(self, cost: Mapping[str, Any], candidates: int, device: str) -> float:
        return fusion.whole_ms(
            self._models["uniter-base"], device, candidates, batch=cost["batch"], precision=cost["precision"]
        )

    def _dual_rows(self, run: PoolRun) -> Iterator[ResultRow]:
        yield run.row("lightningdot", "flat inner product")
        if run.device == "cpu" and run.candidates <= searches.GRAPH_UP_TO:
            yield run.row("lightningdot-hnsw", "graph of 512 links")
        yield run.row("hivlp", "LightningDOT's tower, cascade")
        if run.direction == "image_to_text":
            return  # the shipped model has no tower of regions
        yield run.row("hivlp-compact", "text tower of mini, cascade")
        for depth in DEPTHS:
            yield run.reranked(depth)

    def _cost(self, name: str, device: str) -> dict[str, Any]:
        return self.ledger.get(
            f"{device} {name}: a pair",
            lambda: fusion.cost(self._models[name], device, seconds=self.seconds),
        )

    def reranker(self, device: str) -> TimedReranker:
        """UNITER-base, to score a few rows again; built on first use."""
        if device not in self._rerankers:
            precision = self._cost("uniter-base", device)["precision"]
            self._rerankers[device] = TimedReranker(self._models["uniter-base"], device, precision)
        return self._rerankers[device]

    def tower(self, system: str, direction: Direction, device: str) -> QueryTower:
        """The query side of a system; built on first use."""
        key = (system, direction, device)
        if key not in self._towers:
            if device not in self._models_by_device:
                self._models_by_device[device] = QueryTowers(device, base="tiny" if self.small else "base")
            self._towers[key] = getattr(self._models_by_device[device], system.replace("-", "_"))(direction)
        return self._towers[key]

    @cached_property
    def _towers(self) -> dict[tuple[str, str, str], QueryTower]:
        return {}

    @cached_property
    def _models_by_device(self) -> dict[str, QueryTowers]:
        return {}

    @cached_property
    def _rerankers(self) -> dict[str, TimedReranker]:
        return {}

    @property
    def _models(self) -> Mapping[str, TimedFusion]:
        return SMALL_MODELS if self.small else MODELS

    @cached_property
    def ledger(self) -> Ledger:
        """What this code has measured on this machine before."""
        own = Path(__file__).parent
        paths = sorted([*own.glob("*.py"), *(own.parent / "baselines").glob("*.py")])
        measuring = [path for path in paths if path.stem not in ("claims", "chart", "report", "ledger")]
        parts = [path.read_text(encoding="utf-8") for path in measuring]
        parts += [load("mini").fingerprint, library_code(SEARCHING)]
        parts.append(json.dumps([_environment(), self.small, list(self.source.sources), self.source.queries]))
        digest = hashlib.sha256("".join(parts).encode()).hexdigest()[:16]
        return Ledger(self.source.work / "speed" / f"{digest}.jsonl", self.say, again=self.again)


def devices() -> list[str]:
    """Where things are measured: the CPU, and a GPU where there is one."""
    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


def _too_large(candidates: int) -> str | None:
    needed, available = _ROOM * candidates * WIDE * 4 / 1e9, machine.available_gb()
    if available is None or needed < available:
        return None
    return f"needs about {needed:.0f} GB of memory, and {available:.0f} GB are available"


def _environment() -> dict[str, Any]:
    found = machine.environment()
    found["packages"] = {
        **{name: found["packages"][name] for name in ("numpy", "faiss-cpu")},
        **{name: machine.installed(name) for name in _PACKAGES},
    }
    found["threads"] = torch.get_num_threads()
    found["gpu"] = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return found
