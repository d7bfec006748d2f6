"""What a system learns from a batch: named losses, from the objectives of the library.

B pictures, T captions, Q queries, K candidates, D width of a level.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from hivlp.model.dual import MAX_LOG_SCALE
from hivlp.objectives.binary import binary
from hivlp.objectives.distill import from_embeddings, from_scores
from hivlp.objectives.masked import masked_regions, masked_words
from hivlp.objectives.matching import hard_pairs, matching
from hivlp.objectives.retrieval import hierarchical
from hivlp.train.losses.heads import MaskedHead
from hivlp_lab.flickr8k.batches import Batch
from hivlp_lab.flickr8k.fusion import FusionModel
from hivlp_lab.flickr8k.recipes import Recipe
from hivlp_lab.flickr8k.towers import Towers

MASKED_EVERY = 4
"""VLM and LRM come in turn, one of them every so many steps, where LightningDOT draws one task a batch."""
_PICKED = 0.1  # temperature at which wrong pairs are drawn by the floor's similarity


class Learner(Protocol):
    """A system with all that it needs for training."""

    def losses(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Named terms, already weighted; their sum is what is minimised."""
        ...


@dataclass(frozen=True)
class Teaching:
    """What was said before of the training data; empty where nobody teaches.

    Attributes:
        pictures_VID: an ensemble's vectors of all pictures, a view each, times its inverse temperature.
        captions_TD: those of all captions.
        listened: captions, pictures that are their candidates, and a fusion model's scores of these pairs.
        candidates: regions and pooled features of pictures by their rows.
        tokens: tokens and mask of captions by their rows.
    """

    pictures_VID: Sequence[Tensor] = ()
    captions_TD: Sequence[Tensor] = ()
    listened: tuple[Tensor, Tensor, Tensor] | None = None
    candidates: Callable[[Tensor], tuple[Tensor, Tensor]] | None = None
    tokens: Callable[[Tensor], tuple[Tensor, Tensor]] | None = None


class DualLearner(nn.Module):
    """A dual encoder with HRL (or LightningDOT's CMR), and with VLM, LRM and teachers where it has them."""

    def __init__(
        self, towers: Towers, recipe: Recipe, *, vocabulary: int, teaching: Teaching | None = None
    ) -> None:
        super().__init__()
        self.towers = cast("nn.Module", towers)
        self._towers, self._recipe, self._teaching = [towers], recipe, teaching or Teaching()
        start = math.log(recipe.scale) if recipe.cosine else 0.0
        self.log_scale_L = nn.Parameter(torch.full((len(recipe.widths) + 1,), start), recipe.cosine)
        fine, (words, regions) = recipe.widths[-1], towers.states
        self.tell_words = self.tell_regions = None
        if recipe.vlm:
            self.tell_words = MaskedHead(states=words, embedding=fine, out=vocabulary)
        if recipe.lrm:
            self.tell_regions = MaskedHead(states=regions, embedding=fine, out=towers.features)

    def image(self, regions_BRF: Tensor, pooled_BF: Tensor, boxes_BR7: Tensor) -> dict[int, Tensor]:
        """Vectors of pictures by width."""
        return self._towers[0].image(regions_BRF, pooled_BF, boxes_BR7)

    def text(self, tokens_BL: Tensor, mask_BL: Tensor) -> dict[int, Tensor]:
        """Vectors of captions by width."""
        return self._towers[0].text(tokens_BL, mask_BL)

    @property
    def cosine(self) -> bool:
        """Whether vectors are of length 1."""
        return self._recipe.cosine

    @property
    def given(self) -> list[nn.Parameter]:
        """Weights that the floor gave and that are only adjusted."""
        return getattr(self._towers[0], "given", [])

    @property
    def scales(self) -> dict[int, Tensor]:
        """Inverse temperature by width; that of the binary level stands last in the parameter."""
        return dict(zip(self._recipe.widths, self._scale_L[:-1], strict=True))

    @property
    def _scale_L(self) -> Tensor:  # noqa: N802
        return self.log_scale_L.clamp(max=MAX_LOG_SCALE).exp()

    def losses(self, batch: Batch, step: int) -> dict[str, Tensor]:
        recipe, towers = self._recipe, self._towers[0]
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
        turn = step % (2 * MASKED_EVERY)
        if self.tell_words is not None and turn == MASKED_EVERY - 1:
            terms["vlm"] = recipe.vlm * self._vlm(batch, image[fine])
        if self.tell_regions is not None and turn == 2 * MASKED_EVERY - 1:
            terms["lrm"] = recipe.lrm * self._lrm(batch, text[fine])
        if recipe.distil:
            terms |= self._distilled(batch, image, text)
        if recipe.listen:
            terms["listen"] = recipe.listen * self._listened(batch)
        return terms

    def _vlm(self, batch: Batch, image_BD: Tensor) -> Tensor:
        assert self.tell_words is not None
        tokens_TL, hidden_TL = batch.masked_words()
        states_MS = self._towers[0].word_states(tokens_TL, batch.mask_TL)[hidden_TL]
        owner_M = batch.owner_T[hidden_TL.nonzero()[:, 0]]
        return masked_words(self.tell_words(states_MS, image_BD[owner_M]), batch.full_TL[hidden_TL])

    def _lrm(self, batch: Batch, text_TD: Tensor) -> Tensor:
        """Hidden regions are zeros, which is the mean of all; the picture's first caption helps to tell."""
        assert self.tell_regions is not None
        hidden_BR = batch.masked_regions()
        regions_BRF = batch.regions_BRF.masked_fill(hidden_BR[..., None], 0.0)
        states_MS = self._towers[0].region_states(regions_BRF, batch.boxes_BR7)[hidden_BR]
        first_B = (batch.owner_T[None, :] == torch.arange(len(hidden_BR))[:, None]).int().argmax(dim=1)
        text_MD = text_TD[first_B[hidden_BR.nonzero()[:, 0]]]
        return masked_regions(self.tell_regions(states_MS, text_MD), batch.regions_BRF[hidden_BR])

    def _distilled(
        self, batch: Batch, image: Mapping[int, Tensor], text: Mapping[int, Tensor]
    ) -> dict[str, Tensor]:
        said = [
            (pictures_VID[batch.views_B, batch.rows_B], captions_TD[batch.texts_T])
            for pictures_VID, captions_TD in zip(
                self._teaching.pictures_VID, self._teaching.captions_TD, strict=True
            )
        ]
        share, scales = self._recipe.distil / len(image), self.scales
        return {
            f"distil_{width}": share
            * from_embeddings(image[width], text[width], scales[width], said, teacher_scale=1.0)
            for width in image
        }

    def _listened(self, batch: Batch) -> Tensor:
        """What a fusion model says of some captions' candidates, at the finest level."""
        teaching, fine = self._teaching, self._recipe.widths[-1]
        assert teaching.listened and teaching.candidates and teaching.tokens
        captions_N, candidates_NK, scores_NK = teaching.listened
        some_Q = torch.from_numpy(batch.random.integers(0, len(captions_N), len(batch.rows_B) // 4 + 1))
        regions_PRF, pooled_PF = teaching.candidates(candidates_NK[some_Q].flatten())
        boxes_PR7 = batch.boxes_BR7[:1].expand(len(pooled_PF), -1, -1)
        image_PD = self._towers[0].image(regions_PRF, pooled_PF, boxes_PR7)[fine]
        text_QD = self._towers[0].text(*teaching.tokens(captions_N[some_Q]))[fine]
        image_QKD = image_PD.unflatten(0, (len(some_Q), -1))
        logits_QK = self.scales[fine] * torch.einsum("qd,qkd->qk", text_QD, image_QKD)
        return from_scores(logits_QK, scores_NK[some_Q])


class FusionLearner(nn.Module):
    """A fusion model with ITM: right pairs, and wrong ones of the batch that are hard to tell.

    Which are hard is drawn by the similarities of the linear floor, as ALBEF draws by those of its towers.
    """

    def __init__(self, model: FusionModel, pictures_ID: Tensor, captions_TD: Tensor) -> None:
        super().__init__()
        self.model = model
        self._pictures_ID, self._captions_TD = pictures_ID, captions_TD

    def losses(self, batch: Batch, step: int) -> dict[str, Tensor]:
        similar_BT = self._pictures_ID[batch.rows_B] @ self._captions_TD[batch.texts_T].T
        noise_BT = -torch.empty_like(similar_BT).exponential_().log()  # Gumbel: the best are then a draw
        pairs = hard_pairs(similar_BT / _PICKED + noise_BT, batch.positive_BT)
        image_BRS = self.model.image_states(batch.regions_BRF, batch.boxes_BR7)
        text = self.model.text_states(batch.tokens_TL, batch.mask_TL)
        scores_P = self.model.pairs(text, batch.mask_TL, image_BRS, pairs.text_P, pairs.picture_P)
        return {"itm": matching(scores_P, pairs.match_P)}
