"""One training step's losses: model, batch and objectives meet here; the loop sees only named numbers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hivlp.config import Objective
from hivlp.data.batches import Batch
from hivlp.model.dual import DualEncoder
from hivlp.model.levels import NestedLevels
from hivlp.objectives.distill import feature_distance, imitation
from hivlp.objectives.retrieval import hierarchical, positives


def crop(pixels_BCHW: Tensor, boxes_B4: Tensor, mirror_B: Tensor, *, size: int) -> Tensor:
    """The boxes of a batch of pictures as float pixels (B, 3, size, size) in [0, 255], mirrored if asked."""
    left, top, right, bottom = (boxes_B4 * 2 - 1).unbind(dim=1)
    flip = 1 - 2 * mirror_B.to(boxes_B4.dtype)
    zero = torch.zeros_like(left)
    theta_B23 = torch.stack(
        [
            torch.stack([flip * (right - left) / 2, zero, (left + right) / 2], dim=1),
            torch.stack([zero, (bottom - top) / 2, (top + bottom) / 2], dim=1),
        ],
        dim=1,
    )
    grid = F.affine_grid(theta_B23, [len(boxes_B4), 3, size, size], align_corners=False)
    return F.grid_sample(
        pixels_BCHW.float(), grid, mode="bilinear", padding_mode="border", align_corners=False
    )


def by_length(tower: nn.Module, tokens_TT: Tensor, mask_TT: Tensor, *, group: int = 128) -> Tensor:
    """A text tower's features (T, F), computed in groups of texts of like length.

    Captions differ widely in length, and padding all of them to the longest can triple the work.
    """
    order_T = torch.argsort(mask_TT.sum(dim=1), stable=True)
    parts = []
    for rows in order_T.split(group):
        longest = int(mask_TT[rows].sum(dim=1).max())
        parts.append(tower(tokens_TT[rows, :longest], mask_TT[rows, :longest]))
    return torch.cat(parts)[torch.argsort(order_T)]


class Guide(nn.Module):
    """The head that gives a teacher's features a place in the embedding space; used in training only."""

    mean_F: Tensor
    std_F: Tensor

    def __init__(self, model: DualEncoder, mean_F: Tensor, std_F: Tensor) -> None:
        super().__init__()
        self.levels = NestedLevels(len(mean_F), model.config.levels.widths)
        self.predict = nn.Linear(model.image_tower.width, len(mean_F))
        self.dropout = nn.Dropout(0.3)
        self.register_buffer("mean_F", mean_F, persistent=False)
        self.register_buffer("std_F", std_F, persistent=False)

    def standardise(self, features_BF: Tensor) -> Tensor:
        return (features_BF - self.mean_F) / self.std_F


class Task(nn.Module):
    """A model with everything that teaches it."""

    def __init__(
        self, model: DualEncoder, objective: Objective, guide: Guide | None, *, precision: str = "float32"
    ) -> None:
        super().__init__()
        self.model = model
        self.guide = guide
        self.objective = objective
        self._half = precision == "bfloat16"

    def forward(self, batch: Batch, *, device: torch.device) -> dict[str, Tensor]:
        """Named losses of a batch, already weighted; their sum is what is minimised."""
        # the towers may compute in half precision; levels and losses never do
        with torch.autocast(device.type, torch.bfloat16, enabled=self._half):
            picture_BF, text_TF = self._features(batch, device)
        image = self.model.image_levels(picture_BF.float())
        text = self.model.text_levels(text_TF.float()) if text_TF is not None else {}
        positive_BT = self._positives(batch, device)
        terms = self._retrieval(image, text, positive_BT) if text else {}
        if self.guide is not None:
            terms.update(self._guided(batch, picture_BF.float(), image, text, positive_BT, device))
        return terms

    def _features(self, batch: Batch, device: torch.device) -> tuple[Tensor, Tensor | None]:
        pixels = torch.from_numpy(batch.pixels_BCHW).to(device)
        boxes, mirror = (
            torch.from_numpy(batch.boxes_B4).to(device),
            torch.from_numpy(batch.mirror_B).to(device),
        )
        view_BCHW = crop(pixels, boxes, mirror, size=self.model.config.preprocessing.size).contiguous(
            memory_format=torch.channels_last
        )
        picture_BF = self.model.image_features(view_BCHW)
        if not len(batch.wording_T):
            return picture_BF, None
        tokens = torch.from_numpy(batch.tokens_TT).to(device)
        mask = torch.from_numpy(batch.mask_TT).to(device)
        return picture_BF, by_length(self.model.text_tower, tokens, mask)

    def _positives(self, batch: Batch, device: torch.device) -> Tensor:
        picture_B, wording_T = torch.from_numpy(batch.picture_B), torch.from_numpy(batch.wording_T)
        return positives(picture_B, picture_B[torch.from_numpy(batch.picture_of_text_T)], wording_T).to(
            device
        )

    def _retrieval(
        self, image: dict[int, Tensor], text: dict[int, Tensor], positive_BT: Tensor
    ) -> dict[str, Tensor]:
        return hierarchical(
            image,
            text,
            positive_BT,
            self.model.logit_scales,
            level_weights=self.objective.level_weights,
            consistency_weight=self.objective.consistency,
        )

    def _guided(
        self,
        batch: Batch,
        features_BF: Tensor,
        image: dict[int, Tensor],
        text: dict[int, Tensor],
        positive_BT: Tensor,
        device: torch.device,
    ) -> dict[str, Tensor]:
        """The teacher's head learns to find the texts, and the student learns to answer like it."""
        assert self.guide is not None
        taught_B = torch.from_numpy(batch.taught_B).to(device)
        if not bool(taught_B.any()):
            return {}
        teacher_BF = self.guide.standardise(torch.from_numpy(batch.features_BD).to(device)[taught_B])
        leader = self.guide.levels(self.guide.dropout(teacher_BF))
        weights, terms = self.objective, dict[str, Tensor]()
        if weights.guide and text:
            taught_terms = self._retrieval(leader, text, positive_BT[taught_B])
            terms["guide"] = weights.guide * torch.stack(list(taught_terms.values())).sum()
        if weights.imitate:
            quiet = self.guide.levels(teacher_BF)
            terms["imitate"] = weights.imitate * imitation(
                {w: rows[taught_B] for w, rows in image.items()}, quiet
            )
        if weights.feature:
            terms["feature"] = weights.feature * feature_distance(
                self.guide.predict(features_BF[taught_B]), teacher_BF
            )
        return terms
