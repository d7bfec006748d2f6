"""A folder of embeddings read into a new index: an exported one as it was, one of other tools with checks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hivlp.data.sources.base import clean_captions, plain
from hivlp.data.sources.cells import is_missing
from hivlp.data.sources.parquet import pyarrow_parquet
from hivlp.errors import DataError, IndexFolderError, NothingUsableError, first_reasons
from hivlp.exchange.ids import read_ids
from hivlp.exchange.layout import (
    EmbeddingFolder,
    KindFiles,
    ModelRecord,
    Shard,
    matched,
    open_vectors,
    read_layout,
)
from hivlp.files import new_folder
from hivlp.index.rotation import Rotation
from hivlp.messages import counted
from hivlp.stores.local import LocalStore
from hivlp.types import Embeddings, Failure, FloatArray, Item, Progress

_PURPOSE = "importing an index"
_BATCH_ROWS = 8_192
_PATH_COLUMNS = ("path", "filepath", "file_path", "file_name", "filename", "image", "uri")
_ID_COLUMNS = ("id", "key", "image_path", "url", *_PATH_COLUMNS)
_PLACE_COLUMNS = ("image_path", "url", *_PATH_COLUMNS)
_CAPTION_COLUMNS = ("caption", "text")


def import_index(
    folder: str | Path,
    out: str | Path,
    *,
    model: ModelRecord | None = None,
    ids: str | Path | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Makes an index of a folder of embeddings.

    Args:
        folder: one that ``export_index`` wrote, one in clip-retrieval's layout, or a file ``.npy`` of
            vectors. Those of other tools are brought to length 1. Ids are the column ``id``, ``key``,
            ``image_path`` or ``url`` of the metadata; a row without one is named by its file and number.
        out: the index folder to make; it is complete or absent.
        model: the model of the vectors. Required where the folder does not name it; checked where it does.
        ids: a file that names the items in the order of the vectors: a ``.txt`` of lines, a ``.json`` list,
            or a table; its other columns describe them. It takes the place of the metadata.
        strict: refuse the folder where a vector is zero or not finite, or an id repeats; else such rows are
            skipped and listed, and such items get ids of their own.
        progress: see `types.Progress`; it counts items.

    Returns:
        ``index``, ``items``, ``kinds``, ``widths``, ``failed`` and ``notes``, JSON-compatible.

    Raises:
        DataError: the folder has another layout or is damaged; the message names the file and the row.
        NothingUsableError: not one row can be used.
        IndexFolderError: ``out`` is not empty, or another model made the vectors.
        MissingExtraError: pyarrow is not installed.
    """
    layout, out = read_layout(Path(folder)), Path(out)
    made_by = _made_by(layout, model)
    described = None if ids is None else read_ids(Path(ids))
    if described is None and any(part.metadata for part in layout.parts):
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
        reading = _Import(layout, store, described, strict=strict, progress=progress)
        reading.run()
        if reading.failed and len(reading.failed) == reading.done:
            raise NothingUsableError(f"no row of {folder} can be used; {first_reasons(reading.failed)}")
        store.prepare()
        info = store.info()
    return {
        "index": str(out),
        **{name: info[name] for name in ("items", "kinds", "widths")},
        "failed": [failure.as_dict() for failure in reading.failed],
        "notes": [*layout.notes, *reading.notes()],
    }


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

    def __init__(
        self,
        layout: EmbeddingFolder,
        store: LocalStore,
        described: list[Mapping[str, Any]] | None,
        *,
        strict: bool,
        progress: Progress | None,
    ) -> None:
        self.layout = layout
        self.store = store
        self.described = described
        self.strict = strict
        self.progress = progress
        self.done = 0
        self.failed: list[Failure] = []
        self.gaps: list[str] = []
        self.unnamed: list[str] = []
        self.renamed: list[str] = []

    def run(self) -> None:
        parts = [(part, list(matched(self.layout, part))) for part in self.layout.parts if part.count != 0]
        counts = [sum(map(_rows, files)) for _, files in parts]
        total = sum(counts)
        for (part, _), found in zip(parts, counts, strict=True):
            if part.count not in (None, found):
                raise DataError(
                    f"{self.layout.folder} holds {found} vectors of kind {part.kind}, and its manifest says "
                    f"{part.count}; copy the folder again"
                )
        if self.described is not None and len(self.described) != total:
            raise DataError(
                f"there are {len(self.described):,} ids and {total:,} vectors; each vector needs one, in the "
                "same order"
            )
        for part, files in parts:
            self._note_gaps([shard.number for shard in files])
            for shard in files:
                self._read_shard(part, shard, total)

    def _note_gaps(self, numbers: list[int]) -> None:
        gaps = sorted(set(range(min(numbers), max(numbers))) - set(numbers)) if numbers else []
        if gaps:
            named = ", ".join(map(str, gaps[:5])) + (", …" if len(gaps) > 5 else "")
            self.gaps.append(
                f"the shards from {min(numbers)} to {max(numbers)} lack {named}; copy them too if they exist"
            )

    def notes(self) -> list[str]:
        """Shards that seem to be missing, and what became of ids."""
        notes = list(self.gaps)
        if self.unnamed:
            notes.append(
                f"{counted(len(self.unnamed), 'row')} without an id named by file and number, such as "
                f"{self.unnamed[0]!r}; give ids with --ids FILE"
            )
        if self.renamed:
            notes.append(
                f"{counted(len(self.renamed), 'id')} of earlier rows met again; the later items have the "
                f"number of their shard before it, such as {self.renamed[0]!r}"
            )
        return notes

    def _read_shard(self, part: KindFiles, shard: Shard, total: int) -> None:
        levels = {width: open_vectors(file) for width, file in shard.vectors.items()}
        first = 0
        for items in self._items(part, shard, len(levels[max(levels)])):
            rows = slice(first, first + len(items))
            vectors = {width: level_ND[rows].astype(np.float32) for width, level_ND in levels.items()}
            good_N = self._checked(vectors, shard, first)
            items = self._with_own_ids(items, shard, first)
            kept = [item for item, good in zip(items, good_N, strict=True) if good]
            if kept:
                by_width = {width: self._normalised(level_ND[good_N]) for width, level_ND in vectors.items()}
                self.store.append(kept, Embeddings(by_width))
            first += len(items)
            self.done += len(items)
            if self.progress is not None:
                self.progress("", self.done, total)

    def _checked(self, vectors: Mapping[int, FloatArray], shard: Shard, first: int) -> NDArray[np.bool_]:
        """Which rows are finite and not zero at every level; the others are listed, or refused if strict."""
        good_N = np.ones(len(next(iter(vectors.values()))), dtype=np.bool_)
        for width, level_ND in vectors.items():
            lengths_N = _lengths(level_ND)
            wrong_N = ~(np.isfinite(lengths_N) & (lengths_N > 0)) & good_N
            good_N &= ~wrong_N
            for row in np.flatnonzero(wrong_N).tolist():
                where = f"{shard.vectors[width]} row {first + row}"
                problem = (
                    f"is a vector of length {lengths_N[row]:g}, and every vector must be finite and not zero"
                )
                if self.strict:
                    raise DataError(
                        f"{where} {problem}; leave this row out of all files of its shard, or import without "
                        "--strict"
                    )
                self.failed.append(Failure(uri=where, error=problem))
        return good_N

    def _normalised(self, rows_ND: FloatArray) -> FloatArray:
        """Vectors of other tools at length 1; our own stay as they are, to the bit."""
        return rows_ND if self.layout.model else (rows_ND / _lengths(rows_ND)[:, None]).astype(np.float32)

    def _items(self, part: KindFiles, shard: Shard, count: int) -> Iterator[list[Item]]:
        make = _own if self.layout.model else _foreign
        done = 0
        try:
            for batch in self._cells(shard, count):
                items: list[Item] = []
                for cells in batch:
                    done += 1
                    items.append(make(cells, part.kind))
                yield items
        except (OSError, KeyError, TypeError, ValueError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise DataError(
                f"{shard.metadata} row {done - 1} can't be read as an item ({reason}); write the file again"
            ) from error

    def _cells(self, shard: Shard, count: int) -> Iterator[Sequence[Mapping[str, Any]]]:
        """The descriptions of a shard, batch by batch; those of a list of ids come before all others."""
        starts = range(0, count, _BATCH_ROWS)
        if self.described is not None:
            for start in starts:
                stop = min(start + _BATCH_ROWS, count)
                yield self.described[self.done : self.done + stop - start]
        elif shard.metadata is None:
            yield from ([{}] * min(_BATCH_ROWS, count - start) for start in starts)
        else:
            with pyarrow_parquet(_PURPOSE).ParquetFile(shard.metadata) as file:
                yield from (batch.to_pylist() for batch in file.iter_batches(batch_size=_BATCH_ROWS))

    def _with_own_ids(self, items: list[Item], shard: Shard, first: int) -> list[Item]:
        """The items, each with an id that no other one has.

        Keys of img2dataset are unique within one run of it, and folders of several runs are common.
        """
        known = set(self.store.known_ids(item.id for item in items))
        own: list[Item] = []
        for row, item in enumerate(items, start=first):
            name = item.id
            if not name:
                name = f"{shard.name}#{row}"
                self.unnamed.append(name)
            elif name in known:
                where = f"{shard.metadata or shard.name} row {row}"
                if self.strict or self.layout.model:
                    raise DataError(
                        f"{where} has the id {item.id!r} of an earlier row; give the items different ids, in "
                        f"the first of the columns {', '.join(_ID_COLUMNS[:4])} that there is"
                    )
                name = f"{shard.number}/{item.id}"
                taken = self.store.known_ids([name])
                name = f"{name}#{row}" if name in known or taken else name
                self.renamed.append(name)
            known.add(name)
            own.append(item if name == item.id else replace(item, id=name, uri=item.uri or name))
        return own


def _lengths(rows_ND: FloatArray) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore", over="ignore"):
        return np.sqrt(np.einsum("nd,nd->n", rows_ND, rows_ND, dtype=np.float64))


def _rows(shard: Shard) -> int:
    """Rows of a shard, which all of its files must have."""
    path = shard.metadata
    described = None
    if path is not None:
        try:
            described = int(pyarrow_parquet(_PURPOSE).ParquetFile(path).metadata.num_rows)
        except (OSError, ValueError) as error:
            raise DataError(f"{path} can't be read as parquet ({error}); copy it again") from error
    for width, file in shard.vectors.items():
        count, found = open_vectors(file).shape
        if found != width:
            raise DataError(f"{file} has vectors of width {found}, and {width} is needed; copy it again")
        described = count if described is None else described
        if count != described:
            raise DataError(
                f"{file} has {count} rows and {path or shard.name} has {described}; both describe the same "
                "items, so copy or make them again"
            )
    assert described is not None
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
    """What other tools write: img2dataset's columns for the most part; all others become metadata.

    The id is empty where no column holds one.
    """
    name = _first(cells, _ID_COLUMNS)
    caption = _first(cells, _CAPTION_COLUMNS)
    used = {"id", "image_path", "caption", "sha256", "width", "height", "kind"}
    return Item(
        id="" if name is None else str(name),
        kind=kind,
        uri=str(_first(cells, _PLACE_COLUMNS) or name or ""),
        caption=next(iter(clean_captions(caption)), None),
        meta={key: plain(value) for key, value in cells.items() if key not in used},
        sha256=str(cells["sha256"]) if cells.get("sha256") else None,
        width=_whole(cells.get("width")),
        height=_whole(cells.get("height")),
    )


def _first(cells: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((cells[name] for name in names if not is_missing(cells.get(name))), None)


def _whole(value: Any) -> int | None:
    """A number of pixels; pandas makes fractions of them where one is missing."""
    return int(value) if isinstance(value, (int, float)) and value == value and abs(value) < 1e9 else None
