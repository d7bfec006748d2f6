"""Indexes of faiss as they are tuned here: a rotation before, a re-scoring behind; it knows no engine."""

from __future__ import annotations

from typing import Any

import numpy as np

from hivlp.types import FloatArray


def assemble(width: int, training_ND: FloatArray, *, factory: str, reduce: int, refine: str | None) -> Any:
    """A trained, empty index: an optional rotation, the index, and optional re-scoring."""
    import faiss

    inner = faiss.METRIC_INNER_PRODUCT
    core: Any = faiss.index_factory(reduce or width, factory, inner)
    _take_few_rows(core)
    if "HNSW" in factory:
        core.hnsw.efConstruction = 200
    if factory.startswith("OPQ"):
        _for_4_bits(core)
    if reduce:
        core = faiss.IndexPreTransform(_rotation(training_ND, reduce), core)
    core.train(training_ND)
    if refine is None:
        return core
    if refine == "float32":
        whole: Any = faiss.IndexFlatIP(width)
    else:
        whole = faiss.IndexScalarQuantizer(width, faiss.ScalarQuantizer.QT_fp16, inner)
    return faiss.IndexRefine(core, whole)


def innermost(index: Any) -> Any:
    """The index that searches, inside of re-scoring and rotation."""
    import faiss

    while isinstance(index, faiss.IndexRefine | faiss.IndexPreTransform):
        inside = index.base_index if isinstance(index, faiss.IndexRefine) else index.index
        index = faiss.downcast_index(inside)
    return index


def list_count(count: int) -> int:
    """How many inverted lists: the power of two next to 4·√count, and never fewer than 39 items a list."""
    most = max(1, count // 39)
    return min(1 << round(np.log2(4 * count**0.5)), most)


def _rotation(training_ND: FloatArray, width: int) -> Any:
    """The main directions of the vectors. Not centred as PCA is, so that dot products stay what they are."""
    import faiss

    _, vectors_DD = np.linalg.eigh(training_ND.T @ training_ND)
    turn: Any = faiss.LinearTransform(training_ND.shape[1], width, False)
    faiss.copy_array_to_vector(np.ascontiguousarray(vectors_DD.T[::-1][:width], np.float32).ravel(), turn.A)
    turn.is_trained = True
    return turn


def _take_few_rows(index: Any) -> None:
    """Keeps faiss from warning on stderr, once a code book, that there are few rows to learn from."""
    parts: list[Any] = [index, getattr(index, "pq", None)]
    for part in parts:
        if hasattr(part, "cp"):
            part.cp.min_points_per_centroid = 1


def _for_4_bits(index: Any) -> None:
    """Lets OPQ find its rotation for 4-bit codes; by itself it takes 8 bits, and 20 times as long."""
    import faiss

    turn: Any = faiss.downcast_VectorTransform(index.chain.at(0))
    codes = faiss.ProductQuantizer(turn.d_in, turn.M, 4)
    turn.pq, turn.niter = codes, 20
    index.referenced_objects = [codes]  # Python must keep it until the training is over
