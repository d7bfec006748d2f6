"""One training step's losses: model, batch and objectives meet here; the loop sees only named numbers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hivlp.config import Distillation, Objective
from hivlp.data.batch import Batch
from hivlp.model.dual import DualEncoder
from hivlp.objectives.binary import binary
from hivlp.objectives.distill import feature_distance, imitation
from hivlp.objectives.retrieval import hierarchical, positives
from hivlp.train.distilled import distilled
from hivlp.train.distributed import World
from hivlp.train.guide import Guide
from hivlp.train.heads import Offsets
from hivlp.train.masked import MaskedObjectives
from hivlp.train.matched import matched
from hivlp.train.passes import Passes
from hivlp.train.reranked import FromReranker

ALONE = World()


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
        distil: Distillation | None = None,
        locked: bool = False,
        world: World = ALONE,
    ) -> None:
        super().__init__()
        self.model = model
        self.guide = guide
        self.offsets = Offsets(model, objective)
        self.masked = MaskedObjectives(model, objective)
        self.reranked = FromReranker(model, objective)
        self.objective = objective
        self.distil = distil if distil is not None and distil.models and distil.weight else None
        self.world = world
        self._passes = Passes(
            model, device=world.device, chunk=grad_cache, half=precision == "bfloat16", locked=locked
        )

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Named losses of a batch, already weighted; their sum is what is minimised.

        Of several processes each gives its own; their mean is that of the whole batch.
        """
        regions_BGF = None
        if self.guide is not None and self.guide.looks_at_cells and self.objective.feature:
            picture_BF, regions_BGF = self._passes.pictures_with_regions(batch)
        else:
            picture_BF = self._passes.pictures(batch)
        text_TF = self._passes.texts(batch)
        terms = self._compared(batch, picture_BF, text_TF)
        if self.guide is not None and self.objective.feature:
            seen_BGF = picture_BF.unsqueeze(1) if regions_BGF is None else regions_BGF
            terms |= self._predicted(self.guide, batch, seen_BGF)
        terms |= self.reranked(batch, self._passes, self.model, picture_BF, self.world)
        terms |= self.masked(batch, self._passes, self.model, picture_BF, text_TF, self.world)
        return terms

    def _compared(self, batch: Batch, own_picture_BF: Tensor, own_text_TF: Tensor) -> dict[str, Tensor]:
        """What compares pictures with texts: those of all processes."""
        picture_BF, text_TF = self.world.gather(own_picture_BF), self.world.gather(own_text_TF)
        image = self.model.image_levels(picture_BF)
        text = self.model.text_levels(text_TF) if len(text_TF) else {}
        positive_BT = self._positives(batch)
        terms = self._retrieval(image, text, positive_BT) if text else {}
        if self.distil is not None and text:
            scales = self.model.logit_scales
            terms |= distilled(batch, self._passes, image, text, scales, self.distil, self.world)
        head, itm = self.model.fusion, self.objective.itm
        if head is not None and itm.weight and text:
            terms |= matched(batch, self._passes, head, image, text, positive_BT, itm, self.world)
        if self.guide is not None:
            terms |= self._guided(self.guide, batch, image, text, positive_BT)
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
        guide: Guide,
        batch: Batch,
        image: dict[int, Tensor],
        text: dict[int, Tensor],
        positive_BT: Tensor,
    ) -> dict[str, Tensor]:
        """The teacher's head learns to find the texts, and the student learns to answer like it."""
        taught_B = self.world.gather(self._passes.put(batch.taught_B).to(torch.uint8)).bool()
        if not bool(taught_B.any()):
            return {}
        own_BC = guide.pooled(self._passes.put(batch.features_BD))
        teacher_BC = self.world.gather(own_BC)[taught_B]
        leader = guide.levels(guide.dropout(teacher_BC))
        weights, terms = self.objective, dict[str, Tensor]()
        if weights.guide and text:
            taught_terms = self._retrieval(leader, text, positive_BT[taught_B])
            terms["guide"] = weights.guide * torch.stack(list(taught_terms.values())).sum()
        if weights.imitate:
            quiet = guide.levels(teacher_BC)
            terms["imitate"] = weights.imitate * imitation({w: r[taught_B] for w, r in image.items()}, quiet)
        return terms

    def _predicted(self, guide: Guide, batch: Batch, states_BGF: Tensor) -> dict[str, Tensor]:
        """The teacher's features, told from the student's: of whole pictures, or region by region."""
        taught_B = self._passes.put(batch.taught_B)
        count = float(taught_B.sum())
        mean_count = float(self.world.mean(taught_B.sum().float()))  # over all processes
        if not mean_count:
            return {}
        predicted_BGC = guide.predict(states_BGF[taught_B])
        if not count:
            return {"feature": predicted_BGC.sum()}  # of nothing: 0, and a way for the gradient
        said_BF = self._passes.put(batch.features_BD)[taught_B]
        mirror_B = self._passes.put(batch.mirror_B)[taught_B]
        wanted_BGC = guide.of_cells(said_BF, mirror_B, states_BGF.shape[1])
        share = self.objective.feature * count / mean_count
        return {"feature": share * feature_distance(predicted_BGC, wanted_BGC)}
