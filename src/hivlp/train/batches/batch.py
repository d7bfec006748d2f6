"""One training batch as arrays, with its random numbers; it knows no source and no model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hivlp.types import FloatArray, IntArray

# purposes of the random numbers of a step
EPOCH, BATCH, DROP, MASK, SWAP, REGION = range(1, 7)


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomRows:
    """Random numbers of a step for each image, the same however processes share the batch.

    Attributes:
        seed: the seed of the run, and the step.
        whole: images of the whole batch.
        places_B: the places in it of the images of this process.
    """

    seed: tuple[int, int]
    whole: int
    places_B: IntArray

    def draw(self, purpose: int, columns: int) -> NDArray[np.float64]:
        """Uniform numbers in [0, 1), (B, columns)."""
        random = np.random.default_rng((self.seed[0], purpose, self.seed[1]))
        return random.random((self.whole, columns))[self.places_B]


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankerTargets:
    """Captions that a re-ranker scored for Q images of a batch: K for each, the positive first.

    Attributes:
        image_Q: the rows in the batch of these images.
        tokens_CL, mask_CL: the captions of the first image, then of the second, and so on; C is Q·K.
        scores_QK: scores of the re-ranker, float32.
    """

    image_Q: IntArray
    tokens_CL: IntArray
    mask_CL: IntArray
    scores_QK: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """B images and T texts.

    Attributes:
        pixels_BCHW: uint8, the whole packed images.
        boxes_B4: the crop of each, as shares of the frame: left, top, right, bottom.
        mirror_B: whether the crop is to be mirrored.
        tokens_TL, mask_TL: the texts, padded to the longest.
        picture_B: a number for each image; an image that is in the batch twice has it twice.
        picture_of_text_T: the row in this batch of the image that each text describes; -1 for a hard
            negative.
        wording_T: equal numbers for equal wordings.
        features_BD: features of a locked tower where `has_view_B` is true, else zeros; D is 0 without one.
        has_view_B: whether the crop of an image is one of the stored views.
        teacher_embeddings: of each teacher, its embeddings of the crops (B, D) and of the texts (T, D); zeros
            for images without a stored view, and for hard negatives.
        masked_TL: the texts with words masked, for masked word prediction; None without it.
        chosen_TL: where these words are; no words of hard negatives.
        random_rows: other random numbers of each image.
        reranker: scores of a re-ranker as teacher; None without one.
    """

    pixels_BCHW: NDArray[np.uint8]
    boxes_B4: FloatArray
    mirror_B: NDArray[np.bool_]
    tokens_TL: IntArray
    mask_TL: IntArray
    picture_B: IntArray
    picture_of_text_T: IntArray
    wording_T: IntArray
    features_BD: FloatArray
    has_view_B: NDArray[np.bool_]
    random_rows: RandomRows
    teacher_embeddings: tuple[tuple[FloatArray, FloatArray], ...] = ()
    masked_TL: IntArray | None = None
    chosen_TL: NDArray[np.bool_] | None = None
    reranker: RerankerTargets | None = None
