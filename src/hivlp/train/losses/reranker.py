"""Distillation of a re-ranker in a training step: its stored scores against the student's similarities."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from hivlp.config import Objective
from hivlp.model.dual import MAX_LOG_SCALE, DualEncoder
from hivlp.objectives.distill import from_scores
from hivlp.objectives.dynamic import dynamic_distillation
from hivlp.train.batches.batch import Batch
from hivlp.train.distributed import World
from hivlp.train.passes import Passes


class RerankerLoss(nn.Module):
    """The student learns the re-ranker's scores of each image's caption and hard negatives.

    The dynamic form compares scores with scores, so a factor and an offset per level bring cosines to the
    re-ranker's scale. They are learned, and discarded at the end of the run.
    """

    def __init__(self, model: DualEncoder, objective: Objective) -> None:
        super().__init__()
        self.settings = objective.reranker
        self.widths = model.config.levels.widths
        if self.settings.form == "dynamic":
            start, count = math.log(model.config.logit_scale), len(self.widths)
            self.log_scale_L = nn.Parameter(torch.full((count,), start))
            self.bias_L = nn.Parameter(torch.zeros(count))

    def forward(
        self, batch: Batch, passes: Passes, model: DualEncoder, image_BF: Tensor, world: World
    ) -> dict[str, Tensor]:
        """``reranker_<width>``, or of the dynamic form ``dcd_…_<width>``, weighted; of all processes.

        It costs a pass of the captions through the text tower.

        Args:
            image_BF: features of this process's images.
        """
        targets = batch.reranker
        if targets is None:
            return {}
        teacher_QK = world.gather(passes.put(targets.scores_QK))
        if not len(teacher_QK):
            return {}
        image = model.image_levels(image_BF[passes.put(targets.image_Q)])
        text = model.text_levels(passes.features(targets.tokens_CL, targets.mask_CL))
        terms: dict[str, Tensor] = {}
        for place, width in enumerate(self.widths):
            text_QKD = text[width].view(len(targets.image_Q), teacher_QK.shape[1], width)
            cosine_QK = world.gather(torch.einsum("qd,qkd->qk", image[width], text_QKD))
            for name, term in self._terms(cosine_QK, teacher_QK, model.logit_scales[width], place).items():
                terms[f"{name}_{width}"] = self.settings.weight / len(self.widths) * term
        return terms

    def _terms(
        self, cosine_QK: Tensor, teacher_QK: Tensor, logit_scale: Tensor, place: int
    ) -> dict[str, Tensor]:
        if self.settings.form == "softmax":
            return {"reranker": from_scores(logit_scale * cosine_QK, teacher_QK)}
        scale = self.log_scale_L[place].clamp(max=MAX_LOG_SCALE).exp()
        return dynamic_distillation(scale * cosine_QK + self.bias_L[place], teacher_QK)
