"""The learners of the comparison: named losses of a batch, from the objectives of the library.

B images, T captions, Q queries, K candidates, D width of a level.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hivlp.model.dual import MAX_LOG_SCALE
from hivlp.objectives.binary import binary
from hivlp.objectives.distill import from_embeddings, from_scores
from hivlp.objectives.masked import masked_regions, masked_words
from hivlp.objectives.matching import hard_pairs, matching
from hivlp.objectives.retrieval import hierarchical
from hivlp.train.loop import Learner
from hivlp.train.losses.heads import MaskedHead
from hivlp_lab.flickr8k.batches import RegionBatch
from hivlp_lab.flickr8k.fusion import RegionFusion
from hivlp_lab.flickr8k.recipes import SystemRecipe
from hivlp_lab.flickr8k.towers import DualTowers

MASKED_EVERY = 4
"""VLM and LRM come in turn, one of them every so many steps, where LightningDOT draws one task a batch."""
_PICKED = 0.1  # temperature at which wrong pairs are drawn by the floor's similarity


@dataclass(frozen=True)
class TeacherTargets:
    """Stored outputs of teachers over the training data; empty without teachers.

    Attributes:
        images_VID: an ensemble's vectors of all images, one for each view, times its inverse temperature.
        captions_TD: those of all captions.
        scored: captions, images that are their candidates, and a fusion model's scores of these pairs.
        candidates: regions and pooled features of images by their rows.
        tokens: tokens and mask of captions by their rows.
    """

    images_VID: Sequence[Tensor] = ()
    captions_TD: Sequence[Tensor] = ()
    scored: tuple[Tensor, Tensor, Tensor] | None = None
    candidates: Callable[[Tensor], tuple[Tensor, Tensor]] | None = None
    tokens: Callable[[Tensor], tuple[Tensor, Tensor]] | None = None


class DualLearner(Learner[RegionBatch]):
    """A dual encoder with HRL (or LightningDOT's CMR), and with VLM, LRM and teachers where it has them."""

    def __init__(
        self, towers: DualTowers, recipe: SystemRecipe, targets: TeacherTargets, *, vocabulary: int
    ) -> None:
        super().__init__()
        self.towers, self._recipe, self._targets = towers, recipe, targets
        start = math.log(recipe.scale) if recipe.cosine else 0.0
        self.log_scale_L = nn.Parameter(torch.full((len(recipe.widths) + 1,), start), recipe.cosine)
        fine, (words, regions) = recipe.widths[-1], towers.states
        self.word_head = self.region_head = None
        if recipe.vlm:
            self.word_head = MaskedHead(states=words, embedding=fine, out=vocabulary)
        if recipe.lrm:
            self.region_head = MaskedHead(states=regions, embedding=fine, out=towers.features)

    @property
    def cosine(self) -> bool:
        """Whether vectors are of length 1."""
        return self._recipe.cosine

    @property
    def rate_shares(self) -> dict[nn.Parameter, float]:
        """The share of the learning rate of the weights that begin as the linear floor."""
        return dict.fromkeys(self.towers.floor_weights, self._recipe.given_rate)

    @property
    def scales(self) -> dict[int, Tensor]:
        """Inverse temperature by width; that of the binary level stands last in the parameter."""
        return dict(zip(self._recipe.widths, self._scale_L[:-1], strict=True))

    @property
    def _scale_L(self) -> Tensor:  # noqa: N802
        return self.log_scale_L.clamp(max=MAX_LOG_SCALE).exp()

    def forward(self, batch: RegionBatch) -> dict[str, Tensor]:
        recipe, towers = self._recipe, self.towers
        image = towers.image(batch.regions_BRF, batch.pooled_BF, batch.boxes_BR7)
        text = towers.text(batch.tokens_TL, batch.mask_TL)
        terms = hierarchical(
            image, text, batch.positive_BT, self.scales, consistency_weight=recipe.consistency
        )
        fine = recipe.widths[-1]
        if recipe.binary:
            terms |= binary(
                image[fine], text[fine], batch.positive_BT, self._scale_L[-1], weight=recipe.binary
            )
        turn = batch.step % (2 * MASKED_EVERY)
        if self.word_head is not None and turn == MASKED_EVERY - 1:
            terms["vlm"] = recipe.vlm * self._vlm(batch, image[fine])
        if self.region_head is not None and turn == 2 * MASKED_EVERY - 1:
            terms["lrm"] = recipe.lrm * self._lrm(batch, text[fine])
        if recipe.distil:
            terms |= self._distilled(batch, image, text)
        if recipe.listen:
            terms["listen"] = recipe.listen * self._scored(batch)
        return terms

    def _vlm(self, batch: RegionBatch, image_BD: Tensor) -> Tensor:
        assert self.word_head is not None
        tokens_TL, hidden_TL = batch.masked_words()
        states_MS = self.towers.word_states(tokens_TL, batch.mask_TL)[hidden_TL]
        owner_M = batch.owner_T[hidden_TL.nonzero()[:, 0]]
        return masked_words(self.word_head(states_MS, image_BD[owner_M]), batch.full_TL[hidden_TL])

    def _lrm(self, batch: RegionBatch, text_TD: Tensor) -> Tensor:
        """Masked regions are zeros, the mean of all; the image's first caption is the context."""
        assert self.region_head is not None
        hidden_BR = batch.masked_regions()
        regions_BRF = batch.regions_BRF.masked_fill(hidden_BR[..., None], 0.0)
        states_MS = self.towers.region_states(regions_BRF, batch.boxes_BR7)[hidden_BR]
        first_B = (batch.owner_T[None, :] == torch.arange(len(hidden_BR))[:, None]).int().argmax(dim=1)
        text_MD = text_TD[first_B[hidden_BR.nonzero()[:, 0]]]
        return masked_regions(self.region_head(states_MS, text_MD), batch.regions_BRF[hidden_BR])

    def _distilled(
        self, batch: RegionBatch, image: Mapping[int, Tensor], text: Mapping[int, Tensor]
    ) -> dict[str, Tensor]:
        teachers = [
            (images_VID[batch.views_B, batch.rows_B], captions_TD[batch.texts_T])
            for images_VID, captions_TD in zip(
                self._targets.images_VID, self._targets.captions_TD, strict=True
            )
        ]
        share, scales = self._recipe.distil / len(image), self.scales
        return {
            f"distil_{width}": share
            * from_embeddings(image[width], text[width], scales[width], teachers, teacher_scale=1.0)
            for width in image
        }

    def _scored(self, batch: RegionBatch) -> Tensor:
        """Distils a fusion model's scores of some captions' candidates, at the finest level."""
        targets, fine = self._targets, self._recipe.widths[-1]
        assert targets.scored and targets.candidates and targets.tokens
        captions_N, candidates_NK, scores_NK = targets.scored
        some_Q = torch.from_numpy(batch.random.integers(0, len(captions_N), len(batch.rows_B) // 4 + 1))
        regions_PRF, pooled_PF = targets.candidates(candidates_NK[some_Q].flatten())
        boxes_PR7 = batch.boxes_BR7[:1].expand(len(pooled_PF), -1, -1)
        image_PD = self.towers.image(regions_PRF, pooled_PF, boxes_PR7)[fine]
        text_QD = self.towers.text(*targets.tokens(captions_N[some_Q]))[fine]
        image_QKD = image_PD.unflatten(0, (len(some_Q), -1))
        logits_QK = self.scales[fine] * torch.einsum("qd,qkd->qk", text_QD, image_QKD)
        return from_scores(logits_QK, scores_NK[some_Q])


class FusionLearner(Learner[RegionBatch]):
    """A fusion model with ITM: right pairs, and hard wrong ones of the batch.

    Which are hard is drawn by the similarities of the linear floor, as ALBEF draws by those of its towers.
    """

    def __init__(self, model: RegionFusion, images_ID: Tensor, captions_TD: Tensor) -> None:
        super().__init__()
        self.model = model
        self._images_ID, self._captions_TD = images_ID, captions_TD

    def forward(self, batch: RegionBatch) -> dict[str, Tensor]:
        similar_BT = self._images_ID[batch.rows_B] @ self._captions_TD[batch.texts_T].T
        noise_BT = -torch.empty_like(similar_BT).exponential_().log()  # Gumbel: the best are then a draw
        pairs = hard_pairs(similar_BT / _PICKED + noise_BT, batch.positive_BT)
        image_BRS = self.model.image_states(batch.regions_BRF, batch.boxes_BR7)
        text = self.model.text_states(batch.tokens_TL, batch.mask_TL)
        scores_P = self.model.pairs(text, batch.mask_TL, image_BRS, pairs.text_P, pairs.picture_P)
        return {"itm": matching(scores_P, pairs.match_P)}
