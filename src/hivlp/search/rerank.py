"""Re-ranking: a model's fusion head scores the best images of a query again, together with its words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hivlp.data.originals import read_original
from hivlp.encode import Encoder, hub
from hivlp.encode.base import model_source
from hivlp.errors import ImageError, MissingExtraError, ModelError
from hivlp.types import FloatArray, Item


class Scorer(Protocol):
    """Scores prepared images against words; see `encode.scorer.FusionScorer`."""

    def scores(self, text: str, pixels_BCHW: NDArray[np.uint8], /) -> FloatArray: ...


HOW_TO_TRAIN = "hivlp train --set model.fusion={} --set objective.itm.weight=1"


def has_head(model: str) -> bool:
    """Whether a model has a fusion head, by what `encode.load` takes. Raises ModelError as `load` does."""
    return bool(hub.config_record(model_source(model)).get("fusion"))


def open_scorer(model: str) -> Scorer:
    """The fusion head of a model, by what `encode.load` takes.

    Raises:
        ModelError: the model has no fusion head.
        MissingExtraError: torch is not installed.
    """
    if not has_head(model):
        raise ModelError(
            f"the model {model} has no fusion head: train one with {HOW_TO_TRAIN} --model {model}"
        )
    try:
        from hivlp.encode.scorer import FusionScorer
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "torch", "train", "re-ranking") from None
    return FusionScorer(model_source(model))


@dataclass(frozen=True)
class FusionReranker:
    """A `stores.base.ItemScorer`: scores the best items of each query by a fusion head.

    Attributes:
        scorer: scores images against words.
        encoder: prepares the images.
        place: the path of the image of an item.
        texts: the words of each query.
        depth: number of items of each query to score.
        unread: number of items of each query that could not be scored, filled while searching.
    """

    scorer: Scorer
    encoder: Encoder
    place: Callable[[Item], str]
    texts: Sequence[str]
    depth: int
    unread: Counter[int] = field(default_factory=Counter[int])

    def __call__(self, query: int, items: Sequence[Item]) -> FloatArray:
        """Scores of items given best first. Items without a readable image come last, in the given order."""
        places, pixels = [], []
        for place, item in enumerate(items):
            if item.kind != "image":
                continue
            try:
                data = read_original(self.place(item), sha256=item.sha256)
                pixels.append(self.encoder.load_picture(data).pixels)
                places.append(place)
            except ImageError:
                continue
        scores = np.zeros(len(items), np.float32)
        if pixels:
            scores[places] = self.scorer.scores(self.texts[query], np.stack(pixels))
        rest = np.setdiff1d(np.arange(len(items)), places)
        scores[rest] = scores.min(initial=0) - 1 - np.arange(len(rest))
        self.unread[query] += len(rest)
        return scores

    def notes(self, query: int) -> tuple[str, ...]:
        """Notes for the user about the re-ranking of one query."""
        count = self.unread[query]
        if not count:
            return ()
        return (f"{count} of the best {self.depth} have no readable image and come last",)
