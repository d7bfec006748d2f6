"""Batches of a training: each a pure function of seed and step, so that a stopped run goes on exactly.

B images, T captions, L tokens, R regions, F features.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hivlp.objectives.retrieval import positives
from hivlp.train.batches.masking import SPECIAL_TOKENS, drop_words, mask_words
from hivlp.types import IntArray
from hivlp_lab.flickr8k.corpus import TRAIN, Corpus
from hivlp_lab.flickr8k.features import ImageFeatures

_MASK_SHARE = 0.15
_EPOCH, _STEP = 0, 1  # what random numbers are drawn for


@dataclass(frozen=True)
class RegionBatch:
    """Images as regions, captions of them, and which belong together.

    Attributes:
        step: from 0.
        rows_B: of the images in the corpus.
        views_B: which view of each is shown.
        texts_T: rows of the captions in the corpus.
        owner_T: the place of each caption's image in the batch.
        tokens_TL: with some words dropped.
        full_TL: with none dropped.
        positive_BT: which captions fit which images; equal wordings do.
    """

    step: int
    rows_B: Tensor
    views_B: Tensor
    texts_T: Tensor
    owner_T: Tensor
    tokens_TL: Tensor
    full_TL: Tensor
    mask_TL: Tensor
    positive_BT: Tensor
    regions_BRF: Tensor
    pooled_BF: Tensor
    boxes_BR7: Tensor
    random: np.random.Generator
    mask_id: int
    vocabulary: int

    def masked_words(self) -> tuple[Tensor, Tensor]:
        """Tokens (T, L) of which some are masked, and which those are."""
        chance_TL, swap_TL = self.random.random((2, *self.full_TL.shape))
        tokens_TL, hidden_TL = mask_words(
            self.full_TL.numpy(),
            self.mask_TL.numpy(),
            chance_TL,
            swap_TL,
            share=_MASK_SHARE,
            mask_id=self.mask_id,
            vocabulary=max(self.vocabulary, SPECIAL_TOKENS + 1),
        )
        return torch.from_numpy(tokens_TL), torch.from_numpy(hidden_TL)

    def masked_regions(self) -> Tensor:
        """Which regions (B, R) are masked: at least one of each image."""
        chance_BR = self.random.random(self.regions_BRF.shape[:2])
        hidden_BR = chance_BR < _MASK_SHARE
        hidden_BR[np.arange(len(hidden_BR)), chance_BR.argmin(axis=1)] = True
        return torch.from_numpy(hidden_BR)


class RegionBatches:
    """All batches of a training over the images of the split train."""

    def __init__(
        self, corpus: Corpus, images: ImageFeatures, *, batch: int, captions: int, drop: float, seed: int
    ) -> None:
        self._corpus, self._images = corpus, images
        self._captions, self._drop, self._seed = captions, drop, seed
        self._rows_P = corpus.images(TRAIN)
        self.size = min(batch, len(self._rows_P))

    @property
    def an_epoch(self) -> int:
        """Steps of one pass over the images; the last ones that fill no batch wait for another epoch."""
        return len(self._rows_P) // self.size

    def batches(self, start: int, stop: int, *, workers: int = 1) -> Iterator[RegionBatch]:
        return map(self.batch, range(start, stop))

    def batch(self, step: int, *, whole: bool = False) -> RegionBatch:
        corpus, random = self._corpus, np.random.default_rng([self._seed, _STEP, step])
        rows_B = np.sort(self._rows_of(step))
        mirror_B = (random.random(len(rows_B)) < 0.5) & ~corpus.sided_I[rows_B]
        views_B = torch.from_numpy(mirror_B.astype(np.int64) % len(self._images.regions_VIRF))
        texts_BN = self._chosen(rows_B, random)
        place_P, column_P = np.nonzero(texts_BN >= 0)
        texts_T = texts_BN[place_P, column_P]
        longest = int(corpus.mask_TL[texts_T].sum(axis=1).max())
        full_TL, mask_TL = corpus.tokens_TL[texts_T, :longest], corpus.mask_TL[texts_T, :longest]
        mask_id = corpus.tokenizer.mask_id
        dropped_TL = drop_words(
            full_TL, mask_TL, random.random(full_TL.shape), share=self._drop, mask_id=mask_id
        )
        rows, owner_T = torch.from_numpy(rows_B), torch.from_numpy(place_P)
        wording_T = torch.from_numpy(corpus.wording_T[texts_T])
        return RegionBatch(
            step=step,
            rows_B=rows,
            views_B=views_B,
            texts_T=torch.from_numpy(texts_T),
            owner_T=owner_T,
            tokens_TL=torch.from_numpy(dropped_TL),
            full_TL=torch.from_numpy(full_TL),
            mask_TL=torch.from_numpy(mask_TL),
            positive_BT=positives(torch.arange(len(rows)), owner_T, wording_T),
            regions_BRF=self._images.regions_VIRF[views_B, rows].float(),
            pooled_BF=self._images.pooled_VIF[views_B, rows],
            boxes_BR7=self._images.boxes_R7.expand(len(rows), -1, -1),
            random=random,
            mask_id=mask_id,
            vocabulary=corpus.tokenizer.vocabulary_size,
        )

    def _rows_of(self, step: int) -> IntArray:
        epoch, place = divmod(step, self.an_epoch)
        order_P = np.random.default_rng([self._seed, _EPOCH, epoch]).permutation(self._rows_P)
        return order_P[place * self.size : (place + 1) * self.size]

    def _chosen(self, rows_B: IntArray, random: np.random.Generator) -> IntArray:
        """Captions (B, N) of each image, drawn without repeating; -1 where it has fewer."""
        texts_BM = self._corpus.texts_IM[rows_B]
        chance_BM = np.where(texts_BM >= 0, random.random(texts_BM.shape), 2.0)
        order_BM = chance_BM.argsort(axis=1)[:, : self._captions]
        return np.take_along_axis(texts_BM, order_BM, axis=1)
