"""The items and queries of a benchmark, on disk, so that every engine's process maps the same bytes.

Real embeddings are made once and stored. Where more are needed, `bench.generator` makes the
rest. Items are stored in float16, as an index stores them, and every engine gets exactly these values.

work/embeddings/<key>/  items.npy, captions.npy     a source, encoded
work/data/<key>/        items.f16, queries.npy, truth.npz, data.json     one benchmark's vectors
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
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
from hivlp_lab.bench import check, generator, recall

Say: TypeAlias = Callable[[str], None]
DEFAULT_SOURCE = "scenes:5000"
_ITEMS, _QUERIES, _TRUTH, _ABOUT = "items.f16", "queries.npy", "truth.npz", "data.json"
_NESTED_WITHIN = 1e-3


@dataclass(frozen=True)
class BenchVectors:
    """What every engine searches: N × D items in float16, Q × D queries in float32, and the exact answers.

    Attributes:
        about: how they came to be, JSON-compatible; ``key`` in it names these vectors among all.
    """

    folder: Path
    about: dict[str, Any]
    items_ND: LevelArray
    queries_QD: FloatArray
    truth: recall.Truth

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
        return cls(folder, about, np.asarray(mapped), np.load(folder / _QUERIES), truth)


def prepare(
    sources: Sequence[str],
    *,
    items: int,
    queries: int,
    seed: int,
    work: Path,
    model: str = "mini",
    say: Say = lambda message: None,
) -> BenchVectors:
    """The vectors of a benchmark, from the work folder if they have been made before.

    Args:
        sources: what `open_source` takes: pictures become items, captions become queries.
        items: how many items; real items first; the rest is generated.
        queries: how many captions, drawn from those whose vectors differ.
        seed: of every random choice.
        work: where embeddings and vectors are kept.

    Raises:
        ModelError: the narrower levels of the model are not prefixes of the widest.
        DataError: the sources have too few pictures or captions.
    """
    sources = list(sources) or [DEFAULT_SOURCE]
    encoder = load(model)
    parts = {"sources": sources, "model": encoder.fingerprint, "items": items, "queries": queries}
    parts |= {"seed": seed, "generator": generator.VERSION}
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
    folder = work / "data" / key
    if (folder / _ABOUT).is_file():
        say(f"vectors: those of {folder}")
        return BenchVectors.open(folder)
    require_nested(encoder)
    pairs = [encoded(source, encoder, work, say) for source in sources]
    real_RD, captions_CD = (unit(np.concatenate([pair[n] for pair in pairs])) for n in (0, 1))
    rng = np.random.default_rng(seed)
    captions_CD = np.unique(captions_CD, axis=0)
    if len(captions_CD) < queries or len(real_RD) < 100:
        raise DataError(
            f"{', '.join(sources)} gave {len(real_RD):,} pictures and {len(captions_CD):,} different "
            f"captions; a benchmark needs 100 pictures and {queries:,} queries. Name more "
            "sources with --data, or lower --queries."
        )
    queries_QD = captions_CD[rng.permutation(len(captions_CD))[:queries]]
    real_RD = real_RD[rng.permutation(len(real_RD))]
    about = {**parts, "key": key, "real_items": min(items, len(real_RD)), "widths": list(encoder.widths)}
    return write(folder, real_RD, queries_QD, items=items, seed=seed, about=about, say=say)


def write(
    folder: Path,
    real_RD: FloatArray,
    queries_QD: FloatArray,
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


def encoded(source: str, encoder: Encoder, work: Path, say: Say) -> tuple[FloatArray, FloatArray]:
    """Fine vectors of the pictures and captions of a source."""
    key = hashlib.sha256(f"{source}\n{encoder.fingerprint}".encode()).hexdigest()[:16]
    folder = work / "embeddings" / key
    if not (folder / "source.json").is_file():
        pictures, captions = [], []
        for batch in encode_stream(encoder, open_source(source)):
            pictures += [batch.embeddings.fine] if batch.samples else []
            captions += [caption for sample in batch.samples for caption in sample.captions]
            if len(pictures) % 32 == 0:
                say(f"{source}: {sum(map(len, pictures)):,} pictures encoded")
        if not pictures:
            raise DataError(f"{source} holds no picture that can be read; give another source with --data")
        texts = [encoder.encode_texts(captions[n : n + 256]).fine for n in range(0, len(captions), 256)]
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "items.npy", np.concatenate(pictures))
        np.save(
            folder / "captions.npy", np.concatenate([np.zeros((0, encoder.widths[-1]), np.float32), *texts])
        )
        (folder / "source.json").write_text(json.dumps({"source": source, "model": encoder.fingerprint}))
    return np.load(folder / "items.npy"), np.load(folder / "captions.npy")
