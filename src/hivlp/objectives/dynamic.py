"""Dynamic Contrastive Distillation (arXiv 2207.01426): the teacher chooses negatives and weighs samples.

A slow teacher scores a few wrong texts of each image; only the hardest are used. Where the teacher is sure
the student imitates its scores, and where it is not, the labels count more.

Shapes: Q queries, N negatives that the teacher scored, K candidates, of which column 0 is the
right answer.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def hardest(teacher_QN: Tensor, *, keep: int) -> Tensor:
    """The columns (Q, K) of the wrong answers with the highest scores, highest first; all if there are fewer.

    Args:
        teacher_QN: the teacher's scores of wrong answers, higher is better.
        keep: number of columns, ≥ 1; 7 in the paper.

    Example:
        >>> hardest(torch.tensor([[0.1, 0.9, 0.5]]), keep=2)
        tensor([[1, 2]])
    """
    return teacher_QN.topk(min(keep, teacher_QN.shape[1]), dim=1).indices


def uncertainty(teacher_QK: Tensor) -> Tensor:
    """Each query's share of the batch's entropy (Q,), in [0, 1]; together they are 1.

    The entropy is that of the teacher's softmax over a query's candidates.

    Example:
        >>> uncertainty(torch.tensor([[9.0, 0.0], [0.0, 0.0]]))  # the second query is undecided
        tensor([0.0018, 0.9982])
    """
    log_QK = F.log_softmax(teacher_QK.detach(), dim=1)
    entropy_Q = -(log_QK.exp() * log_QK).sum(dim=1)
    return entropy_Q / entropy_Q.sum().clamp(min=1e-12)


def dynamic_distillation(
    student_QK: Tensor, teacher_QK: Tensor, *, imitation: float = 0.2, temperature: float = 1.0
) -> dict[str, Tensor]:
    """The two terms of the loss, already weighted; their sum is what is minimised.

    The released code averages the squared error over the batch before it is weighed, so that the weights
    cancel out; here every query's own error is weighed, as the paper says.

    Args:
        student_QK: the student's scores; column 0 is the right answer, the others are wrong.
        teacher_QK: the teacher's scores of the same pairs.
        imitation: weight of the imitation, in [0, 1]; the labels get the rest.
        temperature: both scores are divided by it before they are compared, > 0.

    Returns:
        ``dcd_imitate``: the squared error of the scores, weighed by the softmax over queries of
        (1 - uncertainty)²;
        ``dcd_label``: the binary cross-entropy against the labels, weighed by the uncertainty.

    Example:
        >>> dynamic_distillation(torch.zeros(1, 2), torch.tensor([[1.0, -1.0]]))
        {'dcd_imitate': tensor(0.2000), 'dcd_label': tensor(0.5545)}
    """
    share_Q = uncertainty(teacher_QK)
    error_QK = (student_QK - teacher_QK.detach()) / temperature
    imitate_Q = temperature**2 * error_QK.square().mean(dim=1)
    label_QK = torch.zeros_like(error_QK)
    label_QK[:, 0] = 1
    label_Q = F.binary_cross_entropy_with_logits(student_QK, label_QK, reduction="none").mean(dim=1)
    return {
        "dcd_imitate": imitation * (torch.softmax((1 - share_Q) ** 2, dim=0) * imitate_Q).sum(),
        "dcd_label": (1 - imitation) * (share_Q * label_Q).sum(),
    }
