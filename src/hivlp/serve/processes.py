"""Several processes behind one socket, each a whole service; uvicorn starts those anew that die.

Python computes in one thread of a process at a time, and handing that turn over costs more than HTTP does.
Each process has the indexes mapped (the system keeps one copy), and its own encoder and coarse indexes.
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
from hivlp.serve.opening import open_indexes
from hivlp.serve.run import configured, log_to_stderr
from hivlp.serve.settings import Settings
from hivlp.serve.shared import Shared

_log = logging.getLogger("hivlp.serve")


@dataclass(frozen=True)
class Recipe:
    """What to serve; each process is sent it and makes its own application.

    Attributes:
        indexes: their folders.
        model: another place of the model that made them.
        settings: of the whole service.
    """

    indexes: tuple[Path, ...]
    model: str | None
    settings: Settings


@dataclass(frozen=True)
class _Member:
    """Makes the application of one process."""

    recipe: Recipe
    shared: Shared

    def __call__(self) -> FastAPI:
        log_to_stderr()
        threading.Thread(target=_end_with_parent, daemon=True).start()
        threads = threads_of_each(self.shared.processes)
        try:
            indexes = open_indexes(self.recipe.indexes, self.recipe.model, threads=threads)
        except HivlpError as error:
            _log.error("process %d can't start: %s", os.getpid(), error)
            sys.exit(STARTUP_FAILURE)  # the one failure that ends the service instead of being tried again
        return create_app(indexes, part_of(self.recipe.settings, self.shared.processes), self.shared)


def run_processes(
    recipe: Recipe, processes: int, listener: socket, *, started: Callable[[], None] = lambda: None
) -> None:
    """Serves from several processes until told to stop; each answers what it is at first.

    Raises:
        ConfigError: the system or the settings allow only one process.
        HivlpError: a process could not start.
    """
    check(recipe.settings, processes)
    log_to_stderr()
    with TemporaryDirectory(prefix="hivlp-serve-") as folder:
        # Read when a library is loaded, so set before the processes start.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        os.environ.setdefault("OMP_NUM_THREADS", str(threads_of_each(processes)))
        member = _Member(recipe, Shared(Path(folder), processes))
        supervisor = Multiprocess(configured(member, processes=processes), sockets=[listener])
        started()
        supervisor.run()
        if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
            raise HivlpError("a process of the service could not start; the lines above say why")


def check(settings: Settings, processes: int) -> None:
    """Raises ConfigError where settings, or the system, need one process."""
    if processes == 1:
        return
    if settings.writable:
        raise ConfigError(
            f"--writable and --processes {processes} exclude each other: an index has one writer. Leave "
            "out --processes; or serve the index twice, for reading by several processes, and --writable "
            "on another --port by one, whose changes the others take up"
        )
    if os.name == "nt":
        raise ConfigError(f"--processes {processes}: on Windows the service is one process; leave it out")


def threads_of_each(processes: int) -> int:
    """Computing threads of one of several processes, so that all together are no more than processors."""
    return max(1, (os.cpu_count() or 1) // processes)


def part_of(settings: Settings, processes: int) -> Settings:
    """The settings of one of several processes: what is a limit of all of them together is divided."""
    return settings.model_copy(
        update={
            "queue": -(-settings.queue // processes),
            "max_bodies_bytes": max(settings.max_body_bytes, settings.max_bodies_bytes // processes),
            "cached_thumbnail_bytes": settings.cached_thumbnail_bytes // processes,
            "search_threads": min(settings.search_threads, threads_of_each(processes)),
        }
    )


def _end_with_parent() -> None:
    """Stops this process, in order, where the one that started it was killed: nobody else would."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
