"""The files in a folder of embeddings, by its manifest or by their names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hivlp.errors import DataError

MANIFEST = "manifest.json"
FORMAT = "hivlp-embeddings"
VERSION = 1
STEMS = {"image": "img_emb", "text": "text_emb"}
"""Kind of items -> the folder of their fine vectors."""


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """The model that made the vectors, as an index names it."""

    name: str
    fingerprint: str
    widths: tuple[int, ...]
    preprocessing: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class KindFiles:
    """The items of one kind.

    Attributes:
        levels: the folder of each width.
        metadata: the folder of their descriptions; None where there is none.
        count: number of items; None where the manifest does not say.
    """

    kind: str
    levels: Mapping[int, str]
    metadata: str | None
    count: int | None = None


@dataclass(frozen=True, kw_only=True)
class EmbeddingFolder:
    """A folder of embeddings.

    Attributes:
        model: the model of the vectors; None without a manifest of HiVLP.
        file: the one file of vectors, where that was named instead of a folder.
        notes: remarks about files that were left out.
    """

    folder: Path
    parts: tuple[KindFiles, ...]
    model: ModelRecord | None = None
    notes: tuple[str, ...] = ()
    file: Path | None = None

    @property
    def widths(self) -> tuple[int, ...]:
        return tuple(sorted({width for part in self.parts for width in part.levels}))

    def write(self, folder: Path, extra: Mapping[str, Any]) -> None:
        """Writes the manifest."""
        document = {
            "format": FORMAT,
            "version": VERSION,
            "model": asdict(self.model) if self.model else None,
            "dtype": "float16",
            "normalised": True,
            "parts": [asdict(part) for part in self.parts],
            **extra,
        }
        text = json.dumps(document, indent=2, ensure_ascii=False)
        (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def read_layout(folder: Path) -> EmbeddingFolder:
    """The layout of a folder of embeddings, or of one file ``.npy`` of vectors of pictures.

    Raises:
        DataError: it does not exist, has another layout, or is damaged.
    """
    if folder.suffix.lower() == ".npy" and folder.is_file():
        width = open_vectors(folder).shape[1]
        part = KindFiles(kind="image", levels={width: ""}, metadata=None)
        return EmbeddingFolder(folder=folder.parent, parts=(part,), file=folder)
    if not folder.is_dir():
        raise DataError(
            f"{folder} is not a folder, nor a file .npy; name one with img_emb/ or text_emb/, and metadata/"
        )
    path = folder / MANIFEST
    if not path.exists():
        return _seen(folder)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is damaged: {error}; export the index again") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        found = document.get("format") if isinstance(document, dict) else None
        raise DataError(f"{path} has format {found!r} instead of {FORMAT!r}; name an exported folder")
    if document.get("version") != VERSION:
        raise DataError(
            f"{path} has version {document.get('version')!r}, this hivlp reads {VERSION}; upgrade hivlp"
        )
    try:
        return EmbeddingFolder(folder=folder, parts=_parts(document), model=_model(document["model"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path} is damaged: {error!r}; export the index again") from error


def _parts(document: Mapping[str, Any]) -> tuple[KindFiles, ...]:
    return tuple(
        KindFiles(
            kind=str(part["kind"]),
            levels={int(width): _inside(name) for width, name in part["levels"].items()},
            metadata=_inside(part["metadata"]),
            count=int(part["count"]),
        )
        for part in document["parts"]
    )


def _inside(name: Any) -> str:
    """The name of a folder beside the manifest; nothing that leads elsewhere."""
    if not re.fullmatch(r"[A-Za-z0-9_]+", str(name)):
        raise ValueError(f"{name!r} is not the name of a folder")
    return str(name)


def _model(record: Mapping[str, Any]) -> ModelRecord:
    return ModelRecord(
        name=str(record["name"]),
        fingerprint=str(record["fingerprint"]),
        widths=tuple(int(width) for width in record["widths"]),
        preprocessing=dict(record["preprocessing"]),
    )


def _seen(folder: Path) -> EmbeddingFolder:
    """The layout of a folder without a manifest: pictures where there are any, else texts."""
    kinds = [kind for kind, stem in STEMS.items() if any((folder / stem).glob("*.npy"))]
    if not kinds:
        raise DataError(
            f"{folder} holds no embeddings in clip-retrieval's layout; needed are img_emb/ or text_emb/ with "
            "files .npy, and mostly metadata/ with files .parquet; or name one file .npy"
        )
    stem = STEMS[kinds[0]]
    levels: dict[int, str] = {}
    for path in [*sorted(folder.glob(f"level_*_{stem}")), folder / stem]:
        first = next(iter(shards(folder, path.name, ".npy").values()))
        levels[open_vectors(first).shape[1]] = path.name
    metadata = "metadata" if (folder / "metadata").is_dir() else None
    left = f"{STEMS['text']}/ was left out: its rows belong to the same pictures; index the texts themselves"
    notes = (left,) if len(kinds) > 1 else ()
    return EmbeddingFolder(
        folder=folder, parts=(KindFiles(kind=kinds[0], levels=levels, metadata=metadata),), notes=notes
    )


def shard_name(stem: str, number: int, shards: int, suffix: str) -> str:
    """``img_emb/img_emb_07.npy``: padded with zeros, so that names sort like numbers."""
    return f"{stem}/{stem}_{number:0{len(str(max(shards - 1, 0)))}d}{suffix}"


def shards(folder: Path, name: str, suffix: str) -> dict[int, Path]:
    """The files of a folder by the number at the end of their names, ascending.

    Raises:
        DataError: no file matches, or a name has no number or the number of another file.
    """
    found: dict[int, Path] = {}
    for path in sorted((folder / name).glob(f"*{suffix}")):
        number = re.search(r"(\d+)$", path.stem)
        if number is None or int(number[1]) in found:
            raise DataError(
                f"{path} has no number of its own at the end of its name, such as {name}_0{suffix}"
            )
        found[int(number[1])] = path
    if not found:
        raise DataError(f"{folder / name} holds no files {suffix}; copy the folder again")
    return dict(sorted(found.items()))


def open_vectors(path: Path) -> NDArray[np.floating[Any]]:
    """The array of a file, memory-mapped. Raises DataError for anything but N × D numbers."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} can't be read as vectors ({error}); write it again with numpy.save"
        ) from error
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.floating):
        raise DataError(
            f"{path} holds {array.dtype} of shape {array.shape}; it must hold floating-point numbers, N × D"
        )
    return array


class Shard(NamedTuple):
    """Files of the same items.

    Attributes:
        number: at the end of their names.
        vectors: by width.
        metadata: descriptions; None where there are none.
    """

    number: int
    vectors: dict[int, Path]
    metadata: Path | None

    @property
    def name(self) -> str:
        """How rows without a name are named: ``img_emb_0``."""
        return self.vectors[max(self.vectors)].stem


def matched(layout: EmbeddingFolder, part: KindFiles) -> Iterator[Shard]:
    """The files of each shard.

    Raises:
        DataError: the folders have different shards.
    """
    if layout.file is not None:
        yield Shard(0, dict.fromkeys(part.levels, layout.file), None)
        return
    levels = {width: shards(layout.folder, name, ".npy") for width, name in part.levels.items()}
    fine = levels[max(levels)]
    metadata = (
        dict.fromkeys(fine) if part.metadata is None else shards(layout.folder, part.metadata, ".parquet")
    )
    for width, files in levels.items():
        if list(files) != list(metadata):
            raise DataError(
                f"{layout.folder}: {part.levels[width]}/ has the shards {list(files)} and {part.metadata}/ "
                f"has {list(metadata)}; each shard needs both, copy the folder again"
            )
    for number, path in metadata.items():
        yield Shard(number, {width: files[number] for width, files in levels.items()}, path)
