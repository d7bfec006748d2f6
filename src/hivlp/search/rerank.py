"""Re-ranking: the best items of a query, scored anew together with its words by a model's fusion head."""

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
    """Scores prepared pictures against words; see `encode.rerank.FusionScorer`."""

    def scores(self, text: str, pixels_BCHW: NDArray[np.uint8], /) -> FloatArray: ...


HOW_TO_TRAIN = "hivlp train --set model.fusion={} --set objective.itm.weight=1"


def has_head(model: str) -> bool:
    """Whether a model has a fusion head, by what `encode.load` takes. Raises ModelError as `load` does."""
    return bool(hub.config_record(model_source(model)).get("fusion"))


def open_scorer(model: str) -> Scorer:
    """The fusion head of a model, by what `encode.load` takes.

    Raises:
        ModelError: the model has none.
        MissingExtraError: torch is not installed.
    """
    if not has_head(model):
        raise ModelError(f"the model {model} has no fusion head; train one: {HOW_TO_TRAIN} --model {model}")
    try:
        from hivlp.encode.scorer import FusionScorer
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "torch", "train", "re-ranking") from None
    return FusionScorer(model_source(model))


@dataclass(frozen=True)
class Reranking:
    """What a store asks for the scores of each query's best items.

    Attributes:
        scorer: scores pictures against words.
        encoder: prepares the pictures.
        place: where the picture of an item lies.
        texts: the words of each query.
        depth: items of each query.
        unread: how many items of each query could not be scored, filled while searching.
    """

    scorer: Scorer
    encoder: Encoder
    place: Callable[[Item], str]
    texts: Sequence[str]
    depth: int
    unread: Counter[int] = field(default_factory=Counter[int])

    def __call__(self, query: int, items: Sequence[Item]) -> FloatArray:
        """Scores of items, best first as they came; what has no picture to read stays last, as it came."""
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
        left = np.setdiff1d(np.arange(len(items)), places)
        scores[left] = scores.min(initial=0) - 1 - np.arange(len(left))
        self.unread[query] += len(left)
        return scores

    def note(self, query: int) -> tuple[str, ...]:
        """What a person should know of one query's re-ranking."""
        count = self.unread[query]
        if not count:
            return ()
        return (f"{count} of the best {self.depth} have no picture that can be read again; they stand last",)
