"""The engines of faiss: exact, inverted lists, graphs and 4-bit codes.

Most of them may first turn the vectors to their main directions, keep the first 64 numbers, where nearly all
the variance is, and re-score what they find by the whole vectors: on embeddings that is what makes them fast,
and what somebody who tunes faiss would do.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from hivlp.types import FloatArray, IntArray
from hivlp_lab.bench.engines import Base, Build, Setting, blocks, combinations, sample
from hivlp_lab.bench.faiss_index import assemble, innermost, list_count, probe_counts

_TRAIN_ROWS = 200_000
_REDUCED = 64


class FaissEngine(Base):
    """An index by its factory string, perhaps behind a rotation and before a re-scoring.

    A build has ``factory`` (of faiss), ``reduce`` (numbers kept after the rotation, 0 for no rotation),
    ``refine`` (``float32``, ``float16`` or None: how whole vectors are kept for re-scoring) and ``sweep``:
    the settings, each parameter with its values, of which all combinations are measured.
    """

    package: ClassVar[str] = "faiss-cpu"

    @classmethod
    def memory(cls, build: Build, count: int, width: int) -> int:
        whole = {"float32": 4 * width, "float16": 2 * width, None: 0}[build["refine"]]
        inside = build["reduce"] or width
        coded = "PQ" in build["factory"] or "SQ8" in build["factory"]
        links = 300 if "HNSW" in build["factory"] else 0
        return int(count * (whole + inside * (1 if coded else 4) + links) * 1.1)

    @classmethod
    def label(cls, build: Build) -> str:
        turned = f"PCA{build['reduce']}," if build["reduce"] else ""
        whole = {None: "", "float32": ",RFlat", "float16": ",RFlat16"}[build["refine"]]
        return turned + build["factory"] + whole

    def build(self) -> dict[str, float]:
        import faiss

        faiss.omp_set_num_threads(os.cpu_count() or 1)
        items_ND = self.vectors.items_ND
        self.index = assemble(items_ND.shape[1], sample(items_ND, _TRAIN_ROWS), **self._parts())
        for block_BD in blocks(items_ND):
            self.index.add(block_BD)
        faiss.omp_set_num_threads(self.threads)
        return {}

    def settings(self) -> Sequence[Setting]:
        return combinations(self.parameters["sweep"])

    def use(self, setting: Setting) -> None:
        import faiss

        core = innermost(self.index)
        for name, value in setting.items():
            if name == "rescored":
                self.index.k_factor = value / 10
            elif name == "ef":
                core.hnsw.efSearch = value
            else:
                faiss.extract_index_ivf(core).nprobe = value

    def query(self, query_D: FloatArray) -> Any:
        return np.ascontiguousarray(query_D[None])

    def search(self, query: Any, k: int) -> IntArray:
        return self.index.search(query, k)[1][0]

    def search_batch(self, queries_QD: FloatArray, k: int) -> IntArray:
        return self.index.search(queries_QD, k)[1]

    def _parts(self) -> dict[str, Any]:
        return {name: self.parameters[name] for name in ("factory", "reduce", "refine")}


class Flat(FaissEngine):
    """Every item compared in float32: the exact answer, and the speed that others are compared with."""

    @classmethod
    def builds(cls, count: int, width: int) -> list[Build]:
        return [_made("Flat")]


class IvfFlat(FaissEngine):
    """Inverted lists of whole vectors, or of 64 numbers with re-scoring."""

    @classmethod
    def builds(cls, count: int, width: int) -> list[Build]:
        lists = list_count(count)
        probes = probe_counts(lists)
        return [
            _made(f"IVF{lists},Flat", nprobe=probes),
            _reduced(f"IVF{lists},Flat", width, nprobe=probes, rescored=[20, 50, 100]),
        ]


class IvfPq(FaissEngine):
    """Inverted lists of 8-bit product codes with re-scoring."""

    @classmethod
    def builds(cls, count: int, width: int) -> list[Build]:
        lists = list_count(count)
        # np: without polysemous training, a minute's work for a filter that is not used
        factory = f"IVF{lists},PQ{min(32, width // 2)}x8np"
        return [_reduced(factory, width, nprobe=probe_counts(lists), rescored=[50, 100, 200, 400])]


class Hnsw(FaissEngine):
    """A graph over whole vectors, over 8-bit ones, and over 64 numbers with re-scoring."""

    @classmethod
    def builds(cls, count: int, width: int) -> list[Build]:
        efs = [16, 32, 64, 128, 256, 512]
        return [
            _made("HNSW32,Flat", ef=efs),
            _made("HNSW32,SQ8", ef=efs),
            _reduced("HNSW32,SQ8", width, ef=efs, rescored=[50, 100, 200]),
        ]


class PqFastScan(FaissEngine):
    """4-bit product codes scanned in registers, all of them or some lists, with re-scoring."""

    @classmethod
    def builds(cls, count: int, width: int) -> list[Build]:
        lists, codes = list_count(count), min(32, width)
        rescored = [50, 100, 200, 400, 1000]
        flat: dict[str, Any] = {"rescored": [*rescored, 2000]}
        some: dict[str, Any] = {"nprobe": probe_counts(lists), "rescored": [50, 100, 200, 400]}
        return [
            _made(f"PQ{codes}x4fs", reduce=codes, refine="float32", **flat),
            _reduced(f"PQ{codes}x4fs", width, **flat),
            _reduced(f"OPQ{codes}_{min(_REDUCED, width)},PQ{codes}x4fs", width, **flat),
            _made(f"IVF{lists},PQ{codes}x4fs", reduce=codes, refine="float32", **some),
            _reduced(f"IVF{lists},PQ{codes}x4fsr", width, **some),
            _reduced(f"IVF{lists},PQ{codes}x4fsr", width, refine="float16", **some),
        ]


def _made(factory: str, *, reduce: int = 0, refine: str | None = None, **sweep: list[Any]) -> Build:
    return {"factory": factory, "reduce": reduce, "refine": refine, "sweep": sweep}


def _reduced(factory: str, width: int, *, refine: str = "float32", **sweep: list[Any]) -> Build:
    return _made(factory, reduce=min(_REDUCED, width), refine=refine, **sweep)
