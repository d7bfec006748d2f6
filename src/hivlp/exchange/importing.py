"""A folder of embeddings read into a new index: an exported one as it was, one of other tools with checks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hivlp.data.sources.base import plain
from hivlp.data.sources.parquet import pyarrow_parquet
from hivlp.errors import DataError, IndexFolderError
from hivlp.exchange.layout import EmbeddingFolder, KindFiles, ModelRecord, matched, open_vectors, read_layout
from hivlp.files import new_folder
from hivlp.index.rotation import Rotation
from hivlp.stores.local import LocalStore
from hivlp.types import Embeddings, FloatArray, Item, Progress

_PURPOSE = "importing an index"
_BATCH_ROWS = 8_192
_ID_COLUMNS = ("id", "key", "image_path", "url")
_PLACE_COLUMNS = ("image_path", "url")
_CAPTION_COLUMNS = ("caption", "text")


def import_index(
    folder: str | Path,
    out: str | Path,
    *,
    model: ModelRecord | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Makes an index of a folder of embeddings.

    Args:
        folder: one that ``export_index`` wrote, or one in clip-retrieval's layout; of that, vectors are
            brought to length 1, and the metadata needs a column ``id``, ``key``, ``image_path`` or ``url``.
        out: the index folder to make; it is complete or absent.
        model: the model of the vectors. Required where the folder does not name it; checked where it does.
        progress: see `types.Progress`; it counts items.

    Returns:
        ``index``, ``items``, ``kinds``, ``widths`` and ``notes``, JSON-compatible.

    Raises:
        DataError: the folder has another layout or is damaged; the message names the file and the row.
        IndexFolderError: ``out`` is not empty, or another model made the vectors.
        MissingExtraError: pyarrow is not installed.
    """
    layout, out = read_layout(Path(folder)), Path(out)
    made_by = _made_by(layout, model)
    pyarrow_parquet(_PURPOSE)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise IndexFolderError(f"{out} exists already, and an import makes a new index; name a new path")
    with (
        new_folder(out) as draft,
        LocalStore.create(
            draft,
            model_name=made_by.name,
            model_fingerprint=made_by.fingerprint,
            widths=layout.widths or made_by.widths,
            preprocessing=made_by.preprocessing,
        ) as store,
    ):
        if (rotation := Rotation.read(layout.folder)) is not None:
            rotation.write(draft)
        _Import(layout, store, progress).run()
        store.prepare()
        info = store.info()
    facts = {name: info[name] for name in ("items", "kinds", "widths")}
    return {"index": str(out), **facts, "notes": list(layout.notes)}


def _made_by(layout: EmbeddingFolder, model: ModelRecord | None) -> ModelRecord:
    """The model of the vectors, checked against the manifest."""
    if layout.model is None:
        if model is None:
            raise DataError(
                f"{layout.folder} does not say which model made its vectors; name it with --model, or "
                "model=..."
            )
        unknown = sorted(set(layout.widths) - set(model.widths))
        if unknown:
            raise DataError(
                f"{layout.folder} has vectors of width {unknown[0]}, and the model {model.name!r} has the "
                f"levels {list(model.widths)}; name the model that made these vectors"
            )
        return model
    if model is not None and model.fingerprint != layout.model.fingerprint:
        raise IndexFolderError(
            f"{layout.folder} was made with the model {layout.model.name!r} ({layout.model.fingerprint}), "
            f"and this is {model.name!r} ({model.fingerprint}). Pass the first model, or none."
        )
    return layout.model if model is None else model


class _Import:
    """One run over all parts and shards."""

    def __init__(self, layout: EmbeddingFolder, store: LocalStore, progress: Progress | None) -> None:
        self.layout = layout
        self.store = store
        self.progress = progress
        self.done = 0

    def run(self) -> None:
        parts = [(part, list(matched(self.layout, part))) for part in self.layout.parts if part.count != 0]
        rows = {path: _rows(vectors, path) for _, shards in parts for vectors, path in shards}
        for part, shards in parts:
            found = sum(rows[path] for _, path in shards)
            if part.count not in (None, found):
                raise DataError(
                    f"{self.layout.folder} holds {found} vectors of kind {part.kind}, and its manifest says "
                    f"{part.count}; copy the folder again"
                )
        for part, shards in parts:
            for vectors, path in shards:
                self._read_shard(part, vectors, path, sum(rows.values()))

    def _read_shard(self, part: KindFiles, vectors: Mapping[int, Path], path: Path, total: int) -> None:
        levels = {width: open_vectors(file) for width, file in vectors.items()}
        first = 0
        for items in self._items(part, path):
            rows = slice(first, first + len(items))
            by_width = {
                width: self._checked(level_ND[rows].astype(np.float32), vectors[width], first)
                for width, level_ND in levels.items()
            }
            self._check_ids(items, path, first)
            self.store.append(items, Embeddings(by_width))
            first += len(items)
            self.done += len(items)
            if self.progress is not None:
                self.progress("", self.done, total)

    def _checked(self, rows_ND: FloatArray, path: Path, first: int) -> FloatArray:
        """The vectors, of length 1 where they come from other tools; our own stay as they are, to the bit."""
        with np.errstate(invalid="ignore", over="ignore"):
            lengths_N = np.sqrt(np.einsum("nd,nd->n", rows_ND, rows_ND, dtype=np.float64))
        wrong_N = ~(np.isfinite(lengths_N) & (lengths_N > 0))
        if wrong_N.any():
            row = int(np.argmax(wrong_N))
            raise DataError(
                f"{path} row {first + row} is a vector of length {lengths_N[row]:g}, and every vector must "
                "be finite and not zero; leave this row out of all files of its shard"
            )
        return rows_ND if self.layout.model else (rows_ND / lengths_N[:, None]).astype(np.float32)

    def _items(self, part: KindFiles, path: Path) -> Iterator[list[Item]]:
        make = _own if self.layout.model else _foreign
        done = 0
        items: list[Item] = []
        try:
            with pyarrow_parquet(_PURPOSE).ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                    items = []
                    for cells in batch.to_pylist():
                        items.append(make(cells, part.kind))
                    yield items
                    done += len(items)
        except (OSError, KeyError, TypeError, ValueError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise DataError(
                f"{path} row {done + len(items)} can't be read as an item ({reason}); write the file again"
            ) from error

    def _check_ids(self, items: list[Item], path: Path, first: int) -> None:
        known = set(self.store.known_ids(item.id for item in items))
        for row, item in enumerate(items, start=first):
            if item.id in known:
                raise DataError(
                    f"{path} row {row} has the id {item.id!r} of an earlier row; give the items different "
                    f"ids, in the first of the columns {', '.join(_ID_COLUMNS)} that there is"
                )
            known.add(item.id)


def _rows(vectors: Mapping[int, Path], path: Path) -> int:
    """Rows of a shard, which all of its files must have."""
    try:
        described = int(pyarrow_parquet(_PURPOSE).ParquetFile(path).metadata.num_rows)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} can't be read as parquet ({error}); copy it again") from error
    for width, file in vectors.items():
        count, found = open_vectors(file).shape
        if found != width:
            raise DataError(f"{file} has vectors of width {found}, and {width} is needed; copy it again")
        if count != described:
            raise DataError(
                f"{file} has {count} rows and {path} has {described}; both describe the same items, so copy "
                "or make them again"
            )
    return described


def _own(cells: Mapping[str, Any], kind: str) -> Item:
    return Item(
        id=cells["id"],
        kind=kind,
        uri=cells["image_path"],
        caption=cells["caption"],
        meta=json.loads(cells["meta"]),
        sha256=cells["sha256"],
        width=cells["width"],
        height=cells["height"],
    )


def _foreign(cells: Mapping[str, Any], kind: str) -> Item:
    """What other tools write: img2dataset's columns for the most part; all others become metadata."""
    name = _first(cells, _ID_COLUMNS)
    if name is None:
        raise ValueError(f"it has no value in any of the columns {', '.join(_ID_COLUMNS)}")
    caption = _first(cells, _CAPTION_COLUMNS)
    used = {"id", "image_path", "caption", "sha256", "width", "height", "kind"}
    return Item(
        id=str(name),
        kind=kind,
        uri=str(_first(cells, _PLACE_COLUMNS) or name),
        caption=None if caption is None else str(caption),
        meta={key: plain(value) for key, value in cells.items() if key not in used},
        sha256=str(cells["sha256"]) if cells.get("sha256") else None,
        width=_whole(cells.get("width")),
        height=_whole(cells.get("height")),
    )


def _first(cells: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((cells[name] for name in names if cells.get(name) is not None), None)


def _whole(value: Any) -> int | None:
    """A number of pixels; pandas makes fractions of them where one is missing."""
    return int(value) if isinstance(value, (int, float)) and value == value and abs(value) < 1e9 else None
