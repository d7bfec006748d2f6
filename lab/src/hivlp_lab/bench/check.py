"""Whether generated items are as hard to search as real ones, at a size where real ones suffice.

The generator is fitted to a half, and again to an eighth, of the real rows, and makes the rest. What comes
out is compared with all real rows: the same size, the same queries. Two or eight times is how far the real
data can check it; the benchmark itself goes further.

R real rows, D width, Q queries, K neighbours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from hivlp.types import FloatArray
from hivlp_lab.bench import generator, recall
from hivlp_lab.bench.faiss_index import assemble, list_count
from hivlp_lab.bench.generator import neighbours

PARTS = (2, 8)
EASIER_BY = 0.01  # a recall that is higher by more than this on generated items is reported as easier
_LARGEST, _PROBES = 60_000, 1_000
_NEIGHBOURS, _TRAIN_ROWS = 20, 50_000


def compare(
    real_RD: FloatArray,
    queries_QD: FloatArray,
    *,
    seed: int = 0,
    say: Callable[[str], None] = lambda message: None,
) -> dict[str, Any]:
    """The same measures of real items and of generated ones, JSON-compatible.

    ``easier`` names the plans whose recall is higher on generated items, by more than 0.01.
    """
    real_RD = real_RD[:_LARGEST]
    say("generator: measuring real items")
    of_real = measures(real_RD, queries_QD)
    result: dict[str, Any] = {"items": len(real_RD), "real": of_real, "easier": []}
    for part in PARTS:
        say(f"generator: measuring items made from 1/{part} of the real ones")
        base_RD = real_RD[: len(real_RD) // part]
        fitted = generator.fit(base_RD, len(real_RD), seed=seed)
        made_ND = np.concatenate([base_RD, *fitted.rows(len(real_RD) - len(base_RD), seed=seed)])
        found = result[f"from_1/{part}"] = measures(made_ND, queries_QD)
        result["easier"] += [
            f"{plan} from 1/{part}"
            for plan, share in found["recall@10"].items()
            if share > of_real["recall@10"][plan] + EASIER_BY
        ]
    return result


def measures(items_ND: FloatArray, queries_QD: FloatArray) -> dict[str, Any]:
    """What makes vectors easy or hard to search: spectrum, nearness, intrinsic dimension, and two plans."""
    probes_QD = items_ND[np.random.default_rng(0).permutation(len(items_ND))[:_PROBES]]
    apart_QK = neighbours(items_ND, probes_QD, _NEIGHBOURS + 1)[0][:, 1:]  # the first is the item itself
    asked_QK, _ = neighbours(items_ND, queries_QD, _NEIGHBOURS)
    return {
        "dims_for_variance": _spectrum(items_ND),
        "item_cosine": _cosines(apart_QK),
        "query_cosine": _cosines(asked_QK),
        "item_dimension": intrinsic_dimension(apart_QK),
        "query_dimension": intrinsic_dimension(asked_QK),
        "recall@10": _recalls(items_ND, queries_QD),
    }


def intrinsic_dimension(distances_QK: FloatArray) -> float:
    """Local intrinsic dimension, by maximum likelihood from the K nearest distances; the median of Q."""
    distances_QK = np.maximum(distances_QK, 1e-4)
    logarithms_QK = np.log(distances_QK[:, :-1] / distances_QK[:, -1:])
    return round(float(np.median(-1 / np.minimum(logarithms_QK.mean(1), -1e-6))), 2)


def _spectrum(items_ND: FloatArray) -> dict[str, int]:
    """How many principal directions hold 90, 95 and 99 % of the variance."""
    variances_D = np.linalg.eigvalsh(np.cov(items_ND.T))[::-1]
    held_D = np.cumsum(variances_D) / variances_D.sum()
    return {f"{share:.0%}": int(np.searchsorted(held_D, share)) + 1 for share in (0.9, 0.95, 0.99)}


def _cosines(distances_QK: FloatArray) -> dict[str, float]:
    cosines_K = 1 - (distances_QK.astype(np.float64) ** 2).mean(0) / 2
    return {
        "1st": round(float(cosines_K[0]), 4),
        "10th": round(float(cosines_K[min(9, len(cosines_K) - 1)]), 4),
    }


def _recalls(items_ND: FloatArray, queries_QD: FloatArray) -> dict[str, float]:
    """Two plans of faiss, fixed beforehand so that they are fitted to neither set."""
    stored_ND = items_ND.astype(np.float16)
    items_ND, width = stored_ND.astype(np.float32), items_ND.shape[1]
    truth = recall.exact(stored_ND, queries_QD)
    narrow = min(32, width)
    factories = {
        "ivf, 16 lists": {"factory": f"IVF{list_count(len(items_ND))},Flat", "reduce": 0, "refine": None},
        "4-bit codes, 200 re-scored": {"factory": f"PQ{narrow}x4fs", "reduce": narrow, "refine": "float32"},
    }
    found: dict[str, float] = {}
    for name, parts in factories.items():
        index = assemble(width, items_ND[:_TRAIN_ROWS], **parts)
        index.add(items_ND)
        if parts["refine"]:
            index.k_factor = 20
        else:
            index.nprobe = 16
        rows_QK = index.search(queries_QD, recall.DEPTH)[1]
        found[name] = round(recall.summary(recall.shares(stored_ND, queries_QD, rows_QK, truth)).mean, 4)
    return found
