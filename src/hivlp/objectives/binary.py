"""The binary level: codes of one bit a number, learned by letting the gradient pass through the sign.

At search a code is D / 8 bytes and distances are counts of different bits, which order items exactly as the
cosine of the codes does. Our addition; the straight-through gradient is that of arXiv 1308.3432.

Shapes: B images, T texts, D bits.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hivlp.objectives.retrieval import match_loss

BALANCE = 0.1  # weight of the imbalance of bits in training


def sign_codes(rows_BD: Tensor) -> Tensor:
    """Unit vectors of signs, ±1/√D, whose gradient is that of the rows themselves; 0 counts as positive.

    Example:
        >>> sign_codes(torch.tensor([[0.3, -0.1, 0.0, -2.0]]))
        tensor([[ 0.5000, -0.5000,  0.5000, -0.5000]])
    """
    codes_BD = torch.where(rows_BD >= 0, 1.0, -1.0).to(rows_BD.dtype) / rows_BD.shape[1] ** 0.5
    return codes_BD.detach() + (
        rows_BD - rows_BD.detach()
    )  # the bracket is 0: the value is the code's, exactly


def imbalance(codes_BD: Tensor) -> Tensor:
    """Mean over bits of the squared mean sign, in [0, 1]: 0 where every bit is set for half of the rows.

    A bit that is the same for nearly all items distinguishes nothing.

    Example:
        >>> imbalance(sign_codes(torch.tensor([[1.0, 1.0], [1.0, -1.0]])))  # the first bit never changes
        tensor(0.5000)
    """
    signs_BD = codes_BD * codes_BD.shape[1] ** 0.5
    return signs_BD.mean(dim=0).square().mean()


def binary(
    image_BD: Tensor,
    text_TD: Tensor,
    positive_BT: Tensor,
    logit_scale: Tensor,
    *,
    bias: Tensor | None = None,
    weight: float = 1.0,
    balance: float = 0.0,
) -> dict[str, Tensor]:
    """The contrastive loss of a level's sign codes, and how unbalanced their bits are, as named terms.

    Args:
        image_BD: vectors of the images; only their signs count.
        text_TD: vectors of the texts.
        positive_BT: bool, true where text and image belong together.
        logit_scale: inverse temperature of the codes' cosine.
        bias: of the sigmoid form; None for the softmax form.
        weight: of the contrastive loss, ≥ 0.
        balance: weight of the imbalance, the mean of both sides, ≥ 0; 0 leaves the term out.

    Example:
        >>> rows_BD = torch.tensor([[1.0, 1.0], [1.0, -1.0]])
        >>> binary(rows_BD, rows_BD, torch.eye(2, dtype=torch.bool), torch.tensor(2.0), balance=0.1)
        {'binary_2': tensor(0.1269), 'balance_2': tensor(0.0500)}
    """
    width = image_BD.shape[1]
    pictures_BD, texts_TD = sign_codes(image_BD), sign_codes(text_TD)
    logits_BT = (logit_scale * pictures_BD) @ texts_TD.T
    terms = {f"binary_{width}": weight * match_loss(logits_BT, positive_BT, bias=bias)}
    if balance:
        terms[f"balance_{width}"] = balance * 0.5 * (imbalance(pictures_BD) + imbalance(texts_TD))
    return terms
