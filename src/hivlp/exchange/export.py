"""An index written as a folder of embeddings: every live item, shard by shard, never all in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hivlp.data.sources.parquet import pyarrow_parquet
from hivlp.errors import QueryError
from hivlp.exchange.layout import STEMS, EmbeddingFolder, KindFiles, ModelRecord, shard_name
from hivlp.files import new_folder
from hivlp.index.items import StaleState, record
from hivlp.index.manifest import package_version
from hivlp.index.rotation import Rotation
from hivlp.stores.local import LocalStore, LocalView
from hivlp.types import IntArray, Progress

SHARD_SIZE = 1_000_000
_BLOCK_ROWS = 8_192
_PURPOSE = "exporting an index"
_COLUMNS = ("id", "kind", "image_path", "caption", "meta", "sha256", "width", "height")  # as `record` gives


def export_index(
    store: LocalStore,
    out: str | Path,
    *,
    shard_size: int = SHARD_SIZE,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Writes the live items of an index and their vectors at every level, as they are stored.

    Args:
        store: the index.
        out: the folder to make; it is complete or absent.
        shard_size: rows a file, at least 1.
        progress: see `types.Progress`; it counts items.

    Returns:
        ``out``, ``items``, ``kinds`` and ``files``, JSON-compatible.

    Raises:
        QueryError: ``out`` is not empty, or the shard size is below 1.
        MissingExtraError: pyarrow is not installed.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise QueryError(f"{out} exists already, and an export overwrites nothing; name a new folder")
    if shard_size < 1:
        raise QueryError(f"shard_size={shard_size} is invalid: must be at least 1, such as {SHARD_SIZE}")
    pyarrow_parquet(_PURPOSE)
    # A reader of its own stays at one state of the index, and no other reader waits for it.
    with new_folder(out) as draft, LocalStore.open(store.folder.path) as reader:
        draft.mkdir()
        counts = _Export(reader, draft, shard_size, progress).run()
    files = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    return {"out": str(out), "items": sum(counts.values()), "kinds": counts, "files": files}


class _Shard(NamedTuple):
    """The files of one shard and the rows of the index that they take."""

    vectors: dict[int, Path]
    metadata: Path
    rows: IntArray


@dataclass
class _Export:
    """One export; all of it is of one moment of the index."""

    store: LocalStore
    folder: Path
    shard_size: int
    progress: Progress | None
    done: int = 0

    def run(self) -> dict[str, int]:
        while True:
            view = self.store.view()
            try:
                with self.store.folder.items.at(view.state.generation):
                    return self._run(view)
            except StaleState:  # compacted between the two lines above
                self.store.refresh()

    def _run(self, view: LocalView) -> dict[str, int]:
        items = self.store.folder.items
        rows_of = {
            kind: view.mask.only(items.rows_where(None, kind=kind)).live_rows() for kind in items.kinds()
        }
        parts = tuple(
            _part(kind, view.widths, len(rows), alone=number == 0)
            for number, (kind, rows) in enumerate(rows_of.items())
        )
        counts = {kind: len(rows) for kind, rows in rows_of.items()}
        for part in parts:
            for shard in self._shards(part, rows_of[part.kind]):
                _write_vectors(shard, view)
                self._write_items(shard, total=sum(counts.values()))
        made_by = self.store.folder.manifest
        if (rotation := Rotation.read(self.store.folder.path)) is not None:
            rotation.write(self.folder)
        model = ModelRecord(
            name=made_by.model_name,
            fingerprint=made_by.model_fingerprint,
            widths=made_by.widths,
            preprocessing=made_by.preprocessing,
        )
        layout = EmbeddingFolder(folder=self.folder, parts=parts, model=model)
        layout.write(self.folder, {"items": sum(counts.values()), "hivlp_version": package_version()})
        return counts

    def _shards(self, part: KindFiles, rows: IntArray) -> Iterator[_Shard]:
        assert part.metadata is not None
        for name in (*part.levels.values(), part.metadata):
            (self.folder / name).mkdir()
        count = -(-len(rows) // self.shard_size)
        for number in range(count):
            yield _Shard(
                {w: self.folder / shard_name(n, number, count, ".npy") for w, n in part.levels.items()},
                self.folder / shard_name(part.metadata, number, count, ".parquet"),
                rows[number * self.shard_size : (number + 1) * self.shard_size],
            )

    def _write_items(self, shard: _Shard, total: int) -> None:
        import pyarrow

        schema = pyarrow.schema(
            {name: pyarrow.int64() if name in ("width", "height") else pyarrow.string() for name in _COLUMNS}
        )
        with pyarrow_parquet(_PURPOSE).ParquetWriter(shard.metadata, schema) as writer:
            for block in _blocks(len(shard.rows)):
                items = self.store.folder.items.fetch(shard.rows[block].tolist())
                lines = zip(*map(record, items), strict=True)
                columns = {name: list(line) for name, line in zip(_COLUMNS, lines, strict=True)}
                writer.write_batch(pyarrow.RecordBatch.from_pydict(columns, schema=schema))
                self.done += len(items)
                if self.progress is not None:
                    self.progress("", self.done, total)


def _part(kind: str, widths: tuple[int, ...], count: int, *, alone: bool) -> KindFiles:
    stem = STEMS.get(kind, f"{kind}_emb")
    names = {width: f"level_{width}_{stem}" for width in widths[:-1]}
    # Other tools take metadata/ for the rows of img_emb/; texts beside pictures need their own.
    metadata = "metadata" if alone else f"{kind}_metadata"
    return KindFiles(kind=kind, levels={**names, widths[-1]: stem}, metadata=metadata, count=count)


def _write_vectors(shard: _Shard, view: LocalView) -> None:
    for width, path in shard.vectors.items():
        level_ND = view.level(width)
        target_ND = np.lib.format.open_memmap(
            path, mode="w+", dtype=level_ND.dtype, shape=(len(shard.rows), width)
        )
        for block in _blocks(len(shard.rows)):
            target_ND[block] = level_ND[shard.rows[block]]
        target_ND.flush()


def _blocks(rows: int) -> Iterator[slice]:
    return (slice(start, start + _BLOCK_ROWS) for start in range(0, rows, _BLOCK_ROWS))
