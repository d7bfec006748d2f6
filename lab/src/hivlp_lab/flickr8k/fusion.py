"""The fusion models behind one interface: stored states of each side, and the scores of pairs of them.

B captions or images, L tokens, R regions, S width of a state, P pairs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hivlp.train.batches.views import by_length
from hivlp_lab.baselines.meter import Meter
from hivlp_lab.baselines.uniter import Uniter

_GROUP = 512  # pairs that are scored together


class RegionFusion(nn.Module):
    """UNITER or METER over regions."""

    def __init__(self, model: Uniter | Meter) -> None:
        super().__init__()
        self.model = model

    def image_states(self, regions_BRF: Tensor, boxes_BR7: Tensor) -> Tensor:
        """Stored states of images (B, R, S)."""
        return self.model.region_states(regions_BRF, boxes_BR7)

    def text_states(self, tokens_BL: Tensor, mask_BL: Tensor) -> Tensor:
        """Stored states of captions: METER's of the words; of UNITER the tokens themselves."""
        if isinstance(self.model, Uniter):
            return tokens_BL
        return self.model.text_states(tokens_BL, mask_BL)

    def pairs(
        self, text: Tensor, mask_BL: Tensor, image_BRS: Tensor, text_P: Tensor, image_P: Tensor
    ) -> Tensor:
        """Scores (P,) of some pairs by their rows; those of like length are computed together."""
        groups = list(by_length(mask_BL[text_P], group=_group(len(text_P))))
        scores = [
            self._score(
                text[text_P[rows], :longest], mask_BL[text_P[rows], :longest], image_BRS[image_P[rows]]
            )
            for rows, longest in groups
        ]
        return torch.cat(scores)[torch.argsort(torch.cat([rows for rows, _ in groups]))]

    def _score(self, text: Tensor, mask_PL: Tensor, image_PRS: Tensor) -> Tensor:
        if isinstance(self.model, Uniter):
            everywhere_PR = torch.ones(image_PRS.shape[:2], dtype=mask_PL.dtype)
            return self.model.score(text, mask_PL, image_PRS, everywhere_PR)
        return self.model.score(text, mask_PL, image_PRS)


def _group(pairs: int) -> int:
    """Few pairs are still put into three groups of like length."""
    return max(1, min(_GROUP, -(-pairs // 3)))
