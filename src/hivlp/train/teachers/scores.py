"""What a re-ranker says of a source's pictures and captions, stored once beside its pack, used every epoch.

For each picture the re-ranker's own dual encoder finds the wrong captions that look most right, its fusion
head scores these and the right ones on every view, and those that it likes best are kept (Dynamic Contrastive
Distillation, arXiv 2207.01426, chooses its negatives so). N pictures, V views, C captions, M of the pool.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from hivlp.config import RerankerDistillation
from hivlp.data.sources import Source
from hivlp.encode import Encoder, load
from hivlp.encode.scorer import FusionScorer
from hivlp.errors import DataError
from hivlp.objectives.dynamic import hardest
from hivlp.search.rerank import open_scorer
from hivlp.train.batches.pack import Pack, digest
from hivlp.train.batches.targets import Lesson, Ranked
from hivlp.train.resumable_array import resumable_array
from hivlp.train.teachers.features import crop_of, pictures
from hivlp.types import FloatArray

Progress = Callable[[str], None]
CANDIDATES = 4  # captions that are scored for each hard negative that is kept
_AT_ONCE = 256  # pictures that are compared with all captions at a time


@dataclass(frozen=True, slots=True)
class Judge:
    """A re-ranker: its fusion head, and the dual encoder that prepares its pictures and finds candidates."""

    encoder: Encoder
    scorer: FusionScorer
    settings: RerankerDistillation

    @classmethod
    def of(cls, settings: RerankerDistillation) -> Judge | None:
        """The re-ranker that settings name, if they do. Raises ModelError where it has no fusion head."""
        if settings.model is None or not settings.weight:
            return None
        scorer = open_scorer(settings.model)
        assert isinstance(scorer, FusionScorer)
        return cls(load(settings.model), scorer, settings)


def ranked(
    source: Source,
    pack: Pack,
    judge: Judge,
    lesson: Lesson,
    boxes_NV4: NDArray[np.float32],
    *,
    key: str,
    progress: Progress = lambda line: None,
) -> Ranked:
    """The scores of a pack, found on the disk or computed now; it goes on where it was stopped.

    Args:
        lesson: what the judge's dual encoder says of whole pictures and of captions.
        boxes_NV4: the crops of each picture, as shares of the frame.
        key: names the boxes.

    Raises:
        DataError: a picture has fewer wrong captions than the settings want.
    """
    settings, captions = judge.settings, [caption for of_one in pack.captions for caption in of_one]
    size = min(CANDIDATES * settings.negatives, _wrong_captions(pack))
    if size < settings.negatives:
        raise DataError(
            f"{source.name} has a picture with only {size} captions of others that are worded differently, "
            f"less than objective.reranker.negatives={settings.negatives}; lower it, or give this source no "
            "views"
        )
    name = pack.folder / f"ranked-{digest([judge.encoder.fingerprint, size])}"
    pool_NM = resumable_array(
        name.with_name(f"{name.name}-pool"), (len(pack), size), _similar(pack, lesson, size), dtype=np.int32
    )
    most = max(map(len, pack.captions))

    def rows_from(done: int) -> Iterator[tuple[int, FloatArray]]:
        for row, image in pictures(source, pack, skip=done):
            own = pack.captions[row]
            pixels = [judge.encoder.load_picture(crop_of(image, box_4)).pixels for box_4 in boxes_NV4[row]]
            table_VT = judge.scorer.table(
                [*own, *(captions[number] for number in pool_NM[row])], np.stack(pixels)
            )
            # every picture has as many columns for captions of its own as the one with most
            yield row, np.insert(table_VT, [len(own)] * (most - len(own)), 0, axis=1)[None]

    scores_NVT = resumable_array(
        name.with_name(f"{name.name}-{key}-scores"),
        (len(pack), boxes_NV4.shape[1], most + size),
        rows_from,
        lambda done: progress(
            f"{judge.encoder.name} scored captions of {done:,} of {len(pack):,} pictures of {source.name}"
        ),
    )
    return _chosen(scores_NVT[..., :most], scores_NVT[..., most:], pool_NM, captions, settings.negatives)


def _chosen(
    own_NVP: NDArray[np.float16],
    pool_NVM: NDArray[np.float16],
    pool_NM: NDArray[np.int32],
    captions: list[str],
    negatives: int,
) -> Ranked:
    """Of each pool the captions that the re-ranker likes best, by the mean over a picture's views."""
    mean_NM = pool_NVM.mean(axis=1, dtype=np.float32)
    keep_NK = hardest(torch.from_numpy(mean_NM), keep=negatives).numpy()
    return Ranked(
        own_NVP=own_NVP,
        wrong_NVK=np.take_along_axis(pool_NVM, keep_NK[:, None, :], axis=2),
        wrong_NK=np.take_along_axis(pool_NM, keep_NK, axis=1),
        captions=captions,
    )


def _wrong_captions(pack: Pack) -> int:
    """How many captions are worded unlike all of a picture's own: the least of all pictures."""
    words = Counter(caption.lower() for of_one in pack.captions for caption in of_one)
    own = (sum(words[text] for text in {caption.lower() for caption in of_one}) for of_one in pack.captions)
    return words.total() - max(own)


def _similar(
    pack: Pack, lesson: Lesson, size: int
) -> Callable[[int], Iterator[tuple[int, NDArray[np.integer]]]]:
    """Gives the numbers (n, M) of the wrong captions most similar to each picture, best first."""
    worded: dict[str, list[int]] = {}
    for number, caption in enumerate(text for of_one in pack.captions for text in of_one):
        worded.setdefault(caption.lower(), []).append(number)

    def rows_from(done: int) -> Iterator[tuple[int, NDArray[np.integer]]]:
        captions_DC = lesson.captions_CD.astype(np.float32).T
        for start in range(done, len(pack), _AT_ONCE):
            scores_BC = lesson.pictures_NVD[start : start + _AT_ONCE, 0].astype(np.float32) @ captions_DC
            for row, scores_C in enumerate(scores_BC, start=start):
                for caption in pack.captions[row]:
                    scores_C[worded[caption.lower()]] = -np.inf
            best_BM = np.argpartition(-scores_BC, size - 1, axis=1)[:, :size]
            order_BM = np.argsort(-np.take_along_axis(scores_BC, best_BM, axis=1), axis=1, kind="stable")
            yield start, np.take_along_axis(best_BM, order_BM, axis=1)

    return rows_from
