"""What an engine must do to be measured, and the table of those that are; it measures nothing.

An engine is a small class. One object is one build of one engine, in a process of its own.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeAlias

import numpy as np

from hivlp.errors import QueryError
from hivlp.index.vectors import LevelArray
from hivlp.messages import suggestion
from hivlp.stores.local import LocalStore
from hivlp.types import FloatArray, IntArray, Item
from hivlp_lab.bench.machine import installed
from hivlp_lab.bench.vectors import BenchVectors

Build: TypeAlias = dict[str, Any]
"""Parameters of a build, JSON-compatible: they are stored with its rows."""
Setting: TypeAlias = dict[str, Any]
"""Parameters of a search, JSON-compatible."""

ENGINES: dict[str, str] = {
    "flat": "hivlp_lab.bench.faiss_engines:Flat",
    "ivf-flat": "hivlp_lab.bench.faiss_engines:IvfFlat",
    "ivf-sq8": "hivlp_lab.bench.faiss_engines:IvfSq8",
    "ivf-pq": "hivlp_lab.bench.faiss_engines:IvfPq",
    "hnsw": "hivlp_lab.bench.faiss_engines:Hnsw",
    "pq-fastscan": "hivlp_lab.bench.faiss_engines:PqFastScan",
    "hnswlib": "hivlp_lab.bench.peers:Hnswlib",
    "usearch": "hivlp_lab.bench.peers:Usearch",
    "scann": "hivlp_lab.bench.peers:Scann",
    "qdrant-edge": "hivlp_lab.bench.peers:QdrantEdge",
    "ours": "hivlp_lab.bench.ours:Ours",
    "ours-untuned": "hivlp_lab.bench.ours:Untuned",
}
"""Name of an engine -> where its class is, in the order in which they are measured."""

DIMS = (64, 128, 192)
"""Main directions that inverted lists keep, of ours and of the plain twin of faiss."""
NPROBE = (8, 16, 32, 48, 64, 96, 128, 192, 256)
"""Lists that are visited, of every engine with lists."""
FEW = (20, 50, 100, 200)
"""Items that are scored anew behind codes of 8 bits."""
MANY = (50, 100, 200, 400, 1000)
"""Items that are scored anew behind coarser codes."""
SCAN_UP_TO = 200_000
"""Items up to which scans of all codes are measured, and several builds of a graph. Beyond, they take many
minutes, and neither has ever been the fastest there."""


class Engine(Protocol):
    """One build of one engine. Positions in the vectors are the row numbers that a search gives.

    Attributes:
        package: the distribution that must be installed.
        exact: whether it compares every item in full, so that its recall is 1 by construction.
    """

    package: ClassVar[str]
    exact: ClassVar[bool]

    def __init__(self, build: Build, vectors: BenchVectors, folder: Path, threads: int) -> None:
        """Keeps the arguments.

        Args:
            build: one of `builds`.
            vectors: the items; the queries must not be looked at before a search.
            folder: where files may be written; shared by the builds of this engine.
            threads: that a batch may use; building may use all processors.
        """
        ...

    @classmethod
    def builds(cls, count: int, width: int) -> list[Build]:
        """The builds to measure for this number of items."""
        ...

    @classmethod
    def memory(cls, build: Build, count: int, width: int) -> int:
        """About how many bytes of memory the build needs at its peak."""
        ...

    @classmethod
    def label(cls, build: Build) -> str:
        """The build in a few words."""
        ...

    def prepare(self) -> dict[str, float]:
        """Writes files shared by all builds, in an earlier process; returns seconds by name, often empty."""
        ...

    def build(self) -> dict[str, float]:
        """Makes it ready to search. Returns the seconds of parts of it by name, often none."""
        ...

    def settings(self) -> Sequence[Setting]:
        """The sweep, least thorough first."""
        ...

    def use(self, setting: Setting) -> None:
        """Takes the setting for the searches that follow."""
        ...

    def query(self, query_D: FloatArray) -> Any:
        """A query in the form that `search` wants; making it is not measured."""
        ...

    def search(self, query: Any, k: int) -> IntArray:
        """The rows of the k best, best first, by one thread. Several threads may call it at a time."""
        ...

    def search_batch(self, queries_QD: FloatArray, k: int) -> IntArray:
        """The same for many queries at once: Q × k, by `threads` threads."""
        ...

    def items(self, query: Any, k: int, store: LocalStore) -> Iterable[Any]:
        """The k best with their ids, captions and metadata, which a store holds in the order of the rows."""
        ...

    def cold_bytes(self) -> int:
        """Bytes of the files that searches read where they lie."""
        ...

    def close(self) -> None:
        """Gives back what would stay behind: files that are of no more use."""
        ...


class Base:
    """What most engines have in common: they keep everything in memory and take a query as it is."""

    package: ClassVar[str] = "faiss-cpu"
    exact: ClassVar[bool] = False
    bytes_per_number: ClassVar[float] = 4.0

    def __init__(self, build: Build, vectors: BenchVectors, folder: Path, threads: int) -> None:
        self.parameters = build
        self.vectors = vectors
        self.folder = folder
        self.threads = threads

    @classmethod
    def memory(cls, build: Build, count: int, width: int) -> int:
        return int(count * width * cls.bytes_per_number * 1.3)

    @classmethod
    def label(cls, build: Build) -> str:
        return words({name: value for name, value in build.items() if name != "sweep"})

    def prepare(self) -> dict[str, float]:
        return {}

    def query(self, query_D: FloatArray) -> Any:
        return query_D

    def search(self, query: Any, k: int) -> IntArray:
        raise NotImplementedError  # every engine has its own

    def items(self, query: Any, k: int, store: LocalStore) -> Iterable[Item]:
        return store.items_of([row for row in self.search(query, k).tolist() if row >= 0])

    def cold_bytes(self) -> int:
        return 0

    def close(self) -> None:
        pass


def kept_dims(width: int) -> list[int]:
    """Those of `DIMS` that are at most half of a width, ascending; half of it in the place of larger ones."""
    return sorted({min(dims, width // 2) for dims in DIMS})


def combinations(sweep: dict[str, list[Any]]) -> list[Setting]:
    """All combinations of the values, the first parameter changing last."""
    settings: list[Setting] = [{}]
    for name, values in sweep.items():
        settings = [{**setting, name: value} for setting in settings for value in values]
    return settings


def words(parameters: Mapping[str, Any]) -> str:
    """Parameters for people, such as ``M=16 ef=64``; None values are left out."""
    return " ".join(f"{name}={value}" for name, value in parameters.items() if value is not None)


def bytes_below(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def blocks(items_ND: LevelArray, size: int = 65_536) -> Iterator[FloatArray]:
    """The items in float32, in blocks: the engine's copy is the only large one."""
    for start in range(0, len(items_ND), size):
        yield items_ND[start : start + size].astype(np.float32)


def sample(items_ND: LevelArray, most: int) -> FloatArray:
    """Random items to train on, in float32, up to a limit; always the same ones."""
    if len(items_ND) <= most:
        return items_ND.astype(np.float32)
    rows = np.random.default_rng(0).choice(len(items_ND), most, replace=False)
    return items_ND[np.sort(rows)].astype(np.float32)


def load(place: str) -> type[Engine]:
    """The class at a place such as ``package.module:Class``."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def selected(names: Sequence[str], known: Mapping[str, str] = ENGINES) -> list[str]:
    """The engines of these names in the order of the table, all for none.

    Raises:
        QueryError: the engine is unknown.
    """
    for name in names:
        if name not in known:
            raise QueryError(f"unknown engine {name!r}; {suggestion(name, list(known))}")
    return [name for name in known if not names or name in names]


def missing(engine: type[Engine]) -> str | None:
    """How to install what an engine needs, None where it is installed."""
    if installed(engine.package) is not None:
        return None
    return f"not installed; pip install {engine.package}"
