"""HiVLP itself as an engine: a real index folder, written by a store, opened for reading and searched."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from hivlp import search
from hivlp.bench.engines import Base, Build, Setting, bytes_below, words
from hivlp.bench.vectors import levels
from hivlp.search import Plan
from hivlp.stores.local import LocalStore
from hivlp.types import FloatArray, IntArray, Item

_BATCH = 16_384


def our_plans(count: int) -> list[Plan]:
    """The plans that are measured for an index of so many items, the cheapest first."""
    kept = [n for n in (50, 100, 200, 400, 800, 1600, 3200) if n < count]
    return [Plan(name=f"cascade-{n}", candidates=n) for n in kept]


class Ours(Base):
    """One plan. The coarse index is built by the first search, and counted as building."""

    package: ClassVar[str] = "hivlp"

    @classmethod
    def builds(cls, count: int, width: int) -> list[Build]:
        return [plan.as_dict() for plan in our_plans(count)]

    @classmethod
    def memory(cls, build: Build, count: int, width: int) -> int:
        return count * 200  # coarse vectors and the columns of the mask; the fine level stays on disk

    @classmethod
    def label(cls, build: Build) -> str:
        usual = {**Plan().as_dict(), "candidates": None, "name": build["name"]}
        return words({name: value for name, value in build.items() if value != usual[name]})

    def prepare(self) -> dict[str, float]:
        shutil.rmtree(self._place, ignore_errors=True)
        vectors, begin = self.vectors, time.perf_counter()
        with LocalStore.create(
            self._place, model_name="mini", model_fingerprint="bench", widths=vectors.widths, preprocessing={}
        ) as store:
            for start in range(0, len(vectors.items_ND), _BATCH):
                rows_BD = vectors.items_ND[start : start + _BATCH].astype(np.float32)
                store.append(
                    [_item(row) for row in range(start, start + len(rows_BD))],
                    levels(rows_BD, vectors.widths),
                )
        return {"append_s": time.perf_counter() - begin}

    def build(self) -> dict[str, float]:
        self.plan = Plan.from_dict(self.parameters)
        begin = time.perf_counter()
        self.store = LocalStore.open(self._place)
        self.view = self.store.view()
        opened = time.perf_counter()
        self.search(self.query(self.vectors.queries_QD[0]), 10)
        return {"open_s": opened - begin, "coarse_s": time.perf_counter() - opened}

    def settings(self) -> Sequence[Setting]:
        return [{}]

    def use(self, setting: Setting) -> None:
        pass

    def query(self, query_D: FloatArray) -> Any:
        return levels(query_D[None], self.vectors.widths)  # an encoder gives all levels

    def search(self, query: Any, k: int) -> IntArray:
        return search.run(self.plan, query, self.view, k)[0].rows

    def search_batch(self, queries_QD: FloatArray, k: int) -> IntArray:
        queries = levels(queries_QD, self.vectors.widths)
        return _padded([result.rows for result in search.run(self.plan, queries, self.view, k)], k)

    def cold_bytes(self) -> int:
        return bytes_below(self._place)

    def close(self) -> None:
        self.store.close()

    @property
    def _place(self) -> Any:
        return self.folder / "index.hivlp"


class OursWithItems(Ours):
    """The same with what a user gets: each hit's id, place, caption and metadata, read from SQLite."""

    def search(self, query: Any, k: int) -> IntArray:
        hits = self.store.search(query, k=k, plan=self.plan)[0]
        return np.array([int(hit.id) for hit in hits], np.int64)

    def search_batch(self, queries_QD: FloatArray, k: int) -> IntArray:
        found = self.store.search(levels(queries_QD, self.vectors.widths), k=k, plan=self.plan)
        return _padded([np.array([int(hit.id) for hit in hits], np.int64) for hits in found], k)


def _item(row: int) -> Item:
    meta = {"color": ("red", "green", "blue")[row % 3], "price": row % 100}
    return Item(id=str(row), uri=f"photos/{row}.jpg", caption=f"picture {row}", meta=meta)


def _padded(rows: list[IntArray], k: int) -> IntArray:
    rows_QK = np.full((len(rows), k), -1, np.int64)
    for padded_K, rows_K in zip(rows_QK, rows, strict=True):
        padded_K[: len(rows_K)] = rows_K
    return rows_QK
