"""The plans that are worth measuring on an index of some size; it measures nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hivlp.index.coarse import CODES, principal_directions
from hivlp.search.cascade import View
from hivlp.search.plan import Plan

_CANDIDATES = (10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 400, 600, 1_000, 2_000)
_NPROBE = (4, 8, 16, 24, 32, 48, 64, 96, 128, 256)
_EF_SEARCH = (32, 64, 128, 256, 512)
# Inverted lists in float16 find what those in int8 find, and take twice the memory.
_CODES = {**CODES, "ivf": ("int8", "pq4"), "hnsw": ("int8",)}
_SPECTRUM_ROWS = 20_000


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One coarse index with one effort, to be measured with several numbers of candidates."""

    base: Plan
    candidates: tuple[int, ...]

    def plans(self) -> Iterator[Plan]:
        for count in self.candidates:
            yield replace(self.base, name=f"{self.base.name}-{count}", candidates=count)


def trials(view: View, kinds: Sequence[str]) -> Iterator[Trial]:
    """Coarse indexes of some kinds with every effort that can be useful at this size."""
    live, narrow, fine = view.mask.live, view.widths[0], view.widths[-1]
    candidates = tuple(count for count in _CANDIDATES if count < live)
    dims = _useful_dims(view)
    for kind in kinds:
        for code in _CODES[kind]:
            for width, kept_dims in _readings(kind, code, narrow, fine, dims):
                parts = [kind, code, str(width if kept_dims is None else kept_dims)]
                base = Plan(name="-".join(parts), coarse=kind, code=code, coarse_width=width, dims=kept_dims)
                for plan in _efforts(base, live):
                    yield Trial(base=plan, candidates=candidates)


def _readings(
    kind: str, code: str, narrow: int, fine: int, dims: Sequence[int]
) -> Iterator[tuple[int, int | None]]:
    """Which level, and how many directions of it, are worth trying with a kind and a code."""
    if kind == "bits":
        yield from ((fine, bits) for bits in (fine // 2, fine) if bits >= 64)
        return
    if code != "pq4":
        yield narrow, None
    if code != "float16":  # in float16 the narrow level is there already, as it is
        yield from ((fine, kept_dims) for kept_dims in dims if kept_dims < fine)


def _efforts(base: Plan, live: int) -> Iterator[Plan]:
    if base.coarse == "ivf":
        for nprobe in _NPROBE:
            if nprobe <= math.sqrt(live):
                yield replace(base, name=f"{base.name}-nprobe{nprobe}", nprobe=nprobe)
    elif base.coarse == "hnsw":
        for ef_search in _EF_SEARCH:
            yield replace(base, name=f"{base.name}-ef{ef_search}", ef_search=ef_search)
    else:
        yield base


def _useful_dims(view: View) -> list[int]:
    """How many principal directions carry 95 and 99 % of the fine level, in steps of 16."""
    live_N = view.mask.live_rows()
    level_ND = view.level(view.widths[-1])
    sample_ND = level_ND[live_N[:: max(1, len(live_N) // _SPECTRUM_ROWS)]].astype(np.float32)
    width = sample_ND.shape[1]
    directions_DD = principal_directions(sample_ND, width)
    energy_D = np.square(sample_ND @ np.transpose(directions_DD)).sum(axis=0, dtype=np.float64)
    carried_D = np.cumsum(energy_D) / energy_D.sum()
    counts = [int(np.searchsorted(carried_D, share)) + 1 for share in (0.95, 0.99)]
    return sorted({min(width, 16 * math.ceil(count / 16)) for count in counts})
