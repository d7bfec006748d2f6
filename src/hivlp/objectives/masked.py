"""VLM and LRM: words and regions that were masked, told from their surroundings and from the other side.

The paper (arXiv 2205.12105) only names these objectives. Ours are a reconstruction after the VMLM and SMRM of
LightningDOT (arXiv 2103.08784): the two towers stay apart, and a state of one side is fused with
the *global vector* of the other, so that this one vector must know what the caption, or the picture, says.

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
        count: what the sum is divided by; None takes M. Processes that hold parts of one batch give the mean
            of their counts.
    """
    loss = F.cross_entropy(logits_MV, words_M, reduction="sum")
    return loss / _divisor(count, len(words_M))


def masked_regions(predicted_MP: Tensor, target_MP: Tensor, *, count: Tensor | None = None) -> Tensor:
    """LRM: the mean squared error of the regions that were masked, a scalar in [0, inf); 0 where M is 0.

    Args:
        predicted_MP: what is said to be there.
        target_MP: what was there; no gradient flows into it.
        count: what the sum over regions is divided by; None takes M.
    """
    error_MP = (predicted_MP - target_MP.detach()).square()
    return error_MP.sum() / target_MP.shape[1] / _divisor(count, len(target_MP))


def _divisor(count: Tensor | None, given: int) -> Tensor | int:
    return max(given, 1) if count is None else count.clamp(min=1e-6)
