"""The plan of a search, and default plans for an index of any size; it searches nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Literal, cast

import numpy as np

from hivlp.errors import QueryError
from hivlp.index.coarse import CODES, LINKS, CoarseSpec, Effort, check_kind
from hivlp.messages import suggestion

_ONLY_FOR = {"lists": "ivf", "nprobe": "ivf", "links": "hnsw", "ef_search": "hnsw"}
ALL_UP_TO = 2_000
"""Up to this many items, scoring all is exact and takes a few milliseconds: two stages do not pay."""
_SCAN_UP_TO = 20_000
_DIMS, _NPROBE = 128, 256
_MINIMUM = {"coarse_width": 1, "dims": 1, "lists": 1, "nprobe": 1, "links": 2, "ef_search": 1}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The plan of a search. JSON-compatible by ``as_dict`` and ``from_dict``.

    Attributes:
        name: a label for people.
        coarse: kind of the coarse index: ``exact``, ``pq``, ``bits``, ``ivf`` or ``hnsw``.
        coarse_width: width of the level that the coarse index reads; None for the narrowest.
        dims: directions of that level that the coarse index keeps (principal ones; random ones for ``bits``);
            None for the level as it is.
        code: how the coarse index stores a row, see ``CoarseSpec``; None for the usual code of its kind.
        lists: inverted lists of ``ivf``; None derives them from the size of the index.
        nprobe: lists of ``ivf`` that a query reads; None for 16.
        links: neighbours of a row in ``hnsw``, at least 2; None for 16.
        ef_search: size of the candidate list of ``hnsw``; None for 64, and never fewer than the candidates.
        candidates: rows that the coarse index passes on, at least 1; ``"all"`` scores every row at the fine
            level and so equals brute force.
        stages: levels between the coarse index and the fine level, each as (width, rows it keeps).
        rerank: number of the best fine rows that the re-ranking function scores again; 0 for none.
    """

    name: str = "cascade"
    coarse: str = "exact"
    coarse_width: int | None = None
    dims: int | None = None
    code: str | None = None
    lists: int | None = None
    nprobe: int | None = None
    links: int | None = None
    ef_search: int | None = None
    candidates: int | Literal["all"] = 200
    stages: tuple[tuple[int, int], ...] = ()
    rerank: int = 0

    def __post_init__(self) -> None:
        check_kind(self.coarse, self.code)
        if self.candidates != "all":
            self._require("candidates", 1, ', or "all"')
        for name, least in _MINIMUM.items():
            if getattr(self, name) is not None:
                self._require(name, least, ", or None")
        for name, kind in _ONLY_FOR.items():
            if getattr(self, name) is not None and self.coarse != kind:
                raise QueryError(
                    f"{name}={getattr(self, name)!r} has no effect with coarse={self.coarse!r}: it is for "
                    f"{kind!r} only, so leave it out"
                )
        self._require("rerank", 0)
        object.__setattr__(self, "stages", _stages(self.stages, self.candidates))

    def _require(self, name: str, least: int, otherwise: str = "") -> None:
        """Refuses a setting that is not a count; numpy integers become Python's, which JSON can store."""
        require_count(name, getattr(self, name), least, otherwise)
        object.__setattr__(self, name, int(getattr(self, name)))

    def spec(self, widths: tuple[int, ...]) -> CoarseSpec:
        """The coarse index that the plan needs, in an index with levels of these widths."""
        known = self._specs.get(widths)
        if known is None:
            known = self._specs[widths] = self._made_spec(widths)
        return known

    @cached_property
    def _specs(self) -> dict[tuple[int, ...], CoarseSpec]:
        return {}

    def _made_spec(self, widths: tuple[int, ...]) -> CoarseSpec:
        return CoarseSpec(
            kind=self.coarse,
            width=self.coarse_width or min(widths),
            dims=self.dims,
            code=self.code or CODES[self.coarse][0],
            lists=self.lists,
            links=self.links or LINKS,
        )

    @cached_property
    def effort(self) -> Effort:
        """How hard the coarse index looks."""
        usual = Effort()
        return Effort(
            nprobe=self.nprobe or usual.nprobe,
            ef_search=self.ef_search or usual.ef_search,
        )

    def as_dict(self) -> dict[str, Any]:
        """The fields that are set, JSON-compatible: without those that are None, and without empty stages."""
        record = {field.name: getattr(self, field.name) for field in fields(self)}
        record["stages"] = [list(stage) for stage in self.stages] or None
        return {name: value for name, value in record.items() if value is not None}

    @staticmethod
    def from_dict(record: Mapping[str, Any]) -> Plan:
        """The plan that ``as_dict`` wrote. Raises QueryError for unknown keys and invalid values."""
        known = [field.name for field in fields(Plan)]
        for key in record:
            if key not in known:
                raise QueryError(f"a plan has no setting {key!r}: {suggestion(key, known)}")
        return Plan(**record)


def default_plan(count: int, widths: Sequence[int], k: int = 10) -> Plan:
    """The plan for an index that was not tuned.

    Scoring everything costs a few milliseconds up to about 2,000 items and is exact. Then a scan of the
    narrowest level with 128 numbers takes over, and inverted lists of its 4-bit codes when that scan would
    take half a millisecond. A model without such a level has the main directions of its finest one.
    docs/search.md says what recall was measured.

    Args:
        count: number of items.
        widths: of the levels of the index.
        k: number of hits.
    """
    if count <= ALL_UP_TO:
        return Plan(name="default-all", candidates="all")
    coarse = min((width for width in widths if width >= _DIMS), default=max(widths))
    kept: dict[str, Any] = {"coarse_width": coarse, "dims": _DIMS if coarse > _DIMS else None}
    if count <= _SCAN_UP_TO:
        return Plan(name="default-scan", code="int8", candidates=max(200, 10 * k), **kept)
    return Plan(
        name="default-ivf", coarse="ivf", code="pq4", nprobe=_NPROBE, candidates=max(400, 10 * k), **kept
    )


def require_count(name: str, value: object, least: int, otherwise: str = "") -> None:
    """Raises QueryError for a value that is not a whole number of at least ``least``.

    ``otherwise`` names what else is allowed, for the message.
    """
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
        raise QueryError(f"{name}={value!r} is invalid: must be a whole number, at least {least}{otherwise}")


def _stages(stages: object, candidates: int | Literal["all"]) -> tuple[tuple[int, int], ...]:
    """The stages as tuples, checked: each keeps no more rows than reach it."""
    if candidates == "all" and stages:
        raise QueryError(f'stages={stages!r} have no effect with candidates="all": leave them out')
    rows, checked = cast("int", candidates), list[tuple[int, int]]()
    try:
        pairs = [(width, keep) for width, keep in cast("Any", stages)]
    except (TypeError, ValueError):
        raise QueryError(
            f"stages={stages!r} is invalid: must be pairs of (width, rows to keep), such as [[128, 50]]"
        ) from None
    for width, keep in pairs:
        require_count("stages: width", width, 1)
        require_count("stages: rows to keep", keep, 1)
        if keep > rows:
            raise QueryError(
                f"the stage at level {width} keeps {keep} rows, but only {rows} reach it: lower it, or raise "
                "candidates"
            )
        checked.append((int(width), int(keep)))
        rows = keep
    return tuple(checked)
