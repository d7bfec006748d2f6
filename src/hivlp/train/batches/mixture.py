"""Training batches from several packs, each a pure function of the step: the same step, the same batch.

That makes a run resumable at any step, and independent of how many threads prepare batches and how far ahead.
Of several processes each makes its own rows of the same batch. Every source has its share of each batch and
its own endless sequence of shuffled epochs. Numpy only; models and losses come later.
"""

from __future__ import annotations

import re
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hivlp.config import Augmentation
from hivlp.data.tokenizer import Tokenizer
from hivlp.encode.stream import look_ahead
from hivlp.errors import ConfigError
from hivlp.train.batches.batch import BATCH, DROP, EPOCH, MASK, SWAP, Batch, RandomRows, RerankerTargets
from hivlp.train.batches.masking import drop_words, mask_words
from hivlp.train.batches.pack import Pack
from hivlp.train.batches.slices import Slice
from hivlp.train.batches.targets import ScoredCaptions, StoredViews, reranker_targets
from hivlp.types import FloatArray, IntArray

# Mirroring makes captions with these words wrong. They are of many languages, since pretrained models are; a
# word that means something else in another language only leaves an image unmirrored.
SIDES = re.compile(
    r"\b(left|right|leftmost|rightmost|links|rechts|linke[mnrs]?|rechte[mnrs]?|gauche|droite?|izquierd[ao]"
    r"|derech[ao]|sinistr[ao]|destr[ao]|esquerd[ao]|direit[ao])\b|[左右]",
    re.IGNORECASE,
)
LARGEST_PACK = 1 << 40  # keeps the numbers of different packs' images apart


@dataclass(frozen=True, slots=True, kw_only=True)
class MixturePart:
    """One source of a mixture.

    Attributes:
        share: its weight in every batch, against the others.
        captions: captions of an image in a batch, at most.
        negatives: hard negatives of an image in a batch, at most.
        views: stored crops with the outputs of teachers; None for random crops.
        crop: whether images may be cropped; drawn scenes must stay whole for their captions to stay true.
    """

    pack: Pack
    share: float = 1.0
    captions: int = 1
    negatives: int = 1
    views: StoredViews | None = None
    crop: bool = True


class Mixture:
    """Batches of a fixed make-up from several parts."""

    def __init__(
        self,
        parts: Sequence[MixturePart],
        tokenizer: Tokenizer,
        *,
        batch_size: int,
        augmentation: Augmentation,
        seed: int,
        mask_share: float = 0.0,
        rank: int = 0,
        size: int = 1,
        pixels: bool = True,
    ) -> None:
        """Takes the rows of process `rank` of `size`: every `size`-th of each batch.

        `mask_share` is the share of words masked in `Batch.masked_TL`; 0 leaves it out. Without `pixels`
        batches have none, for a locked tower whose features they have.
        """
        if batch_size < len(parts):
            raise ConfigError(
                f"batch_size {batch_size} is smaller than the number of sources, {len(parts)}; raise it"
            )
        self._parts = list(parts)
        self._tokenizer = tokenizer
        self._augmentation = augmentation
        self._seed = seed
        self._mask_share = mask_share
        self._rank, self._size, self._pixels = rank, size, pixels
        self.counts = apportion([part.share for part in parts], batch_size)
        self._orders: OrderedDict[tuple[int, int], IntArray] = OrderedDict()
        self._lock = Lock()
        self._width = max((part.views.features_NVD.shape[2] for part in parts if part.views), default=0)
        self._captions = max(part.captions for part in parts)
        self._negatives = max(part.negatives for part in parts)
        teachers = next((part.views.embeddings for part in parts if part.views), ())
        self._teacher_widths = [teacher.captions_CD.shape[1] for teacher in teachers]
        scores = [part.views.scores for part in parts if part.views and part.views.scores]
        self._candidates = scores[0].candidates if scores else 0
        self._first_caption = [
            np.cumsum([0, *map(len, part.pack.captions)]) if part.views else None for part in parts
        ]

    def rows(self, part: int, step: int) -> IntArray:
        """The rows of one part's pack in the batch of this step."""
        size, count = len(self._parts[part].pack), self.counts[part]
        places = np.arange(step * count, (step + 1) * count)
        orders = {int(epoch): self._order(part, int(epoch)) for epoch in np.unique(places // size)}
        return np.array([orders[int(place // size)][place % size] for place in places], dtype=np.int64)

    def _order(self, part: int, epoch: int) -> IntArray:
        key = (part, epoch)
        with self._lock:
            order = self._orders.get(key)
            if order is None:
                random = np.random.default_rng((self._seed, EPOCH, part, epoch))
                order = random.permutation(len(self._parts[part].pack)).astype(np.int64)
                self._orders[key] = order
                while len(self._orders) > 4 * len(self._parts):
                    self._orders.popitem(last=False)
        return order

    def batch(self, step: int, *, whole: bool = False) -> Batch:
        """The batch of this step: the rows of this process, or with `whole` all rows."""
        random = np.random.default_rng((self._seed, BATCH, step))
        count = sum(self.counts)
        places = np.arange(count) if whole else np.arange(self._rank, count, self._size)
        starts = np.cumsum([0, *self.counts])
        slices = []
        for number, start in enumerate(starts[:-1]):
            piece = self._slice(number, step, random)  # of the whole batch: all draw the same random numbers
            inside = (places >= start) & (places < starts[number + 1])
            slices.append(piece.only(places[inside] - start))
        random_rows = RandomRows(seed=(self._seed, step), whole=count, places_B=places)
        return Batch(
            pixels_BCHW=np.concatenate([piece.pixels(shown=self._pixels) for piece in slices]),
            boxes_B4=np.concatenate([piece.boxes for piece in slices]),
            mirror_B=np.concatenate([piece.mirror for piece in slices]),
            picture_B=np.concatenate([piece.numbers for piece in slices]),
            features_BD=np.concatenate([piece.features for piece in slices]),
            has_view_B=np.concatenate([piece.has_view for piece in slices]),
            random_rows=random_rows,
            reranker=self._reranker_targets(slices),
            **self._texts(slices, random_rows),
        )

    def _reranker_targets(self, slices: Sequence[Slice]) -> RerankerTargets | None:
        """The scores of a re-ranker; None where no source has them."""
        if not self._candidates:
            return None
        scored = [one for piece in slices for one in piece.scored_captions]
        return reranker_targets(scored, self._candidates, self._tokenizer)

    def _texts(self, slices: Sequence[Slice], random_rows: RandomRows) -> dict[str, Any]:
        """The arrays of a batch's texts: captions first, then hard negatives."""
        captions = [one for piece in slices for one in piece.captions]
        wrong = [ones for piece in slices for ones in piece.negatives]
        negatives = [one for ones in wrong for one in ones]
        texts = captions + negatives
        starts = np.cumsum([0, *(len(piece.rows) for piece in slices)])
        row_C = np.concatenate([piece.place_C + start for piece, start in zip(slices, starts, strict=False)])
        described = len(row_C)
        row_N = np.repeat(np.arange(len(wrong)), [len(ones) for ones in wrong])
        row_T = np.concatenate([row_C, row_N])
        nth_T = np.concatenate([*(piece.nth_C for piece in slices), self._captions + _places(wrong)])
        tokens_TL, mask_TL = self._tokenizer.encode(texts) if texts else (np.zeros((0, 1), np.int64),) * 2
        columns = self._tokenizer.max_tokens

        def drawn(purpose: int) -> NDArray[np.float64]:
            """Random numbers of each word (T, columns)."""
            most = self._captions + self._negatives  # of an image
            return random_rows.draw(purpose, most * columns).reshape(-1, most, columns)[row_T, nth_T]

        masked = self._masked(tokens_TL[:described], mask_TL[:described], len(negatives), drawn)
        share = self._augmentation.word_dropout
        if share and texts:
            dropped_TL = drop_words(
                tokens_TL, mask_TL, drawn(DROP), share=share, mask_id=self._tokenizer.mask_id
            )
            # no words of images with hard negatives: without a word a negative may be true, and if only
            # captions had masks, a text without one would be known to be wrong
            tokens_TL = np.where(np.isin(row_T, row_N)[:, None], tokens_TL, dropped_TL)
        return {
            "tokens_TL": tokens_TL,
            "mask_TL": mask_TL,
            "teacher_embeddings": self._teacher_embeddings(slices, len(negatives)),
            "picture_of_text_T": np.concatenate([row_C, np.full(len(negatives), -1, np.int64)]),
            "wording_T": np.array([zlib.crc32(text.lower().encode()) for text in texts], dtype=np.int64),
            **masked,
        }

    def _teacher_embeddings(
        self, slices: Sequence[Slice], negatives: int
    ) -> tuple[tuple[FloatArray, FloatArray], ...]:
        """Embeddings of the images and of the texts by each teacher; zeros for hard negatives."""
        each = [
            tuple(np.concatenate([piece.embeddings[number][side] for piece in slices]) for side in (0, 1))
            for number in range(len(self._teacher_widths))
        ]
        return tuple((image_BD, np.pad(text_CD, ((0, negatives), (0, 0)))) for image_BD, text_CD in each)

    def _masked(
        self,
        tokens_CL: IntArray,
        mask_CL: IntArray,
        negatives: int,
        drawn: Callable[[int], NDArray[np.float64]],
    ) -> dict[str, Any]:
        """Captions with words masked; words of hard negatives never are."""
        if not self._mask_share:
            return {}
        masked_CL, chosen_CL = mask_words(
            tokens_CL,
            mask_CL,
            drawn(MASK)[: len(tokens_CL)],
            drawn(SWAP)[: len(tokens_CL)],
            share=self._mask_share,
            mask_id=self._tokenizer.mask_id,
            vocabulary=self._tokenizer.vocabulary_size,
        )
        rest = ((0, negatives), (0, 0))
        return {"masked_TL": np.pad(masked_CL, rest), "chosen_TL": np.pad(chosen_CL, rest)}

    def _slice(self, number: int, step: int, random: np.random.Generator) -> Slice:
        part, rows = self._parts[number], self.rows(number, step)
        picks = [_picks(part.pack.captions[row], part.captions, random) for row in rows]
        place_C = np.repeat(np.arange(len(rows)), [len(picked) for picked in picks])
        pick_C = np.concatenate(picks)
        mirror = random.random(len(rows)) < (0.5 if self._augmentation.mirror and part.crop else 0.0)
        for place, row in enumerate(rows):
            if mirror[place] and any(SIDES.search(caption) for caption in part.pack.captions[row]):
                mirror[place] = False
        features = np.zeros((len(rows), self._width), dtype=np.float32)
        embeddings = [
            (np.zeros((len(rows), D), np.float32), np.zeros((len(pick_C), D), np.float32))
            for D in self._teacher_widths
        ]
        scored_captions: list[ScoredCaptions | None] = [None] * len(rows)
        if part.views is not None:
            view = random.integers(part.views.boxes_NV4.shape[1], size=len(rows))
            boxes = part.views.boxes_NV4[rows, view]
            features[:] = part.views.features_NVD[rows, view]
            first = self._first_caption[number]
            assert first is not None
            for teacher, (image_BD, caption_CD) in zip(part.views.embeddings, embeddings, strict=True):
                image_BD[:] = teacher.images_NVD[rows, view]
                caption_CD[:] = teacher.captions_CD[first[rows[place_C]] + pick_C]
            if part.views.scores is not None:
                for place in np.flatnonzero([len(picked) for picked in picks]):
                    pick = int(picks[place][0])
                    scored_captions[place] = part.views.scores.of_view(
                        rows[place], view[place], pick=pick, caption=part.pack.captions[rows[place]][pick]
                    )
        else:
            boxes = _boxes(len(rows), self._augmentation.min_area if part.crop else 1.0, random)
        return Slice(
            pack=part.pack,
            rows=rows,
            numbers=rows + number * LARGEST_PACK,
            captions=[part.pack.captions[row][pick] for row, pick in zip(rows[place_C], pick_C, strict=True)],
            place_C=place_C,
            nth_C=_places(picks),
            negatives=[
                _chosen(part.pack.negatives[row], part.negatives, random) if part.pack.negatives else ()
                for row in rows
            ],
            boxes=boxes.astype(np.float32),
            mirror=mirror,
            features=features,
            has_view=np.full(len(rows), part.views is not None),
            embeddings=embeddings,
            scored_captions=scored_captions,
        )

    def batches(self, start: int, stop: int, *, ahead: int = 3, workers: int = 1) -> Iterator[Batch]:
        """The batches of the steps from `start` to `stop`, made by threads a little ahead of the reader."""
        return look_ahead(self.batch, range(start, stop), workers=workers, depth=max(ahead, workers))


def apportion(shares: Sequence[float], total: int) -> list[int]:
    """Whole numbers that add up to `total`, by largest remainder of the shares, each at least 1."""
    exact = np.array(shares, dtype=np.float64) / sum(shares) * total
    counts = np.maximum(np.floor(exact).astype(int), 1)
    while counts.sum() < total:
        counts[np.argmax(exact - counts)] += 1
    while counts.sum() > total:
        counts[np.argmax(np.where(counts > 1, counts - exact, -np.inf))] -= 1
    return [int(count) for count in counts]


def _picks(texts: Sequence[str], count: int, random: np.random.Generator) -> IntArray:
    """The numbers of `count` different texts, or of all if there are fewer."""
    return random.permutation(len(texts))[:count].astype(np.int64)


def _chosen(texts: Sequence[str], count: int, random: np.random.Generator) -> tuple[str, ...]:
    return tuple(texts[int(pick)] for pick in _picks(texts, count, random))


def _places(lists: Sequence[Sequence[Any] | IntArray]) -> IntArray:
    """The number of each member in its list, for all lists one after the other."""
    return np.concatenate([np.arange(len(members), dtype=np.int64) for members in lists])


def _boxes(count: int, min_area: float, random: np.random.Generator) -> FloatArray:
    """Random square crops in shares of the frame (count, 4)."""
    side = np.sqrt(random.uniform(min_area, 1.0, count))
    left, top = random.uniform(0, 1, (2, count)) * (1 - side)
    return np.stack([left, top, left + side, top + side], axis=1).astype(np.float32)
