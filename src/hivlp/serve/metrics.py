"""Metrics of a service for Prometheus; each app has its own registry."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from hivlp.serve.shared_folder import SharedFolder, is_alive
from hivlp.types import Timings

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """All metrics of one service."""

    def __init__(self, shared_folder: SharedFolder | None = None) -> None:
        """Metrics that start at 0.

        Args:
            shared_folder: of a service of several processes, whose metrics are added up. Needs
                ``PROMETHEUS_MULTIPROC_DIR`` in the environment before prometheus_client is loaded.
        """
        self._folder = None if shared_folder is None else shared_folder.folder
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "hivlp_requests", "Requests by route and status.", ["route", "status"], registry=self.registry
        )
        self.request_seconds = Histogram(
            "hivlp_request_seconds",
            "Seconds from the first byte of a request to its answer, by route.",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.stage_seconds = Histogram(
            "hivlp_stage_seconds",
            "Seconds of a query in each stage; those of a batch are divided among its queries.",
            ["stage"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.batch_size = Histogram(
            "hivlp_batch_size",
            "Texts or searches that were computed together.",
            ["work"],
            buckets=_SIZES,
            registry=self.registry,
        )
        self.refused = Counter(
            "hivlp_refused", "Requests answered with 429, by reason.", ["reason"], registry=self.registry
        )
        self.errors = Counter(
            "hivlp_errors", "Requests that failed by an error of the service.", registry=self.registry
        )
        self.in_flight = Gauge(
            "hivlp_in_flight",
            "Requests at work or waiting now.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self.query_cache = Counter(
            "hivlp_query_cache",
            "Texts whose embedding was cached (hit) or not (miss).",
            ["result"],
            registry=self.registry,
        )
        self.items = Gauge(
            "hivlp_items",
            "Items of an index.",
            ["index"],
            registry=self.registry,
            multiprocess_mode="livemostrecent",
        )

    def observe_stages(self, timings_ms: Timings) -> None:
        """Records the times of one query; stages that did not run are left out."""
        for stage in ("encode", "coarse", "fine", "rerank"):
            spent = getattr(timings_ms, stage)
            if spent:
                self.stage_seconds.labels(stage).observe(spent / 1e3)

    def text(self) -> bytes:
        """The metrics of all processes together, in the format of Prometheus."""
        if self._folder is None:
            return generate_latest(self.registry)
        _forget_dead(self._folder)
        together = CollectorRegistry()
        MultiProcessCollector(together, path=str(self._folder))
        return generate_latest(together)


def _forget_dead(folder: Path) -> None:
    """Drops the requests at work in a process that was killed; its counts stay."""
    for pid in {int(path.stem.rpartition("_")[2]) for path in folder.glob("gauge_live*.db")}:
        if not is_alive(pid):
            with suppress(FileNotFoundError):  # another process does the same
                mark_process_dead(pid, str(folder))
