"""The learner of `hivlp train`: model, batch and objectives give named losses."""

from __future__ import annotations

import torch
from torch import Tensor

from hivlp.config import Distillation, Objective
from hivlp.model.dual import DualEncoder
from hivlp.objectives.binary import BALANCE, binary
from hivlp.objectives.retrieval import hierarchical, positives
from hivlp.train.batches.batch import Batch
from hivlp.train.batches.mixture import LARGEST_PACK
from hivlp.train.distributed import World
from hivlp.train.loop import Learner
from hivlp.train.losses.class_names import ClassNames
from hivlp.train.losses.distillation import distillation_loss
from hivlp.train.losses.heads import ObjectiveParameters
from hivlp.train.losses.masked import MaskedObjectives
from hivlp.train.losses.matching import matching_loss
from hivlp.train.losses.reranker import RerankerLoss
from hivlp.train.passes import Passes

ALONE = World()


class Task(Learner[Batch]):
    """A model with its objectives, teachers and the processes that share a batch."""

    def __init__(
        self,
        model: DualEncoder,
        objective: Objective,
        *,
        precision: str = "float32",
        grad_cache: int = 0,
        distil: Distillation | None = None,
        locked: bool = False,
        class_names: ClassNames | None = None,
        world: World = ALONE,
    ) -> None:
        super().__init__()
        self.model = model
        self.offsets = ObjectiveParameters(model, objective)
        self.masked = MaskedObjectives(model, objective)
        self.reranked = RerankerLoss(model, objective)
        self.class_names = class_names
        self.objective = objective
        self.distil = distil if distil is not None and distil.models and distil.weight else None
        self.world = world
        self._passes = Passes(
            model, device=world.device, chunk=grad_cache, half=precision == "bfloat16", locked=locked
        )

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        picture_BF, text_TF = self._passes.pictures(batch), self._passes.texts(batch)
        terms = self._compared(batch, picture_BF, text_TF)
        terms |= self.reranked(batch, self._passes, self.model, picture_BF, self.world)
        if self.class_names is not None:
            first_B = batch.picture_B < LARGEST_PACK  # of the first source, as photographs are
            photographs_BF = picture_BF[self._passes.put(first_B)] if first_B.any() else picture_BF
            terms["class_names"] = self.objective.class_names * self.class_names(self.model, photographs_BF)
        terms |= self.masked(batch, self._passes, self.model, picture_BF, text_TF, self.world)
        return terms

    def _compared(self, batch: Batch, own_picture_BF: Tensor, own_text_TF: Tensor) -> dict[str, Tensor]:
        """What compares images with texts: those of all processes."""
        picture_BF, text_TF = self.world.gather(own_picture_BF), self.world.gather(own_text_TF)
        image = self.model.image_levels(picture_BF)
        text = self.model.text_levels(text_TF) if len(text_TF) else {}
        positive_BT = self._positives(batch)
        terms = self._retrieval(image, text, positive_BT) if text else {}
        if self.distil is not None and text:
            scales = self.model.logit_scales
            terms |= distillation_loss(batch, self._passes, image, text, scales, self.distil, self.world)
        head, itm = self.model.fusion, self.objective.itm
        if head is not None and itm.weight and text:
            terms |= matching_loss(batch, self._passes, head, image, text, positive_BT, itm, self.world)
        return terms

    def _positives(self, batch: Batch) -> Tensor:
        picture_B, picture_of_text_T = (
            self._passes.put(batch.picture_B),
            self._passes.put(batch.picture_of_text_T),
        )
        number_T = torch.where(picture_of_text_T < 0, -1, picture_B[picture_of_text_T])
        wording_T = self._passes.put(batch.wording_T)
        return positives(*map(self.world.gather, (picture_B, number_T, wording_T)))

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
            terms |= binary(
                image[width],
                text[width],
                positive_BT,
                scale,
                bias=self.offsets.binary_bias,
                weight=self.objective.binary.weight,
                balance=BALANCE,
            )
        return terms
