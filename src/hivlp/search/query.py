"""Queries: words, an image, an item of the index, or a mix of these; it searches nothing."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import TypeAlias, cast

import numpy as np

from hivlp.errors import QueryError
from hivlp.inputs import ImageLike, is_image
from hivlp.search import wording
from hivlp.types import Embeddings, FloatArray

MAX_WEIGHT = 100.0
WORDS_BESIDE_IMAGE = 0.8
"""The weight of words beside a picture of weight 1: “this picture, but at night” keeps what it shows."""
# Below this length the direction of a mix is rounding error: its parts cancel each other out.
_MIN_LENGTH = 1e-3


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of a query: exactly one of ``text``, ``image`` and ``item``.

    Attributes:
        text: words.
        image: a path, encoded bytes, an open file, a PIL image or an array; see `hivlp.inputs.as_image`.
        item: the id of an item of the index, whose stored vectors are used.
        weight: weight beside the other parts, in [-100, 100] and not 0. A negative one leads away from the
            part.

    Raises:
        QueryError: not exactly one of the three is given, or the weight is out of range.
    """

    text: str | None = None
    image: ImageLike | None = None
    item: str | None = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        given = [name for name in ("text", "image", "item") if getattr(self, name) is not None]
        if len(given) != 1:
            raise QueryError(
                f"a part of a query has exactly one of text, image and item; this one has "
                f"{' and '.join(given) or 'none of them'}"
            )
        for name in ("text", "item"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise QueryError(f"{name}={value!r:.40} of a part is invalid: must be a str")
        if isinstance(self.weight, bool) or not isinstance(self.weight, Real):
            raise QueryError(f"weight={self.weight!r:.40} is invalid: must be a number, such as 1 or 0.5")
        if not (math.isfinite(self.weight) and 0 < abs(self.weight) <= MAX_WEIGHT):
            raise QueryError(
                f"weight={self.weight} is invalid: must be between -{MAX_WEIGHT:g} and {MAX_WEIGHT:g}, "
                "not 0, such as 1 or 0.5"
            )


Query: TypeAlias = "str | ImageLike | Part | Sequence[Part]"
"""What `Index.search` looks for: words (``str``), an image in any other form (a ``Path``, …), or parts."""


def parts_of(query: Query) -> list[Part]:
    """The parts of a query, at least one, with the words as a model should read them (see `wording.read`).

    Words behind a minus become parts of their own, whose weight leads away from them.

    Raises:
        QueryError: for anything that is not a query.
    """
    return [read for part in _given(query) for read in _read(part)]


def _read(part: Part) -> list[Part]:
    if part.text is None:
        return [part]
    words = wording.read(clean_query(part.text))
    away = wording.MINUS_WEIGHT * part.weight
    unwanted = [Part(text=text, weight=away) for text in words.unwanted] if part.weight > 0 else []
    return [replace(part, text=words.wanted), *unwanted]


def beside(words: Sequence[str], others: Sequence[Part], unwanted: Sequence[str] = ()) -> list[Part]:
    """The mix of words with pictures and items, where nobody gave weights.

    Args:
        words: texts to look for.
        others: pictures and items.
        unwanted: words to keep away from.
    """
    weight = WORDS_BESIDE_IMAGE if others else 1.0
    away = [Part(text=text, weight=wording.MINUS_WEIGHT) for text in unwanted]
    return [*(Part(text=text, weight=weight) for text in words), *others, *away]


def _given(query: Query) -> list[Part]:
    if isinstance(query, Part):
        return [query]
    if isinstance(query, str):
        return [Part(text=query)]
    if is_image(query):
        return [Part(image=cast("ImageLike", query))]
    if isinstance(query, Sequence) and all(isinstance(part, Part) for part in query):
        if not query:
            raise QueryError("an empty mix can't be searched: give at least one part")
        return [part for part in query if isinstance(part, Part)]
    raise QueryError(
        f"{query!r:.40} is not a query: give words, the Path of an image, an image, a Part, or a list of "
        "Parts; several texts go to search_batch"
    )


def words_of(parts: Sequence[Part]) -> str | None:
    """The words of a query of words alone, of those that `parts_of` gave; None for any other query."""
    return parts[0].text if len(parts) == 1 and parts[0].weight > 0 else None


def items_of(parts: Sequence[Part]) -> frozenset[str]:
    """The ids of the items in a query; its answer leaves them out."""
    return frozenset(part.item for part in parts if part.item is not None)


def mixed(parts: Sequence[Embeddings], weights: Sequence[float]) -> Embeddings:
    """One query from several: at every level the weighted sum of unit vectors, normalised to length 1.

    Args:
        parts: one query each (1 × D at every level).
        weights: the weight of each part.

    Raises:
        QueryError: there are no parts, or they cancel each other out.
    """
    if not parts:
        raise QueryError("a mix needs at least one part: words, an image or an item")
    if len(parts) == 1 and weights[0] > 0:
        return parts[0]
    return Embeddings({width: _sum([part[width] for part in parts], weights) for width in parts[0].widths})


def _sum(vectors: Sequence[FloatArray], weights: Sequence[float]) -> FloatArray:
    share = np.asarray(weights, np.float64) / np.abs(weights).sum()
    sum_1D = np.einsum("p,pqd->qd", share, np.stack(vectors).astype(np.float64))
    length = float(np.linalg.norm(sum_1D))
    if length < _MIN_LENGTH:
        raise QueryError(
            "the parts of this mix cancel each other out, so no direction is left to search in; change the "
            "weights"
        )
    return (sum_1D / length).astype(np.float32)


def clean_query(text: str) -> str:
    """The text without control characters and surrounding space.

    Raises:
        QueryError: the value is not text, or has neither letters, digits nor symbols.
    """
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise QueryError(
            f"{text!r:.40} is not a query of words but {type(text).__name__}: give text, such as 'a dog in "
            "the snow', or search by an image or an item instead"
        )
    # Control characters, and surrogates (undecodable bytes of a command line), would upset a tokenizer.
    # Format characters stay: they join the parts of emoji and of Persian words. Alone they show nothing.
    visible = "".join(" " if unicodedata.category(letter) in ("Cc", "Cs") else letter for letter in text)
    words = " ".join(visible.split())
    if not any(unicodedata.category(letter)[0] in "LNS" for letter in words):
        raise QueryError(f"the query {text[:20]!r} has no word: give some, such as 'a dog in the snow'")
    return words
