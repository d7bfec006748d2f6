"""The items and queries of a benchmark, on disk, so that every engine's process maps the same bytes.

Real embeddings are made once and stored. Where more are needed, `bench.generator` makes the
rest. Items are stored in float16, as an index stores them, and every engine gets exactly these values.

work/embeddings/<key>/  items.npy     the pictures of a source, encoded
work/data/<key>/        items.f16, queries.npy, texts.json, truth.npz, data.json     one benchmark's vectors

A key has the model's fingerprint and a hash of the code, so vectors of another model or code are never used.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from hivlp.data.sources import open_source
from hivlp.encode import Encoder, encode_stream, load
from hivlp.encode.heads import unit
from hivlp.errors import DataError, ModelError
from hivlp.index.vectors import LevelArray
from hivlp.types import Embeddings, FloatArray
from hivlp_lab.bench import check, generator, provenance, recall
from hivlp_lab.bench.queries import QuerySet, described, query_sets

Say: TypeAlias = Callable[[str], None]
DEFAULT_SOURCE = "scenes:5000"
_ITEMS, _QUERIES, _TEXTS = "items.f16", "queries.npy", "texts.json"
_TRUTH, _ABOUT = "truth.npz", "data.json"
_NESTED_WITHIN = 1e-3
_FEWEST_PICTURES = 100


@dataclass(frozen=True)
class BenchVectors:
    """What every engine searches: N × D items in float16, Q × D queries in float32, and the exact answers.

    Attributes:
        about: how they came to be, JSON-compatible; ``key`` in it names these vectors among all.
        texts: the words of the queries.
    """

    folder: Path
    about: dict[str, Any]
    items_ND: LevelArray
    queries_QD: FloatArray
    truth: recall.Truth
    texts: list[str]

    def part(self, name: str) -> slice:
        """Where the queries of a set stand (see `bench.queries`); empty for a set that is not there."""
        return slice(*self.about["query_sets"].get(name, (0, 0)))

    @property
    def widths(self) -> tuple[int, ...]:
        return tuple(self.about["widths"])

    @classmethod
    def open(cls, folder: Path) -> BenchVectors:
        """Maps what `write` wrote."""
        about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
        mapped = np.memmap(folder / _ITEMS, np.float16, mode="r", shape=(about["items"], about["width"]))
        with np.load(folder / _TRUTH) as stored:
            truth = recall.Truth(stored["rows"], stored["tenth"])
        texts = json.loads((folder / _TEXTS).read_text(encoding="utf-8"))
        return cls(folder, about, np.asarray(mapped), np.load(folder / _QUERIES), truth, texts)


def prepare(
    sources: Sequence[str],
    *,
    items: int,
    query_count: int,
    seed: int,
    work: Path,
    queries: Sequence[str] = (),
    model: str = "mini",
    say: Say = lambda message: None,
) -> BenchVectors:
    """The vectors of a benchmark, from the work folder if they have been made before.

    Args:
        sources: what `open_source` takes: their pictures become items.
        items: how many items; real items first; the rest is generated.
        query_count: how many queries, half to choose plans by and half to report.
        seed: of every random choice.
        work: where embeddings and vectors are kept.
        queries: sources of captions that the model never trained on; none for the split ``val`` of the
            sources.
        model: name or folder of the model.
        say: gets the progress.

    Raises:
        ModelError: the narrower levels of the model are not prefixes of the widest.
        DataError: the sources have too few pictures or captions.
    """
    sources = list(sources) or [DEFAULT_SOURCE]
    encoder = load(model)
    parts = {"sources": sources, "queries": list(queries), "model": encoder.fingerprint, "model_name": model}
    parts |= {"items": items, "query_count": query_count, "seed": seed, "generator": generator.VERSION}
    parts["code"] = provenance.joined(
        provenance.library_code(provenance.ENCODING), provenance.bench_code(provenance.MADE)
    )
    key = provenance.joined(json.dumps(parts, sort_keys=True))
    folder = work / "data" / key
    if (folder / _ABOUT).is_file():
        say(f"vectors: those of {folder}")
        return BenchVectors.open(folder)
    require_nested(encoder)
    sets = query_sets(sources, queries, encoder, count=query_count, seed=seed)
    real_RD = unit(np.concatenate([encoded(source, encoder, work, say) for source in sources]))
    if len(real_RD) < _FEWEST_PICTURES:
        raise DataError(
            f"{', '.join(sources)} gave {len(real_RD):,} pictures; a benchmark needs {_FEWEST_PICTURES}. "
            "Name more sources with --data."
        )
    real_RD = real_RD[np.random.default_rng(seed).permutation(len(real_RD))]
    about = {**parts, "key": key, "real_items": min(items, len(real_RD)), "widths": list(encoder.widths)}
    about["described"] = described(sources, queries)
    return write(folder, real_RD, sets, items=items, seed=seed, about=about, say=say)


def write(
    folder: Path,
    real_RD: FloatArray,
    sets: Mapping[str, QuerySet],
    *,
    items: int,
    seed: int = 0,
    about: dict[str, Any],
    say: Say = lambda message: None,
) -> BenchVectors:
    """Stores items (the real rows first, generated ones behind), queries and the exact answers."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    generated = items - len(real_RD)
    about = {"items": items, "width": real_RD.shape[1], **about, "generated_items": max(0, generated)}
    queries_QD = unit(np.concatenate([one.vectors_QD for one in sets.values()]))
    ends = np.cumsum([len(one.texts) for one in sets.values()]).tolist()
    about["query_sets"] = dict(zip(sets, zip([0, *ends], ends, strict=False), strict=True))
    fitted = None
    if generated > 0:
        say(f"generator: fitting to {len(real_RD):,} real items")
        fitted = generator.fit(real_RD, items, seed=seed)
        about["generator"] = {"scale": fitted.scale, "slope": fitted.slope, "nearest": fitted.typical}
        about["check"] = check.compare(real_RD, queries_QD, seed=seed, say=say)
    with (folder / _ITEMS).open("wb") as file:
        file.write(real_RD[:items].astype(np.float16).data)
        done = min(items, len(real_RD))
        for rows_BD in fitted.rows(generated, seed=seed) if fitted else ():
            file.write(rows_BD.astype(np.float16).data)
            done += len(rows_BD)
            say(f"vectors: {done:,} of {items:,}")
    np.save(folder / _QUERIES, queries_QD)
    (folder / _TEXTS).write_text(json.dumps([text for one in sets.values() for text in one.texts]))
    say(f"exact answers of {len(queries_QD):,} queries")
    mapped = np.memmap(folder / _ITEMS, np.float16, mode="r", shape=(items, real_RD.shape[1]))
    truth = recall.exact(np.asarray(mapped), queries_QD)
    np.savez(folder / _TRUTH, rows=truth.rows_QK, tenth=truth.tenth_Q)
    (folder / _ABOUT).write_text(json.dumps(about), encoding="utf-8")  # last: it says that all is there
    return BenchVectors.open(folder)


def levels(rows_ND: FloatArray, widths: Sequence[int]) -> Embeddings:
    """All levels of a nested model from its widest: prefixes of length 1; the widest stays as it is."""
    return Embeddings(
        {w: rows_ND if w == rows_ND.shape[1] else np.ascontiguousarray(unit(rows_ND[:, :w])) for w in widths}
    )


def require_nested(encoder: Encoder) -> None:
    """Refuses a model whose narrower levels are not normalised prefixes of one vector."""
    found = encoder.encode_texts(["a brown dog", "two boats at sea", "a red dress"])
    for width, prefix_ND in levels(found.fine, found.widths).by_width.items():
        apart = float(np.abs(prefix_ND - found[width]).max())
        if apart > _NESTED_WITHIN:
            raise ModelError(
                f"level {width} of the model {encoder.name!r} is not a prefix of its widest level (they "
                f"differ "
                f"by {apart:.3g}); the benchmark makes all levels from the widest. Give a model with nested "
                "levels."
            )


def encoded(source: str, encoder: Encoder, work: Path, say: Say, *, split: str | None = None) -> FloatArray:
    """Fine vectors of the pictures of a source or of one of its splits, R × D; kept in the work folder."""
    code = provenance.library_code(provenance.ENCODING)
    folder = work / "embeddings" / provenance.joined(source, split or "", encoder.fingerprint, code)
    if not (folder / "source.json").is_file():
        pictures = []
        for batch in encode_stream(encoder, open_source(source, split=split)):
            pictures += [batch.embeddings.fine] if batch.samples else []
            if len(pictures) % 32 == 0:
                say(f"{source}: {sum(map(len, pictures)):,} pictures encoded")
        if not pictures:
            raise DataError(f"{source} holds no picture that can be read; give another source with --data")
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "items.npy", np.concatenate(pictures))
        made_by = {"source": source, "split": split, "model": encoder.fingerprint, "code": code}
        (folder / "source.json").write_text(json.dumps(made_by))
    return np.load(folder / "items.npy")
