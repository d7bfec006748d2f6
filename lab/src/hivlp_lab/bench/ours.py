"""HiVLP itself as an engine: a real index folder, written by a store, opened for reading and searched."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from hivlp.search import cascade as search
from hivlp.search.plan import Plan, default_plan
from hivlp.stores.local import LocalStore
from hivlp.types import FloatArray, IntArray, Item
from hivlp_lab.bench.engines import (
    FEW,
    MANY,
    NPROBE,
    SCAN_UP_TO,
    Base,
    Build,
    Setting,
    bytes_below,
    kept_dims,
    words,
)
from hivlp_lab.bench.vectors import BenchVectors, levels

INDEX = "index.hivlp"
"""Name of the index folder, in the folder of the engine; other engines read their items from it too."""
_BATCH = 16_384
_COARSE = ("coarse", "coarse_width", "dims", "code", "lists", "links")
"""What of a plan its coarse index depends on; the rest can change from search to search."""


def our_plans(count: int, width: int) -> list[Plan]:
    """The plans to measure for an index of this size and width of its fine level."""
    few, many = ([n for n in tried if n < count] for tried in (FEW, MANY))
    probes = [n for n in NPROBE if n * n <= count]
    kept = kept_dims(width)
    middle: dict[str, Any] = {"coarse_width": width, "dims": kept[len(kept) // 2]}
    plans: list[Plan] = []
    for dims in kept:
        for probed in probes:
            whole: dict[str, Any] = {"coarse_width": width, "dims": dims, "nprobe": probed}
            plans += [Plan(coarse="ivf", **whole, candidates=best) for best in few]
    for probed in probes:
        plans += [Plan(coarse="ivf", code="pq4", **middle, nprobe=probed, candidates=best) for best in many]
    if count <= SCAN_UP_TO:
        plans += [Plan(coarse="pq", **middle, candidates=best) for best in many]
        plans += [Plan(coarse="exact", code="int8", **middle, candidates=best) for best in few]
        plans += [Plan(coarse="bits", coarse_width=width, dims=width, candidates=best) for best in many]
        for seen in (32, 64, 128, 256, 512):
            graph: dict[str, Any] = {**middle, "ef_search": seen}
            plans += [Plan(coarse="hnsw", **graph, candidates=best) for best in few if best <= seen]
    return plans


class Ours(Base):
    """The plans that share one coarse index. The first search makes it; that counts as building."""

    package: ClassVar[str] = "hivlp"

    @classmethod
    def builds(cls, count: int, width: int) -> list[Build]:
        groups: dict[str, list[dict[str, Any]]] = {}
        for plan in our_plans(count, width):
            groups.setdefault(cls.label(of_plans([plan.as_dict()])), []).append(plan.as_dict())
        return [of_plans(plans) for plans in groups.values()]

    @classmethod
    def label(cls, build: Build) -> str:
        return words({name: build["plans"][0].get(name) for name in _COARSE})

    @classmethod
    def memory(cls, build: Build, count: int, width: int) -> int:
        return count * 200  # coarse vectors and the columns of the mask; the fine level stays on disk

    def prepare(self) -> dict[str, float]:
        shutil.rmtree(self._place, ignore_errors=True)
        vectors, begin = self.vectors, time.perf_counter()
        with LocalStore.create(
            self._place,
            model_name=str(vectors.about.get("model_name")),
            model_fingerprint=str(vectors.about.get("model")),
            widths=vectors.widths,
            preprocessing={},
        ) as store:
            for start in range(0, len(vectors.items_ND), _BATCH):
                rows_BD = vectors.items_ND[start : start + _BATCH].astype(np.float32)
                store.append(
                    [_item(row) for row in range(start, start + len(rows_BD))],
                    levels(rows_BD, vectors.widths),
                )
        return {"append_s": time.perf_counter() - begin}

    def build(self) -> dict[str, float]:
        self.use(self.settings()[0])
        begin = time.perf_counter()
        self.store = LocalStore.open(self._place)
        self.view = self.store.view()
        opened = time.perf_counter()
        self.search(self.query(self.vectors.queries_QD[0]), 10)
        return {"open_s": opened - begin, "coarse_s": time.perf_counter() - opened}

    def settings(self) -> Sequence[Setting]:
        usual = Plan().as_dict()
        return [
            {
                name: value
                for name, value in plan.items()
                if name == "candidates" or (name not in _COARSE and value != usual.get(name))
            }
            for plan in self.parameters["plans"]
        ]

    def use(self, setting: Setting) -> None:
        coarse = {name: value for name, value in self.parameters["plans"][0].items() if name in _COARSE}
        self.plan = Plan.from_dict({**coarse, **setting})

    def query(self, query_D: FloatArray) -> Any:
        return levels(query_D[None], self.vectors.widths)  # an encoder gives all levels

    def search(self, query: Any, k: int) -> IntArray:
        return search.run(self.plan, query, self.view, k)[0].rows

    def search_batch(self, queries_QD: FloatArray, k: int) -> IntArray:
        queries = levels(queries_QD, self.vectors.widths)
        return _padded([result.rows for result in search.run(self.plan, queries, self.view, k)], k)

    def items(self, query: Any, k: int, store: LocalStore) -> Iterable[Any]:
        return self.store.search(query, k=k, plan=self.plan)[0]

    def cold_bytes(self) -> int:
        return bytes_below(self._place)

    def close(self) -> None:
        self.store.close()

    @property
    def _place(self) -> Any:
        return self.folder / INDEX


class Untuned(Ours):
    """The plan that an index takes as long as nobody has tuned it."""

    def __init__(self, build: Build, vectors: BenchVectors, folder: Path, threads: int) -> None:
        plan = default_plan(len(vectors.items_ND), vectors.widths)
        super().__init__(of_plans([plan.as_dict()]), vectors, folder, threads)

    @classmethod
    def builds(cls, count: int, width: int) -> list[Build]:
        return [{}]

    @classmethod
    def label(cls, build: Build) -> str:
        return "of an index of this size"

    def settings(self) -> Sequence[Setting]:
        return [{name: value for name, value in self.parameters["plans"][0].items() if name != "rerank"}]


def of_plans(plans: list[dict[str, Any]]) -> Build:
    """The build that measures these plans, which must share their coarse index."""
    return {"plans": plans}


def _item(row: int) -> Item:
    meta = {"color": ("red", "green", "blue")[row % 3], "price": row % 100}
    return Item(id=str(row), uri=f"photos/{row}.jpg", caption=f"picture {row}", meta=meta)


def _padded(rows: list[IntArray], k: int) -> IntArray:
    rows_QK = np.full((len(rows), k), -1, np.int64)
    for padded_K, rows_K in zip(rows_QK, rows, strict=True):
        padded_K[: len(rows_K)] = rows_K
    return rows_QK
