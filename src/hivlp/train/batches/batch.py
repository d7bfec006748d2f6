"""One training batch as arrays, and what is random about its pictures; it knows no source and no model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hivlp.types import FloatArray, IntArray

# what random numbers of a step are for
EPOCH, BATCH, DROP, MASK, SWAP, REGION = range(1, 7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chances:
    """Random numbers of a step for each picture, the same however the batch is divided among processes.

    Attributes:
        seed: of the run, and the step.
        whole: pictures of the whole batch.
        places_B: which of them these are.
    """

    seed: tuple[int, int]
    whole: int
    places_B: IntArray

    def draw(self, purpose: int, columns: int) -> NDArray[np.float64]:
        """Uniform numbers in [0, 1), (B, columns)."""
        random = np.random.default_rng((self.seed[0], purpose, self.seed[1]))
        return random.random((self.whole, columns))[self.places_B]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Captions that a re-ranker scored for Q pictures of a batch: K of each, the right one first.

    Attributes:
        picture_Q: the rows in the batch of these pictures.
        tokens_CT, mask_CT: the captions of the first picture, then of the second, and so on; C is Q·K.
        scores_QK: what the re-ranker said, float32.
    """

    picture_Q: IntArray
    tokens_CT: IntArray
    mask_CT: IntArray
    scores_QK: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """B pictures and T texts.

    Attributes:
        pixels_BCHW: uint8, the whole packed pictures.
        boxes_B4: the crop of each, as shares of the frame: left, top, right, bottom.
        mirror_B: whether the crop is to be mirrored.
        tokens_TT, mask_TT: the texts, padded to the longest.
        picture_B: a number for each picture; a picture that is in the batch twice has it twice.
        picture_of_text_T: the row in this batch of the picture that each text describes; -1 for a hard
            negative, which describes none.
        wording_T: equal numbers for equal wordings.
        features_BD: what a locked tower sees where `taught_B` is true, zeros elsewhere; D is 0 without one.
        taught_B: whether a picture's crop is one of the stored views.
        lessons: of each dual encoder that teaches, its embeddings of the pictures' crops (B, D) and of the
            texts (T, D); zeros where a picture is not taught, and for hard negatives.
        masked_TT: the texts with words masked, to be told from their context; None where nobody asks.
        chosen_TT: which words those are; no words of hard negatives.
        chances: for what else is random about a picture.
        asked: what a re-ranker teaches; None where none does.
    """

    pixels_BCHW: NDArray[np.uint8]
    boxes_B4: FloatArray
    mirror_B: NDArray[np.bool_]
    tokens_TT: IntArray
    mask_TT: IntArray
    picture_B: IntArray
    picture_of_text_T: IntArray
    wording_T: IntArray
    features_BD: FloatArray
    taught_B: NDArray[np.bool_]
    chances: Chances
    lessons: tuple[tuple[FloatArray, FloatArray], ...] = ()
    masked_TT: IntArray | None = None
    chosen_TT: NDArray[np.bool_] | None = None
    asked: Asked | None = None
