"""Re-ranking: the best items of a query, scored anew together with its words by a model's fusion head."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
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


def open_scorer(model: str) -> Scorer:
    """The fusion head of a model, by what `encode.load` takes.

    Raises:
        ModelError: the model has none.
        MissingExtraError: torch is not installed.
    """
    folder = model_source(model)
    if not hub.config_record(folder).get("fusion"):
        raise ModelError(
            f"the model {model} has no fusion head to re-rank with. Train one: hivlp train --model "
            f"{model} --set model.fusion={{}} --set objective.itm.weight=1, or search without re-ranking"
        )
    try:
        from hivlp.encode.rerank import FusionScorer
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "torch", "train", "re-ranking") from None
    return FusionScorer(folder)


@dataclass(frozen=True)
class Reranking:
    """What a store asks for the scores of each query's best items.

    Attributes:
        scorer: scores pictures against words.
        encoder: prepares the pictures.
        texts: the words of each query.
        depth: items of each query.
        unread: how many items of each query could not be scored, filled while searching.
    """

    scorer: Scorer
    encoder: Encoder
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
                data = read_original(item.uri, sha256=item.sha256)
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
