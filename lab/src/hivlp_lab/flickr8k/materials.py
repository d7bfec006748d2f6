"""What all systems are given: the corpus, the backbone's features, and the linear floor fitted to them.

I images, T captions, F features, D width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hivlp.train.batches.masking import words
from hivlp.train.starts import cca
from hivlp.train.starts.cca import Floor, rarity
from hivlp.types import IntArray
from hivlp_lab.flickr8k import corpus, features
from hivlp_lab.flickr8k.corpus import TRAIN, VAL, Corpus
from hivlp_lab.flickr8k.features import Backbone, ImageFeatures, MobileNet, RandomBackbone, Scaling
from hivlp_lab.flickr8k.recipes import Sizes


@dataclass(frozen=True, kw_only=True)
class Materials:
    """Data and features, read when they are first asked for.

    Attributes:
        data: a source with the splits train and val.
        path: of the quantised MobileNetV2; None for random features of pixels.
        work: where features are kept.
    """

    data: str
    path: Path | None
    work: Path
    sizes: Sizes
    say: Callable[[str], None] = lambda message: None

    @cached_property
    def corpus(self) -> Corpus:
        return corpus.read(self.data, vocabulary=self.sizes.vocabulary, max_tokens=self.sizes.max_tokens)

    @cached_property
    def backbone(self) -> Backbone:
        return RandomBackbone() if self.path is None else MobileNet(self.path)

    @cached_property
    def fingerprint(self) -> str:
        """Changes with the data and the backbone."""
        return hashlib.sha256(f"{self.corpus.fingerprint} {self.backbone.name}".encode()).hexdigest()[:12]

    @cached_property
    def images(self) -> ImageFeatures:
        """The features of all images of the corpus, whole and mirrored."""
        features.require_all(self._grids[0], self.corpus.samples)
        return features.as_tensors(self._grids, self.backbone, self.scaling, grid=self.sizes.grid)

    @cached_property
    def scaling(self) -> Scaling:
        """Mean and deviation of the training images' features."""
        return Scaling.of(self._grids[0], self.corpus.images(TRAIN), self.backbone)

    @cached_property
    def _grids(self) -> list[NDArray[np.int8]]:
        """What the backbone sees in every view; stored."""
        folder = self.work / "features"
        folder.mkdir(parents=True, exist_ok=True)
        return [
            features.stored_grids(
                self.corpus.samples,
                self.backbone,
                folder / f"{self.fingerprint}-{view}",
                mirror=view == "mirror",
                say=self.say,
            )
            for view in features.VIEWS
        ]

    @cached_property
    def rarity_V(self) -> Tensor:  # noqa: N802
        """How rare each word piece is among the training captions, in [0, 1]; 0 for what is no word."""
        seen_T = self.corpus.texts(self.corpus.images(TRAIN))
        tokens_TL = self.corpus.tokens_TL
        told_TL = np.where(words(tokens_TL, self.corpus.mask_TL), tokens_TL, 0)[seen_T]
        rarity_V = rarity(torch.from_numpy(told_TL), self.corpus.tokenizer.vocabulary_size)
        rarity_V[:5] = 0
        return rarity_V

    @cached_property
    def floor(self) -> Floor:
        """The linear floor, fitted to the training images (the mean of both views) and captions."""
        self.say("floor: canonical correlations")
        seen_T = torch.from_numpy(self.corpus.texts(self.corpus.images(TRAIN)))
        return cca.fit(
            self._pooled_IF[torch.from_numpy(self.corpus.image_of_T)[seen_T]],
            self.words_TV.index_select(0, seen_T),
            components=max(self.sizes.components, self.sizes.directions),
        )

    @cached_property
    def floor_vectors(self) -> tuple[Tensor, Tensor]:
        """The floor's unit vectors of all images (I, D) and captions (T, D)."""
        floor = self.floor.first(self.sizes.components)
        return floor.images(self._pooled_IF), floor.texts(self.words_TV)

    @cached_property
    def _pooled_IF(self) -> Tensor:  # noqa: N802
        return self.images.pooled_VIF.mean(dim=0)

    @cached_property
    def words_TV(self) -> Tensor:  # noqa: N802
        """Sparse unit rows of the words of all captions, weighed by their rarity."""
        tokens_TL, mask_TL = self.corpus.tokens_TL, self.corpus.mask_TL
        told_TL = torch.from_numpy(words(tokens_TL, mask_TL))
        return cca.tf_idf(torch.from_numpy(tokens_TL), told_TL, self.rarity_V)

    def small_pool(self) -> IntArray:
        """Images of val, one of so many: with all their captions a pool that can be scored in full."""
        return self.corpus.images(VAL)[:: self.sizes.every]

    def captions_of(self, images_P: IntArray) -> tuple[IntArray, IntArray]:
        """All captions of some images, and the place among the images of each caption's own."""
        texts_T = self.corpus.texts(images_P)
        place_I = np.full(len(self.corpus.samples), -1)
        place_I[images_P] = np.arange(len(images_P))
        return texts_T, place_I[self.corpus.image_of_T[texts_T]]
