"""The pools that are searched: an index folder of real embeddings grown to any size, and queries for it.

Vectors are those of the shipped model, generated ones behind the real ones (see `bench.generator`), so that
the spectrum and the neighbourhoods are those of learned embeddings. Queries are captions and pictures of the
split val where a source has one, which the model never trained on. All vectors get LightningDOT's width by a
rotation into 768 dimensions, which keeps every cosine; the narrow level is the model's own.

R real rows, N items, B rows of a block, Q queries, D width.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from hivlp.data.sources import open_source
from hivlp.encode import Encoder, load
from hivlp.encode.heads import unit
from hivlp.errors import QueryError
from hivlp.search.plan import Plan
from hivlp.stores.local import LocalStore, LocalView
from hivlp.tune import pareto_front
from hivlp.tune.measure import Measuring
from hivlp.tune.queries import encoded as encoded_texts
from hivlp.tune.trials import Trial
from hivlp.types import Embeddings, FloatArray, Item
from hivlp_lab.bench import generator, provenance
from hivlp_lab.bench.queries import unseen_split
from hivlp_lab.bench.vectors import DEFAULT_SOURCE, encoded

Direction: TypeAlias = Literal["text_to_image", "image_to_text"]
DIRECTIONS: tuple[Direction, ...] = ("text_to_image", "image_to_text")
NARROW, WIDE = 64, 768
CAPTIONS = 5
"""Texts per picture, as in Flickr30k and COCO; a pool has this many times more texts than pictures."""
RECALL = 0.99
_REAL = 10_000  # more real rows change nothing of the shape and make fitting slow
_BATCH = 16_384
_TUNING = 400
_DIMS, _NPROBE, _CANDIDATES = 128, (16, 32, 64, 96, 128, 192, 256, 384), (20, 30, 50, 100, 200, 400, 1000)


@dataclass(frozen=True)
class Pool:
    """One pool, open for searching.

    Attributes:
        candidates: how many rows a query is compared with.
        queries: that tuning has not seen.
        plan: the fastest that keeps a recall@10 of 0.99 by its lower bound, as ``hivlp tune`` measures it.
    """

    direction: Direction
    candidates: int
    store: LocalStore
    queries: Embeddings
    plan: Plan

    @property
    def view(self) -> LocalView:
        return self.store.view()

    def wide(self) -> FloatArray:
        """All rows at the wide level in float32: N × 768."""
        return np.asarray(self.view.level(WIDE), np.float32)


@dataclass(frozen=True, kw_only=True)
class PoolSource:
    """Where the real rows come from.

    Attributes:
        sources: of pictures with captions; none for drawn scenes.
        work: where vectors and pools are kept.
        queries: how many are searched for; twice as many are drawn, half of them to tune with.
    """

    work: Path
    sources: Sequence[str] = ()
    queries: int = 200
    seed: int = 0
    say: Callable[[str], None] = lambda message: None

    def pool(self, direction: Direction, pictures: int) -> Pool:
        """The pool of one direction, made and tuned unless it was before."""
        candidates = pictures * (CAPTIONS if direction == "image_to_text" else 1)
        parts = [list(self.sources) or [DEFAULT_SOURCE], self._encoder.fingerprint, self.queries, self.seed]
        parts += [direction, candidates, generator.VERSION]
        code = [provenance.library_code(some) for some in (provenance.ENCODING, provenance.SEARCHING)]
        key = provenance.joined(json.dumps(parts), *code)
        folder = self.work / "pools" / key
        if not (folder / "done").is_file():
            self._make(folder, direction, candidates)
        store = LocalStore.open(folder / "index.hivlp")
        queries = _levels(np.load(folder / "queries.npy")[self._tuning :])
        plan = Plan.from_dict(json.loads((folder / "plan.json").read_text(encoding="utf-8")))
        return Pool(direction, candidates, store, queries, plan)

    @cached_property
    def _encoder(self) -> Encoder:
        return load("mini")

    @property
    def _tuning(self) -> int:
        return max(_TUNING, self.queries)

    def _make(self, folder: Path, direction: Direction, candidates: int) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        real_RD, queries_QD = self._real(direction)
        self.say(f"{direction}, {candidates:,} candidates: generating vectors")
        with LocalStore.create(
            folder / "index.hivlp",
            model_name="reproduce",
            model_fingerprint="reproduce",
            widths=(NARROW, WIDE),
            preprocessing={},
        ) as store:
            start = 0
            for rows_BD in _blocks(_grown(real_RD, candidates, self.seed)):
                items = [Item(id=str(row), uri=f"{row}") for row in range(start, start + len(rows_BD))]
                store.append(items, _levels(rows_BD))
                start += len(rows_BD)
            self.say(f"{direction}, {candidates:,} candidates: choosing a plan")
            plan = _fastest(store, _levels(queries_QD[: self._tuning]))
        (folder / "plan.json").write_text(json.dumps(plan.as_dict()), encoding="utf-8")
        np.save(folder / "queries.npy", queries_QD)
        (folder / "done").touch()

    def _real(self, direction: Direction) -> tuple[FloatArray, FloatArray]:
        """Real rows of the searched kind, and queries of the other kind, at the model's widest level."""
        if direction == "text_to_image":
            items_RD, asked_RD = self._pictures(unseen=False), self._captions(unseen=True)
        else:
            items_RD, asked_RD = self._captions(unseen=False), self._pictures(unseen=True)
        wanted = self._tuning + self.queries
        if len(asked_RD) < wanted or len(items_RD) < 100:
            raise QueryError(
                f"the sources gave {len(items_RD):,} different items and {len(asked_RD):,} queries of the "
                f"split val; {direction} needs 100 items and {wanted:,} queries. "
                "Name more sources with --data."
            )
        rng = np.random.default_rng(self.seed)
        queries_QD = asked_RD[rng.permutation(len(asked_RD))[:wanted]]
        return items_RD[rng.permutation(len(items_RD))[:_REAL]], queries_QD

    def _pictures(self, *, unseen: bool) -> FloatArray:
        """The different vectors of all pictures, or of those that the model never trained on."""
        parts = self._parts(unseen=unseen)
        encoder, work = self._encoder, self.work
        return _different([encoded(one, encoder, work, self.say, split=split) for one, split in parts])

    def _captions(self, *, unseen: bool) -> FloatArray:
        """The different vectors of all captions, or of those that the model never trained on."""
        parts = self._parts(unseen=unseen)
        samples = (sample for one, split in parts for sample in open_source(one, split=split))
        texts = [text for sample in samples for text in sample.captions]
        if not texts:
            raise QueryError(
                f"{', '.join(one for one, _ in parts)}: no captions; name sources of pairs with --data"
            )
        self.say(f"encoding {len(texts):,} captions")
        return _different([encoded_texts(self._encoder, texts).fine])

    def _parts(self, *, unseen: bool) -> list[tuple[str, str | None]]:
        """The sources, each with the split to read."""
        sources = list(self.sources) or [DEFAULT_SOURCE]
        return [(one, unseen_split(one) if unseen else None) for one in sources]


def _different(parts: Sequence[FloatArray]) -> FloatArray:
    return np.unique(unit(np.concatenate(parts)), axis=0)


def _fastest(store: LocalStore, queries: Embeddings) -> Plan:
    """The fastest of a few plans that keeps the promised recall; scoring all rows where none does.

    A scan of the narrow level, and inverted lists over the principal directions of the wide one: of what
    `hivlp tune` would try, the plans that have won at any size.
    """
    view = store.view()
    measuring = Measuring(view, queries, 10, target=RECALL)
    bases = [Plan(coarse="exact"), Plan(coarse="exact", code="int8")]
    for nprobe in (nprobe for nprobe in _NPROBE if nprobe**2 <= view.mask.live):
        bases += [
            Plan(coarse="ivf", code=code, coarse_width=WIDE, dims=_DIMS, nprobe=nprobe)
            for code in ("int8", "pq4")
        ]
    counts = tuple(count for count in _CANDIDATES if count < view.mask.live)
    screened = [one for base in bases for one in measuring.screened(Trial(base=base, candidates=counts))]
    measured = pareto_front([measuring.whole(one) for one in pareto_front(screened)])
    enough = (one.plan for one in measured if one.recall_low >= RECALL)
    return next(enough, Plan(candidates="all"))


def _grown(real_RD: FloatArray, count: int, seed: int) -> Iterator[FloatArray]:
    """The real rows, then generated ones, ``count`` in all."""
    yield real_RD[:count]
    if count > len(real_RD):
        yield from generator.fit(real_RD, count, seed=seed).rows(count - len(real_RD), seed=seed)


def _blocks(parts: Iterator[FloatArray]) -> Iterator[FloatArray]:
    for part in parts:
        yield from (part[start : start + _BATCH] for start in range(0, len(part), _BATCH))


def _levels(rows_BD: FloatArray) -> Embeddings:
    """Both levels of rows at the model's widest level, rotated into the wide one."""
    narrow_BN = np.ascontiguousarray(unit(rows_BD[:, :NARROW]), np.float32)
    wide_BW = unit(rows_BD @ _rotation(rows_BD.shape[1]).T)
    return Embeddings({NARROW: narrow_BN, WIDE: np.ascontiguousarray(wide_BW, np.float32)})


def _rotation(width: int) -> FloatArray:
    """Orthonormal columns, WIDE × width: lengths and angles stay as they are."""
    random_WD = np.random.default_rng(7).standard_normal((WIDE, width))
    return np.linalg.qr(random_WD)[0].astype(np.float32)
