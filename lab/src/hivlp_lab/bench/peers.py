"""The engines of other packages; each is optional, and is imported when it is built.

Each is set as its own documentation advises for recall of 0.99, and swept across it. Beyond ``SCAN_UP_TO``
items a graph has one build, since each takes many minutes.
"""

# Most of these packages are not installed where this file is checked.
# pyright: reportMissingImports=false, reportMissingModuleSource=false

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from hivlp.types import FloatArray, IntArray
from hivlp_lab.bench.engines import (
    SCAN_UP_TO,
    Base,
    Build,
    Setting,
    blocks,
    bytes_below,
    combinations,
)

_EFS = [16, 32, 64, 96, 128, 192, 256, 384, 512]


class Hnswlib(Base):
    """The graph of hnswlib over float32 vectors."""

    package: ClassVar[str] = "hnswlib"

    @classmethod
    def builds(cls, count: int, width: int) -> list[Build]:
        links = (16,) if count > SCAN_UP_TO else (16, 32)
        return [{"M": one, "ef_construction": 200} for one in links]

    def build(self) -> dict[str, float]:
        import hnswlib

        items_ND = self.vectors.items_ND
        self.index: Any = hnswlib.Index(space="ip", dim=items_ND.shape[1])
        self.index.init_index(max_elements=len(items_ND), **self.parameters)
        for block_BD in blocks(items_ND):
            self.index.add_items(block_BD, num_threads=os.cpu_count() or 1)
        return {}

    def settings(self) -> Sequence[Setting]:
        return combinations({"ef": _EFS})

    def use(self, setting: Setting) -> None:
        self.index.set_ef(setting["ef"])

    def search(self, query: Any, k: int) -> IntArray:
        return self.index.knn_query(query, k, num_threads=1)[0][0].astype(np.int64)

    def search_batch(self, queries_QD: FloatArray, k: int) -> IntArray:
        return self.index.knn_query(queries_QD, k, num_threads=self.threads)[0].astype(np.int64)


class Usearch(Base):
    """The graph of usearch over float16 vectors, and over 8-bit ones with re-scoring from float16."""

    package: ClassVar[str] = "usearch"
    bytes_per_number: ClassVar[float] = 2.5

    @classmethod
    def builds(cls, count: int, width: int) -> list[Build]:
        sweep = {"expansion": _EFS}
        usual = {"connectivity": 16, "expansion_add": 128}
        coded = {"dtype": "i8", **usual, "sweep": {**sweep, "rescored": [20, 50, 100]}}
        return [coded] if count > SCAN_UP_TO else [coded, {"dtype": "f16", **usual, "sweep": sweep}]

    def build(self) -> dict[str, float]:
        from usearch.index import Index

        items_ND = self.vectors.items_ND
        built = {name: self.parameters[name] for name in ("dtype", "connectivity", "expansion_add")}
        self.index: Any = Index(ndim=items_ND.shape[1], metric="cos", **built)
        first = 0
        for block_BD in blocks(items_ND):
            rows = np.arange(first, first + len(block_BD))
            self.index.add(rows, block_BD, threads=os.cpu_count() or 1)
            first += len(block_BD)
        return {}

    def settings(self) -> Sequence[Setting]:
        return combinations(self.parameters["sweep"])

    def use(self, setting: Setting) -> None:
        self.index.expansion_search = setting["expansion"]
        self.rescored = setting.get("rescored", 0)

    def search(self, query: Any, k: int) -> IntArray:
        found = self.index.search(query, max(k, self.rescored), threads=1)
        rows_K = np.asarray(found.keys).astype(np.int64)
        return self._best(query, rows_K, k) if self.rescored else rows_K

    def search_batch(self, queries_QD: FloatArray, k: int) -> IntArray:
        found = self.index.search(queries_QD, max(k, self.rescored), threads=self.threads)
        rows_QK = np.asarray(found.keys).astype(np.int64)
        if not self.rescored:
            return rows_QK
        return np.stack([self._best(q_D, rows_K, k) for q_D, rows_K in zip(queries_QD, rows_QK, strict=True)])

    def cold_bytes(self) -> int:
        return self.vectors.items_ND.nbytes if self.parameters["dtype"] == "i8" else 0

    def _best(self, query_D: FloatArray, rows_K: IntArray, k: int) -> IntArray:
        scores_K = self.vectors.items_ND[rows_K].astype(np.float32) @ query_D
        return rows_K[np.argsort(-scores_K)[:k]]


class Scann(Base):
    """ScaNN: a tree, anisotropic 4-bit codes, and re-scoring, of whole vectors or behind its own PCA."""

    package: ClassVar[str] = "scann"
    bytes_per_number: ClassVar[float] = 9.0  # it copies the float32 array that it is given

    @classmethod
    def builds(cls, count: int, width: int) -> list[Build]:
        leaves = int(max(16, min(2 * count**0.5, count / 32)))
        usual = {"leaves": leaves, "block": 2, "soar": None, "reorder": "FLOAT32"}
        kept = [dims for dims in (128, 192) if dims < width]
        builds = [
            *({**usual, "pca": dims} for dims in kept),
            {**usual, "pca": min(kept, default=None), "soar": 1.5},
        ]
        return builds if count > SCAN_UP_TO else [*builds, {**usual, "pca": None, "soar": 1.5}]

    def build(self) -> dict[str, float]:
        import scann

        items_ND = self.vectors.items_ND.astype(np.float32)
        build = self.parameters
        builder: Any = scann.scann_ops_pybind.builder(items_ND, 10, "dot_product")
        builder.set_n_training_threads(os.cpu_count() or 1)
        if build["pca"]:
            whole = {"pca_significance_threshold": None, "pca_truncation_threshold": None}
            builder = builder.pca(reduction_dim=build["pca"], **whole)
        builder = builder.tree(
            num_leaves=build["leaves"],
            num_leaves_to_search=max(1, build["leaves"] // 20),
            training_sample_size=min(len(items_ND), 250_000),
            soar_lambda=build["soar"],
            overretrieve_factor=2.0 if build["soar"] else None,
        )
        builder = builder.score_ah(
            build["block"],
            anisotropic_quantization_threshold=0.2,
            training_sample_size=min(len(items_ND), 100_000),
        )
        self.searcher: Any = builder.reorder(100, quantize=scann.ReorderType[build["reorder"]]).build()
        return {}

    def settings(self) -> Sequence[Setting]:
        leaves = [n for n in (5, 10, 20, 40, 80, 120, 160, 240, 320) if n <= self.parameters["leaves"]]
        return combinations({"leaves": leaves, "rescored": [20, 50, 100, 200, 400]})

    def use(self, setting: Setting) -> None:
        self.leaves, self.rescored = setting["leaves"], setting["rescored"]

    def search(self, query: Any, k: int) -> IntArray:
        return self.searcher.search(query, k, self.rescored, self.leaves)[0].astype(np.int64)

    def search_batch(self, queries_QD: FloatArray, k: int) -> IntArray:
        one = self.threads == 1
        search = self.searcher.search_batched if one else self.searcher.search_batched_parallel
        return search(queries_QD, k, self.rescored, self.leaves)[0].astype(np.int64)


class QdrantEdge(Base):
    """Qdrant's engine in the process: a graph over float32 vectors, and over 8-bit ones with re-scoring."""

    package: ClassVar[str] = "qdrant-edge-py"

    @classmethod
    def builds(cls, count: int, width: int) -> list[Build]:
        usual = {"m": 16, "ef_construct": 200}
        sweep = {"ef": [32, 64, 96, 128, 192, 256, 512]}
        coded = {**usual, "quantized": True, "sweep": {**sweep, "oversampling": [1.5, 3, 6]}}
        return [coded] if count > SCAN_UP_TO else [coded, {**usual, "quantized": False, "sweep": sweep}]

    def build(self) -> dict[str, float]:
        import qdrant_edge as qe

        items_ND = self.vectors.items_ND
        build = self.parameters
        int8 = qe.ScalarQuantizationConfig(type=qe.ScalarType.Int8, quantile=0.99, memory=qe.Memory.Pinned)
        config = qe.EdgeConfig(
            vectors=qe.EdgeVectorParams(size=items_ND.shape[1], distance=qe.Distance.Dot),
            hnsw_config=qe.HnswIndexConfig(
                m=build["m"],
                ef_construct=build["ef_construct"],
                full_scan_threshold=10,
                max_indexing_threads=os.cpu_count() or 1,
            ),
            quantization_config=int8 if build["quantized"] else None,
            # one segment: a search goes through one graph
            optimizers=qe.EdgeOptimizersConfig(
                default_segment_number=1, max_segment_size=1 << 30, indexing_threshold=1
            ),
            max_search_threads=self.threads,
            wal_enabled=False,
        )
        self.place = self.folder / ("int8" if build["quantized"] else "float32")
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir()
        self.shard: Any = qe.EdgeShard.create(str(self.place), config)
        first = 0
        for block_BD in blocks(items_ND, 4096):
            points = [qe.Point(first + n, row_D.tolist()) for n, row_D in enumerate(block_BD)]
            self.shard.update(qe.UpdateOperation.upsert_points(points))
            first += len(points)
        self.shard.optimize()
        self.shard.flush()
        return {}

    def settings(self) -> Sequence[Setting]:
        return combinations(self.parameters["sweep"])

    def use(self, setting: Setting) -> None:
        import qdrant_edge as qe

        again = None
        if "oversampling" in setting:
            again = qe.QuantizationSearchParams(rescore=True, oversampling=setting["oversampling"])
        self.search_parameters = qe.SearchParams(hnsw_ef=setting["ef"], quantization=again)

    def query(self, query_D: FloatArray) -> Any:
        import qdrant_edge as qe

        return qe.Query.Nearest(query_D.tolist())

    def search(self, query: Any, k: int) -> IntArray:
        import qdrant_edge as qe

        found = self.shard.search(qe.SearchRequest(query=query, limit=k, params=self.search_parameters))
        return np.array([point.id for point in found], np.int64)

    def search_batch(self, queries_QD: FloatArray, k: int) -> IntArray:
        import qdrant_edge as qe

        requests = [
            qe.QueryRequest(limit=k, query=self.query(query_D), params=self.search_parameters)
            for query_D in queries_QD
        ]
        found = self.shard.query_batch(qe.QueryBatchRequest(requests))
        rows_QK = np.full((len(found), k), -1, np.int64)
        for rows_K, points in zip(rows_QK, found, strict=True):
            rows_K[: len(points)] = [point.id for point in points]
        return rows_QK

    def cold_bytes(self) -> int:
        return bytes_below(self.place)

    def close(self) -> None:
        self.shard.close()
        shutil.rmtree(self.place, ignore_errors=True)
