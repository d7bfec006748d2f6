"""Scores of a source's images and captions by a re-ranker, stored once beside its pack, used every epoch.

For each image the re-ranker's own dual encoder finds candidates: the captions of other images that are most
similar. Its fusion head scores these and the image's own captions on every view, and the best scored ones
become hard negatives (Dynamic Contrastive Distillation, arXiv 2207.01426, chooses its negatives so).
N images, V views, C captions, M candidates.
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
from hivlp.train.batches.targets import StoredEmbeddings, StoredScores
from hivlp.train.resumable_array import resumable_array
from hivlp.train.teachers.features import crop_of, images_of
from hivlp.types import FloatArray, Progress

CANDIDATES = 4  # captions that are scored for each hard negative that is kept
_AT_ONCE = 256  # images that are compared with all captions at a time


@dataclass(frozen=True, slots=True)
class RerankerTeacher:
    """A re-ranker: its fusion head, and the dual encoder that prepares images and finds candidates."""

    encoder: Encoder
    scorer: FusionScorer
    settings: RerankerDistillation

    @classmethod
    def of(cls, settings: RerankerDistillation) -> RerankerTeacher | None:
        """The re-ranker of the settings, or None. Raises ModelError for a model without a fusion head."""
        if settings.model is None or not settings.weight:
            return None
        scorer = open_scorer(settings.model)
        assert isinstance(scorer, FusionScorer)
        return cls(load(settings.model), scorer, settings)


def stored_scores(
    source: Source,
    pack: Pack,
    reranker: RerankerTeacher,
    embeddings: StoredEmbeddings,
    boxes_NV4: NDArray[np.float32],
    *,
    key: str,
    progress: Progress = lambda *_: None,
) -> StoredScores:
    """The scores of a pack, read from disk or computed now; an interrupted call is resumed.

    Args:
        embeddings: of whole images and of captions, by the re-ranker's dual encoder.
        boxes_NV4: the crops of each image, as shares of its sides.
        key: a name of the boxes, for the file.

    Raises:
        DataError: there are too few captions of other images for an image.
    """
    settings, captions = reranker.settings, [caption for of_one in pack.captions for caption in of_one]
    size = min(CANDIDATES * settings.negatives, _wrong_captions(pack))
    if size < settings.negatives:
        raise DataError(
            f"{source.name} has an image with only {size} differently worded captions of others, less than "
            f"objective.reranker.negatives={settings.negatives}; lower it, or set views=0 for this source"
        )
    name = pack.folder / f"ranked-{digest([reranker.encoder.fingerprint, size])}"
    pool_NM = resumable_array(
        name.with_name(f"{name.name}-pool"),
        (len(pack), size),
        _similar(pack, embeddings, size),
        dtype=np.int32,
    )
    most = max(map(len, pack.captions))

    def rows_from(done: int) -> Iterator[tuple[int, FloatArray]]:
        for row, image in images_of(source, pack, skip=done):
            own = pack.captions[row]
            pixels = [reranker.encoder.load_picture(crop_of(image, box_4)).pixels for box_4 in boxes_NV4[row]]
            table_VT = reranker.scorer.table(
                [*own, *(captions[number] for number in pool_NM[row])], np.stack(pixels)
            )
            # every image has as many columns for its own captions as the image with the most
            yield row, np.insert(table_VT, [len(own)] * (most - len(own)), 0, axis=1)[None]

    scores_NVT = resumable_array(
        name.with_name(f"{name.name}-{key}-scores"),
        (len(pack), boxes_NV4.shape[1], most + size),
        rows_from,
        lambda done: progress(
            f"{reranker.encoder.name} scored captions of {done:,} of {len(pack):,} images of {source.name}"
        ),
    )
    return _chosen(scores_NVT[..., :most], scores_NVT[..., most:], pool_NM, captions, settings.negatives)


def _chosen(
    own_NVP: NDArray[np.float16],
    pool_NVM: NDArray[np.float16],
    pool_NM: NDArray[np.int32],
    captions: list[str],
    negatives: int,
) -> StoredScores:
    """The best scored candidates of each image, by the mean over its views."""
    mean_NM = pool_NVM.mean(axis=1, dtype=np.float32)
    keep_NK = hardest(torch.from_numpy(mean_NM), keep=negatives).numpy()
    return StoredScores(
        own_NVP=own_NVP,
        wrong_NVK=np.take_along_axis(pool_NVM, keep_NK[:, None, :], axis=2),
        wrong_NK=np.take_along_axis(pool_NM, keep_NK, axis=1),
        captions=captions,
    )


def _wrong_captions(pack: Pack) -> int:
    """Captions that are worded unlike all of an image's own; the smallest number over all images."""
    words = Counter(caption.lower() for of_one in pack.captions for caption in of_one)
    own = (sum(words[text] for text in {caption.lower() for caption in of_one}) for of_one in pack.captions)
    return words.total() - max(own)


def _similar(
    pack: Pack, embeddings: StoredEmbeddings, size: int
) -> Callable[[int], Iterator[tuple[int, NDArray[np.integer]]]]:
    """A generator of the numbers (n, M) of the captions of others most similar to each image, best first."""
    worded: dict[str, list[int]] = {}
    for number, caption in enumerate(text for of_one in pack.captions for text in of_one):
        worded.setdefault(caption.lower(), []).append(number)

    def rows_from(done: int) -> Iterator[tuple[int, NDArray[np.integer]]]:
        captions_DC = embeddings.captions_CD.astype(np.float32).T
        for start in range(done, len(pack), _AT_ONCE):
            scores_BC = embeddings.images_NVD[start : start + _AT_ONCE, 0].astype(np.float32) @ captions_DC
            for row, scores_C in enumerate(scores_BC, start=start):
                for caption in pack.captions[row]:
                    scores_C[worded[caption.lower()]] = -np.inf
            best_BM = np.argpartition(-scores_BC, size - 1, axis=1)[:, :size]
            order_BM = np.argsort(-np.take_along_axis(scores_BC, best_BM, axis=1), axis=1, kind="stable")
            yield start, np.take_along_axis(best_BM, order_BM, axis=1)

    return rows_from
