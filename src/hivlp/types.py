"""Plain records shared by all packages; they know no file format and no model.

Shape letters, here and everywhere: B batch, C channels, H height, W width, T tokens, D width of an
embedding, Q queries, N items, K candidates.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, TypeAlias, cast, overload

import numpy as np
from numpy.typing import NDArray

from hivlp.errors import DataError, LevelError
from hivlp.inputs import as_stored, name_of, name_of_text
from hivlp.messages import counted

FloatArray: TypeAlias = NDArray[np.float32]
IntArray: TypeAlias = NDArray[np.int64]

KINDS = ("image", "text")
"""The kinds of items."""


class Progress(Protocol):
    """What a long task calls now and then; `print` is one.

    The arguments are a line for people, which may be empty; how much is done; and of how much, which is None
    while that is unknown. A task that counts nothing, such as training, gives the line alone.
    """

    def __call__(self, line: str, done: int = 0, total: int | None = None, /) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One image of a source with its captions, before anything is decoded.

    ``Sample(image="dog.jpg", captions=["a dog"])`` is enough: the other fields have defaults.

    Attributes:
        id: unique within the source, stable between runs. Default: the path as it is given, else a hash of
            the content.
        uri: place of the image, for people: a path, or ``archive.tar#member``. Default: the absolute path,
            else the id.
        image: the image itself, as a path to read or as encoded bytes; None for a text without an image. An
            image in another form of `hivlp.inputs.as_image` becomes one of these.
        captions: zero or more captions, each stripped and free of tabs and newlines; a ``str`` is one.
        split: ``train``, ``val``, ``test`` or another name; None for a source without splits.
        meta: every other column or field of the source, JSON-compatible.

    Raises:
        ImageError: `image` is not an image in a known form.
        DataError: there is neither an id nor an image nor a caption, a caption is not text, or the metadata
            are not a mapping.
    """

    id: str = ""
    uri: str = ""
    image: Path | bytes | None = None
    captions: tuple[str, ...] = ()
    split: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        image: Any = self.image  # callers give more than the types of the fields
        captions: Any = self.captions
        if image is not None and not isinstance(image, (Path, bytes)):
            object.__setattr__(self, "image", as_stored(image))
        if not (isinstance(captions, tuple) and all(isinstance(text, str) for text in cast("Any", captions))):
            object.__setattr__(self, "captions", _captions(captions))
        for name in ("id", "uri"):
            if not isinstance(getattr(self, name), str):  # a row number, for example
                object.__setattr__(
                    self, name, "" if getattr(self, name) is None else str(getattr(self, name))
                )
        if self.meta:
            object.__setattr__(self, "meta", _plain(self.meta))
        if not self.id:
            object.__setattr__(self, "id", self._own_name())
        if not self.uri:
            place = str(self.image.absolute()) if isinstance(self.image, Path) else self.id
            object.__setattr__(self, "uri", place)

    def _own_name(self) -> str:
        if self.image is not None:
            return name_of(self.image)
        if self.captions:
            return name_of_text(self.captions[0])
        raise DataError("a sample needs an image or a caption: Sample(image='dog.jpg', captions=['a dog'])")

    def read(self) -> bytes:
        """The encoded bytes of the image. Raises OSError if the file can't be read."""
        if self.image is None:
            raise DataError(f"the sample {self.id!r} has no image: give one, Sample(image='dog.jpg')")
        return self.image if isinstance(self.image, bytes) else self.image.read_bytes()


def _captions(value: Any) -> tuple[str, ...]:
    """The captions of a sample in one form. Raises DataError for what is not text."""
    texts = [value] if isinstance(value, str) else [] if value is None else value
    if isinstance(texts, Iterable) and not isinstance(texts, (bytes, Mapping)):
        found = tuple(cast("Iterable[Any]", texts))
        if all(isinstance(text, str) for text in found):
            return found
    raise DataError(f"captions={value!r:.60} is invalid: must be a text or a list of texts")


def _plain(meta: Any) -> Mapping[str, Any]:
    """Metadata with numbers of numpy as Python's. Raises DataError for what is not a mapping."""
    if not isinstance(meta, Mapping):
        raise DataError(f"meta={meta!r:.60} is invalid: must be a dict, such as {{'price': 3}}")
    named = cast("Mapping[str, Any]", meta)
    if not any(isinstance(value, np.generic) for value in named.values()):
        return named
    return {key: value.item() if isinstance(value, np.generic) else value for key, value in named.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An image or row that could not be used, and why; the run went on without it."""

    uri: str
    error: str

    def as_dict(self) -> dict[str, str]:
        return {"uri": self.uri, "error": self.error}


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One item of an index, as it is stored, without its vectors.

    Attributes:
        kind: ``image``, or ``text``: then the caption is the text itself.
        caption: the first caption of an image.
        meta: JSON-compatible.
        sha256: of the encoded image, or of the text in UTF-8.
        width, height: of the image as it is shown, in pixels.
    """

    id: str
    uri: str
    kind: str = "image"
    caption: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict[str, Any])
    sha256: str | None = None
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Embeddings:
    """Embeddings of N inputs at every level: float32, one row of unit length per input.

    ``e[64]`` is the N×64 array of that level; ``e.coarse`` and ``e.fine`` are the first and the last.
    """

    by_width: Mapping[int, FloatArray]
    widths: tuple[int, ...] = field(init=False, compare=False)
    """The widths of the levels, narrowest first."""

    def __post_init__(self) -> None:
        if not self.by_width:
            raise ValueError("embeddings need at least one level")
        object.__setattr__(self, "widths", tuple(sorted(self.by_width)))

    @property
    def coarse(self) -> FloatArray:
        return self.by_width[self.widths[0]]

    @property
    def fine(self) -> FloatArray:
        return self.by_width[self.widths[-1]]

    def __getitem__(self, width: int) -> FloatArray:
        try:
            return self.by_width[width]
        except KeyError:
            raise LevelError(
                f"no level of width {width}: this model has {list(self.widths)}, so give one of these"
            ) from None

    def __repr__(self) -> str:
        *others, last = map(str, self.widths)
        levels = f"{', '.join(others)} and {last}" if others else last
        return f"<Embeddings of {counted(len(self), 'input')}, {levels} numbers each>"

    def __len__(self) -> int:
        return len(self.fine)

    def take(self, rows: Any) -> Embeddings:
        """The embeddings of some rows (anything that indexes a numpy array's first axis)."""
        return Embeddings({width: rows_ND[rows] for width, rows_ND in self.by_width.items()})

    @staticmethod
    def normalised(by_width: Mapping[int, FloatArray]) -> Embeddings:
        """Rows brought to unit length at every level; half precision has moved stored ones a little."""
        return Embeddings({w: v / np.linalg.norm(v, axis=1, keepdims=True) for w, v in by_width.items()})

    @staticmethod
    def concatenate(parts: list[Embeddings]) -> Embeddings:
        """Several parts, one after the other."""
        return Embeddings({w: np.concatenate([part[w] for part in parts]) for w in parts[0].widths})


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Hit:
    """One hit of a search.

    Attributes:
        rank: 1 for the best.
        kind: ``image`` or ``text``.
        score: cosine at the fine level in [-1, 1], computed in float32.
        coarse_score: cosine at the coarse level in [-1, 1], as the coarse index estimates it.
        coarse_rank: rank by the coarse score alone, 1 for the best.
        probability: probability that this image matches the words, in [0, 1]; None if it is not estimated.
        rerank_score: logit of the fusion head, above 0 for a match; None without re-ranking.
        width, height: of the image as it is shown, in pixels; None if unknown.
        similar: ids of further hits that are near-equal to this one, where the search groups them.
    """

    rank: int
    id: str
    uri: str
    score: float
    coarse_score: float
    coarse_rank: int
    kind: str = "image"
    caption: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict[str, Any])
    probability: float | None = None
    rerank_score: float | None = None
    width: int | None = None
    height: int | None = None
    similar: tuple[str, ...] = ()

    def __repr__(self) -> str:
        match = "" if self.probability is None else f", match {self.probability:.0%}"
        return f"<Hit {self.rank}: {self.id!r}, score {self.score:.3f}{match}>"

    def as_dict(self) -> dict[str, Any]:
        return {
            "rank": self.rank,
            "id": self.id,
            "uri": self.uri,
            "kind": self.kind,
            "score": self.score,
            "coarse_score": self.coarse_score,
            "coarse_rank": self.coarse_rank,
            "probability": self.probability,
            "rerank_score": self.rerank_score,
            "caption": self.caption,
            "meta": dict(self.meta),
            "width": self.width,
            "height": self.height,
            "similar": list(self.similar),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Milliseconds of one query in each stage; 0 for a stage that did not run."""

    encode: float = 0.0
    coarse: float = 0.0
    fine: float = 0.0
    rerank: float = 0.0

    @property
    def total(self) -> float:
        return self.encode + self.coarse + self.fine + self.rerank

    def as_dict(self) -> dict[str, float]:
        stages = {"encode": self.encode, "coarse": self.coarse, "fine": self.fine, "rerank": self.rerank}
        return {**stages, "total": self.total}


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Hits:
    """The hits of one query, best first, with the times and the plan of the search.

    A notebook shows them with small pictures. ``pandas.DataFrame(hits.rows())`` is a table of them.
    """

    hits: tuple[Hit, ...]
    timings_ms: Timings
    plan: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.hits)

    def __len__(self) -> int:
        return len(self.hits)

    @overload
    def __getitem__(self, position: int) -> Hit: ...

    @overload
    def __getitem__(self, position: slice) -> tuple[Hit, ...]: ...

    def __getitem__(self, position: int | slice) -> Hit | tuple[Hit, ...]:
        return self.hits[position]

    def __repr__(self) -> str:
        best = f", best {self.hits[0]!r}" if self.hits else ""
        return f"<Hits: {counted(len(self), 'hit')}{best}>"

    def _repr_html_(self) -> str:
        # Found by name: pictures are read and drawn in a layer above this one.
        return import_module("hivlp.sheets.notebook").html(self)

    def rows(self) -> list[dict[str, Any]]:
        """The hits as flat rows, for a table: one dict a hit.

        The metadata of an item are columns of their own; a key that is also a field, such as ``id``, is
        called ``meta.id``.
        """
        rows = list[dict[str, Any]]()
        for hit in self.hits:
            row = hit.as_dict()
            meta = row.pop("meta")
            rows.append(row | {f"meta.{key}" if key in row else key: value for key, value in meta.items()})
        return rows

    def as_dict(self) -> dict[str, Any]:
        return {
            "hits": [hit.as_dict() for hit in self.hits],
            "timings_ms": self.timings_ms.as_dict(),
            "plan": dict(self.plan),
            "notes": list(self.notes),
        }
