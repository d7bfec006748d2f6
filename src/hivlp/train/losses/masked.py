"""VLM and LRM in a training step: their heads, the masks, and the losses of a process's own rows."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from hivlp.config import Objective
from hivlp.model.dual import DualEncoder
from hivlp.objectives.masked import masked_regions, masked_words
from hivlp.train.batches.batch import REGION, Batch
from hivlp.train.batches.masking import SHARE
from hivlp.train.batches.views import cells
from hivlp.train.distributed import World
from hivlp.train.losses.heads import MaskedHead
from hivlp.train.passes import Passes


class MaskedObjectives(nn.Module):
    """Heads that predict masked words and regions; they are discarded at the end of a run."""

    def __init__(self, model: DualEncoder, objective: Objective) -> None:
        super().__init__()
        self.objective = objective
        self.fine = model.config.levels.widths[-1]
        self.side = _grid_side(model) if objective.lrm.weight else 0
        self.words = self.regions = None
        if objective.vlm.weight:
            self.words = MaskedHead(
                states=model.text_tower.state_width,
                embedding=self.fine,
                out=model.config.vocabulary,
            )
        if objective.lrm.weight:
            size = model.config.preprocessing.size
            self.regions = MaskedHead(
                states=model.image_tower.state_width,
                embedding=self.fine,
                out=cells(torch.zeros(1, 3, size, size), side=self.side).shape[2],
            )

    def forward(
        self,
        batch: Batch,
        passes: Passes,
        model: DualEncoder,
        picture_BF: Tensor,
        text_TF: Tensor,
        world: World,
    ) -> dict[str, Tensor]:
        """``vlm`` and ``lrm``, if enabled, weighted; the mean over processes is that of the whole batch.

        Args:
            picture_BF: features of this process's images.
            text_TF: features of its texts, captions first.
        """
        picture_T = passes.put(batch.picture_of_text_T)
        terms: dict[str, Tensor] = {}
        if self.words is not None:
            states_MF, words_M, text_M = passes.words(batch)
            picture_MD = model.image_levels(picture_BF)[self.fine][picture_T[text_M]]
            logits_MV, count = self.words(states_MF, picture_MD), self._count(states_MF, world)
            terms["vlm"] = self.objective.vlm.weight * masked_words(logits_MV, words_M, count=count)
        if self.regions is not None:
            hidden_BG, text_B = self._hidden(batch, picture_T)
            states_MF = passes.regions(batch, hidden_BG)
            text_MD = model.text_levels(text_TF)[self.fine][text_B[hidden_BG.nonzero()[:, 0]]]
            predicted_MP, count = self.regions(states_MF, text_MD), self._count(states_MF, world)
            target_MP = self._target(batch, passes, model)[hidden_BG]
            terms["lrm"] = self.objective.lrm.weight * masked_regions(predicted_MP, target_MP, count=count)
        return terms

    def _hidden(self, batch: Batch, picture_T: Tensor) -> tuple[Tensor, Tensor]:
        """The hidden regions of each image (B, G), at least one, and the caption of each image (B,).

        No region of an image without a caption is hidden.
        """
        device = picture_T.device
        chance_BG = torch.from_numpy(batch.random_rows.draw(REGION, self.side**2)).to(device)
        hidden_BG = chance_BG < SHARE
        hidden_BG.scatter_(1, chance_BG.argmin(dim=1, keepdim=True), True)
        text_B = torch.full((len(hidden_BG),), -1, device=device)
        captions = picture_T >= 0
        text_B[picture_T[captions]] = torch.arange(len(picture_T), device=device)[captions]
        return hidden_BG & (text_B >= 0)[:, None], text_B

    @torch.no_grad()
    def _target(self, batch: Batch, passes: Passes, model: DualEncoder) -> Tensor:
        view_BCHW = passes.view(*map(passes.put, (batch.pixels_BCHW, batch.boxes_B4, batch.mirror_B)))
        return cells(model.normalise(view_BCHW), side=self.side)

    @staticmethod
    def _count(states_MF: Tensor, world: World) -> Tensor:
        return world.mean(torch.tensor(float(len(states_MF)), device=states_MF.device))


@torch.no_grad()
def _grid_side(model: DualEncoder) -> int:
    """Regions along one side of the image tower's output."""
    tower, size = model.image_tower, model.config.preprocessing.size
    was_training = tower.training
    regions = tower.eval().regions(
        model.normalise(torch.zeros(1, 3, size, size, device=model.log_scale_L.device))
    )
    tower.train(was_training)
    return math.isqrt(regions.shape[1])
