"""Levels learned on stored vectors: maps from a rotation on, by the hierarchical retrieval loss.

A binary level is learned beside them, by the loss of its sign codes. It knows no encoder. S width of the
vectors, B images of a batch, I images and T texts of all, K bits of the binary level.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from hivlp.config import FitLevelsConfig, Optimisation
from hivlp.encode.heads import Head, Mlp
from hivlp.evaluate.protocols import BothWays, EncodedPairs, at_level, signs
from hivlp.fit_levels.cache import Cached
from hivlp.model.dual import MAX_LOG_SCALE
from hivlp.model.levels import LevelHead, SeparateLevels, heads_of
from hivlp.objectives.binary import BALANCE, binary
from hivlp.objectives.retrieval import hierarchical, positives
from hivlp.registry import resolve
from hivlp.train.checkpoint import Best
from hivlp.train.distributed import World
from hivlp.train.loop import Learner, LoopSettings, fit
from hivlp.types import Embeddings, FloatArray, IntArray, Progress

Built = TypeVar("Built", bound=nn.Module)
HIDDEN = 512  # units of each MLP
LOGIT_SCALE = 30.0  # initial inverse temperature of every level


@dataclass(frozen=True, slots=True)
class Learned:
    """Each level as it was in its best epoch.

    Attributes:
        heads: by width.
        epoch: the one with the best mean AR, from 1; 0 where none was better than the rotation at the start.
        steps: updates that were made in all.
    """

    heads: dict[int, Head]
    epoch: int
    steps: int


@dataclass(frozen=True, slots=True)
class VectorBatch:
    """Images with one caption each, as vectors of the frozen encoder, and which captions fit which images."""

    image_BS: Tensor
    text_BS: Tensor
    positive_BB: Tensor


class LevelMaps(Learner[VectorBatch]):
    """The levels of images and of texts, and a temperature for each level; without biases, as a head is."""

    def __init__(
        self,
        rotation_SS: FloatArray,
        turned_SK: FloatArray | None,
        widths: tuple[int, ...],
        config: FitLevelsConfig,
    ) -> None:
        super().__init__()
        self.widths, self._consistency = widths, config.consistency
        make_levels, source = resolve("levels", config.kind), len(rotation_SS)
        hidden = HIDDEN if config.heads == "mlp" else 0
        self.image, self.text = (_begun(make_levels(source, widths, hidden), rotation_SS) for _ in range(2))
        self.image_code = self.text_code = None
        if turned_SK is not None:
            codes = [SeparateLevels(source, (turned_SK.shape[1],), hidden) for _ in range(2)]
            self.image_code, self.text_code = (_begun(code, turned_SK) for code in codes)
        start = math.log(LOGIT_SCALE)
        self.log_scale_L = nn.Parameter(torch.full((len(widths),), start))
        self.log_code_scale = nn.Parameter(torch.tensor(start))

    @property
    def logit_scales(self) -> dict[int, Tensor]:
        return dict(zip(self.widths, _scale(self.log_scale_L), strict=True))

    def forward(self, batch: VectorBatch) -> dict[str, Tensor]:
        terms = hierarchical(
            self.image(batch.image_BS),
            self.text(batch.text_BS),
            batch.positive_BB,
            self.logit_scales,
            consistency_weight=self._consistency,
        )
        if self.image_code is not None and self.text_code is not None:
            (width,) = self.image_code.widths
            image_BK = self.image_code(batch.image_BS)[width]
            text_BK = self.text_code(batch.text_BS)[width]
            scale = _scale(self.log_code_scale)
            terms |= binary(image_BK, text_BK, batch.positive_BB, scale, balance=BALANCE)
        return terms

    def heads(self) -> dict[int, Head]:
        """The levels as they are now, by width; the binary one among them."""
        found = _heads(self.image, self.text, self.widths)
        if self.image_code is not None and self.text_code is not None:
            found |= _heads(self.image_code, self.text_code, self.image_code.widths)
        return found


def _begun(levels: Built, start_SD: FloatArray) -> Built:
    """Levels that give the first numbers of ``rows @ start``."""
    with torch.no_grad():
        for head in heads_of(levels):
            head.weight.copy_(torch.from_numpy(start_SD[:, : head.out_features].T))
            for layer in filter(None, (head, head.first)):
                layer.bias.zero_().requires_grad_(False)
    return levels


def _scale(log_scale: Tensor) -> Tensor:
    return log_scale.clamp(max=MAX_LOG_SCALE).exp()


def _heads(image: nn.Module, text: nn.Module, widths: tuple[int, ...]) -> dict[int, Head]:
    pictures, words = heads_of(image), heads_of(text)
    if len(pictures) < len(widths):  # nested: all levels are prefixes of one
        pictures, words = pictures * len(widths), words * len(widths)
    return {
        width: Head(
            source=picture.in_features,
            image_SD=_map(picture.weight, width),
            text_SD=_map(word.weight, width),
            image_mlp=_mlp(picture, width),
            text_mlp=_mlp(word, width),
        )
        for width, picture, word in zip(widths, pictures, words, strict=True)
    }


def _mlp(head: LevelHead, width: int) -> Mlp | None:
    if head.first is None or head.second is None:
        return None
    return Mlp(_map(head.first.weight, len(head.first.weight)), _map(head.second.weight, width))


def _map(weight_DS: Tensor, width: int) -> FloatArray:
    # a copy: learning goes on
    return np.array(weight_DS[:width].detach().cpu().numpy().T, order="C")


def learn(
    train: Cached,
    val: EncodedPairs,
    rotation_SS: FloatArray,
    widths: tuple[int, ...],
    config: FitLevelsConfig,
    folder: Path,
    *,
    device: torch.device,
    turned_SK: FloatArray | None = None,
    progress: Progress = lambda *_: None,
) -> Learned:
    """Learns a map for each level; returns each as it was in the epoch with its best AR on `val`.

    Learning ends when the mean AR of the levels has not risen for `patience` epochs. It takes seconds to
    minutes, so it has no checkpoints; a repeated run finds the vectors in the cache and learns anew.

    Args:
        rotation_SS: orthonormal columns, the most important first; every map starts as its first columns.
        widths: of the levels, narrowest first.
        folder: receives `metrics.jsonl`, and the batch of a loss that is not finite.
        turned_SK: where the map of a binary level starts; None makes no such level.

    Raises:
        HivlpError: the loss is no longer finite.
    """
    torch.manual_seed(config.seed)
    maps = LevelMaps(rotation_SS, turned_SK, widths, config).to(device)
    maps.world = World(device=device)
    batches = VectorBatches(train, config.batch_size, config.seed, device)
    bits = 0 if turned_SK is None else turned_SK.shape[1]
    best = maps.heads()
    best_ar = _averages(val, best, bits)

    def evaluate() -> dict[str, Any]:
        heads = maps.heads()
        averages = _averages(val, heads, bits)
        for width in averages:
            if averages[width] > best_ar[width]:
                best[width], best_ar[width] = heads[width], averages[width]
        mean = float(np.mean(list(averages.values())))
        progress(f"mean AR of the levels {mean:.2f}")
        return {"AR": mean, "levels": {str(width): average for width, average in averages.items()}}

    optimisation = Optimisation(learning_rate=config.learning_rate, weight_decay=0, warmup_steps=0)
    settings = LoopSettings(
        steps=config.epochs * batches.an_epoch,
        batch_size=batches.size,
        optimisation=optimisation,
        seed=config.seed,
        log_every=batches.an_epoch,
        evaluate_every=batches.an_epoch,
        patience=config.patience,
    )
    ended = fit(
        maps,
        batches,
        settings,
        folder,
        resume=False,
        evaluate=evaluate,
        best=Best(average=float(np.mean(list(best_ar.values())))),
        progress=progress,
    )
    return Learned(best, ended.best.step // batches.an_epoch, ended.step)


class VectorBatches:
    """Batches of stored vectors; an epoch has every image once, with one of its captions."""

    def __init__(self, train: Cached, size: int, seed: int, device: torch.device) -> None:
        self._image_IS = torch.from_numpy(train.pairs.images.fine).to(device)
        self._text_TS = torch.from_numpy(train.pairs.texts.fine).to(device)
        self._wording_T = torch.from_numpy(train.wording_T).to(device)
        self._picture_of, self._seed = train.pairs.picture_of, seed
        described = len(np.unique(self._picture_of))
        self.size = min(size, described)
        self.an_epoch = described // self.size

    def batches(self, start: int, stop: int, *, workers: int = 1) -> Iterator[VectorBatch]:
        first, last = start // self.an_epoch, -(-stop // self.an_epoch)
        rows = chain.from_iterable(self._epoch(epoch) for epoch in range(first, last))
        skipped = start - first * self.an_epoch
        for image_B, text_B in islice(rows, skipped, skipped + stop - start):
            numbers_B = torch.arange(len(image_B), device=self._wording_T.device)
            positive_BB = positives(numbers_B, numbers_B, self._wording_T[text_B])
            yield VectorBatch(self._image_IS[image_B], self._text_TS[text_B], positive_BB)

    def batch(self, step: int, *, whole: bool = False) -> VectorBatch:
        return next(self.batches(step, step + 1))

    def _epoch(self, epoch: int) -> Iterator[tuple[IntArray, IntArray]]:
        """Rows of images and of texts, for each step; what fills no batch waits for another epoch."""
        random = np.random.default_rng((self._seed, epoch))
        order_T = random.permutation(len(self._picture_of))
        images, first = np.unique(self._picture_of[order_T], return_index=True)
        shuffled = random.permutation(len(images))
        for start in range(0, self.an_epoch * self.size, self.size):
            chosen = shuffled[start : start + self.size]
            yield images[chosen], order_T[first[chosen]]


def through(pairs: EncodedPairs, heads: dict[int, Head]) -> EncodedPairs:
    """The pairs at the levels that heads make of them."""
    return replace(
        pairs,
        images=Embeddings({width: head.images(pairs.images) for width, head in heads.items()}),
        texts=Embeddings({width: head.texts(pairs.texts) for width, head in heads.items()}),
    )


def recalls(pairs: EncodedPairs, heads: dict[int, Head], bits: int = 0) -> dict[int, BothWays]:
    """Both directions at every level that heads make; at the level `bits` wide by the signs alone."""
    levels = through(pairs, heads)
    return {width: at_level(signs(levels, width) if width == bits else levels, width) for width in heads}


def _averages(pairs: EncodedPairs, heads: dict[int, Head], bits: int = 0) -> dict[int, float]:
    """AR by width, in percent."""
    return {width: level.average for width, level in recalls(pairs, heads, bits).items()}
