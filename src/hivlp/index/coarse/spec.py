"""What a coarse index is made of: its kind, the level it reads and the code it keeps; it builds nothing.

Equal specs over the same rows are the same coarse index, so a spec is also its name on the disk.
"""

from __future__ import annotations

from dataclasses import dataclass

from hivlp.errors import QueryError
from hivlp.messages import suggestion

CODES: dict[str, tuple[str, ...]] = {
    "exact": ("float16", "int8"),
    "pq": ("pq4",),
    "bits": ("bits",),
    "ivf": ("int8", "float16", "pq4"),
    "hnsw": ("int8", "float16"),
}
"""Kind of a coarse index -> the codes it can keep, the usual one first."""

LINKS = 16


@dataclass(frozen=True, kw_only=True)
class CoarseSpec:
    """The recipe of one coarse index.

    Attributes:
        kind: a key of ``CODES``: ``exact`` scans all codes, ``pq`` scans 4-bit product-quantised ones,
            ``bits`` counts differing signs, ``ivf`` scans the nearest of many lists, ``hnsw`` walks a graph.
        width: of the level that it reads.
        dims: stored directions of the level: the principal ones of this very index, for ``bits``
            random ones; None takes the level as it is.
        code: form of a stored row: ``float16``, ``int8``, ``pq4`` (4 bits per direction) or ``bits`` (1 bit).
        lists: number of inverted lists of ``ivf``; None goes by the number of rows.
        links: neighbours a row keeps in ``hnsw``.
    """

    kind: str
    width: int
    dims: int | None = None
    code: str = "float16"
    lists: int | None = None
    links: int = LINKS

    def __post_init__(self) -> None:
        if self.dims is not None and not 1 <= self.dims <= self.width:
            raise QueryError(
                f"dims={self.dims} is invalid for a level of width {self.width}: must be in "
                f"[1, {self.width}], or None for the whole level."
            )

    @property
    def name(self) -> str:
        """Such as ``ivf-512-d32-int8``: unique among specs, and fit for a file name."""
        parts = [self.kind, str(self.width)]
        parts += [f"d{self.dims}"] if self.dims is not None else []
        parts += [self.code]
        parts += [f"l{self.lists}"] if self.lists is not None else []
        parts += [f"m{self.links}"] if self.kind == "hnsw" else []
        return "-".join(parts)


def check_kind(kind: object, code: object) -> None:
    """Refuses an unknown kind, and a code that the kind does not store."""
    if str(kind) not in CODES:  # a plan from JSON may hold anything, lists too
        raise QueryError(f"coarse={kind!r} is not a coarse index; {suggestion(str(kind), sorted(CODES))}")
    if code is not None and code not in CODES[str(kind)]:
        raise QueryError(
            f"code={code!r} is not a code of the coarse index {kind!r}; "
            f"choose {' or '.join(CODES[str(kind)])}."
        )
