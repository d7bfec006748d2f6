"""Levels learned on stored vectors: linear maps from a rotation on, by the hierarchical retrieval loss.

It knows no encoder and no file. S width of the vectors, B pictures of a batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from hivlp.config import FitLevelsConfig
from hivlp.encode.heads import Head
from hivlp.errors import HivlpError
from hivlp.evaluate.protocols import BothWays, Pairs, at_level
from hivlp.model.dual import MAX_LOG_SCALE
from hivlp.objectives.retrieval import hierarchical, positives
from hivlp.registry import resolve
from hivlp.train.cached import Cached
from hivlp.types import Embeddings, FloatArray, IntArray

Progress = Callable[[str], None]


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
    """The levels of pictures and of texts, and a temperature a level. Without biases, which a map has not."""

    def __init__(self, rotation_SS: FloatArray, widths: tuple[int, ...], config: FitLevelsConfig) -> None:
        super().__init__()
        self.widths = widths
        make_levels = resolve("levels", config.kind)
        self.image, self.text = (make_levels(len(rotation_SS), widths) for _ in range(2))
        start = math.log(config.logit_scale)
        self.log_scale_L = nn.Parameter(torch.full((len(widths),), start))
        with torch.no_grad():
            for side in (self.image, self.text):
                for head in _linear(side):
                    head.weight.copy_(torch.from_numpy(rotation_SS[:, : head.out_features].T))
                    head.bias.zero_().requires_grad_(False)

    @property
    def logit_scales(self) -> dict[int, Tensor]:
        return dict(zip(self.widths, self.log_scale_L.clamp(max=MAX_LOG_SCALE).exp(), strict=True))

    def heads(self) -> dict[int, Head]:
        image, text = (
            {head.out_features: head.weight for head in _linear(s)} for s in (self.image, self.text)
        )
        nested = len(image) == 1 < len(self.widths)
        wide = self.widths[-1]
        return {
            width: Head(
                source=image[wide if nested else width].shape[1],
                image_SD=_map(image[wide if nested else width], width),
                text_SD=_map(text[wide if nested else width], width),
            )
            for width in self.widths
        }


def _linear(levels: nn.Module) -> list[nn.Linear]:
    return [module for module in levels.modules() if isinstance(module, nn.Linear)]


def _map(weight_DS: Tensor, width: int) -> FloatArray:
    return np.ascontiguousarray(weight_DS[:width].detach().cpu().numpy().T)


def learn(
    train: Cached,
    val: Pairs,
    rotation_SS: FloatArray,
    widths: tuple[int, ...],
    config: FitLevelsConfig,
    *,
    device: torch.device,
    progress: Progress = lambda line: None,
) -> Learned:
    """Learns a map a level and keeps each as it was in the epoch with its best AR on `val`.

    Learning ends when the mean AR of the levels has not risen for `patience` epochs.

    Args:
        rotation_SS: orthonormal columns, the most important first; every map starts as its first columns.
        widths: of the levels, narrowest first.

    Raises:
        HivlpError: the loss is no longer a number.
    """
    run = _Run(train, rotation_SS, widths, config, device)
    best, best_ar = run.maps.heads(), _averages(val, run.maps.heads())
    best_epoch, best_mean = 0, float(np.mean(list(best_ar.values())))
    for epoch in range(1, config.epochs + 1):
        loss = run.epoch()
        heads = run.maps.heads()
        averages = _averages(val, heads)
        for width in widths:
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
    ) -> None:
        torch.manual_seed(config.seed)
        self.config, self.device, self.steps = config, device, 0
        self.maps = _Maps(rotation_SS, widths, config).to(device)
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
        terms = hierarchical(
            self.maps.image(self._image_IS[picture_B]),
            self.maps.text(self._text_TS[text_B]),
            positives(rows, rows, self._wording_T[torch.from_numpy(text_B)]).to(self.device),
            self.maps.logit_scales,
            consistency_weight=self.config.consistency,
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


def through(pairs: Pairs, heads: dict[int, Head]) -> Pairs:
    """The pairs at the levels that heads make of them."""
    return Pairs(
        images=Embeddings({width: head.images(pairs.images) for width, head in heads.items()}),
        texts=Embeddings({width: head.texts(pairs.texts) for width, head in heads.items()}),
        picture_of=pairs.picture_of,
        failed=pairs.failed,
        split=pairs.split,
    )


def recalls(pairs: Pairs, heads: dict[int, Head]) -> dict[int, BothWays]:
    """Both directions at every level that heads make."""
    levels = through(pairs, heads)
    return {width: at_level(levels, width) for width in heads}


def _averages(pairs: Pairs, heads: dict[int, Head]) -> dict[int, float]:
    """AR by width, in percent."""
    return {width: level.average for width, level in recalls(pairs, heads).items()}


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
