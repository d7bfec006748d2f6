"""VLM and LRM: masked words and regions, predicted from their surroundings and from the other side.

The paper (arXiv 2205.12105) only names these objectives. Ours are a reconstruction after the VMLM and SMRM of
LightningDOT (arXiv 2103.08784): the two towers stay apart, and the *global vector* of the other side is added
to each state, so that this one vector must represent what the caption, or the image, says.

Shapes: M masked words or regions, F width of their states, V words of the vocabulary, P numbers of a region.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def masked_words(logits_MV: Tensor, words_M: Tensor, *, count: Tensor | None = None) -> Tensor:
    """VLM: the mean cross-entropy of the words that were masked, a scalar in [0, inf); 0 where M is 0.

    Args:
        logits_MV: scores of every word of the vocabulary.
        words_M: the number of the right word.
        count: divisor of the sum; None takes M. Processes that hold parts of one batch give the mean
            of their counts.

    Example:
        >>> import torch
        >>> masked_words(torch.zeros(3, 8), torch.tensor([5, 6, 7]))  # log 8: all words are equally likely
        tensor(2.0794)
    """
    loss = F.cross_entropy(logits_MV, words_M, reduction="sum")
    return loss / _divisor(count, len(words_M))


def masked_regions(predicted_MP: Tensor, target_MP: Tensor, *, count: Tensor | None = None) -> Tensor:
    """LRM: the mean squared error of the regions that were masked, a scalar in [0, inf); 0 where M is 0.

    Args:
        predicted_MP: the prediction.
        target_MP: the pixels of the region; no gradient flows into them.
        count: divisor of the sum over regions; None takes M.

    Example:
        >>> import torch
        >>> masked_regions(torch.zeros(2, 4), torch.tensor([[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 2.0]]))
        tensor(1.)
    """
    error_MP = (predicted_MP - target_MP.detach()).square()
    return error_MP.sum() / target_MP.shape[1] / _divisor(count, len(target_MP))


def _divisor(count: Tensor | None, given: int) -> Tensor | int:
    return max(given, 1) if count is None else count.clamp(min=1e-6)
