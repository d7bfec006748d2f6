"""ITM in a training step: the pairs that the fusion head scores, and the loss of one process."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from hivlp.config import MatchingObjective
from hivlp.model.fusion import FusionHead
from hivlp.objectives.matching import hard_pairs, matching
from hivlp.train.batches.batch import Batch
from hivlp.train.distributed import World
from hivlp.train.passes import Passes


def matching_loss(
    batch: Batch,
    passes: Passes,
    head: FusionHead,
    image: Mapping[int, Tensor],
    text: Mapping[int, Tensor],
    positive_BT: Tensor,
    settings: MatchingObjective,
    world: World,
) -> dict[str, Tensor]:
    """``itm``, weighted; the mean over processes is that of the whole batch.

    The widest level chooses hard negatives among the images and texts of all processes, and every process
    scores the pairs of its own texts. It costs one more pass through both towers.

    Args:
        image: unit vectors (B, D) by width, of all processes' images.
        text: those (T, D) of their texts.
    """
    fine = max(image)
    pairs = hard_pairs(image[fine] @ text[fine].T, positive_BT, negatives=1)
    regions_BGF = world.gather(passes.picture_states(batch))
    words_TLF, mask_TL = passes.text_states(batch), passes.put(batch.mask_TL)
    owner_T = world.gather(torch.full((len(mask_TL),), world.rank, device=mask_TL.device))
    mine_P = owner_T[pairs.text_P] == world.rank
    if not bool(mine_P.any()):
        return {"itm": (regions_BGF.sum() + words_TLF.sum()) * 0}
    first = int((owner_T < world.rank).sum())  # texts of all processes stand by rank
    row_P, picture_P = pairs.text_P[mine_P] - first, pairs.picture_P[mine_P]
    scores_P = passes.scores(head, regions_BGF[picture_P], words_TLF[row_P], mask_TL[row_P])
    right = float(pairs.match_P.sum())
    sharers = len(owner_T.unique()) if world.size > 1 else 1
    counts = (right / sharers, (len(pairs.match_P) - right) / sharers)
    return {"itm": settings.weight * matching(scores_P, pairs.match_P[mine_P], counts=counts)}
