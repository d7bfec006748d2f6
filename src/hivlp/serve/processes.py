"""Several processes behind one socket, each a whole service; uvicorn restarts those that die.

Python computes in one thread of a process at a time, and switching between threads costs more than HTTP does.
Each process maps the indexes (the system keeps one copy) and has its own encoder and coarse indexes.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from socket import socket
from tempfile import TemporaryDirectory

from fastapi import FastAPI
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from hivlp.errors import ConfigError, HivlpError
from hivlp.serve.app import create_app
from hivlp.serve.indexes import open_indexes
from hivlp.serve.run import configured, log_to_stderr
from hivlp.serve.settings import ServiceSettings
from hivlp.serve.shared_folder import SharedFolder

_log = logging.getLogger("hivlp.serve")


@dataclass(frozen=True)
class ServiceSpec:
    """What to serve; each process gets a copy and makes its own application.

    Attributes:
        indexes: the index folders.
        model: another path of the model that made them.
        settings: settings of the whole service.
    """

    indexes: tuple[Path, ...]
    model: str | None
    settings: ServiceSettings


@dataclass(frozen=True)
class _WorkerApp:
    """Makes the application of one process."""

    spec: ServiceSpec
    shared_folder: SharedFolder

    def __call__(self) -> FastAPI:
        log_to_stderr()
        threading.Thread(target=_end_with_parent, daemon=True).start()
        threads = threads_of_each(self.shared_folder.processes)
        try:
            indexes = open_indexes(self.spec.indexes, self.spec.model, threads=threads)
        except HivlpError as error:
            _log.error("process %d can't start: %s", os.getpid(), error)
            sys.exit(STARTUP_FAILURE)  # the only failure that ends the service instead of a restart
        return create_app(
            indexes, settings_of_each(self.spec.settings, self.shared_folder.processes), self.shared_folder
        )


def run_processes(
    spec: ServiceSpec, processes: int, listener: socket, *, started: Callable[[], None] = lambda: None
) -> None:
    """Serves from several processes until stopped; each answers its running requests first.

    Raises:
        ConfigError: the system or the settings allow only one process.
        HivlpError: a process could not start.
    """
    check(spec.settings, processes)
    log_to_stderr()
    with TemporaryDirectory(prefix="hivlp-serve-") as folder:
        # Libraries read these when they are loaded, so they are set before the processes start.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        os.environ.setdefault("OMP_NUM_THREADS", str(threads_of_each(processes)))
        worker = _WorkerApp(spec, SharedFolder(Path(folder), processes))
        supervisor = Multiprocess(configured(worker, processes=processes), sockets=[listener])
        started()
        supervisor.run()
        if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
            raise HivlpError("a process of the service could not start; the lines above say why")


def check(settings: ServiceSettings, processes: int) -> None:
    """Raises ConfigError where the settings or the system allow only one process."""
    if processes == 1:
        return
    if settings.writable:
        raise ConfigError(
            f"--writable and --processes {processes} exclude each other: an index has one writer. Leave out "
            "--processes; or serve the index twice, read-only with several processes, and with --writable "
            "in one process on another --port, whose changes the others take up"
        )
    if os.name == "nt":
        raise ConfigError(
            f"--processes {processes} is not possible on Windows: the service has one process there; leave "
            "it out"
        )


def threads_of_each(processes: int) -> int:
    """Computing threads per process, so that all processes together have no more than there are CPUs."""
    return max(1, (os.cpu_count() or 1) // processes)


def settings_of_each(settings: ServiceSettings, processes: int) -> ServiceSettings:
    """The settings of each of several processes: limits of the whole service are divided."""
    return settings.model_copy(
        update={
            "queue": -(-settings.queue // processes),
            "max_bodies_bytes": max(settings.max_body_bytes, settings.max_bodies_bytes // processes),
            "cached_thumbnail_bytes": settings.cached_thumbnail_bytes // processes,
            "search_threads": min(settings.search_threads, threads_of_each(processes)),
        }
    )


def _end_with_parent() -> None:
    """Stops this process cleanly if its parent was killed, since nothing else would stop it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
