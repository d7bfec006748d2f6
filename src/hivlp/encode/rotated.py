"""Narrow levels for a model that has one width, without training: by the principal directions of an index.

The model's own vector stays unchanged. The levels below it are its first numbers after a rotation, which is
fitted to the first items of an index and stored in the index folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from hivlp.encode.base import Encoder, device_of
from hivlp.encode.heads import Head, Heads, HeadsEncoder
from hivlp.encode.stream import EncodedBatch
from hivlp.errors import IndexFolderError
from hivlp.index.rotation import Rotation
from hivlp.types import Embeddings, FloatArray

LEVELS = (32, 64, 128)
# directions of some thousand vectors are those of millions; the wait for the first durable batch stays short
FITTED_ON = 1_000


def with_levels(encoder: Encoder, index: Path) -> Encoder:
    """For a new index: the encoder, with narrow levels if it has a single width that is wide enough."""
    narrow = tuple(width for width in LEVELS if 2 * width <= max(encoder.widths))
    return RotatedEncoder(encoder, index, narrow) if len(encoder.widths) == 1 and narrow else encoder


def as_indexed(encoder: Encoder, index: Path, widths: tuple[int, ...], *, items: int) -> Encoder:
    """For an index that exists: the encoder with the levels of the index, where these come from a rotation.

    Raises:
        IndexFolderError: the index holds items and its rotation is missing.
    """
    if len(encoder.widths) > 1 or len(widths) == 1 or widths[-1] != max(encoder.widths):
        return encoder
    if items and Rotation.read(index) is None:
        raise IndexFolderError(
            f"{index} lacks the rotation that its narrow levels were made with; restore rotation.npz from a "
            "copy, or index again into a new folder"
        )
    return RotatedEncoder(encoder, index, widths[:-1])


class RotatedEncoder(HeadsEncoder):
    """See `encode.base.Encoder`: a base encoder and the rotation of one index.

    The fingerprint is the base's with a mark: the rotation lies in the folder of the index that it belongs
    to, so no other one can be meant.
    """

    def __init__(self, base: Encoder, index: Path, narrow: tuple[int, ...]) -> None:
        self.base, self.name, self.device = base, base.name, device_of(base)
        self.fingerprint = f"{base.fingerprint}-pca"
        self.widths = (*narrow, *base.widths)
        self._index = index
        self._rotation: Rotation | None = None
        self._heads: dict[int, Head] = {}

    @property
    def is_fitted(self) -> bool:
        """Whether the rotation is known; another process may have fitted it in the meantime."""
        if self._rotation is None:
            self._rotation = Rotation.read(self._index)
        return self._rotation is not None

    @property
    def heads(self) -> Heads:
        """By width. While the index has no item there is nothing to compare with, and prefixes will do."""
        fine = self.widths[-1]
        if not self.is_fitted or self._rotation is None:
            return {width: Head.prefix(fine, width, "truncated") for width in self.widths}
        if not self._heads:
            directions_DW = self._rotation.directions_DW
            self._heads = {width: Head.shared(directions_DW[:, :width], "pca") for width in self.widths[:-1]}
            self._heads[fine] = Head.prefix(fine, fine, "kept")
        return self._heads

    def fit(self, fine_ND: FloatArray) -> None:
        """Fits the rotation to vectors of the base and writes it into the index."""
        self._rotation = Rotation.fitted(fine_ND, self.widths[-2])
        self._rotation.write(self._index)


def fitted_first(encoder: Encoder, batches: Iterator[EncodedBatch]) -> Iterator[EncodedBatch]:
    """The batches; where a rotation is to be fitted, the first ones are kept back until it is."""
    if not isinstance(encoder, RotatedEncoder) or encoder.is_fitted:
        yield from batches
        return
    first, count = [], 0
    for batch in batches:
        first.append(batch)
        count += len(batch.samples)
        if count >= FITTED_ON:
            break
    if count:
        encoder.fit(np.concatenate([batch.embeddings.fine for batch in first]))
    heads = encoder.heads
    for batch in first:
        base = Embeddings({encoder.widths[-1]: batch.embeddings.fine})
        levels = {width: head.images(base) for width, head in heads.items()}  # one map for pictures and texts
        yield replace(batch, embeddings=Embeddings(levels))
    yield from batches
