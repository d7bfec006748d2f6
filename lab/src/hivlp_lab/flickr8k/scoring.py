"""Recalls of what was trained: at every level, through the cascade, by full scores, and re-ranked.

I images, T captions, Q queries, K candidates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hivlp.evaluate import metrics
from hivlp.evaluate.protocols import BothWays, EncodedPairs, evaluate_pairs
from hivlp.search.plan import Plan
from hivlp.types import Embeddings, FloatArray, IntArray

CANDIDATES = 200


def of_scores(scores_TI: FloatArray, image_of_T: IntArray) -> BothWays:
    """Both directions from the scores of all pairs; ``image_of_T`` are columns."""
    of_images = [np.flatnonzero(image_of_T == column).tolist() for column in range(scores_TI.shape[1])]
    return BothWays(
        text_to_image=metrics.recalls(metrics.ranks(scores_TI, image_of_T[:, None].tolist())),
        image_to_text=metrics.recalls(metrics.ranks(np.ascontiguousarray(scores_TI.T), of_images)),
    )


def of_vectors(
    images: Mapping[int, FloatArray], texts: Mapping[int, FloatArray], image_of_T: IntArray
) -> dict[str, Any]:
    """Every level by a full scan, and the cascade through a stored index, as ``hivlp eval`` measures them."""
    pairs = EncodedPairs(
        images=Embeddings(dict(images)), texts=Embeddings(dict(texts)), picture_of=image_of_T, failed=[]
    )
    found = evaluate_pairs(pairs, plan=Plan(candidates=CANDIDATES))
    return {key: value for key, value in found.as_dict().items() if key in _KEPT}


_KEPT = ("text_to_image", "image_to_text", "AR", "levels", "cascade")


def best_columns(scores_QN: FloatArray, count: int) -> IntArray:
    """The columns (Q, K) of the highest scores, best first; equal ones by the lower column."""
    return np.argsort(-scores_QN, axis=1, kind="stable")[:, :count]


def reranked(
    dual_QN: FloatArray, candidates_QK: IntArray, fusion_QK: FloatArray, *, depth: int, share: float
) -> FloatArray:
    """Scores (Q, N) in which the first ``depth`` candidates stand by the mixture, before all others.

    The mixture is (1 - share) × the dual encoder's score + share × the fusion model's, each brought to mean 0
    and deviation 1 over a query's candidates; share 1 is the fusion model alone.
    """
    head_QK, said_QK = candidates_QK[:, :depth], fusion_QK[:, :depth]
    mixed_QK = (1 - share) * _standard(np.take_along_axis(dual_QN, head_QK, axis=1)) + share * _standard(
        said_QK
    )
    scores_QN = dual_QN - dual_QN.max(axis=1, keepdims=True) + mixed_QK.min(axis=1, keepdims=True) - 1
    np.put_along_axis(scores_QN, head_QK, mixed_QK, axis=1)
    return scores_QN


def cascaded(coarse_QN: FloatArray, fine_QN: FloatArray, candidates: int) -> FloatArray:
    """Scores (Q, N) of a cascade: the fine ones of the best rows by the coarse ones, -inf for all others."""
    head_QK = best_columns(coarse_QN, candidates)
    scores_QN = np.full_like(fine_QN, -np.inf)
    np.put_along_axis(scores_QN, head_QK, np.take_along_axis(fine_QN, head_QK, axis=1), axis=1)
    return scores_QN


def _standard(scores_QK: FloatArray) -> FloatArray:
    spread_Q1 = scores_QK.std(axis=1, keepdims=True)
    return (scores_QK - scores_QK.mean(axis=1, keepdims=True)) / np.maximum(spread_Q1, 1e-6)


def recalls_of(scores_QN: FloatArray, relevant: Sequence[Sequence[int]]) -> metrics.Recalls:
    """One direction from the scores of all its pairs."""
    return metrics.recalls(metrics.ranks(scores_QN, relevant))
