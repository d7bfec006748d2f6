"""The stored outputs of teachers for one pack, as batches read them: views, embeddings and scores.

It knows no teacher; `hivlp.train.teachers` computes and stores these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hivlp.data.tokenizer import Tokenizer
from hivlp.train.batches.batch import RerankerTargets
from hivlp.types import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class StoredEmbeddings:
    """Embeddings by one teacher: of the views of a pack's images, and of its captions in order."""

    images_NVD: NDArray[np.float16]
    captions_CD: NDArray[np.float16]


@dataclass(frozen=True, slots=True)
class StoredScores:
    """Scores by a re-ranker, float16, higher is better. N images, V views of each.

    Attributes:
        own_NVP: scores of an image's own captions, in their order; zeros behind the last of them.
        wrong_NVK: scores of hard negatives.
        wrong_NK: the numbers of these captions among all captions of the pack.
        captions: all captions of the pack.
    """

    own_NVP: NDArray[np.float16]
    wrong_NVK: NDArray[np.float16]
    wrong_NK: NDArray[np.int32]
    captions: Sequence[str]

    @property
    def candidates(self) -> int:
        """Captions per image: the positive and its hard negatives."""
        return 1 + self.wrong_NK.shape[1]

    def of_view(self, row: int, view: int, *, pick: int, caption: str) -> ScoredCaptions:
        """The candidates of one view of an image, with `caption`, its own caption number `pick`, first."""
        scores_K = np.concatenate([self.own_NVP[row, view, pick : pick + 1], self.wrong_NVK[row, view]])
        wrong = [self.captions[int(number)] for number in self.wrong_NK[row]]
        return ScoredCaptions((caption, *wrong), scores_K.astype(np.float32))


@dataclass(frozen=True, slots=True)
class StoredViews:
    """Stored crops of a pack's images, with the outputs of a locked tower and of teachers for them.

    Attributes:
        boxes_NV4: float32, left, top, right, bottom of each view, as shares of the image in [0, 1].
            View 0 is always the whole image.
        features_NVD: float16, memory-mapped; features of a locked tower; D is 0 without one.
        embeddings: of each dual encoder that teaches.
        scores: of a re-ranker that teaches.
    """

    boxes_NV4: FloatArray
    features_NVD: NDArray[np.float16]
    embeddings: tuple[StoredEmbeddings, ...] = ()
    scores: StoredScores | None = None


@dataclass(frozen=True, slots=True)
class ScoredCaptions:
    """The candidate captions of one image, the positive first, and their scores by a re-ranker."""

    captions: tuple[str, ...]
    scores_K: FloatArray


def reranker_targets(
    scored: Sequence[ScoredCaptions | None], candidates: int, tokenizer: Tokenizer
) -> RerankerTargets:
    """The scored captions of a batch as arrays; images without any are left out.

    Args:
        scored: of each image of the batch.
        candidates: captions per image.
    """
    rows = [row for row, one in enumerate(scored) if one is not None]
    present = [one for one in scored if one is not None]
    texts = [caption for one in present for caption in one.captions]
    nothing: tuple[IntArray, IntArray] = (np.zeros((0, 1), np.int64), np.zeros((0, 1), np.int64))
    tokens_CL, mask_CL = tokenizer.encode(texts) if texts else nothing
    scores = [one.scores_K for one in present]
    return RerankerTargets(
        image_Q=np.array(rows, dtype=np.int64),
        tokens_CL=tokens_CL,
        mask_CL=mask_CL,
        scores_QK=np.stack(scores) if scores else np.zeros((0, candidates), np.float32),
    )
