"""Learning from a frozen teacher's stored features, as pure functions of embeddings.

The teacher is never run here.

Shapes: B pictures, D width, F width of the teacher's features.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional as F


def imitation(student: Mapping[int, Tensor], leader: Mapping[int, Tensor]) -> Tensor:
    """Mean of 1 - cosine over pictures and levels, in [0, 2]; no gradient flows into the leader.

    Args:
        student: unit vectors (B, D) by width.
        leader: unit vectors (B, D) of the same pictures, by the same widths.
    """
    terms = [1 - (student[width] * leader[width].detach()).sum(dim=-1) for width in student]
    return sum(term.mean() for term in terms) / len(terms)  # type: ignore[return-value]


def feature_distance(student_BF: Tensor, teacher_BF: Tensor) -> Tensor:
    """Mean of 1 - cosine between predicted and true features, in [0, 2].

    Both should be centred: raw features after a rectifier share a large mean, and a cosine that only learned
    the mean would look good.
    """
    return (1 - F.cosine_similarity(student_BF.float(), teacher_BF.float(), dim=-1, eps=1e-6)).mean()
