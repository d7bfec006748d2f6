"""One training step's losses: model, batch and objectives meet here; the loop sees only named numbers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hivlp.config import Objective
from hivlp.data.batches import Batch
from hivlp.model.dual import DualEncoder
from hivlp.objectives.binary import binary
from hivlp.objectives.distill import feature_distance, imitation
from hivlp.objectives.retrieval import hierarchical, positives
from hivlp.train.chunks import in_chunks
from hivlp.train.heads import Guide, Offsets
from hivlp.train.views import by_length, crop

TEXT_GROUP = 128  # texts of like length that go through their tower together


class Task(nn.Module):
    """A model with everything that teaches it."""

    def __init__(
        self,
        model: DualEncoder,
        objective: Objective,
        guide: Guide | None,
        *,
        precision: str = "float32",
        grad_cache: int = 0,
    ) -> None:
        super().__init__()
        self.model = model
        self.guide = guide
        self.offsets = Offsets(model, objective)
        self.objective = objective
        self._half = precision == "bfloat16"
        self._chunk = grad_cache

    def forward(self, batch: Batch, *, device: torch.device) -> dict[str, Tensor]:
        """Named losses of a batch, already weighted; their sum is what is minimised."""
        # the towers may compute in half precision; levels and losses never do
        with torch.autocast(device.type, torch.bfloat16, enabled=self._half):
            picture_BF = self._pictures(batch, device)
            text_TF = self._texts(batch, device) if len(batch.wording_T) else None
        image = self.model.image_levels(picture_BF.float())
        text = self.model.text_levels(text_TF.float()) if text_TF is not None else {}
        positive_BT = self._positives(batch, device)
        terms = self._retrieval(image, text, positive_BT) if text else {}
        if self.guide is not None:
            terms.update(self._guided(batch, picture_BF.float(), image, text, positive_BT, device))
        return terms

    def _pictures(self, batch: Batch, device: torch.device) -> Tensor:
        """Features (B, F) of the pictures' crops."""
        size = self.model.config.preprocessing.size

        def encode(pixels: Tensor, boxes: Tensor, mirror: Tensor) -> Tensor:
            view_BCHW = crop(pixels, boxes, mirror, size=size)
            return self.model.image_features(view_BCHW.contiguous(memory_format=torch.channels_last))

        arrays = (batch.pixels_BCHW, batch.boxes_B4, batch.mirror_B)
        whole = [torch.from_numpy(array).to(device) for array in arrays]
        pieces = [tensor.split(self._chunk or len(tensor)) for tensor in whole]
        return in_chunks(
            encode, zip(*pieces, strict=True), module=self.model.image_tower, cache=bool(self._chunk)
        )

    def _texts(self, batch: Batch, device: torch.device) -> Tensor:
        """Features (T, F) of the texts."""
        tokens_TT = torch.from_numpy(batch.tokens_TT).to(device)
        mask_TT = torch.from_numpy(batch.mask_TT).to(device)
        groups = list(by_length(mask_TT, group=self._chunk or TEXT_GROUP))
        chunks = [(tokens_TT[rows, :longest], mask_TT[rows, :longest]) for rows, longest in groups]
        tower = self.model.text_tower
        sorted_TF = in_chunks(tower, chunks, module=tower, cache=bool(self._chunk))
        return sorted_TF[torch.argsort(torch.cat([rows for rows, _ in groups]))]

    def _positives(self, batch: Batch, device: torch.device) -> Tensor:
        picture_B, wording_T = torch.from_numpy(batch.picture_B), torch.from_numpy(batch.wording_T)
        return positives(picture_B, picture_B[torch.from_numpy(batch.picture_of_text_T)], wording_T).to(
            device
        )

    def _retrieval(
        self, image: dict[int, Tensor], text: dict[int, Tensor], positive_BT: Tensor
    ) -> dict[str, Tensor]:
        """The losses of every level, and of the binary one."""
        terms = hierarchical(
            image,
            text,
            positive_BT,
            self.model.logit_scales,
            biases=self.offsets.biases,
            level_weights=self.objective.level_weights,
            consistency_weight=self.objective.consistency,
        )
        scale, width = self.offsets.binary_scale, self.offsets.binary_width
        if scale is not None:
            settings, bias = self.objective.binary, self.offsets.binary_bias
            terms |= binary(
                image[width],
                text[width],
                positive_BT,
                scale,
                bias=bias,
                weight=settings.weight,
                balance=settings.balance,
            )
        return terms

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
