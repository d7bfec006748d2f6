"""Images with captions as arrays: who belongs to whom, the splits, and the captions as tokens.

I images, T captions, L tokens of a caption.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hivlp.data.sources import open_source
from hivlp.data.tokenizer import Tokenizer
from hivlp.errors import DataError
from hivlp.train.batches.mixture import SIDES
from hivlp.types import IntArray, Sample

TRAIN, VAL, TUNE = "train", "val", "tune"
_ONE_IN = 20  # training images that choose the mixture of scores, where the data leave none over for it


@dataclass(frozen=True)
class Corpus:
    """Everything that is known of the images but their features.

    Attributes:
        samples: of the source, in its order.
        split_I: ``train``, ``val``, or ``tune`` for what the data leave over. Nothing is ever tested on.
        captions: all captions, those of an image together.
        image_of_T: the image of each.
        tokens_TL: word pieces, padded.
        mask_TL: 1 where there is one.
    """

    samples: list[Sample]
    split_I: NDArray[np.str_]
    captions: list[str]
    image_of_T: IntArray
    tokenizer: Tokenizer
    tokens_TL: IntArray
    mask_TL: IntArray

    def images(self, split: str) -> IntArray:
        """Rows of the images of a split."""
        return np.flatnonzero(self.split_I == split)

    def texts(self, images_P: IntArray) -> IntArray:
        """Rows of the captions of some images, in the order of the images."""
        texts_IM = self.texts_IM[images_P]
        return texts_IM[texts_IM >= 0]

    @cached_property
    def texts_IM(self) -> IntArray:  # noqa: N802
        """Rows of each image's captions, -1 behind the last."""
        count_I = np.diff(self._first_I)
        place_M = np.arange(count_I.max())
        return np.where(place_M < count_I[:, None], self._first_I[:-1, None] + place_M, -1)

    @cached_property
    def wording_T(self) -> IntArray:  # noqa: N802
        """A number for each different wording."""
        return np.unique(self.captions, return_inverse=True)[1]

    @cached_property
    def sided_I(self) -> NDArray[np.bool_]:  # noqa: N802
        """Images whose mirror image would make a caption wrong."""
        sided_I = np.zeros(len(self.samples), bool)
        for text, image in zip(self.captions, self.image_of_T, strict=True):
            sided_I[image] |= SIDES.search(text) is not None
        return sided_I

    @cached_property
    def fingerprint(self) -> str:
        """Changes with any id, split or caption."""
        parts = [sample.id for sample in self.samples] + self.split_I.tolist() + self.captions
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    @cached_property
    def _first_I(self) -> IntArray:  # noqa: N802
        counts_I = [len(sample.captions) for sample in self.samples]
        return np.concatenate([[0], np.cumsum(counts_I)]).astype(np.int64)


def read(data: str, *, vocabulary: int, max_tokens: int) -> Corpus:
    """The images and captions of a source with the splits train and val; test is never read.

    Raises:
        DataError: a split is missing.
    """
    samples = [sample for sample in open_source(data) if sample.captions and sample.split != "test"]
    split_I = np.array([sample.split if sample.split in (TRAIN, VAL) else TUNE for sample in samples])
    for split in (TRAIN, VAL):
        if not (split_I == split).any():
            raise DataError(
                f"{data} has no captioned pictures of the split {split!r}; the comparison needs a source "
                "with the splits train and val, such as Flickr8k's captions.tsv"
            )
    if not (split_I == TUNE).any():
        split_I[np.flatnonzero(split_I == TRAIN)[::_ONE_IN]] = TUNE
    captions = [caption for sample in samples for caption in sample.captions]
    image_of_T = np.repeat(np.arange(len(samples)), [len(sample.captions) for sample in samples])
    seen = [text for text, row in zip(captions, image_of_T, strict=True) if split_I[row] == TRAIN]
    tokenizer = Tokenizer.train(seen, vocabulary=vocabulary, max_tokens=max_tokens)
    tokens_TL, mask_TL = tokenizer.encode(captions)
    return Corpus(samples, split_I, captions, image_of_T, tokenizer, tokens_TL, mask_TL)
