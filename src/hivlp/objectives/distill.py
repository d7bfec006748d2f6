"""Distillation of frozen teachers from their stored embeddings or scores, as pure functions.

No teacher runs here, and no gradient flows into its outputs.

Shapes: B images, T texts, D width, Q queries, K candidates of each.
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
        image_BD: the student's unit vectors of the images.
        text_TD: those of the texts.
        logit_scale: the student's inverse temperature.
        teachers: stored unit vectors of the same images and texts, one pair per teacher.
        teacher_scale: the teachers' inverse temperature, > 0.

    Example:
        >>> student, teacher = torch.ones(2, 2) / 2**0.5, torch.eye(2)
        >>> from_embeddings(student, student, torch.tensor(10.0), [(teacher, teacher)], teacher_scale=2.0)
        tensor(0.3278)
    """
    leaders = [teacher_scale * (images.float() @ texts.float().T) for images, texts in teachers]
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
        known_QK: bool, false where the teacher has no score; a query without any does not count.

    Example:
        >>> from_scores(torch.zeros(1, 2), torch.tensor([[2.0, 0.0]]))
        tensor(0.3278)
    """
    known_QK = torch.ones_like(scores_QK, dtype=torch.bool) if known_QK is None else known_QK
    student_QK = _log_softmax(logits_QK, known_QK)
    leader_QK = _log_softmax(scores_QK.detach() / temperature, known_QK)
    terms_QK = torch.where(known_QK, leader_QK.exp() * (leader_QK - student_QK), 0.0)
    return terms_QK.sum() / known_QK.any(dim=1).sum().clamp(min=1)


def _log_softmax(scores_QK: Tensor, known_QK: Tensor) -> Tensor:
    """Over the known candidates only; values of the others are undefined."""
    lowest = torch.finfo(scores_QK.dtype).min / 2  # unlike -inf it leaves no NaN in a row without candidates
    return F.log_softmax(scores_QK.masked_fill(~known_QK, lowest), dim=1)
