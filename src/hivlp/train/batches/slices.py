"""What one source gives to a batch, before its texts become tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hivlp.train.batches.pack import Pack
from hivlp.train.batches.targets import Question
from hivlp.types import FloatArray, IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """What one part gives to a batch; its pixels are read when the rows are settled.

    Attributes:
        captions: of all of its pictures, one after the other.
        place_C: which of its pictures each caption is of.
        nth_C: the number of each caption among those of its picture.
        negatives: some of each picture, or none.
        lessons: of each dual encoder, of the pictures (B, D) and the captions (C, D).
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
    taught: NDArray[np.bool_]
    lessons: list[tuple[FloatArray, FloatArray]]
    questions: list[Question | None]

    def pixels(self, *, shown: bool) -> NDArray[np.uint8]:
        """The packed pictures; empty ones where they are not to be shown."""
        return self.pack.pixels_NCHW[self.rows] if shown else np.zeros((len(self.rows), 3, 0, 0), np.uint8)

    def only(self, keep_K: IntArray) -> Slice:
        """The rows of some places of this slice, in their order."""
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
            taught=self.taught[keep_K],
            lessons=[(image_BD[keep_K], caption_CD[kept_C]) for image_BD, caption_CD in self.lessons],
            questions=[self.questions[place] for place in keep_K],
        )
