"""The engines of faiss: exact, inverted lists, graphs and 4-bit codes.

Most of them may first turn the vectors to their main directions, keep the first 64 or 128 numbers, where most
of the variance is, and re-score what they find by the whole vectors: on embeddings that is what makes them
fast, and what somebody who tunes faiss would do.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from hivlp.index.coarse.kinds import default_lists
from hivlp.types import FloatArray, IntArray
from hivlp_lab.bench.engines import (
    FEW,
    MANY,
    NPROBE,
    SCAN_UP_TO,
    Base,
    Build,
    Setting,
    blocks,
    combinations,
    kept_dims,
    sample,
)
from hivlp_lab.bench.faiss_index import assemble, innermost, list_count

_TRAIN_ROWS = 200_000


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

    exact: ClassVar[bool] = True

    @classmethod
    def builds(cls, count: int, width: int) -> list[Build]:
        return [_made("Flat")]


class IvfFlat(FaissEngine):
    """Inverted lists of whole vectors, or of some directions with re-scoring."""

    @classmethod
    def builds(cls, count: int, width: int) -> list[Build]:
        lists = list_count(count)
        builds = [
            _reduced(f"IVF{lists},Flat", width, kept, nprobe=_probes(lists), rescored=FEW)
            for kept in (64, 128)
        ]
        if count <= SCAN_UP_TO:
            builds.append(_made(f"IVF{lists},Flat", nprobe=_probes(lists)))
        return builds


class IvfSq8(FaissEngine):
    """The plain twin of HiVLP's inverted lists: the same directions, lists, 8-bit codes and re-scoring."""

    @classmethod
    def builds(cls, count: int, width: int) -> list[Build]:
        lists = min(default_lists(count), max(1, count // 32))
        return [
            _reduced(f"IVF{lists},SQ8", width, dims, nprobe=_probes(lists), rescored=FEW)
            for dims in kept_dims(width)
        ]


class IvfPq(FaissEngine):
    """Inverted lists of 8-bit product codes with re-scoring."""

    @classmethod
    def builds(cls, count: int, width: int) -> list[Build]:
        lists = list_count(count)
        sweep: dict[str, Any] = {"nprobe": _probes(lists), "rescored": MANY}
        # np: without polysemous training, a minute's work for a filter that is not used
        return [
            _reduced(f"IVF{lists},PQ{min(codes, width // 2)}x8np", width, dims, **sweep)
            for dims, codes in ((64, 32), (128, 64))
        ]


class Hnsw(FaissEngine):
    """A graph over whole vectors, over 8-bit ones, and over some directions with re-scoring."""

    @classmethod
    def builds(cls, count: int, width: int) -> list[Build]:
        efs = [16, 32, 64, 96, 128, 192, 256, 512]
        reduced = _reduced("HNSW32,SQ8", width, 128, ef=efs, rescored=FEW)
        if count > SCAN_UP_TO:
            return [reduced]
        return [
            reduced,
            _reduced("HNSW32,SQ8", width, 64, ef=efs, rescored=FEW),
            _made("HNSW32,SQ8", ef=efs),
        ]


class PqFastScan(FaissEngine):
    """4-bit product codes scanned in registers, all of them or some lists, with re-scoring."""

    @classmethod
    def builds(cls, count: int, width: int) -> list[Build]:
        lists = list_count(count)
        some: dict[str, Any] = {"nprobe": _probes(lists), "rescored": MANY}
        codes = min(128, width)
        builds = [
            _reduced(f"IVF{lists},PQ{min(64, width)}x4fsr", width, 128, **some),
            _reduced(f"IVF{lists},PQ{codes}x4fsr", width, 128, **some),
        ]
        if count <= SCAN_UP_TO:
            pairs = min(64, width)
            builds += [
                _reduced(f"IVF{lists},PQ{codes}x4fsr", width, 128, refine="float16", **some),
                _reduced(f"PQ{codes}x4fs", width, 128, rescored=[*MANY, 2000]),
                _reduced(f"OPQ{pairs}_{min(128, width)},PQ{pairs}x4fs", width, 128, rescored=[*MANY, 2000]),
            ]
        return builds


def _probes(lists: int) -> list[int]:
    """How many lists are visited. Never more than there are: faiss gives wrong rows then."""
    return [probed for probed in NPROBE if probed <= lists]


def _made(factory: str, *, reduce: int = 0, refine: str | None = None, **sweep: Sequence[Any]) -> Build:
    return {
        "factory": factory,
        "reduce": reduce,
        "refine": refine,
        "sweep": {n: [*values] for n, values in sweep.items()},
    }


def _reduced(
    factory: str, width: int, kept: int, *, refine: str = "float32", **sweep: Sequence[Any]
) -> Build:
    return _made(factory, reduce=min(kept, width), refine=refine, **sweep)
