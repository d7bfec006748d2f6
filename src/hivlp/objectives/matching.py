"""ITM, image-text matching: a fusion model decides whether an image and a text belong together.

After ALBEF (arXiv 2107.07651, section 3.2): a dual encoder's similarities choose, within the batch, the wrong
pairs that are most similar (hard negatives); the fusion model scores only these and the right ones.

Shapes: B images, T texts, P pairs.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class MatchingPairs(NamedTuple):
    """Pairs of a batch: the rows of image and text, and whether they belong together (bool)."""

    picture_P: Tensor
    text_P: Tensor
    match_P: Tensor


def hard_pairs(similarity_BT: Tensor, positive_BT: Tensor, *, negatives: int = 1) -> MatchingPairs:
    """Every right pair, and for every image and every text its most similar wrong partners.

    Args:
        similarity_BT: of the dual encoder, higher is more similar; no gradient flows into it.
        positive_BT: bool, true where text and image belong together.
        negatives: wrong partners of each image and of each text, ≥ 1; fewer in a smaller batch.

    Returns:
        Right pairs first. A pair that is hard from both sides is there once.

    Example:
        >>> similarity_BT = torch.tensor([[0.9, 0.8, 0.1], [0.2, 0.9, 0.3], [0.1, 0.4, 0.9]])
        >>> pairs = hard_pairs(similarity_BT, torch.eye(3, dtype=torch.bool))
        >>> [pair for *pair, match in zip(*map(torch.Tensor.tolist, pairs)) if not match]
        [[0, 1], [1, 0], [1, 2], [2, 1]]
    """
    scores_BT = similarity_BT.detach().masked_fill(positive_BT, -torch.inf)
    chosen_BT = torch.zeros_like(positive_BT)
    for dim in (0, 1):
        top = scores_BT.topk(min(negatives, scores_BT.shape[dim]), dim=dim).indices
        chosen_BT.scatter_(dim, top, True)
    right_P2 = positive_BT.nonzero()
    wrong_P2 = (chosen_BT & ~positive_BT).nonzero()
    match_P = torch.zeros(len(right_P2) + len(wrong_P2), dtype=torch.bool, device=positive_BT.device)
    match_P[: len(right_P2)] = True
    picture_P, text_P = torch.cat([right_P2, wrong_P2]).unbind(dim=1)
    return MatchingPairs(picture_P, text_P, match_P)


def matching(scores_P: Tensor, match_P: Tensor, *, counts: tuple[float, float] | None = None) -> Tensor:
    """Binary cross-entropy of pair scores, right and wrong pairs weighing the same; a scalar in [0, inf).

    Args:
        scores_P: logits of a fusion model: above 0 says that the pair belongs together.
        match_P: bool, whether it does.
        counts: right and wrong pairs to divide by, where these pairs are only a part of those that count;
            None: their own numbers.

    Example:
        >>> matching(torch.zeros(4), torch.tensor([True, False, False, False]))
        tensor(0.6931)
    """
    loss_P = F.binary_cross_entropy_with_logits(scores_P, match_P.to(scores_P.dtype), reduction="none")
    right, wrong = counts or (float(match_P.sum()), float((~match_P).sum()))
    sides = [(loss_P * side).sum() / n for side, n in ((match_P, right), (~match_P, wrong)) if n]
    return torch.stack(sides).mean() if sides else scores_P.sum() * 0
