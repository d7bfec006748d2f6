"""Features of some views of every packed image by a locked tower, stored once and used every epoch.

After MobileCLIP (arXiv 2311.17049): the parameters of each crop are known beside its features, so that a crop
in a batch always comes with its own features, and the tower runs only once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hivlp.config import Preprocessing
from hivlp.data.images import decode, framed, to_pixels
from hivlp.errors import ImageError
from hivlp.train.batches.pack import Pack, digest
from hivlp.train.batches.targets import StoredViews
from hivlp.train.resumable_array import resumable_array
from hivlp.types import Progress

if TYPE_CHECKING:
    from hivlp.data.sources import Source


_BLOCK = 32


class FeatureTower(Protocol):
    """Anything that turns pixels into features, such as a locked tower."""

    size: int
    width: int
    key: str
    """Identifies the tower and its weights, for the name of the file."""

    def features(self, pixels_VCHW: NDArray[np.uint8]) -> NDArray[np.float16]:
        """Features (V, width) of views of size×size."""
        ...


def view_boxes(count: int, *, views: int, min_area: float, seed: int) -> NDArray[np.float32]:
    """Random crops (count, views, 4): areas of `min_area` to 1, sides 3:4 to 4:3; the first is the whole."""
    random = np.random.default_rng(seed)
    area = random.uniform(min_area, 1.0, (count, views))
    ratio = np.exp(random.uniform(np.log(3 / 4), np.log(4 / 3), (count, views)))
    width = np.minimum(np.sqrt(area * ratio), 1.0)
    height = np.minimum(np.sqrt(area / ratio), 1.0)
    left = random.uniform(0, 1, (count, views)) * (1 - width)
    top = random.uniform(0, 1, (count, views)) * (1 - height)
    boxes = np.stack([left, top, left + width, top + height], axis=-1).astype(np.float32)
    boxes[:, 0] = (0, 0, 1, 1)
    return boxes


def views_with_features(
    source: Source,
    pack: Pack,
    tower: FeatureTower,
    *,
    views: int,
    min_area: float,
    seed: int = 0,
    progress: Progress = lambda *_: None,
) -> StoredViews:
    """Views of a pack with their features, stored beside it; an interrupted call is resumed.

    The tower gets crops of the original images, not of the small ones in the pack; but whole images that the
    pack has at the tower's size are read from there.
    """
    # the name of older versions, whose runs can be resumed
    stem = pack.folder / f"teacher-{digest([tower.key, tower.width, views, min_area, seed])}"
    boxes_NV4 = view_boxes(len(pack), views=views, min_area=min_area, seed=seed)

    def rows_from(done: int) -> Iterator[tuple[int, NDArray[np.float16]]]:
        if views == 1 and (pack.preprocessing.fit, pack.preprocessing.size) == ("squeeze", tower.size):
            for row in range(done, len(pack), _BLOCK):
                yield row, tower.features(np.asarray(pack.pixels_NCHW[row : row + _BLOCK]))[:, None]
            return
        for row, image in images_of(source, pack, skip=done):
            crops = [pixels_of(crop_of(image, box_4), tower.size) for box_4 in boxes_NV4[row]]
            yield row, tower.features(np.stack(crops))[None]

    features_NVD = resumable_array(
        stem,
        (len(pack), views, tower.width),
        rows_from,
        lambda done: progress(f"the locked tower encoded {done:,} of {len(pack):,} images of {source.name}"),
    )
    return StoredViews(boxes_NV4=boxes_NV4, features_NVD=features_NVD)


def images_of(source: Source, pack: Pack, *, skip: int) -> Iterator[tuple[int, Image.Image]]:
    """The images of a pack at full size with their rows, from row `skip` on, framed as in the pack."""
    rows = {identity: row for row, identity in enumerate(pack.ids)}
    for sample in source:
        row = rows.get(sample.id, -1)
        if row < skip:
            continue
        try:
            yield row, framed(decode(sample.read()), pack.preprocessing)
        except (ImageError, OSError):  # pragma: no cover - it was readable when the pack was made
            continue


def crop_of(image: Image.Image, box_4: NDArray[np.float32]) -> Image.Image:
    """The part of an image in a box, at least one pixel."""
    width, height = image.size
    left, top, right, bottom = (
        round(float(edge) * side) for edge, side in zip(box_4, (width, height) * 2, strict=True)
    )
    return image.crop((left, top, max(right, left + 1), max(bottom, top + 1)))


def pixels_of(crop: Image.Image, size: int) -> NDArray[np.uint8]:
    """A crop as the input of a tower, uint8 (3, size, size)."""
    return to_pixels(crop, Preprocessing(size=size, fit="squeeze", interpolation="bicubic"))
