"""Embeddings of a source's images and captions by teachers, stored once beside its pack and used every epoch.

After MobileCLIP (arXiv 2311.17049): the boxes of the crops follow from the seed, and beside the pack lie, as
float16, each teacher's embeddings of these crops and of all captions. Teachers run only once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hivlp.config import SourceConfig, TrainConfig
from hivlp.data.sources import Source
from hivlp.encode import Encoder
from hivlp.train.batches.pack import Pack, digest
from hivlp.train.batches.targets import StoredEmbeddings, StoredViews
from hivlp.train.resumable_array import resumable_array
from hivlp.train.teachers.features import FeatureTower, crop_of, images_of, view_boxes, views_with_features
from hivlp.train.teachers.scores import RerankerTeacher, stored_scores
from hivlp.types import Progress

WHOLE_4 = np.array([0, 0, 1, 1], np.float32)  # the box of a whole image
_AT_ONCE = 32  # crops, or captions, that a teacher encodes at a time


def stored_views(
    source: Source,
    pack: Pack,
    settings: SourceConfig,
    config: TrainConfig,
    encoders: Sequence[Encoder],
    reranker: RerankerTeacher | None = None,
    *,
    locked: FeatureTower | None = None,
    progress: Progress = lambda *_: None,
) -> StoredViews | None:
    """The views of a pack with the outputs of a locked tower and of all teachers; None without views."""
    if not settings.views:
        return None
    views = _views(source, pack, settings, config, locked, progress)
    key = digest([settings.views, config.augmentation.min_area, config.seed])
    embeddings = [
        stored_embeddings(source, pack, encoder, views.boxes_NV4, key=key, progress=progress)
        for encoder in encoders
    ]
    views = replace(views, embeddings=tuple(embeddings))
    if reranker is None or not any(pack.captions):
        return views
    frames_N14 = WHOLE_4.reshape(1, 1, 4).repeat(len(pack), axis=0)
    whole = stored_embeddings(source, pack, reranker.encoder, frames_N14, key="whole", progress=progress)
    scores = stored_scores(source, pack, reranker, whole, views.boxes_NV4, key=key, progress=progress)
    return replace(views, scores=scores)


def _views(
    source: Source,
    pack: Pack,
    settings: SourceConfig,
    config: TrainConfig,
    locked: FeatureTower | None,
    progress: Progress,
) -> StoredViews:
    """The views of a pack, with the features of a locked tower if there is one."""
    views, min_area, seed = settings.views, config.augmentation.min_area, config.seed
    if locked is None:
        boxes_NV4 = view_boxes(len(pack), views=views, min_area=min_area, seed=seed)
        return StoredViews(boxes_NV4, np.zeros((len(pack), views, 0), np.float16))
    return views_with_features(
        source, pack, locked, views=views, min_area=min_area, seed=seed, progress=progress
    )


def stored_embeddings(
    source: Source,
    pack: Pack,
    encoder: Encoder,
    boxes_NV4: NDArray[np.float32],
    *,
    key: str,
    progress: Progress = lambda *_: None,
) -> StoredEmbeddings:
    """Embeddings of a pack by a dual encoder, at its widest level; an interrupted call is resumed.

    The encoder gets crops of the original images, not of the small ones in the pack.

    Args:
        boxes_NV4: the crops of each image, as shares of its sides.
        key: a name of the boxes, for the file.
    """
    width, name = encoder.widths[-1], f"lesson-{digest(encoder.fingerprint)}"
    views = boxes_NV4.shape[1]

    def images_from(done: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
        waiting: list[tuple[int, Image.Image]] = []
        for row, image in images_of(source, pack, skip=done):
            if waiting and (len(waiting) * views >= _AT_ONCE or row != waiting[-1][0] + 1):
                yield _encoded(encoder, waiting, boxes_NV4)
                waiting = []
            waiting.append((row, image))
        if waiting:
            yield _encoded(encoder, waiting, boxes_NV4)

    captions = [caption for of_one in pack.captions for caption in of_one]

    def captions_from(done: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
        for first in range(done, len(captions), _AT_ONCE):
            yield first, encoder.encode_texts(captions[first : first + _AT_ONCE]).fine

    return StoredEmbeddings(
        images_NVD=resumable_array(
            pack.folder / f"{name}-{key}-pictures",
            (len(pack), views, width),
            images_from,
            lambda done: progress(
                f"{encoder.name} encoded {done:,} of {len(pack):,} images of {source.name}"
            ),
        ),
        captions_CD=resumable_array(
            pack.folder / f"{name}-captions",
            (len(captions), width),
            captions_from,
            lambda done: progress(f"{encoder.name} encoded {done:,} of {len(captions):,} captions"),
        ),
    )


def _encoded(
    encoder: Encoder, waiting: Sequence[tuple[int, Image.Image]], boxes_NV4: NDArray[np.float32]
) -> tuple[int, NDArray[np.float32]]:
    """The row of the first of n successive images, and the embeddings (n, V, D) of their views."""
    crops = [crop_of(image, box_4) for row, image in waiting for box_4 in boxes_NV4[row]]
    return waiting[0][0], encoder.encode_images(crops).fine.reshape(len(waiting), boxes_NV4.shape[1], -1)
