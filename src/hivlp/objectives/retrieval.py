"""HRL, the hierarchical retrieval loss: a contrastive loss at every level, as pure functions of embeddings.

The paper (arXiv 2205.12105) publishes the idea, representations of different dimensions trained for coarse
and for fine retrieval, and not the formula; this is our reconstruction: the weighted sum over levels of the
contrastive loss on unit vectors, with a learnable temperature per level, and an option by which every level
learns the similarity distribution of the widest. The contrastive loss has two forms: the symmetric softmax of
CLIP, and the pairwise sigmoid of SigLIP (arXiv 2303.15343). It knows no tower and no batch, only embeddings
and which pairs are right.

Hard negatives are texts, or images, without a partner: they are further wrong answers for everything on the
other side, and have no loss of their own.

Shapes: B images, T texts, D width of a level.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from hivlp.errors import ConfigError


def contrastive(logits_BT: Tensor, positive_BT: Tensor) -> Tensor:
    """Symmetric contrastive loss with any number of positives, a scalar in [0, inf).

    For every image the target is the uniform distribution over its positive texts, and the other way round,
    so captions of one image are never each other's negatives. A row without a positive does not count.

    Example:
        >>> positive_BT = torch.eye(2, dtype=torch.bool)
        >>> contrastive(torch.zeros(2, 2), positive_BT)  # log 2: all answers are equally likely
        tensor(0.6931)

    Args:
        logits_BT: similarities times the logit scale.
        positive_BT: bool, true where text and image belong together.
    """
    # of B × T numbers autograd keeps the logits and the mask, and no softmax
    right_BT = torch.where(positive_BT, logits_BT, 0)
    return 0.5 * sum(_one_way(logits_BT, right_BT, positive_BT, dim=dim) for dim in (0, 1))  # type: ignore[return-value]


def _one_way(logits_BT: Tensor, right_BT: Tensor, positive_BT: Tensor, *, dim: int) -> Tensor:
    """Of every query, along `dim`: log of the sum over all answers, less the mean logit of the right ones."""
    count_Q = positive_BT.sum(dim=dim)
    loss_Q = torch.logsumexp(logits_BT, dim=dim) - right_BT.sum(dim=dim) / count_Q.clamp(min=1)
    return torch.where(count_Q > 0, loss_Q, 0).sum() / (count_Q > 0).sum().clamp(min=1)


def pairwise(logits_BT: Tensor, positive_BT: Tensor) -> Tensor:
    """Sigmoid contrastive loss, a scalar in [0, inf): every pair is a binary classification.

    SigLIP, arXiv 2303.15343, section 3.2: the sum over all pairs of -log sigmoid(±logit), divided by the
    number of positive pairs, which is the batch size where every image has one text.

    Example:
        >>> pairwise(torch.zeros(2, 2), torch.eye(2, dtype=torch.bool))  # 4 pairs of log 2, 2 positives
        tensor(1.3863)

    Args:
        logits_BT: similarities times the logit scale, plus the bias.
        positive_BT: bool, true where text and image belong together.
    """
    sign_BT = positive_BT.to(logits_BT.dtype) * 2 - 1
    return -F.logsigmoid(sign_BT * logits_BT).sum() / positive_BT.sum().clamp(min=1)


def match_loss(logits_BT: Tensor, positive_BT: Tensor, *, bias: Tensor | None = None) -> Tensor:
    """The sigmoid form with a bias, else the softmax form."""
    return contrastive(logits_BT, positive_BT) if bias is None else pairwise(logits_BT + bias, positive_BT)


def consistency(logits_BT: Tensor, *leaders_BT: Tensor) -> Tensor:
    """Mean KL(leaders || level) of the similarity distributions, both ways; a scalar in [0, inf).

    No gradient flows into the leaders. Of several, the mean of their distributions leads.

    Example:
        >>> narrow_BT, wide_BT = torch.zeros(2, 2), torch.tensor([[2.0, 0.0], [0.0, 2.0]])
        >>> consistency(narrow_BT, wide_BT), consistency(wide_BT, wide_BT)
        (tensor(0.3278), tensor(0.))
    """

    def one_way(student_QN: Tensor, leaders_QN: list[Tensor]) -> Tensor:
        logs = torch.stack([F.log_softmax(leader_QN.detach(), dim=1) for leader_QN in leaders_QN])
        leader_QN = torch.logsumexp(logs, dim=0) - math.log(len(leaders_QN))
        return F.kl_div(F.log_softmax(student_QN, dim=1), leader_QN, reduction="batchmean", log_target=True)

    turned = [leader_BT.T for leader_BT in leaders_BT]
    return 0.5 * (one_way(logits_BT, list(leaders_BT)) + one_way(logits_BT.T, turned))


def hierarchical(
    image: Mapping[int, Tensor],
    text: Mapping[int, Tensor],
    positive_BT: Tensor,
    logit_scales: Mapping[int, Tensor],
    *,
    biases: Mapping[int, Tensor] | None = None,
    level_weights: Sequence[float] | None = None,
    consistency_weight: float = 0.0,
) -> dict[str, Tensor]:
    """The hierarchical retrieval loss as named terms, already weighted; their sum is what is minimised.

    Args:
        image: unit vectors (B, D) by width D.
        text: unit vectors (T, D) by width D, the same widths.
        positive_BT: bool, true where text and image belong together.
        logit_scales: inverse temperature by width.
        biases: by width, added to the logits of the sigmoid form; None for the softmax form.
        level_weights: one per level, narrowest first; None weighs all of them 1.
        consistency_weight: weight of KL(fine || level) for every level but the widest.

    Returns:
        ``hrl_<width>`` for every level and, with a weight, ``consistency_<width>``. Divided by the number of
        levels, so that adding a level does not change the size of the gradient.

    Raises:
        ConfigError: there is not one level weight per level.

    Example:
        >>> import torch.nn.functional as F
        >>> image_BD, text_TD = F.normalize(torch.ones(2, 4)), F.normalize(torch.ones(2, 4))
        >>> image = {width: F.normalize(image_BD[:, :width]) for width in (2, 4)}
        >>> text = {width: F.normalize(text_TD[:, :width]) for width in (2, 4)}
        >>> scales = {width: torch.tensor(10.0) for width in (2, 4)}
        >>> hierarchical(image, text, torch.eye(2, dtype=torch.bool), scales, level_weights=[2, 1])
        {'hrl_2': tensor(0.6931), 'hrl_4': tensor(0.3466)}
    """
    widths = sorted(image)
    if level_weights is not None and len(level_weights) != len(widths):
        raise ConfigError(
            f"level_weights has {len(level_weights)} numbers and there are {len(widths)} levels "
            f"({', '.join(map(str, widths))}); give one weight per level"
        )
    weights = dict(zip(widths, level_weights or [1.0] * len(widths), strict=True))
    logits = {width: (logit_scales[width] * image[width]) @ text[width].T for width in widths}
    share = 1.0 / len(widths)
    terms = {
        f"hrl_{w}": share
        * weights[w]
        * match_loss(logits[w], positive_BT, bias=None if biases is None else biases[w])
        for w in widths
    }
    if consistency_weight:
        for width in widths[:-1]:
            terms[f"consistency_{width}"] = (
                share * consistency_weight * consistency(logits[width], logits[widths[-1]])
            )
    return terms


def positives(picture_B: Tensor, picture_of_text_T: Tensor, wording_T: Tensor | None = None) -> Tensor:
    """The right pairs, bool (B, T): of one image, or a text worded like one of the image's own.

    Args:
        picture_B: a number for each image of the batch.
        picture_of_text_T: the number of the image that each text describes; -1 for a hard negative.
        wording_T: a number for each different wording; two products of one title are not each other's
            negatives.

    Example:
        >>> positives(torch.tensor([0, 1]), torch.tensor([0, 1, -1]))
        tensor([[ True, False, False],
                [False,  True, False]])
    """
    own_BT = picture_B[:, None] == picture_of_text_T[None, :]
    if wording_T is None:
        return own_BT
    wordings_W, word_T = torch.unique(wording_T, return_inverse=True)
    says_BW = torch.zeros(len(picture_B), len(wordings_W), dtype=torch.bool, device=own_BT.device)
    picture_P, text_P = own_BT.nonzero(as_tuple=True)
    says_BW[picture_P, word_T[text_P]] = True
    return says_BW[:, word_T]
