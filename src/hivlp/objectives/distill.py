"""Learning from what a frozen teacher said: stored embeddings or scores, as pure functions.

The teacher is never run here, and no gradient flows into what it said.

Shapes: B pictures, T texts, D width, Q queries, K candidates of each.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from hivlp.objectives.retrieval import consistency


def from_embeddings(
    image_BD: Tensor,
    text_TD: Tensor,
    logit_scale: Tensor,
    teachers: Sequence[tuple[Tensor, Tensor]],
    *,
    teacher_scale: float = 100.0,
) -> Tensor:
    """KL(teachers || student) of the similarities within a batch, both ways; a scalar in [0, inf).

    MobileCLIP (arXiv 2311.17049): the embeddings of several dual encoders are stored once, and the
    student learns the mean of their softmaxes. Their widths may differ from the student's.

    Args:
        image_BD: the student's unit vectors of the pictures.
        text_TD: those of the texts.
        logit_scale: the student's inverse temperature.
        teachers: stored unit vectors of the same pictures and texts, one pair a teacher.
        teacher_scale: the teachers' inverse temperature, > 0.
    """
    leaders = [teacher_scale * (pictures.float() @ texts.float().T) for pictures, texts in teachers]
    return consistency(logit_scale * (image_BD @ text_TD.T), *leaders)


def from_scores(
    logits_QK: Tensor, scores_QK: Tensor, *, temperature: float = 1.0, known_QK: Tensor | None = None
) -> Tensor:
    """Mean KL(teacher || student) over each query's candidates; a scalar in [0, inf).

    A fusion model's scores teach the dual encoder (Thinking Fast and Slow, arXiv 2103.16553); only
    some candidates of each query need scores.

    Args:
        logits_QK: the student's similarities times its logit scale.
        scores_QK: the teacher's scores of the same pairs, higher is better, of any scale.
        temperature: the teacher's scores are divided by it, > 0.
        known_QK: bool, false where the teacher gave no score; a query without any does not count.
    """
    known_QK = torch.ones_like(scores_QK, dtype=torch.bool) if known_QK is None else known_QK
    student_QK = _log_softmax(logits_QK, known_QK)
    leader_QK = _log_softmax(scores_QK.detach() / temperature, known_QK)
    terms_QK = torch.where(known_QK, leader_QK.exp() * (leader_QK - student_QK), 0.0)
    return terms_QK.sum() / known_QK.any(dim=1).sum().clamp(min=1)


def _log_softmax(scores_QK: Tensor, known_QK: Tensor) -> Tensor:
    """Over the known candidates only; what it holds for the others means nothing."""
    lowest = torch.finfo(scores_QK.dtype).min / 2  # unlike -inf it leaves no NaN in a row without candidates
    return F.log_softmax(scores_QK.masked_fill(~known_QK, lowest), dim=1)
