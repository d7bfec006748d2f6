"""What teachers say of a source's pictures and captions, stored once beside its pack and used every epoch.

After MobileCLIP (arXiv 2311.17049): the boxes of the crops follow from the seed, and beside the pack lie, as
float16, each dual encoder's embeddings of these crops and of all captions. The teachers run once.
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
from hivlp.train.batches.targets import Lesson
from hivlp.train.resumable_array import resumable_array
from hivlp.train.teachers.features import Onlooker, Reinforced, crop_of, pictures, reinforce, view_boxes
from hivlp.train.teachers.scores import Judge, ranked
from hivlp.types import Progress

WHOLE_4 = np.array([0, 0, 1, 1], np.float32)  # the box of a whole frame
_AT_ONCE = 32  # crops, or captions, that a teacher is given at a time


def taught(
    source: Source,
    pack: Pack,
    settings: SourceConfig,
    config: TrainConfig,
    encoders: Sequence[Encoder],
    judge: Judge | None = None,
    *,
    locked: Onlooker | None = None,
    progress: Progress = lambda *_: None,
) -> Reinforced | None:
    """The views of a pack with what a tower and all teachers say of them; None where there are none."""
    if not settings.views:
        return None
    seen = _viewed(source, pack, settings, config, locked, progress)
    given = digest([settings.views, config.augmentation.min_area, config.seed])
    lessons = [
        lesson(source, pack, encoder, seen.boxes_NV4, key=given, progress=progress) for encoder in encoders
    ]
    seen = replace(seen, lessons=tuple(lessons))
    if judge is None or not any(pack.captions):
        return seen
    frames_N14 = WHOLE_4.reshape(1, 1, 4).repeat(len(pack), axis=0)
    whole = lesson(source, pack, judge.encoder, frames_N14, key="whole", progress=progress)
    judged = ranked(source, pack, judge, whole, seen.boxes_NV4, key=given, progress=progress)
    return replace(seen, ranked=judged)


def _viewed(
    source: Source,
    pack: Pack,
    settings: SourceConfig,
    config: TrainConfig,
    locked: Onlooker | None,
    progress: Progress,
) -> Reinforced:
    """The views of a pack, with the features of a locked tower where there is one."""
    views, min_area, seed = settings.views, config.augmentation.min_area, config.seed
    if locked is None:
        boxes_NV4 = view_boxes(len(pack), views=views, min_area=min_area, seed=seed)
        return Reinforced(boxes_NV4, np.zeros((len(pack), views, 0), np.float16))
    return reinforce(source, pack, locked, views=views, min_area=min_area, seed=seed, progress=progress)


def lesson(
    source: Source,
    pack: Pack,
    encoder: Encoder,
    boxes_NV4: NDArray[np.float32],
    *,
    key: str,
    progress: Progress = lambda *_: None,
) -> Lesson:
    """What a dual encoder says of a pack, at its widest level; it goes on where it was stopped.

    It sees crops of the original pictures, not of the pack's small ones.

    Args:
        boxes_NV4: the crops of each picture, as shares of the frame.
        key: names the boxes.
    """
    width, name = encoder.widths[-1], f"lesson-{digest(encoder.fingerprint)}"
    views = boxes_NV4.shape[1]

    def pictures_from(done: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
        waiting: list[tuple[int, Image.Image]] = []
        for row, image in pictures(source, pack, skip=done):
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

    return Lesson(
        pictures_NVD=resumable_array(
            pack.folder / f"{name}-{key}-pictures",
            (len(pack), views, width),
            pictures_from,
            lambda done: progress(f"{encoder.name} saw {done:,} of {len(pack):,} pictures of {source.name}"),
        ),
        captions_CD=resumable_array(
            pack.folder / f"{name}-captions",
            (len(captions), width),
            captions_from,
            lambda done: progress(f"{encoder.name} read {done:,} of {len(captions):,} captions"),
        ),
    )


def _encoded(
    encoder: Encoder, waiting: Sequence[tuple[int, Image.Image]], boxes_NV4: NDArray[np.float32]
) -> tuple[int, NDArray[np.float32]]:
    """The embeddings (n, V, D) of the views of n pictures that follow each other, and the first one's row."""
    crops = [crop_of(image, box_4) for row, image in waiting for box_4 in boxes_NV4[row]]
    return waiting[0][0], encoder.encode_images(crops).fine.reshape(len(waiting), boxes_NV4.shape[1], -1)
