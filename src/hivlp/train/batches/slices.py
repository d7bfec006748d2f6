"""The part of a batch that comes from one source, before its texts become tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hivlp.train.batches.pack import Pack
from hivlp.train.batches.targets import ScoredCaptions
from hivlp.types import FloatArray, IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """The rows of one source in a batch; pixels are read once the rows of this process are known.

    Attributes:
        captions: of all of its images, one after the other.
        place_C: the place in this slice of the image that each caption describes.
        nth_C: the number of each caption among those of its image.
        negatives: hard negative captions of each image.
        embeddings: of each teacher, those of the images (B, D) and of the captions (C, D).
        has_view: whether the crop of each image is a stored view.
    """

    pack: Pack
    rows: IntArray
    numbers: IntArray
    captions: list[str]
    place_C: IntArray
    nth_C: IntArray
    negatives: list[tuple[str, ...]]
    boxes: FloatArray
    mirror: NDArray[np.bool_]
    features: FloatArray
    has_view: NDArray[np.bool_]
    embeddings: list[tuple[FloatArray, FloatArray]]
    scored_captions: list[ScoredCaptions | None]

    def pixels(self, *, shown: bool) -> NDArray[np.uint8]:
        """The packed images; without `shown` arrays of no pixels."""
        return self.pack.pixels_NCHW[self.rows] if shown else np.zeros((len(self.rows), 3, 0, 0), np.uint8)

    def only(self, keep_K: IntArray) -> Slice:
        """The rows at some places of this slice, in their order."""
        new_B = np.full(len(self.rows), -1)
        new_B[keep_K] = np.arange(len(keep_K))
        kept_C = np.flatnonzero(new_B[self.place_C] >= 0)
        return Slice(
            pack=self.pack,
            rows=self.rows[keep_K],
            numbers=self.numbers[keep_K],
            captions=[self.captions[caption] for caption in kept_C],
            place_C=new_B[self.place_C[kept_C]],
            nth_C=self.nth_C[kept_C],
            negatives=[self.negatives[place] for place in keep_K],
            boxes=self.boxes[keep_K],
            mirror=self.mirror[keep_K],
            features=self.features[keep_K],
            has_view=self.has_view[keep_K],
            embeddings=[(image_BD[keep_K], caption_CD[kept_C]) for image_BD, caption_CD in self.embeddings],
            scored_captions=[self.scored_captions[place] for place in keep_K],
        )
