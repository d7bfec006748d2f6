"""What the numbers were measured on: versions, memory bandwidth, the private memory of this process."""

from __future__ import annotations

import ctypes
import gc
import platform
import time
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from hivlp.tune import measure

PACKAGES = ("hivlp", "numpy", "faiss-cpu", "hnswlib", "usearch", "scann", "qdrant-edge-py")


def environment() -> dict[str, Any]:
    """Machine, system and versions, JSON-compatible; a package that is not installed has the version null."""
    return {
        **measure.environment(),
        "processor": _processor(),
        "memory_gb": _memory("MemTotal"),
        "system": platform.system(),
        "packages": {name: installed(name) for name in PACKAGES},
    }


def installed(package: str) -> str | None:
    """The version of an installed package, None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def available_gb() -> float | None:
    """Memory that a new process can have without swapping, in GB; None where the system does not tell."""
    return _memory("MemAvailable")


def bandwidth_gb_s(*, megabytes: int = 2048, repeats: int = 5) -> float:
    """GB/s at which one thread reads a large array: the best of a few runs of a compiled maximum.

    A scan of n bytes can't take less than n divided by this. The array must be larger than the caches.
    """
    numbers = np.ones(megabytes << 17, np.int64)  # written once, so that its pages are there
    best = float("inf")
    for _ in range(repeats):
        begin = time.perf_counter()
        numbers.max()
        best = min(best, time.perf_counter() - begin)
    return numbers.nbytes / best / 1e9


def private_bytes() -> int | None:
    """Memory that belongs to this process alone, after garbage was given back; None but on Linux.

    Pages of mapped files are not in it: the system may drop them at any time, and they are shared.
    """
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError):
        for line in Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Anonymous:"):
                return int(line.split()[1]) * 1024
    return None


def _memory(field: str) -> float | None:
    with suppress(OSError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith(f"{field}:"):
                return round(int(line.split()[1]) * 1024 / 1e9, 1)
    return None


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return " ".join(line.partition(":")[2].split())
    return platform.processor()
