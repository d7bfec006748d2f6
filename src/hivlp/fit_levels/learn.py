"""Levels learned on stored vectors: maps from a rotation on, by the hierarchical retrieval loss.

A binary level is learned beside them, by the loss of its sign codes. It knows no encoder and no file. S width
of the vectors, B pictures of a batch, K bits of the binary level.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from hivlp.config import FitLevelsConfig
from hivlp.encode.heads import Head, Mlp
from hivlp.errors import HivlpError
from hivlp.evaluate.protocols import BothWays, EncodedPairs, at_level, signs
from hivlp.fit_levels.cache import Cached
from hivlp.model.dual import MAX_LOG_SCALE
from hivlp.model.levels import LevelHead, SeparateLevels, heads_of
from hivlp.objectives.binary import BALANCE, binary
from hivlp.objectives.retrieval import hierarchical, positives
from hivlp.registry import resolve
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


class _Maps(nn.Module):
    """The levels of pictures and of texts, and a temperature a level; without biases, as a head is."""

    def __init__(
        self,
        rotation_SS: FloatArray,
        turned_SK: FloatArray | None,
        widths: tuple[int, ...],
        config: FitLevelsConfig,
    ) -> None:
        super().__init__()
        self.widths = widths
        make_levels, source = resolve("levels", config.kind), len(rotation_SS)
        hidden = HIDDEN if config.heads == "mlp" else 0
        self.image, self.text = (_begun(make_levels(source, widths, hidden), rotation_SS) for _ in range(2))
        self.image_code: SeparateLevels | None = None
        self.text_code: SeparateLevels | None = None
        if turned_SK is not None:
            width = turned_SK.shape[1]
            self.image_code = _begun(SeparateLevels(source, (width,), hidden), turned_SK)
            self.text_code = _begun(SeparateLevels(source, (width,), hidden), turned_SK)
        start = math.log(LOGIT_SCALE)
        self.log_scale_L = nn.Parameter(torch.full((len(widths),), start))
        self.log_code_scale = nn.Parameter(torch.tensor(start))

    @property
    def logit_scales(self) -> dict[int, Tensor]:
        return dict(zip(self.widths, _scale(self.log_scale_L), strict=True))

    def losses(
        self, image_BS: Tensor, text_BS: Tensor, positive_BB: Tensor, *, consistency: float
    ) -> dict[str, Tensor]:
        """The terms of the loss, by name."""
        terms = hierarchical(
            self.image(image_BS), self.text(text_BS), positive_BB, self.logit_scales,
            consistency_weight=consistency,
        )  # fmt: skip
        if self.image_code is not None and self.text_code is not None:
            (width,) = self.image_code.widths
            picture_BK, words_BK = self.image_code(image_BS)[width], self.text_code(text_BS)[width]
            scale = _scale(self.log_code_scale)
            terms |= binary(picture_BK, words_BK, positive_BB, scale, balance=BALANCE)
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
    *,
    device: torch.device,
    turned_SK: FloatArray | None = None,
    progress: Progress = lambda *_: None,
) -> Learned:
    """Learns a map a level and keeps each as it was in the epoch with its best AR on `val`.

    Learning ends when the mean AR of the levels has not risen for `patience` epochs.

    Args:
        rotation_SS: orthonormal columns, the most important first; every map starts as its first columns.
        widths: of the levels, narrowest first.
        turned_SK: where the map of a binary level starts; None makes no such level.

    Raises:
        HivlpError: the loss is no longer a number.
    """
    run = _Run(train, rotation_SS, widths, config, device, turned_SK)
    bits = 0 if turned_SK is None else turned_SK.shape[1]
    best, best_ar = run.maps.heads(), _averages(val, run.maps.heads(), bits)
    best_epoch, best_mean = 0, float(np.mean(list(best_ar.values())))
    for epoch in range(1, config.epochs + 1):
        loss = run.epoch()
        heads = run.maps.heads()
        averages = _averages(val, heads, bits)
        for width in averages:
            if averages[width] > best_ar[width]:
                best[width], best_ar[width] = heads[width], averages[width]
        mean = float(np.mean(list(averages.values())))
        progress(f"epoch {epoch}/{config.epochs}  loss {loss:.3f}  mean AR of the levels {mean:.2f}")
        if mean > best_mean:
            best_epoch, best_mean = epoch, mean
        elif epoch - best_epoch >= config.patience:
            break
    return Learned(best, best_epoch, run.steps)


class _Run:
    """The maps while they are learned."""

    def __init__(
        self,
        train: Cached,
        rotation_SS: FloatArray,
        widths: tuple[int, ...],
        config: FitLevelsConfig,
        device: torch.device,
        turned_SK: FloatArray | None = None,
    ) -> None:
        torch.manual_seed(config.seed)
        self.config, self.device, self.steps = config, device, 0
        self.maps = _Maps(rotation_SS, turned_SK, widths, config).to(device)
        self._image_IS = torch.from_numpy(train.pairs.images.fine).to(device)
        self._text_TS = torch.from_numpy(train.pairs.texts.fine).to(device)
        self._wording_T = torch.from_numpy(train.wording_T)
        self._picture_of = train.pairs.picture_of
        self._random = np.random.default_rng(config.seed)
        self._total = config.epochs * max(1, len(self._image_IS) // config.batch_size)
        trained = [parameter for parameter in self.maps.parameters() if parameter.requires_grad]
        self._optimizer = torch.optim.Adam(trained, lr=config.learning_rate)

    def epoch(self) -> float:
        """One pass over the pictures; gives the mean loss."""
        batches = _batches(self._picture_of, self.config.batch_size, self._random)
        return float(np.mean([self._step(picture_B, text_B) for picture_B, text_B in batches]))

    def _step(self, picture_B: IntArray, text_B: IntArray) -> float:
        for group in self._optimizer.param_groups:
            group["lr"] = self.config.learning_rate * 0.5 * (1 + math.cos(math.pi * self.steps / self._total))
        rows = torch.from_numpy(picture_B)
        terms = self.maps.losses(
            self._image_IS[picture_B],
            self._text_TS[text_B],
            positives(rows, rows, self._wording_T[torch.from_numpy(text_B)]).to(self.device),
            consistency=self.config.consistency,
        )
        loss = torch.stack(list(terms.values())).sum()
        if not torch.isfinite(loss):
            raise HivlpError(
                f"the loss became {loss.item()} in step {self.steps + 1}; lower learning_rate "
                f"(now {self.config.learning_rate}) by --set"
            )
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()
        self.steps += 1
        return loss.item()


def through(pairs: EncodedPairs, heads: dict[int, Head]) -> EncodedPairs:
    """The pairs at the levels that heads make of them."""
    return EncodedPairs(
        images=Embeddings({width: head.images(pairs.images) for width, head in heads.items()}),
        texts=Embeddings({width: head.texts(pairs.texts) for width, head in heads.items()}),
        picture_of=pairs.picture_of,
        failed=pairs.failed,
        split=pairs.split,
    )


def recalls(pairs: EncodedPairs, heads: dict[int, Head], bits: int = 0) -> dict[int, BothWays]:
    """Both directions at every level that heads make; at the level `bits` wide by the signs alone."""
    levels = through(pairs, heads)
    return {width: at_level(signs(levels, width) if width == bits else levels, width) for width in heads}


def _averages(pairs: EncodedPairs, heads: dict[int, Head], bits: int = 0) -> dict[int, float]:
    """AR by width, in percent."""
    return {width: level.average for width, level in recalls(pairs, heads, bits).items()}


def _batches(
    picture_of: IntArray, size: int, random: np.random.Generator
) -> Iterator[tuple[IntArray, IntArray]]:
    """Every picture once with one of its captions: rows of pictures and of texts. A rest is left out."""
    order_T = random.permutation(len(picture_of))
    pictures, first = np.unique(picture_of[order_T], return_index=True)
    shuffled = random.permutation(len(pictures))
    size = min(size, len(pictures))
    for start in range(0, len(pictures) - size + 1, size):
        chosen = shuffled[start : start + size]
        yield pictures[chosen], order_T[first[chosen]]
