"""The searches that are compared: HiVLP's cascade, and LightningDOT's flat inner product and graph.

Each is a function of the number of a query, one query at a time; faiss takes one thread for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from hivlp.index.coarse.kinds import default_lists
from hivlp.search import cascade as search
from hivlp.search.cascade import RowScorer
from hivlp.search.plan import Plan
from hivlp.types import FloatArray, IntArray
from hivlp_lab.speed.pools import NARROW, WIDE, Pool

K = 10
Ask: TypeAlias = "Callable[[int], IntArray]"
GRAPH_UP_TO = 5_000
"""LightningDOT's graph has 512 links a row and takes hours to build for large pools."""
_LINKS, _EF_CONSTRUCTION, _EF_SEARCH = 512, 200, 128  # of LightningDOT's code


def cascade(
    pool: Pool,
    *,
    rerank: RowScorer | None = None,
    depth: int = 0,
    spent: Callable[[float], None] = lambda milliseconds: None,
) -> Ask:
    """Our own search by the tuned plan; with ``rerank`` its best ``depth`` rows are scored anew.

    ``spent`` receives the milliseconds of each re-ranking.
    """
    view = pool.view
    plan = reranking(pool.plan, depth)
    single = [pool.queries.take(slice(row, row + 1)) for row in range(len(pool.queries))]

    def ask(turn: int) -> IntArray:
        result = search.run(plan, single[turn % len(single)], view, K, rerank=rerank)[0]
        spent(result.timings_ms.rerank)
        return result.rows

    return ask


def reranking(plan: Plan, depth: int) -> Plan:
    """The plan with this number of rows re-ranked, and at least as many candidates."""
    candidates = plan.candidates if plan.candidates == "all" else max(plan.candidates, depth)
    stages = tuple((width, max(keep, depth)) for width, keep in plan.stages)
    return Plan.from_dict({**plan.as_dict(), "candidates": candidates, "stages": stages, "rerank": depth})


def flat(pool: Pool) -> Ask:
    """LightningDOT's usual search: faiss's flat inner product in float32."""
    faiss = _faiss()
    index = faiss.IndexFlatIP(WIDE)
    index.add(pool.wide())
    return _of(index, pool.queries[WIDE])


def flat_on(pool: Pool, device: str) -> Ask:
    """The same on a GPU: a matrix product in float16 and its best, as faiss does it there."""
    import torch

    rows_ND = torch.from_numpy(pool.wide()).to(device, torch.float16)
    queries_QD = torch.from_numpy(pool.queries[WIDE]).to(device, torch.float16)

    def ask(turn: int) -> IntArray:
        scores_N = rows_ND @ queries_QD[turn % len(queries_QD)]
        return scores_N.topk(min(K, len(rows_ND))).indices.cpu().numpy()

    return ask


def graph(pool: Pool) -> Ask:
    """LightningDOT's other search, over a graph that is built here.

    faiss's graphs want distances: one more number a row turns the inner product into one (arXiv 2103.08784's
    code does the same).
    """
    faiss = _faiss()
    rows_ND = pool.wide()
    squares_N = np.einsum("nd,nd->n", rows_ND, rows_ND)
    last_N1 = np.sqrt(squares_N.max() - squares_N)[:, None]
    index = faiss.IndexHNSWFlat(WIDE + 1, _LINKS)
    index.hnsw.efConstruction, index.hnsw.efSearch = _EF_CONSTRUCTION, _EF_SEARCH
    index.add(np.concatenate([rows_ND, last_N1], axis=1))
    queries_QD = pool.queries[WIDE]
    zeros_Q1 = np.zeros((len(queries_QD), 1), np.float32)
    return _of(index, np.concatenate([queries_QD, zeros_Q1], axis=1))


def recall(found: Ask, exact: Ask, queries: int) -> float:
    """Share of the exact search's best rows that another search finds, over some queries."""
    shares = []
    for turn in range(queries):
        right = exact(turn)
        shares.append(np.isin(found(turn), right).sum() / len(right))
    return float(np.mean(shares))


def search_macs(plan: Plan, rows: int) -> int:
    """Multiply-adds of one search by a plan, by formula.

    A scan of N codes of d numbers is N·d; inverted lists cost their L centroids and the rows of the
    ``nprobe`` that are read, (L + nprobe·N/L)·d; taking d of D directions d·D; each of the K candidates D
    at the wide level.
    """
    if plan.candidates == "all":
        return rows * (NARROW + WIDE)
    spec = plan.spec((NARROW, WIDE))
    width = spec.dims or spec.width
    turned = spec.width * spec.dims if spec.dims else 0
    if plan.coarse == "ivf":
        lists = min(spec.lists or default_lists(rows), max(1, rows // 32))
        read = width * (lists + min(plan.effort.nprobe, lists) * rows // lists)
    else:
        read = rows * width
    staged, left = 0, plan.candidates
    for level, keep in plan.stages:
        staged, left = staged + left * level, keep
    return turned + read + staged + left * WIDE


def _of(index: Any, queries_QD: FloatArray) -> Ask:
    faiss = _faiss()
    queries_QD = np.ascontiguousarray(queries_QD, np.float32)

    def ask(turn: int) -> IntArray:
        row, threads = turn % len(queries_QD), faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(1)  # more only cost time for one query
        found = index.search(queries_QD[row : row + 1], K)[1][0]
        faiss.omp_set_num_threads(threads)  # torch counts by the same number
        return found

    return ask


def _faiss() -> Any:
    import faiss

    return faiss
