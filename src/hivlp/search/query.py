"""What a query may be: words, a picture, an item of the index, or a mix of these; it searches nothing."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hivlp.errors import QueryError
from hivlp.types import Embeddings, FloatArray

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_WEIGHT = 100.0
# A mix whose parts cancel out has a direction that is rounding and nothing else.
_LEAST_LENGTH = 1e-3


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of a query; exactly one of ``text``, ``image`` and ``item`` is given.

    Attributes:
        text: words.
        image: a path, encoded bytes or a PIL image.
        item: the id of an item of the index, whose stored vectors count.
        weight: how much it counts beside the other parts, in [-100, 100] and not 0. A negative one leads away
            from what the part says.

    Raises:
        QueryError: not exactly one is given, or the weight is out of range.
    """

    text: str | None = None
    image: str | Path | bytes | Image | None = None
    item: str | None = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        given = [name for name in ("text", "image", "item") if getattr(self, name) is not None]
        if len(given) != 1:
            what = " and ".join(given) if given else "nothing"
            raise QueryError(f"a part of a query is either text, image or item; {what} was given")
        if not (math.isfinite(self.weight) and 0 < abs(self.weight) <= MAX_WEIGHT):
            raise QueryError(
                f"the weight {self.weight} can't be; it must be in [-{MAX_WEIGHT:g}, {MAX_WEIGHT:g}] and not "
                "0, such as 1 or 0.5"
            )


def items_of(parts: Sequence[Part]) -> frozenset[str]:
    """The ids of the items that a query is made of; its answer leaves them out."""
    return frozenset(part.item for part in parts if part.item is not None)


def mixed(parts: Sequence[Embeddings], weights: Sequence[float]) -> Embeddings:
    """One query of several: at every level the weighted sum of unit vectors, brought back to length 1.

    Args:
        parts: one query each (1 × D at every level).
        weights: one a part.

    Raises:
        QueryError: there are no parts, or they cancel each other out.
    """
    if not parts:
        raise QueryError("a mix needs at least one part: words, a picture or an item")
    if len(parts) == 1 and weights[0] > 0:
        return parts[0]
    return Embeddings({width: _sum([part[width] for part in parts], weights) for width in parts[0].widths})


def _sum(vectors: Sequence[FloatArray], weights: Sequence[float]) -> FloatArray:
    share = np.asarray(weights, np.float64) / np.abs(weights).sum()
    sum_1D = np.einsum("p,pqd->qd", share, np.stack(vectors).astype(np.float64))
    length = float(np.linalg.norm(sum_1D))
    if length < _LEAST_LENGTH:
        raise QueryError(
            "the parts of this mix cancel each other out, so it looks for nothing; change the weights"
        )
    return (sum_1D / length).astype(np.float32)


def clean_query(text: str) -> str:
    """The text without control characters and surrounding space.

    Raises:
        QueryError: it is no text, or nothing that can be seen is left.
    """
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise QueryError(
            f"a query of words is text, and {text!r:.40} is {type(text).__name__}; give some words, such as "
            "'a dog in the snow', or search by a picture or an item instead"
        )
    # Control characters, and surrogates (undecodable bytes of a command line), would upset a tokenizer.
    # Format characters stay: they join the parts of emoji and of Persian words. Alone they show nothing.
    visible = "".join(" " if unicodedata.category(letter) in ("Cc", "Cs") else letter for letter in text)
    words = " ".join(visible.split())
    if all(unicodedata.category(letter) == "Cf" for letter in words.replace(" ", "")):
        raise QueryError(
            f"the query {text[:20]!r} has no visible character; give some words, such as 'a dog in the snow'"
        )
    return words
