"""What teachers said of a pack, as batches read it: dual encoders' embeddings, and scores of a re-ranker.

It knows no teacher; `train.lessons` and `train.ranked` ask them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hivlp.data.tokenizer import Tokenizer
from hivlp.train.batches.batch import Asked
from hivlp.types import FloatArray, IntArray


class Views(Protocol):
    """Stored views of a pack's pictures with features of each, as `train.reinforce` makes them."""

    @property
    def boxes_NV4(self) -> FloatArray: ...  # noqa: N802

    @property
    def features_NVD(self) -> NDArray[np.float16]: ...  # noqa: N802

    @property
    def lessons(self) -> Sequence[Lesson]: ...

    @property
    def ranked(self) -> Ranked | None: ...


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a dual encoder says of a pack: of its pictures' views, and of its captions in their order."""

    pictures_NVD: NDArray[np.float16]
    captions_CD: NDArray[np.float16]


@dataclass(frozen=True, slots=True)
class Ranked:
    """Scores by a re-ranker, float16, higher is better. N pictures, V views of each.

    Attributes:
        own_NVP: of a picture's own captions, in their order; behind the last of them it means nothing.
        wrong_NVK: of captions that describe other pictures.
        wrong_NK: which those are, counted through all captions of the pack.
        captions: all captions of the pack.
    """

    own_NVP: NDArray[np.float16]
    wrong_NVK: NDArray[np.float16]
    wrong_NK: NDArray[np.int32]
    captions: Sequence[str]

    @property
    def candidates(self) -> int:
        """How many captions a picture is asked about, the right one among them."""
        return 1 + self.wrong_NK.shape[1]

    def question(self, row: int, view: int, *, pick: int, caption: str) -> Question:
        """What a view of a picture is asked: which of these captions is its own, the one numbered `pick`."""
        scores_K = np.concatenate([self.own_NVP[row, view, pick : pick + 1], self.wrong_NVK[row, view]])
        wrong = [self.captions[int(number)] for number in self.wrong_NK[row]]
        return Question((caption, *wrong), scores_K.astype(np.float32))


@dataclass(frozen=True, slots=True)
class Question:
    """The captions that one picture is asked about, the right one first, and their scores."""

    captions: tuple[str, ...]
    scores_K: FloatArray


def asked(questions: Sequence[Question | None], candidates: int, tokenizer: Tokenizer) -> Asked:
    """The questions of a batch's pictures; a picture may have none.

    Args:
        candidates: captions of each question.
    """
    rows = [row for row, question in enumerate(questions) if question is not None]
    posed = [question for question in questions if question is not None]
    texts = [caption for question in posed for caption in question.captions]
    nothing: tuple[IntArray, IntArray] = (np.zeros((0, 1), np.int64), np.zeros((0, 1), np.int64))
    tokens_CT, mask_CT = tokenizer.encode(texts) if texts else nothing
    scores = [question.scores_K for question in posed]
    return Asked(
        picture_Q=np.array(rows, dtype=np.int64),
        tokens_CT=tokens_CT,
        mask_CT=mask_CT,
        scores_QK=np.stack(scores) if scores else np.zeros((0, candidates), np.float32),
    )
