"""Training batches from several packs, each a pure function of the step: the same step, the same batch.

That makes a run resumable at any step and independent of how far ahead batches are prepared. Every source has
its share of each batch and its own endless sequence of shuffled epochs. Numpy only; models and losses come
later.
"""

from __future__ import annotations

import re
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hivlp.config import Augmentation
from hivlp.data.pack import Pack
from hivlp.data.tokenizer import Tokenizer
from hivlp.errors import ConfigError
from hivlp.types import FloatArray, IntArray

# a mirrored picture makes these captions wrong
SIDES = re.compile(r"\b(left|right|leftmost|rightmost)\b", re.IGNORECASE)
LARGEST_PACK = 1 << 40  # keeps the numbers of different packs' pictures apart
SPECIAL_TOKENS = 5  # the first numbers of our vocabularies; never dropped


class Views(Protocol):
    """Stored views of a pack's pictures with features of each, as `train.reinforce` makes them."""

    @property
    def boxes_NV4(self) -> FloatArray: ...  # noqa: N802

    @property
    def features_NVD(self) -> NDArray[np.float16]: ...  # noqa: N802


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One source of a mixture.

    Attributes:
        share: its weight in every batch, against the others.
        views: crops with a teacher's features; None gives random crops and no features.
        crop: whether pictures may be cropped at all; drawn scenes must stay whole for their captions to stay
            true.
    """

    pack: Pack
    share: float = 1.0
    views: Views | None = None
    crop: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """B pictures and T texts.

    Attributes:
        pixels_BCHW: uint8, the whole packed pictures.
        boxes_B4: the crop of each, as shares of the frame: left, top, right, bottom.
        mirror_B: whether the crop is to be mirrored.
        tokens_TT, mask_TT: the texts, padded to the longest.
        picture_B: a number for each picture; a picture that is in the batch twice has it twice.
        picture_of_text_T: the row in this batch of the picture that each text describes.
        wording_T: equal numbers for equal wordings.
        features_BD: the teacher's features where `taught_B` is true, zeros elsewhere; D is 0 without a
            teacher.
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


class Mixture:
    """Batches of a fixed make-up from several parts."""

    def __init__(
        self,
        parts: Sequence[Part],
        tokenizer: Tokenizer,
        *,
        batch_size: int,
        augmentation: Augmentation,
        seed: int,
    ) -> None:
        if batch_size < len(parts):
            raise ConfigError(
                f"batch_size {batch_size} is smaller than the number of sources, {len(parts)}; raise it"
            )
        self._parts = list(parts)
        self._tokenizer = tokenizer
        self._augmentation = augmentation
        self._seed = seed
        self.counts = apportion([part.share for part in parts], batch_size)
        self._orders: OrderedDict[tuple[int, int], IntArray] = OrderedDict()
        self._width = max((part.views.features_NVD.shape[2] for part in parts if part.views), default=0)

    def rows(self, part: int, step: int) -> IntArray:
        """The rows of one part's pack in the batch of this step."""
        size, count = len(self._parts[part].pack), self.counts[part]
        places = np.arange(step * count, (step + 1) * count)
        orders = {int(epoch): self._order(part, int(epoch)) for epoch in np.unique(places // size)}
        return np.array([orders[int(place // size)][place % size] for place in places], dtype=np.int64)

    def _order(self, part: int, epoch: int) -> IntArray:
        key = (part, epoch)
        order = self._orders.get(key)
        if order is None:
            random = np.random.default_rng((self._seed, 1, part, epoch))
            order = random.permutation(len(self._parts[part].pack)).astype(np.int64)
            self._orders[key] = order
            while len(self._orders) > 4 * len(self._parts):
                self._orders.popitem(last=False)
        return order

    def batch(self, step: int) -> Batch:
        """The batch of this step."""
        random = np.random.default_rng((self._seed, 2, step))
        slices = [self._slice(number, step, random) for number in range(len(self._parts))]
        captions = [caption for piece in slices for caption in piece.captions]
        picture_of_text_T = np.array([row for row, caption in enumerate(captions) if caption], dtype=np.int64)
        texts = [caption for caption in captions if caption]
        tokens_TT, mask_TT = self._tokenizer.encode(texts) if texts else (np.zeros((0, 1), np.int64),) * 2
        return Batch(
            pixels_BCHW=np.concatenate([piece.pixels for piece in slices]),
            boxes_B4=np.concatenate([piece.boxes for piece in slices]),
            mirror_B=np.concatenate([piece.mirror for piece in slices]),
            tokens_TT=self._drop_words(tokens_TT, mask_TT, random),
            mask_TT=mask_TT,
            picture_B=np.concatenate([piece.numbers for piece in slices]),
            picture_of_text_T=picture_of_text_T,
            wording_T=np.array([zlib.crc32(text.lower().encode()) for text in texts], dtype=np.int64),
            features_BD=np.concatenate([piece.features for piece in slices]),
            taught_B=np.concatenate([piece.taught for piece in slices]),
        )

    def _slice(self, number: int, step: int, random: np.random.Generator) -> _Slice:
        part, rows = self._parts[number], self.rows(number, step)
        captions = [_choose(part.pack.captions[row], random) for row in rows]
        mirror = random.random(len(rows)) < (0.5 if self._augmentation.mirror and part.crop else 0.0)
        for place, row in enumerate(rows):
            if mirror[place] and any(SIDES.search(caption) for caption in part.pack.captions[row]):
                mirror[place] = False
        features = np.zeros((len(rows), self._width), dtype=np.float32)
        if part.views is not None:
            view = random.integers(part.views.boxes_NV4.shape[1], size=len(rows))
            boxes = part.views.boxes_NV4[rows, view]
            features[:] = part.views.features_NVD[rows, view]
        else:
            boxes = _boxes(len(rows), self._augmentation.min_area if part.crop else 1.0, random)
        return _Slice(
            pixels=part.pack.pixels_NCHW[rows],
            numbers=rows + number * LARGEST_PACK,
            captions=captions,
            boxes=boxes.astype(np.float32),
            mirror=mirror,
            features=features,
            taught=np.full(len(rows), part.views is not None),
        )

    def _drop_words(self, tokens_TT: IntArray, mask_TT: IntArray, random: np.random.Generator) -> IntArray:
        if not self._augmentation.word_dropout or not tokens_TT.size:
            return tokens_TT
        drop = random.random(tokens_TT.shape) < self._augmentation.word_dropout
        return np.where(
            drop & (mask_TT == 1) & (tokens_TT >= SPECIAL_TOKENS), self._tokenizer.mask_id, tokens_TT
        )

    def batches(self, start: int, stop: int, *, ahead: int = 3) -> Iterator[Batch]:
        """The batches of the steps from `start` to `stop`, made by a thread a little ahead of the reader."""
        with ThreadPoolExecutor(1) as pool:
            waiting = [pool.submit(self.batch, step) for step in range(start, min(start + ahead, stop))]
            for step in range(start, stop):
                current = waiting.pop(0)
                if step + ahead < stop:
                    waiting.append(pool.submit(self.batch, step + ahead))
                yield current.result()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slice:
    """What one part gives to a batch."""

    pixels: NDArray[np.uint8]
    numbers: IntArray
    captions: list[str]
    boxes: FloatArray
    mirror: NDArray[np.bool_]
    features: FloatArray
    taught: NDArray[np.bool_]


def apportion(shares: Sequence[float], total: int) -> list[int]:
    """Whole numbers that add up to `total`, by largest remainder of the shares, each at least 1."""
    exact = np.array(shares, dtype=np.float64) / sum(shares) * total
    counts = np.maximum(np.floor(exact).astype(int), 1)
    while counts.sum() < total:
        counts[np.argmax(exact - counts)] += 1
    while counts.sum() > total:
        counts[np.argmax(np.where(counts > 1, counts - exact, -np.inf))] -= 1
    return [int(count) for count in counts]


def _choose(captions: Sequence[str], random: np.random.Generator) -> str:
    return captions[int(random.integers(len(captions)))] if captions else ""


def _boxes(count: int, min_area: float, random: np.random.Generator) -> FloatArray:
    """Random square crops in shares of the frame (count, 4)."""
    side = np.sqrt(random.uniform(min_area, 1.0, count))
    left, top = random.uniform(0, 1, (2, count)) * (1 - side)
    return np.stack([left, top, left + side, top + side], axis=1).astype(np.float32)
